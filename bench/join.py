# SPDX-License-Identifier: Apache-2.0
"""How long it takes to attach doses to survey responses, against bare reading, DuckDB, Polars and row-at-a-time Beam.

    python -m bench.join --rows 2_000_000 20_000_000 100_000_000 --responses 200_000

Every way runs in a process of its own on the same files (generated once under --data); rounds take turns, the best one counts,
all are kept. Answers are compared with the kernel's, to the last picocoulomb. CPU seconds (all threads) stand beside the wall
time because a busy machine stretches only the latter. Results: bench/results/join.json and join.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.join_data import SEGMENTS_PER_PATIENT, SHARD_ROWS, Case, case
from bench.join_ways import WAYS

HERE = Path(__file__).parent
BEAM_ROWS = (20_000, 200_000)  # small enough to finish; the slope between them is what a row costs


def run_way(way: str, size: Case, out: Path) -> dict[str, float]:
    """Run one way in a new process and return its seconds and memory."""
    command = [sys.executable, "-m", "bench.join_ways", way, str(size.rows), str(size.responses), str(size.folder), str(out)]
    done = subprocess.run(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {"failed": done.returncode}
    return json.loads(done.stdout.splitlines()[-1])


def measure(size: Case, ways: list[str], rounds: int) -> list[dict]:
    """Time the ways in turns and compare every answer with that of the kernel; the first round of reading warms the disk cache."""
    runs: dict[str, list[dict]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as scratch:
        answers = {way: Path(scratch) / f"{way}.npy" for way in ways}
        run_way("read_only", size, Path(scratch) / "warm.npy")
        for _ in range(rounds):
            for way in ways:
                runs[way].append(run_way(way, size, answers[way]) | {"load": os.getloadavg()[0]})
                print(f"  {size.rows:>11,} {way:<20} {runs[way][-1]}", flush=True)
        expected = np.load(answers["kernel"])
        equal = {way: _equal(path, expected) for way, path in answers.items()}
    rows = [_summary(way, found, equal[way]) for way, found in runs.items()]
    return _ratios(rows, size)


def _equal(path: Path, expected: np.ndarray) -> bool | None:
    """None where a way has no answers (reading only, or it failed)."""
    return bool(np.array_equal(np.load(path), expected)) if path.exists() else None


def _summary(way: str, runs: list[dict], equal: bool | None) -> dict:
    done = [r for r in runs if "seconds" in r]
    best = {c: min((r[c] for r in done), default=None) for c in ("seconds", "cpu_seconds")}
    return {"way": way, **best, "peak_mib": max((r["peak_mib"] for r in done), default=None), "equal": equal, "runs": runs}


def _ratios(rows: list[dict], size: Case) -> list[dict]:
    """Add what it costs next to bare reading and next to the kernel."""
    best = {row["way"]: row for row in rows}
    for row in (r for r in rows if r["seconds"]):
        for clock in ("seconds", "cpu_seconds"):
            row[f"{clock}_to_read"] = row[clock] / best["read_only"][clock]
            row[f"{clock}_to_kernel"] = row[clock] / best["kernel"][clock]
        row["ns_per_row"] = row["seconds"] / size.rows * 1e9
    return rows


def beam_cost(data: Path, like: int, responses: int) -> dict:
    """Marginal cost of a row in row-at-a-time Beam, from two small runs with as many responses a row as `like` has.

    The answers of the small runs are checked; the whole is never measured.
    """
    seconds, equal = [], True
    for rows in BEAM_ROWS:
        size = case(rows * 64, rows * 64 * responses // like, data)
        with tempfile.TemporaryDirectory() as scratch:
            ours, theirs = Path(scratch) / "kernel.npy", Path(scratch) / "beam.npy"
            run_way("kernel", size, ours)
            found = run_way("beam_rows", size, theirs)  # reads the first of 64 shards
            answers = np.load(theirs)
            equal = equal and bool(np.array_equal(answers, np.load(ours)[: len(answers)]))
        seconds.append(found["seconds"])
    slope = (seconds[1] - seconds[0]) / (BEAM_ROWS[1] - BEAM_ROWS[0])
    return {"like": like, "rows": BEAM_ROWS, "seconds": seconds, "seconds_per_row": slope, "equal": equal}


def table(rows: int, found: list[dict], beam: dict | None) -> list[str]:
    """One size as a Markdown table."""
    lines = [f"### {rows:,} segments", "", "| way | s | CPU s | ns per row | x bare read (CPU) | x our join (CPU) | peak MiB | equal |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for r in found:
        if r["seconds"] is None:
            lines.append(f"| {r['way']} | failed | | | | | | |")
            continue
        same = {None: "-", True: "yes", False: "**NO**"}[r["equal"]]
        lines.append(
            f"| {r['way']} | {r['seconds']:.2f} | {r['cpu_seconds']:.2f} | {r['ns_per_row']:.0f} "
            f"| {r['seconds_to_read']:.2f} ({r['cpu_seconds_to_read']:.2f}) "
            f"| {r['seconds_to_kernel']:.2f} ({r['cpu_seconds_to_kernel']:.2f}) | {r['peak_mib']:.0f} | {same} |"
        )
    if beam and beam["like"] == rows:
        whole, ours = beam["seconds_per_row"] * rows, next(r["seconds"] for r in found if r["way"] == "kernel")
        lines.append(f"| beam_rows, extrapolated from {beam['rows'][1]:,} rows | {whole:,.0f} | | {beam['seconds_per_row'] * 1e9:,.0f} "
                     f"| | {whole / ours:,.0f} | | {'yes' if beam['equal'] else '**NO**'} |")  # fmt: skip
    return [*lines, ""]


def earlier(path: Path, responses: int) -> dict:
    """Results of earlier runs with as many responses: a run replaces the sizes it measures and keeps the others."""
    empty = {"responses": responses, "cores": os.cpu_count(), "sizes": {}, "beam": None}
    found = json.loads(path.read_text("utf-8")) if path.exists() else empty
    return found if found["responses"] == responses else empty


def report(document: dict) -> str:
    """All sizes as one Markdown page."""
    sizes = sorted((int(rows), measured) for rows, measured in document["sizes"].items())
    loads = [run["load"] for _, measured in sizes for row in measured for run in row["runs"]]
    lines = [
        f"# Join: {document['responses']:,} responses x 3 windows x 3 amounts", "",
        f"{document['cores']} cores, best of the rounds in `join.json`, load average {min(loads):.1f} to {max(loads):.1f} meanwhile; "
        f"{SEGMENTS_PER_PATIENT:,} segments a patient, at least 64 shards of at most {SHARD_ROWS:,} rows. Every way reads the same "
        "staged files in a process of its own; imports are not timed. A way not listed at a size was not run there.", "",
    ]  # fmt: skip
    return "\n".join([*lines, *(line for rows, measured in sizes for line in table(rows, measured, document["beam"]))])


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000_000], help="segments, one or more sizes")
    parser.add_argument("--responses", type=int, default=200_000)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[w for w in WAYS if w != "beam_rows"])
    parser.add_argument("--no-beam", action="store_true", help="leave out the small row-at-a-time run")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    return parser.parse_args()


def main() -> int:
    """Run the benchmark; 1 when an answer differs."""
    asked = options()
    ways = list(dict.fromkeys(["read_only", "kernel", *asked.ways]))
    asked.results.mkdir(parents=True, exist_ok=True)
    document = earlier(asked.results / "join.json", asked.responses)
    if not asked.no_beam:
        document["beam"] = beam_cost(asked.data, asked.rows[-1], asked.responses)
    for rows in asked.rows:
        document["sizes"][str(rows)] = measure(case(rows, asked.responses, asked.data), ways, asked.rounds)
    (asked.results / "join.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (asked.results / "join.md").write_text(report(document), "utf-8")
    print(report(document))
    answers = [row["equal"] for measured in document["sizes"].values() for row in measured]
    return int(False in [*answers, (document["beam"] or {}).get("equal")])


if __name__ == "__main__":
    sys.exit(main())
