# SPDX-License-Identifier: Apache-2.0
"""How long the marts made in SQL take to rebuild over a published workspace, and the most memory each needs.

    python -m bench.marts /path/to/workspace --memory 3GB --threads 2

The window is built anew in a folder of its own from the live files of the last load; the workspace is only read. Memory is the peak of
the whole process so far, so a mart that needs less than one before it shows the same figure. Results: bench/results/marts.json and .md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from schemas.load import LoadFiles
from schemas.workspace import open_workspace
from warehouse import window
from warehouse.delta import last_complete
from warehouse.publish import window_files

HERE = Path(__file__).parent


@contextmanager
def limited(memory: str, threads: int, runs: list[dict]) -> Iterator[None]:
    """Build windows within limits, with every mart timed into `runs`."""
    create, write = window._create_sql_mart, window.write_window

    def timed(connection: duckdb.DuckDBPyConnection, ws: object, name: str) -> None:
        start, cpu = time.perf_counter(), time.process_time()
        create(connection, ws, name)
        row = {"mart": name, "seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
        row |= {"rows": connection.execute(f"select count(*) from {name}").fetchall()[0][0]}
        row |= {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "load": os.getloadavg()[0]}
        runs.append(row)
        print(f"  {name:<14} {row['seconds']:6.1f} s {row['rows']:>12,} rows {row['peak_mib']:6.0f} MiB", flush=True)

    @contextmanager
    def write_limited(path: Path, step: str) -> Iterator[duckdb.DuckDBPyConnection]:
        with write(path, step) as connection:
            connection.execute(f"set memory_limit = '{memory}'; set threads = {threads}")
            yield connection

    window._create_sql_mart, window.write_window = timed, write_limited
    try:
        yield
    finally:
        window._create_sql_mart, window.write_window = create, write


def rebuild(home: Path, memory: str, threads: int) -> dict:
    """Build the window of a workspace once, aside; what every mart took and the whole."""
    ws = open_workspace(home)
    base = last_complete(ws)
    files, runs = window_files(ws, LoadFiles(base.load), base), []
    with tempfile.TemporaryDirectory() as scratch, limited(memory, threads, runs):
        start = time.perf_counter()
        window.build_window(ws, Path(scratch) / "marts.duckdb", files, window.WindowMeta(base.load, base.versions))
        whole = time.perf_counter() - start
        size = (Path(scratch) / "marts.duckdb").stat().st_size / 2**20
        with duckdb.connect(str(Path(scratch) / "marts.duckdb"), read_only=True) as connection:
            patients = connection.execute("select count(*) from patients").fetchall()[0][0]
    limits = {"cores": os.cpu_count(), "memory": memory, "threads": threads}
    return {"patients": patients, **limits, "seconds": whole, "mib": size, "marts": runs}


def report(found: dict) -> str:
    """The run as a Markdown page."""
    lines = [
        f"# Marts: {found['patients']:,} patients", "",
        f"{found['cores']} cores, DuckDB with {found['threads']} threads and {found['memory']}; the whole window in "
        f"{found['seconds']:.0f} s, {found['mib']:,.0f} MiB on disk. Peak memory is that of the process up to the end of the mart.", "",
        "| mart | s | CPU s | rows | peak MiB | load average |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for m in found["marts"]:
        cells = f"{m['seconds']:.1f} | {m['cpu_seconds']:.1f} | {m['rows']:,} | {m['peak_mib']:.0f} | {m['load']:.1f}"
        lines.append(f"| {m['mart']} | {cells} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Rebuild, print and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path, help="a published workspace; only read")
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    found = rebuild(asked.home, asked.memory, asked.threads)
    asked.results.mkdir(parents=True, exist_ok=True)
    (asked.results / "marts.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    (asked.results / "marts.md").write_text(report(found), "utf-8")
    print(report(found))


if __name__ == "__main__":
    main()
