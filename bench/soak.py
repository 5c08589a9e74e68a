# SPDX-License-Identifier: Apache-2.0
"""A long run on Flink: memory and checkpoints while the same study is uploaded over and over, in another order each time.

    python -m bench.soak --minutes 120

After the first pass every message is a copy or comes late, so a state that keeps each fact once must stay as it is; so must memory. The
marts are compared with a run from the files at the end. Writes bench/results/soak.md and a picture, soak.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import polars as pl

from bench.stream import ROOT, cluster, workspace
from flows.cluster import Cluster
from simulator import simulate
from simulator.live import ROUGH, Options, Replay, read_inbox, send
from warehouse.hash import content_hash

MIB = 1 << 20
PREFIX = "soak."
SETTLE_S = 300  # so that what comes again is looked at again, and not only kept
SERVERS = ("task_manager", "workers", "job_manager", "supervisor")
CLI = (sys.executable, "-m", "flows.cli")


def rss(pid: int) -> int:
    """Resident bytes of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


def sample(here: Cluster, home: Path, supervisor: int, began: float) -> dict[str, float]:
    said = json.loads((home / "reports" / "stream.json").read_text())
    pids = {m.name: m.process.pid for m in here.status() if m.process}
    return {
        "minute": (time.time() - began) / 60, "task_manager": rss(pids["taskmanager"]) / MIB,
        "job_manager": rss(pids["jobmanager"]) / MIB, "workers": sum(map(rss, here.children("workers"))) / MIB,
        "supervisor": rss(supervisor) / MIB, "checkpoint": said["checkpoint_bytes"] / MIB, "lag": sum(said["lag_messages"].values()),
        "load": said["load"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--patients", type=int, default=500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, cluster() as here:
        study, home = Path(name) / "study", Path(name) / "home"
        simulate(study, args.patients, 60, 5, format="ndjson", faults=1.0)
        workspace(home, here.kafka, PREFIX)
        sent, samples, passes = soak(here, study, home, args.minutes)
        streamed = content_hash(home / "marts.duckdb")["all"]
        (study / "secret.key").write_text((home / "secret.key").read_text())
        subprocess.run([*CLI, "run", "--home", str(study), "--direct"], cwd=ROOT, capture_output=True, check=True)
        equal = content_hash(study / "marts.duckdb")["all"] == streamed
    report(args, pl.DataFrame(samples), sent, passes, equal)


def soak(here: Cluster, study: Path, home: Path, minutes: float) -> tuple[int, list[dict[str, float]], int]:
    """Upload the study again and again for so many minutes; return records sent, samples, passes."""
    call = [
        *CLI, "stream", "--home", str(home), "--engine", "flink", "--cluster", str(here.folder), "--epoch", "10",
        "--settle", str(SETTLE_S), "--idle", "5",
    ]  # fmt: skip
    samples: list[dict[str, float]] = []
    sent = passes = 0
    over = threading.Event()
    with read_inbox(study) as spool:
        options = Options(batch=20, prefix=PREFIX)
        sent += send(Replay(spool, options), here.kafka, partitions=1, prefix=PREFIX).rows
        with (home / "stream.log").open("w") as log:
            process = subprocess.Popen(call, cwd=ROOT, stdout=log, stderr=log)
        began = time.time()

        def watch() -> None:
            while not over.wait(5):
                if (home / "reports" / "stream.json").exists():
                    samples.append(sample(here, home, process.pid, began))
                    print({k: round(v, 1) for k, v in samples[-1].items()}, flush=True)

        watcher = threading.Thread(target=watch)
        watcher.start()
        while time.time() - began < minutes * 60:
            time.sleep(20)
            if process.poll() is not None:
                over.set()
                raise SystemExit(f"the stream ended with {process.returncode}: {(home / 'stream.log').read_text()[-500:]}")
            passes += 1
            sent += send(Replay(spool, replace(options, road=ROUGH, seed=passes + 1)), here.kafka, partitions=1, prefix=PREFIX).rows
        until = time.time() + 300
        while time.time() < until and (samples[-1]["lag"] or not samples[-1]["load"]):
            time.sleep(2)
        time.sleep(30)  # the watermark follows the clock once all are silent
    process.send_signal(signal.SIGTERM)
    code = process.wait(300)
    over.set()
    watcher.join()
    if code:
        raise SystemExit(f"the stream ended with {code}")
    return sent, samples, passes


def curve(xs: list[float], ys: list[float], top: float, colour: str, y0: int) -> str:
    points = " ".join(f"{60 + 620 * x / max(xs[-1], 0.1):.1f},{y0 - 140 * y / top:.1f}" for x, y in zip(xs, ys, strict=True))
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>'


def picture(samples: pl.DataFrame) -> str:
    """Memory above, checkpoints below, over minutes."""
    xs = samples["minute"].to_list()
    memory = dict(zip(SERVERS, ("#2563a8", "#b4542a", "#5b7f3b", "#7a5195"), strict=True))
    top = 1.1 * max(samples[m].max() for m in memory)
    low = 1.1 * max(samples["checkpoint"].max(), 0.1)
    parts = [curve(xs, samples[m].to_list(), top, c, 180) for m, c in memory.items()]
    parts += [
        f'<text x="{70 + 150 * i}" y="22" fill="{c}" font-size="12">{m.replace("_", " ")}</text>' for i, (m, c) in enumerate(memory.items())
    ]
    parts.append(curve(xs, samples["checkpoint"].to_list(), low, "#444", 360))
    labels = [(f"{top:.0f} MiB", 45), ("0", 182), (f"{low:.1f} MiB", 225), ("0", 362)]
    parts += [f'<text x="4" y="{y}" font-size="11">{t}</text>' for t, y in labels]
    parts += [f'<line x1="60" x2="680" y1="{y}" y2="{y}" stroke="#bbb"/>' for y in (180, 360)]
    parts.append('<text x="70" y="212" font-size="12">state in the last checkpoint</text>')
    parts.append(f'<text x="600" y="378" font-size="11">{xs[-1]:.0f} minutes</text>')
    body = "".join(parts)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 390" font-family="sans-serif" role="img" '
        f'aria-label="Memory and checkpoint size over time"><rect width="700" height="390" fill="white"/>{body}</svg>\n'
    )


def report(args: argparse.Namespace, samples: pl.DataFrame, sent: int, passes: int, equal: bool) -> None:
    third = samples.height // 3
    first, last = samples[third : 2 * third], samples[2 * third :]
    shown = (*((c, c.replace("_", " ")) for c in SERVERS), ("checkpoint", "state in the checkpoint"))
    lines = [
        f"# Soak: {samples['minute'].max():.0f} minutes on Flink", "",
        f"{args.patients:,} patients x 60 days uploaded {passes + 1} times ({sent:,} records). {os.cpu_count()} cores. "
        f"Marts equal those of a run from the files: {'yes' if equal else 'NO'}.", "", "![memory and checkpoints](soak.svg)", "",
        "| MiB | second third, mean | last third, mean | most |", "|---|---|---|---|",
        *(f"| {title} | {first[c].mean():.1f} | {last[c].mean():.1f} | {samples[c].max():.1f} |" for c, title in shown),
        "",
    ]  # fmt: skip
    results = ROOT / "bench" / "results"
    (results / "soak.md").write_text("\n".join(lines))
    (results / "soak.svg").write_text(picture(samples))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
