# SPDX-License-Identifier: Apache-2.0
"""The ways to attach doses to responses that `bench.join` compares; each runs alone in a process of its own.

Every way answers the same question from the same staged files, exactly: charge_pc, pulses_milli and on_ms known to be
delivered in the 7, 28 and 90 days before each response. The rivals may use the stored cumulative sums, and they get an easier
question than ours: each patient of the generated data has one device and one stream of delivered dose (stream 0).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, process_time
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.join_data import Case

WINDOWS = (7, 28, 90)
AMOUNTS = ("charge_pc", "pulses_milli", "on_ms")
ANSWERS = tuple(f"{a}_{w}d" for w in WINDOWS for a in AMOUNTS)
NEEDED = (
    "patient_key", "device_key", "stream", "start_ms", "end_ms", "cycle_ms", *AMOUNTS, *(f"cum_{a}" for a in AMOUNTS),
)  # fmt: skip
CORES = 2
Answer = TypeVar("Answer")


def _each_shard(case: Case, work: Callable[[int], Answer]) -> list[Answer]:
    with ThreadPoolExecutor(CORES) as pool:  # Arrow and numpy release the lock while they work
        return list(pool.map(work, range(case.shards)))


def _read_shard(case: Case, shard: int) -> tuple[pa.Table, pa.Table]:

    segments = pq.ParquetFile(case.segments(shard)).read(columns=list(NEEDED), use_threads=False)
    return segments, pq.ParquetFile(case.asked(shard)).read(use_threads=False)


def read_only(case: Case) -> None:
    """Read the columns that the join needs, and nothing else."""
    _each_shard(case, lambda shard: _read_shard(case, shard)[0].num_rows)


def kernel(case: Case) -> np.ndarray:
    """The join of this project."""
    import polars as pl

    from pipelines.core.windows import known_amounts

    def join(shard: int) -> np.ndarray:
        segments, asked = _read_shard(case, shard)
        _, patient, completed = pl.DataFrame(asked).to_numpy().T
        doses = known_amounts(pl.DataFrame(segments), patient, completed, WINDOWS)
        return np.stack([doses[name] for name in ANSWERS], axis=1)

    return np.concatenate(_each_shard(case, join))


def _sql_asof(segments: Path, asked: Path) -> str:
    done = ",\n".join(
        f"coalesce(s.cum_{a} + s.{a} * (least(e.t, s.end_ms) - s.start_ms) // s.cycle_ms, 0) AS {a}" for a in AMOUNTS
    )
    parts = ",\n".join(
        f"(max({a}) FILTER (back = 0) - max({a}) FILTER (back = {w}))::BIGINT AS {a}_{w}d" for w in WINDOWS for a in AMOUNTS
    )
    return f"""
    WITH delivered AS (SELECT * FROM read_parquet('{segments}') WHERE stream = 0),
    edges AS (
        SELECT response, patient_key, back, completed_ms - back * 86400000::BIGINT AS t
        FROM read_parquet('{asked}'), (VALUES (0), {", ".join(f"({w})" for w in WINDOWS)}) AS w(back)
    ),
    cumulative AS (
        SELECT e.response, e.back, {done}
        FROM edges e ASOF LEFT JOIN delivered s ON e.patient_key = s.patient_key AND e.t > s.start_ms
    )
    SELECT response, {parts} FROM cumulative GROUP BY response ORDER BY response"""


def _sql_range(segments: Path, asked: Path) -> str:
    def before(amount: str, t: str) -> str:
        return f"s.{amount} * (greatest(least({t}, s.end_ms), s.start_ms) - s.start_ms) // s.cycle_ms"

    def window(amount: str, days: int) -> str:
        start = f"r.completed_ms - {days * 86_400_000}"
        return f"coalesce(sum({before(amount, 'r.completed_ms')} - {before(amount, start)}), 0)::BIGINT AS {amount}_{days}d"

    longest = max(WINDOWS) * 86_400_000
    return f"""
    SELECT r.response, {", ".join(window(a, w) for w in WINDOWS for a in AMOUNTS)}
    FROM read_parquet('{asked}') r LEFT JOIN (SELECT * FROM read_parquet('{segments}') WHERE stream = 0) s
    ON r.patient_key = s.patient_key AND s.start_ms < r.completed_ms AND s.end_ms > r.completed_ms - {longest}
    GROUP BY r.response ORDER BY r.response"""


def _duckdb(case: Case, sql: Callable[[Path, Path], str], shards: list[int | str]) -> np.ndarray:
    import duckdb
    import polars as pl  # Arrow's own to_numpy would import pandas within the measured time

    with duckdb.connect(config={"threads": CORES}) as connection:
        tables = [connection.sql(sql(case.segments(s), case.asked(s))).to_arrow_table() for s in shards]
    return np.concatenate([pl.DataFrame(t).select(ANSWERS).to_numpy() for t in tables])


def duckdb_asof(case: Case) -> np.ndarray:
    """DuckDB, one query: as-of join of all edges on the stored sums."""
    return _duckdb(case, _sql_asof, ["*"])


def duckdb_asof_shards(case: Case) -> np.ndarray:
    """DuckDB, the same query shard by shard."""
    return _duckdb(case, _sql_asof, list(range(case.shards)))


def duckdb_range(case: Case) -> np.ndarray:
    """DuckDB, one query: range join of all overlapping segments, cut segments corrected at both edges."""
    return _duckdb(case, _sql_range, ["*"])


def _polars(segments: Path, asked: Path) -> np.ndarray:
    import polars as pl

    delivered = pl.scan_parquet(segments).filter(pl.col("stream") == 0).sort("patient_key", "start_ms")
    backs = pl.LazyFrame({"back": [0, *WINDOWS]}, schema={"back": pl.Int64})
    edges = pl.scan_parquet(asked).join(backs, how="cross").with_columns(t=pl.col("completed_ms") - pl.col("back") * 86_400_000)
    found = edges.sort("patient_key", "t").join_asof(
        delivered, left_on="t", right_on="start_ms", by="patient_key", allow_exact_matches=False, coalesce=False,
        check_sortedness=False,
    )  # fmt: skip
    elapsed = pl.min_horizontal("t", "end_ms") - pl.col("start_ms")
    done = [(pl.col(f"cum_{a}") + pl.col(a) * elapsed // pl.col("cycle_ms")).fill_null(0).alias(a) for a in AMOUNTS]

    def at(amount: str, back: int) -> pl.Expr:
        return pl.col(amount).filter(pl.col("back") == back).first()

    doses = found.select("response", "back", *done).group_by("response").agg(
        (at(a, 0) - at(a, w)).alias(f"{a}_{w}d") for w in WINDOWS for a in AMOUNTS
    )  # fmt: skip
    return doses.sort("response").select(ANSWERS).collect().to_numpy()


def polars_asof(case: Case) -> np.ndarray:
    """Polars, one lazy query: join_asof of all edges on the stored sums."""
    return _polars(case.segments("*"), case.asked("*"))


def polars_asof_shards(case: Case) -> np.ndarray:
    """Polars, the same query shard by shard."""
    return np.concatenate([_polars(case.segments(s), case.asked(s)) for s in range(case.shards)])


def beam_rows(case: Case) -> np.ndarray:
    """Beam, one element per row: group segments and responses by patient, then add up in plain Python."""
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    answers = str(case.folder / "beam_rows.npy")  # the runner pickles what it calls: nothing is shared with this process

    def keyed(path: str) -> Iterator[tuple[int, dict]]:
        for batch in pq.ParquetFile(path).iter_batches():
            yield from ((row["patient_key"], row) for row in batch.to_pylist())

    with beam.Pipeline(runner=FnApiRunner()) as p:
        sides = {
            name: p | f"{name} files" >> beam.Create([str(path)]) | name >> beam.FlatMap(keyed)
            for name, path in (("segments", case.segments(0)), ("asked", case.asked(0)))
        }
        joined = sides | beam.CoGroupByKey() | beam.FlatMap(_dose_rows)
        joined | beam.combiners.ToList() | beam.Map(lambda pairs: np.save(answers, [d for _, d in sorted(pairs)]))
    return np.load(answers)


def _dose_rows(element: tuple[int, dict]) -> Iterator[tuple[int, list[int]]]:
    _, sides = element
    delivered = [s for s in sides["segments"] if s["stream"] == 0]
    for response in sides["asked"]:
        b = response["completed_ms"]
        doses = []
        for days in WINDOWS:
            a = b - days * 86_400_000
            inside = [s for s in delivered if s["start_ms"] < b and s["end_ms"] > a]
            doses += [sum(_part(s, name, b) - _part(s, name, a) for s in inside) for name in AMOUNTS]
        yield response["response"], doses


def _part(segment: dict, name: str, t: int) -> int:
    elapsed = max(min(t, segment["end_ms"]), segment["start_ms"]) - segment["start_ms"]
    return segment[name] * elapsed // segment["cycle_ms"]


WAYS: dict[str, Callable[[Case], np.ndarray | None]] = {
    way.__name__: way
    for way in (
        read_only, kernel, duckdb_asof, duckdb_asof_shards, duckdb_range, polars_asof, polars_asof_shards, beam_rows,
    )
}  # fmt: skip


def peak_mib() -> float:
    """Highest resident memory of this process so far; getrusage would also count the parent before exec."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main(way: str, rows: str, responses: str, folder: str, out: str) -> None:
    """Run one way; write its answers to `out` and print seconds and memory as JSON."""
    import duckdb  # noqa: F401  (imported before the clock starts)
    import polars  # noqa: F401

    import pipelines.core.windows  # noqa: F401

    case = Case(int(rows), int(responses), Path(folder))
    before, begun, busy = peak_mib(), perf_counter(), process_time()
    answers = WAYS[way](case)
    seconds, cpu = perf_counter() - begun, process_time() - busy
    if answers is not None:
        np.save(out, answers)
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_mib": peak_mib(), "imports_mib": before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
