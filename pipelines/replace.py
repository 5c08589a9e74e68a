# SPDX-License-Identifier: Apache-2.0
"""Facts that are staged already and must go elsewhere: out of the pool, after a device that moved, or all of them as known at T."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipelines.core.placement import POOL, place
from pipelines.spill import SpillRef, write_spill
from pipelines.stage import read_facts
from schemas.contract import load_contract


@dataclass(frozen=True)
class FactFile:
    """A live fact file of one source and shard."""

    source: str
    shard: int
    path: str


@dataclass(frozen=True)
class ReplacePlan:
    """Where facts go: by the owners in `owners`; with `known_by_us` only facts known by then, and all of them, not just movers."""

    home: str
    shards: int
    owners: str
    spill: str
    known_by_us: int | None = None


def replace_facts(file: FactFile, plan: ReplacePlan) -> list[SpillRef]:
    """Spill the facts of a file that belong to another shard; with `known_by_us` all facts known by then, wherever they belong."""
    contract = load_contract(file.source)
    owners = pl.read_ipc(plan.owners)
    placed = place(read_facts(Path(plan.home), file.path, file.source), contract, owners, plan.shards)
    if plan.known_by_us is None:
        moved = placed.filter((pl.col("_shard") != file.shard) & (pl.col("_shard") != POOL))
    else:
        cut = pl.lit(plan.known_by_us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        moved = placed.filter(pl.col("_known_at") <= cut)
    return write_spill(moved, file.source, Path(plan.spill))
