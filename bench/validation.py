# SPDX-License-Identifier: Apache-2.0
"""Validation of NDJSON and Parquet by chunks against per-row pydantic, both inside Beam on the same runner and the same files.

    python -m bench.validation --rows 200000

Both sides must refuse exactly the same lines with every reason, or nothing is reported. Parquet holds instants as instants, NDJSON as text.
Times are whole pipelines with the start-up of an empty pipeline taken off, the best of three; ratios are what to read. "Facts" is what a
load does beyond validation: keyed pseudonyms and a fingerprint of the content of every row.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import polars as pl
import pydantic
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.core.instants import parse_instants
from pipelines.core.validate import Provenance, split_by_rules, validate
from pipelines.ingest import Piece, read_piece, split_file
from schemas.contract import load_contract
from schemas.devices import load_models
from schemas.load import Landed

CONTRACT = load_contract("device_settings")
MODEL = load_models()["106"]
INSTANT = {"minimum": datetime(1990, 1, 1, tzinfo=UTC), "maximum": datetime(2100, 1, 1, tzinfo=UTC)}


def make_rows(rows: int, seed: int = 7) -> pl.DataFrame:
    """Settings of model 106, 2 % of them broken in one of five ways."""
    rng = np.random.default_rng(seed)
    start = datetime(2025, 1, 1, tzinfo=UTC)
    instants = [(start + timedelta(seconds=int(s))).isoformat().replace("+00:00", "Z") for s in rng.integers(0, 31_000_000, rows)]
    frame = pl.DataFrame(
        {
            "device_id": [f"DEV-{n}" for n in rng.integers(0, 60_000, rows)], "model": ["106"] * rows, "effective_at": instants,
            "current_ma": rng.integers(0, 9, rows) * 0.25, "pulse_width_us": rng.choice([130, 250, 500], rows),
            "frequency_hz": rng.choice([20.0, 25.0, 30.0], rows), "on_s": rng.choice([7.0, 30.0, 60.0], rows),
            "off_min": rng.choice([0.3, 1.1, 5.0], rows), "changed_by": ["clinician"] * rows, "recorded_at": instants,
        }
    )  # fmt: skip
    fault = pl.Series(np.where(rng.random(rows) < 0.02, rng.integers(1, 6, rows), 0))
    return frame.with_columns(
        current_ma=pl.when(fault == 1).then(1500.0).when(fault == 2).then(1.33).otherwise("current_ma"),
        device_id=pl.when(fault == 3).then(None).otherwise("device_id"),
        changed_by=pl.when(fault == 4).then(pl.lit("nobody")).otherwise("changed_by"),
        effective_at=pl.when(fault == 5).then(pl.lit("1971-01-01T00:00:00Z")).otherwise("effective_at"),
    )


class Settings(pydantic.BaseModel):
    """The contract of device_settings as a careful engineer writes it in pydantic."""

    model_config = pydantic.ConfigDict(strict=True)

    device_id: str = pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")
    model: str
    effective_at: datetime = pydantic.Field(strict=False, ge=INSTANT["minimum"], le=INSTANT["maximum"])
    current_ma: float = pydantic.Field(ge=0, le=3.5)
    pulse_width_us: int = pydantic.Field(ge=50, le=1000)
    frequency_hz: float = pydantic.Field(ge=0.5, le=100)
    on_s: float = pydantic.Field(ge=1, le=3600)
    off_min: float = pydantic.Field(ge=0, le=180)
    changed_by: str = pydantic.Field(pattern="^(clinician|schedule|patient)$")
    recorded_at: datetime = pydantic.Field(strict=False, ge=INSTANT["minimum"], le=INSTANT["maximum"])

    @pydantic.model_validator(mode="after")
    def on_the_grid(self) -> Settings:
        for name in ("current_ma", "pulse_width_us", "frequency_hz", "on_s", "off_min"):
            value = getattr(self, name) * 1000
            if abs(value - round(value)) > 1e-6 or round(value) not in MODEL.grid[name]:
                raise ValueError(f"{name} is off the grid")
        return self


def _is_refused(number: int, check: Callable[[], object]) -> Iterator[int]:
    try:
        check()
    except pydantic.ValidationError:
        yield number


def _pydantic_line(numbered: tuple[int, bytes]) -> Iterable[int]:
    return _is_refused(numbered[0], lambda: Settings.model_validate_json(numbered[1]))


def _pydantic_row(numbered: tuple[int, dict[str, Any]]) -> Iterable[int]:
    return _is_refused(numbered[0], lambda: Settings.model_validate(numbered[1]))


def _ours(piece: Piece, home: str) -> Iterable[int]:
    for rows in read_piece(piece, home):
        frame, times = parse_instants(rows.parsed.frame, CONTRACT)
        _, bad = split_by_rules(frame, CONTRACT, times)
        yield from (b.line for b in rows.parsed.broken)
        yield from bad["_line"]


def _facts(piece: Piece, home: str) -> Iterable[int]:
    for rows in read_piece(piece, home):
        checked = validate(rows.parsed, CONTRACT, Provenance(1, "f", 0), b"bench")
        yield from (b.line for b in rows.parsed.broken)
        yield from checked.refused["_line"]


def _rows_of(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for start, batch in enumerate(pl.read_parquet(path).iter_slices(10_000)):
        yield from enumerate(batch.iter_rows(named=True), start=start * 10_000 + 1)


def _lines_of(path: str) -> Iterator[tuple[int, bytes]]:
    with Path(path).open("rb") as stream:
        yield from enumerate(stream, start=1)


def _run(elements: list[Any], *steps: beam.PTransform) -> tuple[set[int], float]:
    """Refused lines and wall seconds of a pipeline."""
    out = Path(tempfile.mkdtemp()) / "refused.json"

    def keep(pair: tuple[None, Iterable[int]]) -> None:
        out.write_text(json.dumps(sorted(pair[1])))

    began = time.perf_counter()
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(["--direct_running_mode=in_memory"])) as pipeline:
        rows = pipeline | beam.Create(elements)
        for i, step in enumerate(steps):
            rows = rows | f"Step{i}" >> step
        rows | beam.Map(lambda n: (None, n)) | beam.GroupByKey() | beam.Map(keep)
    seconds = time.perf_counter() - began
    return set(json.loads(out.read_text())) if out.exists() else set(), seconds


def main() -> None:
    """Measure and print the table; write `bench/results/validation.json`."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=200_000)
    options = arguments.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    home = Path(tempfile.mkdtemp())
    frame = make_rows(options.rows)
    results: dict[str, Any] = {"rows": options.rows, "load_average": os.getloadavg()[0]}
    _, start_up = min((_run([1], beam.FlatMap(lambda _: [])) for _ in range(3)), key=lambda r: r[1])
    instants = [pl.col(c).str.to_datetime(time_unit="us", time_zone="UTC") for c in ("effective_at", "recorded_at")]
    for kind, write in (("ndjson", frame.write_ndjson), ("parquet", frame.with_columns(instants).write_parquet)):
        landed = Landed("device_settings", f"f.{kind}", "inbox", kind * 4, 0, 0)
        path = home / "landing" / landed.path
        path.parent.mkdir(parents=True)
        write(path)
        pieces = split_file(home, landed, False)
        results[kind] = _compare(kind, _ways(kind, pieces, path, home), start_up)
    _report(results)


def _ways(kind: str, pieces: list[Piece], path: Path, home: Path) -> dict[str, Callable[[], tuple[set[int], float]]]:
    """Name -> one whole pipeline over the same file."""
    rows, per_row = (_lines_of, _pydantic_line) if kind == "ndjson" else (_rows_of, _pydantic_row)
    return {
        "ours": lambda: _run(pieces, beam.FlatMap(_ours, home=str(home))),
        "facts": lambda: _run(pieces, beam.FlatMap(_facts, home=str(home))),
        "pydantic": lambda: _run([str(path)], beam.FlatMap(rows), beam.FlatMap(per_row)),
    }


def _compare(kind: str, ways: dict[str, Callable[[], tuple[set[int], float]]], start_up: float) -> dict[str, Any]:
    """Run every way three times in turn; all must refuse the same lines."""
    runs = [{name: way() for name, way in ways.items()} for _ in range(3)]
    refused = runs[0]["pydantic"][0]
    for name in ways:
        if any(run[name][0] != refused for run in runs):
            raise SystemExit(f"{kind}: {name} refuses other lines than pydantic")
    seconds = {name: min(run[name][1] for run in runs) - start_up for name in ways}
    return {"refused": len(refused), "ratio": round(seconds["pydantic"] / seconds["ours"], 1)} | {
        f"{name}_s": round(value, 2) for name, value in seconds.items()
    }


def _report(results: dict[str, Any]) -> None:
    print(f"\nvalidation of {results['rows']:,} rows in Beam, 2 % bad, load average {results['load_average']:.1f}\n")
    print("| format | refused, the same on all sides | VNSight, s | VNSight to facts, s | per-row pydantic, s | pydantic / VNSight |")
    print("|---|---|---|---|---|---|")
    for kind in ("ndjson", "parquet"):
        r = results[kind]
        print(f"| {kind} | {r['refused']:,} | {r['ours_s']} | {r['facts_s']} | {r['pydantic_s']} | **{r['ratio']}** |")
    target = Path(__file__).parent / "results" / "validation.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
