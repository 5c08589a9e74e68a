# SPDX-License-Identifier: Apache-2.0
"""Which rows get which fault: at most one per record, and in the first block each kind at least once where it can be."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from simulator.faults.copies import copy_faults
from simulator.faults.row_faults import RowFault, row_faults
from simulator.plan import Array, Plan

Chosen = dict[tuple[str, int], Array]  # source and number of the fault -> rows of the source's frame


def _able(frame: pl.DataFrame, fault: RowFault, rows: Array) -> Array:
    """The rows among `rows` that can have the fault; a condition on an empty value is not met."""
    hits = frame[rows].select(pl.Series("hit", [True]) if fault.where.meta.eq(pl.lit(True)) else fault.where.alias("hit"))["hit"]
    keep = hits.fill_null(False).to_numpy()
    return rows if len(keep) != len(rows) else rows[keep]


def _draw(frame: pl.DataFrame, faults: Mapping[int, RowFault], plan: Plan, rng: np.random.Generator) -> dict[int, Array]:
    free, draw, low = frame["_free"].to_numpy(), rng.random(frame.height), 0.0
    drawn = {}
    for number, fault in faults.items():
        high = low + min(0.5, plan.rates[fault.name] * fault.times)
        drawn[number] = _able(frame, fault, np.flatnonzero(free & (draw >= low) & (draw < high)))
        low = high
    return drawn


def _ensure(name: str, frames: Mapping[str, pl.DataFrame], faults: list[RowFault], chosen: Chosen, rng: np.random.Generator) -> None:
    """Give one row the fault, in the source with the most rows that can have it."""
    best: tuple[int, tuple[str, int], Array] | None = None
    for number, fault in enumerate(faults):
        if fault.name == name and fault.source in frames:
            taken = [rows for (source, _), rows in chosen.items() if source == fault.source]
            free = frames[fault.source]["_free"].to_numpy().copy()
            free[np.concatenate([*taken, np.zeros(0, np.int64)]).astype(np.int64)] = False
            able = _able(frames[fault.source], fault, np.flatnonzero(free))
            if len(able) and (best is None or len(able) > best[0]):
                best = len(able), (fault.source, number), able
    if best is not None:
        chosen[best[1]] = np.append(chosen[best[1]], rng.choice(best[2]))


def draw_faults(plan: Plan, frames: Mapping[str, pl.DataFrame], block: int) -> tuple[list[RowFault], Chosen]:
    """Return all faults of rows and the rows each of them happens to."""
    rng = plan.rng(block, "faults")
    faults = [*row_faults(), *copy_faults()]
    chosen: Chosen = {}
    for source, frame in frames.items():
        mine = {n: f for n, f in enumerate(faults) if f.source == source}
        chosen |= {(source, n): rows for n, rows in _draw(frame, mine, plan, rng).items()}
    for name in dict.fromkeys(f.name for f in faults):
        found = sum(len(rows) for (_, n), rows in chosen.items() if faults[n].name == name)
        if block == 0 and not found and plan.rates[name] > 0:
            _ensure(name, frames, faults, chosen, rng)
    return faults, chosen
