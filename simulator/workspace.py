# SPDX-License-Identifier: Apache-2.0
"""Write a simulated workspace: `inbox/`, which a run pulls, and `truth/`, which nothing but a test may read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from schemas.contract import load_contract
from schemas.errors import UsageError
from simulator.block import Block, draw_block
from simulator.effects import effects_table
from simulator.faults.inject import canonical, inject
from simulator.plan import MANY_PATIENTS, TRUTH_PATIENTS, Plan, fault_rates
from simulator.truth.expected import expected_doses
from simulator.writing import fault_rows, write_inbox

_FEW_PATIENTS = 5_000  # up to here the dose of everybody is worked out
_DOSE_FACTS = ("devices", "device_settings", "interrogations", "stimulation_sessions", "survey_responses")


@dataclass(frozen=True)
class Summary:
    """What was written: files and rows per source, faulty rows per fault, and responses with an expected dose."""

    patients: int
    days: int
    seed: int
    files: int
    rows: Mapping[str, int]
    faults: Mapping[str, int]
    expected_responses: int


@dataclass(frozen=True)
class Progress:
    """How far a simulation is: blocks done of all, patients and rows so far."""

    block: int
    blocks: int
    patients: int
    rows: int


class _Parts:
    """Truth tables that grow block by block, written as row groups so that memory stays flat."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}

    def add(self, name: str, frame: pl.DataFrame) -> None:
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if name not in self._writers:
            self._writers[name] = pq.ParquetWriter(self._folder / f"{name}.parquet", table.schema, compression="zstd")
        self._writers[name].write_table(table)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


def _dose_facts(plan: Plan, block: Block, frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Accepted rows of the patients whose dose is worked out: everybody, or the first 2,000 of a large population."""
    limit = plan.patients if plan.patients <= _FEW_PATIENTS else TRUTH_PATIENTS
    wanted = pl.col("_patient") + block.people.first < limit
    return {source: canonical(frames[source]).filter(wanted) for source in _DOSE_FACTS}


def _write_block(plan: Plan, home: Path, number: int, truth: _Parts, counts: dict[str, Counter[str]]) -> None:
    block = draw_block(plan, number)
    frames = inject(plan, block)
    for source, frame in frames.items():
        counts["files"][source] += write_inbox(home / "inbox", frame, load_contract(source))
        counts["rows"][source] += frame.height
        labelled = fault_rows(frame, source)
        counts["faults"].update(dict(labelled["fault"].value_counts().iter_rows()))
        truth.add("faults", labelled)
    doses = expected_doses(_dose_facts(plan, block, frames))
    counts["doses"]["responses"] += doses["response_id"].n_unique()
    truth.add("expected_doses", doses)
    truth.add("patients", block.truth)


def _prepare(home: Path) -> None:
    taken = [name for name in ("inbox", "truth") if any(p.is_file() for p in (home / name).rglob("*"))]
    if taken:
        raise UsageError(f"{home / taken[0]} is not empty; simulate into a new folder or remove it first")
    for name in ("inbox", "truth"):
        (home / name).mkdir(parents=True, exist_ok=True)


def simulate(
    home: Path,
    patients: int,
    days: int,
    seed: int,
    *,
    format: str | None = None,
    faults: float | Mapping[str, float] = 1.0,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Write `inbox/` and `truth/` below `home`; the same arguments write the same bytes.

    `days` counts from 2025-03-01. `format` is `mixed` (NDJSON, CSV and Parquet, compressed or not, by month), `ndjson` or
    `parquet`; by default `mixed` up to 20,000 patients and `parquet` above. `faults` multiplies the default rates (0: none) or
    names rates. Damaged lines and cut files need text, so `parquet` has none. `truth/` holds `faults`, `expected_doses` (of
    everybody up to 5,000 patients, of the first 2,000 of more), `effects` and `patients`, all Parquet. `progress` is called
    after every block. `UsageError` for impossible arguments, an unknown fault, or a folder in use.
    """
    chosen = format or ("parquet" if patients > MANY_PATIENTS else "mixed")
    plan = Plan(patients, days, seed, chosen, fault_rates(faults))
    _prepare(home)
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("files", "rows", "faults", "doses")}
    truth = _Parts(home / "truth")
    try:
        for number in plan.blocks:
            _write_block(plan, home, number, truth, counts)
            if progress is not None:
                done = min(patients, (number + 1) * plan.block_size)
                progress(Progress(number + 1, len(plan.blocks), done, counts["rows"].total()))
    finally:
        truth.close()
    effects_table().write_parquet(home / "truth" / "effects.parquet")
    rows, labelled = dict(counts["rows"]), {name: counts["faults"][name] for name in plan.rates if counts["faults"][name]}
    return Summary(patients, days, seed, counts["files"].total(), rows, labelled, counts["doses"]["responses"])
