# SPDX-License-Identifier: Apache-2.0
"""One shard from files to files: its live facts and this load's spill in, one new part per table out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from pipelines.core.placement import POOL, place
from pipelines.core.segments import RISING_COLUMNS, DoseOptions
from pipelines.core.shard import StagedShard, stage_shard
from pipelines.spill import SpillRef, read_spill, write_part
from schemas.contract import SOURCES, load_contract
from schemas.errors import VNSightError
from schemas.frames import staged_schema

RISING = {"staged/segments": frozenset(RISING_COLUMNS)}
DISPOSITIONS: dict[str, pl.DataType] = {
    "load": pl.Int64(), "source": pl.String(), "file": pl.String(), "line": pl.Int64(), "record_id": pl.String(),
    "bin": pl.String(), "rules": pl.List(pl.String),
}  # fmt: skip


@dataclass(frozen=True)
class ShardWork:
    """One shard to do: its live fact files (source -> path relative to home) and the rows that are new to it."""

    shard: int
    live: Mapping[str, str]
    spills: tuple[SpillRef, ...]


@dataclass(frozen=True)
class StagePlan:
    """What every shard needs to know. `target`: folder the parts go to, `""` for the workspace itself."""

    home: str
    load: int
    shards: int
    owners: str
    windows: tuple[int, ...]
    options: DoseOptions = field(default_factory=DoseOptions)
    target: str = ""
    keep_facts: bool = True  # a rebuild of past knowledge writes marts only


@dataclass(frozen=True)
class ShardDone:
    """Paths of a shard's new parts by table, its dispositions part, and the bins of this load's rows (source, file, bin, rows)."""

    shard: int
    parts: Mapping[str, str]
    dispositions: str | None
    bins: tuple[tuple[str, str, str, int], ...]


def read_facts(home: Path, path: str, source: str) -> pl.DataFrame:
    """Live facts of one source and shard. A column that the contract has gained since they were written is null in them.

    `VNSightError` when the contract requires such a column: then the files themselves must be read again.
    """
    contract = load_contract(source)
    schema = staged_schema(contract)
    frame = pl.read_parquet(home / path, hive_partitioning=False)
    new = [n for n in schema if n not in frame.columns]
    optional = {c.staged_name for c in contract.columns if not c.required}
    if needed := sorted(set(new) - optional):
        raise VNSightError(
            f"{path}: was written by an older version and lacks {', '.join(needed)}, which {source} must have now; load the files of "
            f"{home / 'landing'} into a new workspace (vnsight init), each under its source"
        )
    return frame.with_columns(pl.lit(None).alias(n) for n in new).select(pl.col(n).cast(t) for n, t in schema.items())


def _facts(work: ShardWork, plan: StagePlan, owners: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Old and new facts that belong to this shard today; those of devices that moved to another shard are left out."""
    facts = {}
    for source in SOURCES:
        contract = load_contract(source)
        new = read_spill([r for r in work.spills if r.source == source], staged_schema(contract))
        frames = [read_facts(Path(plan.home), work.live[source], source), new] if source in work.live else [new]
        frame = pl.concat(frames)
        if contract.refers_to == "device" and frame.height:
            frame = place(frame, contract, owners, plan.shards).filter(pl.col("_shard") == work.shard).drop("_shard")
        facts[source] = frame
    return facts


def stage_files(work: ShardWork, plan: StagePlan) -> ShardDone:
    """Do one shard: derive everything from its facts and write one part per table; empty tables get a part too, so that a
    shard whose last row moved away is replaced."""
    owners = pl.read_ipc(plan.owners)
    done = stage_shard(_facts(work, plan, owners), owners, plan.load, plan.options, plan.windows)
    home = Path(plan.home)
    parts = {
        table: write_part(frame, home, f"{plan.target}{table}/_shard={work.shard}", RISING.get(table, frozenset()))
        for table, frame in _tables(done, work, plan).items()
    }
    fates = done.dispositions.with_columns(load=pl.lit(plan.load, dtype=pl.Int64)).select(list(DISPOSITIONS))
    written = write_part(fates, home, f"ledger/dispositions/_load={plan.load}") if fates.height else None
    return ShardDone(work.shard, parts, written, tuple(done.bins.select("source", "file", "bin", "rows").iter_rows()))


def _tables(done: StagedShard, work: ShardWork, plan: StagePlan) -> dict[str, pl.DataFrame]:
    tables = {f"staged/{s}": f for s, f in done.facts.items()} if plan.keep_facts else {}
    if work.shard == POOL:
        return {t: f for t, f in tables.items() if load_contract(t.removeprefix("staged/")).refers_to == "device"}
    if plan.keep_facts:
        tables["staged/segments"] = done.segments
    return tables | {f"marts/{m}": f for m, f in done.marts.items()}
