# SPDX-License-Identifier: Apache-2.0
"""How long a message takes from its timestamp to being visible in marts.duckdb, through `vnsight stream` on a real Kafka.

    python -m bench.latency --rate 200 --seconds 60

A simulated study is published without its stimulation sessions. Then its sessions are sent live, one JSON message each, stamped when
they are sent, while the stream runs with the audit and everything. A message is visible when a client that opens `marts.duckdb` sees
the load whose landed files hold it. The marts are compared with a run from the files before any time is told.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from confluent_kafka import Producer

from flows.cluster import Cluster, Ports
from flows.stream.status import read_status
from pipelines.landing import landed_files
from schemas.envelope import topic_of
from schemas.workspace import Workspace, open_workspace
from simulator.live import create_topics
from warehouse.hash import content_hash

SOURCE = "stimulation_sessions"
RESULTS = Path(__file__).parent / "results" / "latency.md"


@dataclass(frozen=True)
class Measured:
    """Latencies in seconds, and how many loads it took."""

    seconds: np.ndarray
    loads: int
    epochs: list[dict[str, float]]


def vnsight(*arguments: object) -> None:
    done = subprocess.run([sys.executable, "-m", "flows.cli", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"vnsight {arguments[0]} failed:\n{done.stdout}{done.stderr}")


def make_study(home: Path, patients: int, days: int) -> list[bytes]:
    """A published study without its sessions; return the sessions."""
    vnsight("simulate", home, "--patients", patients, "--days", days, "--seed", 2, "--format", "ndjson")
    aside = home / "sessions"
    shutil.move(home / "inbox" / SOURCE, aside)
    vnsight("run", "--home", home, "--direct")
    return [line for file in sorted(aside.iterdir()) for line in file.read_bytes().splitlines()]


def reference(home: Path, sessions: list[bytes]) -> str:
    """Hash of the marts of the same records from files."""
    place = home / "inbox" / SOURCE
    place.mkdir()
    (place / "all.ndjson").write_bytes(b"\n".join(sessions) + b"\n")
    vnsight("run", "--home", home, "--direct")
    return content_hash(open_workspace(home))["all"]


def shown_load(window: Path) -> int:
    with duckdb.connect(str(window), read_only=True) as connection:
        return int(connection.execute("select load from vnsight_meta").fetchall()[0][0])


def watch(ws: Workspace, seen: dict[int, float]) -> None:
    """Note when a load is seen first; a look is worth its price only when the file was replaced."""
    load = shown_load(ws.window)
    seen.setdefault(load, time.time())


def send_live(ws: Workspace, servers: str, sessions: list[bytes], rate: int) -> tuple[dict[int, float], list[dict[str, float]]]:
    """Send at the rate, looking meanwhile and until all is visible; load -> when it was seen, and what the epochs took."""
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 5, "log_level": 2})
    seen: dict[int, float] = {}
    epochs: dict[int, dict[str, float]] = {}
    sent, began, looked = 0, time.monotonic(), -1
    first = shown_load(ws.window)
    patience = began + len(sessions) / rate + 180
    while time.monotonic() < patience:
        due = min(len(sessions), int((time.monotonic() - began) * rate))
        for line in sessions[sent:due]:
            producer.produce(topic_of(SOURCE), line, timestamp=time.time_ns() // 1_000_000)
        sent = due
        producer.poll(0)
        now = ws.window.stat().st_ino
        if now != looked:
            looked = now
            watch(ws, seen)
            said = read_status(ws)
            if said is not None:
                epochs[said["epoch"]] = said["epoch_seconds"]
            if sent == len(sessions) and sum(len(stamps) for _, stamps in timestamps_of(ws, first)) >= sent:
                return seen, list(epochs.values())
        time.sleep(0.02)
    sys.exit("not all messages became visible")


def loads_of(window: Path, after: int) -> dict[str, int]:
    """Landed file of messages -> load that took it, as the ledger tells."""
    asked = f"select file, min(load) from ledger where source = '{SOURCE}' and load > {after} group by file"
    with duckdb.connect(str(window), read_only=True) as connection:
        return dict(connection.execute(asked).fetchall())


def timestamps_of(ws: Workspace, after: int) -> list[tuple[int, np.ndarray]]:
    """Load and timestamps (seconds) of every landed file of messages."""
    loads, found = loads_of(ws.window, after), []
    for landed in landed_files(ws):
        if landed.file in loads:
            with pa.ipc.open_file(str(ws.landing / landed.path)) as file:
                found.append((loads[landed.file], file.read_all()["timestamp_ms"].to_numpy() / 1000))
    return found


def measure(ws: Workspace, servers: str, sessions: list[bytes], rate: int, epoch: float) -> Measured:
    call = [sys.executable, "-m", "flows.cli", "stream", "--home", str(ws.home), "--epoch", str(epoch)]
    with (ws.home / "stream.log").open("w") as log, subprocess.Popen(call, stdout=log, stderr=log) as stream:
        try:
            warm, rest = sessions[:50], sessions[50:]
            send_live(ws, servers, warm, rate)  # libraries are imported, connections are made
            before = shown_load(ws.window)
            seen, epochs = send_live(ws, servers, rest, rate)
        finally:
            stream.send_signal(signal.SIGTERM)
            stream.wait(120)
    seconds = []
    for load, stamps in timestamps_of(ws, before):
        visible = min(when for n, when in seen.items() if n >= load)  # a load that was replaced between two looks
        seconds.append(visible - stamps)
    return Measured(np.concatenate(seconds), max(seen) - before, epochs)


def line(rate: int, epoch: float, found: Measured) -> str:
    q = np.percentile(found.seconds, [50, 99])
    steps: dict[str, Any] = {s: np.median([e[s] for e in found.epochs if s in e]) for s in ("pull", "stage", "audit", "publish", "all")}
    shown = " + ".join(f"{s} {steps[s]:.1f}" for s in ("pull", "stage", "audit", "publish"))
    return (
        f"| {rate} | {len(found.seconds):,} | {epoch:g} s | {found.loads} | {q[0]:.1f} s | {q[1]:.1f} s | {found.seconds.max():.1f} s | "
        f"{steps['all']:.1f} s ({shown}) |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=200, help="messages per second")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--epoch", type=float, default=1.0)
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--jars", type=Path, default=Path(".flink/jars"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        home = Path(place) / "study"
        sessions = make_study(home, options.patients, options.days)[: options.rate * options.seconds + 50]
        batch = Path(place) / "batch"
        shutil.copytree(home, batch)
        vnsight("refresh", "--home", batch)
        kafka = Cluster(Path(place) / "kafka", Ports.free(), jar_folder=options.jars)
        try:
            kafka.start("kafka")
            kafka.wait_ready("kafka")
            create_topics(kafka.kafka, 2)
            with (home / "vnsight.toml").open("a") as settings:
                settings.write(f'\n[[source]]\nname = "live"\nconnector = "kafka"\nservers = "{kafka.kafka}"\n')
            load_before = os.getloadavg()[0]
            found = measure(open_workspace(home), kafka.kafka, sessions, options.rate, options.epoch)
        finally:
            kafka.stop(kill=True)
        equal = content_hash(open_workspace(home))["all"] == reference(batch, sessions)
        if not equal:
            sys.exit("the marts differ from those of a run from the files; nothing is told of times")
    text = f"""# From a message's timestamp to marts.duckdb

{os.cpu_count()} cores, load average {load_before:.1f} before and {os.getloadavg()[0]:.1f} after.
{options.patients} patients over {options.days} days were published before, in 16 shards.
One session a message, JSON, two partitions of a real Kafka on the same machine.
Every epoch is a whole load: pull, stage, audit, publish. The marts equal those of a run from the files.

| messages/s | messages | interval | loads | median | 99 % | longest | an epoch, median |
|---|---|---|---|---|---|---|---|
{line(options.rate, options.epoch, found)}
"""
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
