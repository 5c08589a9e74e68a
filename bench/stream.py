# SPDX-License-Identifier: Apache-2.0
"""Throughput of the streaming engines: the same study on a real Kafka, through Flink and through embedded epochs, to committed marts.

    python -m bench.stream --patients 2000 --days 90

One message is one record (a session, a response) as JSON, or an Arrow batch of up to 500. Seconds run from the first receipt to the last
commit, so starting is left out and committing is not. All ways must end in one hash. What one would write without us is measured beside
it: Beam with a dict per row, validated by pydantic, dose summed in keyed state; its join is far simpler than ours and has no late facts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import apache_beam as beam
import polars as pl
import pydantic
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from flows.cluster import Cluster, Ports
from schemas.workspace import open_workspace
from simulator import simulate
from simulator.live import Options, Replay, read_inbox, send
from warehouse.delta import last_complete
from warehouse.hash import content_hash

ROOT = Path(__file__).resolve().parents[1]
SHAPES = {"JSON, one record a message": Options(batch=1), "Arrow, 500 records a message": Options(batch=500, arrow=True)}


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster of its own, for the block."""
    with tempfile.TemporaryDirectory() as folder:
        here = Cluster(Path(folder), Ports.free(), jar_folder=ROOT / ".flink" / "jars")
        try:
            here.start()
            here.wait_ready()
            yield here
        finally:
            here.stop(kill=True)


def workspace(home: Path, servers: str, prefix: str) -> None:
    """A workspace that knows the Kafka and nothing else."""
    (home / "inbox").mkdir(parents=True)
    (home / "secret.key").write_text("a secret of simulated people\n")
    (home / "vnsight.toml").write_text(f'[[source]]\nname = "stream"\nconnector = "kafka"\nservers = "{servers}"\nprefix = "{prefix}"\n')


def run_engine(home: Path, engine: str, here: Cluster) -> float:
    """Stream until all is read; seconds from the first piece of data in the workspace to the last commit."""
    more = ["--cluster", str(here.folder), "--settle", "604800", "--idle", "-1"] if engine == "flink" else []
    call = [sys.executable, "-m", "flows.cli", "stream", "--home", str(home), "--engine", engine, "--epoch", "2", "--until-idle", *more]
    process = subprocess.Popen(call, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first, place = 0.0, home / ("stream/updates" if engine == "flink" else "landing/manifest")
    while process.poll() is None:
        if not first and place.is_dir() and any(not p.name.startswith(".") for p in place.iterdir()):
            first = time.time()
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"{engine} ended with {process.returncode}")
    return (home / "marts.duckdb").stat().st_mtime - first


class Reading(pydantic.BaseModel):
    """The little a plain pipeline would check."""

    device_id: str
    started: datetime
    duration_ms: int = pydantic.Field(ge=1, le=86_400_000)
    pulse_width_us: int = pydantic.Field(ge=1, le=2000)
    frequency_hz: float = pydantic.Field(gt=0, le=100)


class SumPerDevice(beam.DoFn):
    """Add up the pulses of a device as they come."""

    TOTAL = ReadModifyWriteStateSpec("total", beam.coders.VarIntCoder())

    def process(self, element, total=beam.DoFn.StateParam(TOTAL)):  # noqa: B008, ANN001, ANN201
        key, row = element
        now = (total.read() or 0) + int(row["duration_ms"] * row["frequency_hz"] / 1000)
        total.write(now)
        yield key, now


def plain_rows(rows: int) -> float:
    """Records per second of a plain per-row pipeline, from memory: not even Kafka is read."""
    lines = [
        json.dumps({"device_id": f"D{n % 500}", "started": "2025-01-01T00:00:00Z", "duration_ms": 3_600_000, "pulse_width_us": 250,
                    "frequency_hz": 25.0})
        for n in range(rows)
    ]  # fmt: skip

    def check(line: str) -> tuple[str, dict]:
        row = json.loads(line)
        Reading(**row)
        return row["device_id"], row

    def run(some: list[str]) -> float:
        began = time.monotonic()
        with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
            checked = pipeline | beam.Create(some) | beam.Map(check).with_output_types(tuple[str, dict])
            checked | beam.ParDo(SumPerDevice()) | beam.combiners.Count.Globally() | beam.Map(lambda _: None)
        return time.monotonic() - began

    few = run(lines[:100])
    return rows / max(run(lines) - few, 0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--days", type=int, default=90)
    args = parser.parse_args()
    rows, hashes = [], set()
    with tempfile.TemporaryDirectory() as name, cluster() as here:
        study = Path(name) / "study"
        simulate(study, args.patients, args.days, 21, format="ndjson", faults=1.0)
        with read_inbox(study) as spool:
            for n, (shape, options) in enumerate(SHAPES.items()):
                prefix = f"bench{n}."
                chosen = Options(options.batch, options.arrow, options.road, options.seed, prefix)
                sent = send(Replay(spool, chosen), here.kafka, partitions=2, end=True, prefix=prefix)
                for engine in ("flink", "epochs"):
                    home = Path(name) / f"{engine}{n}"
                    workspace(home, here.kafka, prefix)
                    seconds = run_engine(home, engine, here)
                    hashes.add(content_hash(home / "marts.duckdb")["all"])
                    loads = last_complete(open_workspace(home)).load
                    rows.append((engine, shape, sent.messages, sent.rows, seconds, sent.rows / seconds, loads))
                    print(rows[-1], flush=True)
    plain = plain_rows(20_000)
    report(args, rows, len(hashes) == 1, plain)


def report(args: argparse.Namespace, rows: list[tuple], equal: bool, plain: float) -> None:
    table = pl.DataFrame(rows, schema=["engine", "message", "messages", "records", "seconds", "rate", "commits"], orient="row")
    lines = [
        f"# Streams: {args.patients:,} patients x {args.days} days over Kafka, to committed marts", "",
        f"{os.cpu_count()} cores for everything (broker, Flink, workers, commits), load average {os.getloadavg()[0]:.1f} at the end. "
        f"All ways end in the same hash: {'yes' if equal else 'NO'}.", "",
        "| engine | one message is | messages | records | s | records/s | x plain Beam | commits |", "|---|---|---|---|---|---|---|---|",
        *(f"| {e} | {m} | {n:,} | {r:,} | {s:.1f} | {v:,.0f} | {v / plain:.1f} | {c} |" for e, m, n, r, s, v, c in table.iter_rows()),
        f"| plain Beam, a dict per row (FnApiRunner, from memory, a sum and no join) | | | 20,000 | | {plain:,.0f} | 1.0 | |", "",
    ]  # fmt: skip
    text = "\n".join(lines)
    (ROOT / "bench" / "results" / "stream.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
