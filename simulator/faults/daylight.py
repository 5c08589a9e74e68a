# SPDX-License-Identifier: Apache-2.0
"""Surveys completed by a wall clock around the nights when clocks are set forward or back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from simulator.columns import UTC_US
from simulator.faults.labels import label
from simulator.plan import DAY_US, HOUR_US, START_US, Array, Plan
from simulator.population import SITES

_NEAR_US = 10 * DAY_US


@dataclass(frozen=True)
class Change:
    """A clock change at `at_us` (UTC); offsets from UTC before and after it, microseconds."""

    at_us: int
    before_us: int
    after_us: int


@cache
def changes(zone: str, days: int) -> tuple[Change, ...]:
    """Return the clock changes of a zone from a month before the start of the study to its end."""
    place, found = ZoneInfo(zone), []
    hour = datetime.fromtimestamp(START_US / 1e6, UTC) - timedelta(days=30)
    offset = hour.astimezone(place).utcoffset()
    for _ in range((days + 30) * 24):
        hour += timedelta(hours=1)
        now = hour.astimezone(place).utcoffset()
        if now != offset and now is not None and offset is not None:
            found.append(Change(round(hour.timestamp()) * 1_000_000, *(round(o.total_seconds()) * 1_000_000 for o in (offset, now))))
        offset = now
    return tuple(found)


def _nearest(plan: Plan, frame: pl.DataFrame, back: bool) -> tuple[Array, Array, Array]:
    """Per row: the near clock change of its zone in that direction (0 where none), and the offset before and after."""
    zone, at = frame["_zone"].to_numpy(), frame["completed_at"].cast(pl.Int64).to_numpy()
    found = np.zeros((3, len(at)), np.int64)
    for number, (_, name) in enumerate(SITES):
        for change in changes(name, plan.days):
            if (change.after_us < change.before_us) == back:
                here = (zone == number) & (np.abs(at - change.at_us) < _NEAR_US)
                found[:, here] = np.array([[change.at_us], [change.before_us], [change.after_us]])
    return found[0], found[1], found[2]


def _pick(plan: Plan, name: str, near: Array, frame: pl.DataFrame, rng: np.random.Generator, first: bool) -> Array:
    able = (near != 0) & frame["_free"].to_numpy()
    chosen = able & (rng.random(len(able)) < plan.rates[name])
    if first and plan.rates[name] > 0 and able.any() and not chosen.any():
        chosen[rng.choice(np.flatnonzero(able))] = True
    return np.asarray(chosen)


def move_to_change(plan: Plan, frame: pl.DataFrame, back: bool, rng: np.random.Generator, first: bool) -> pl.DataFrame:
    """Move some responses into the hour that happens twice (`back`) or never, written as local time with their zone.

    The hour that happens twice means the first of the two. A time that never was keeps no instant: the row is quarantined.
    """
    name = "dst_ambiguous" if back else "dst_nonexistent"
    at, before, after = _nearest(plan, frame, back)
    chosen = _pick(plan, name, at, frame, rng, first)
    within = rng.integers(0, np.maximum(1, np.abs(after - before)))
    wall = at + (after if back else before) + within
    instant = pl.Series(np.where(chosen, wall - before, frame["completed_at"].cast(pl.Int64).to_numpy())).cast(UTC_US)
    text = pl.Series(wall).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")
    here = pl.Series(chosen)
    zones = pl.Series([z for _, z in SITES]).gather(frame["_zone"])
    late = pl.Series(np.where(chosen, wall - before + HOUR_US, 0)).cast(UTC_US)
    frame = frame.with_columns(
        completed_at=instant, _wall=pl.when(here).then(text).otherwise(pl.col("_wall")),
        time_zone=pl.when(here).then(zones).otherwise(pl.col("time_zone")),
        uploaded_at=pl.when(here).then(pl.max_horizontal(pl.col("uploaded_at"), late)).otherwise(pl.col("uploaded_at")),
    )  # fmt: skip
    frame = frame.with_columns(_receipt=pl.col("uploaded_at").cast(pl.Int64), _order=pl.col("uploaded_at").cast(pl.Int64))
    return label(frame, chosen, name, *(("accepted", "") if back else ("quarantined", "completed_at:nonexistent")))
