# SPDX-License-Identifier: Apache-2.0
"""Staged segments of one shard: both dose engines, one schema, cumulative amounts stored beside each segment.

A segment is a stretch of one stream of one device in which one stimulation cycle repeats (`docs/dose.md`, section 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from pipelines.core.implanted import implanted_pieces
from pipelines.core.kernel import AMOUNTS, OPEN_END_MS, STREAM_COLUMNS, Flags, Ints, amount_after, stream_begins
from pipelines.core.sessions import session_pieces
from pipelines.core.trains import train_pieces
from pipelines.core.units import DAY_MS, Convention, to_ms
from schemas.devices import load_models
from schemas.errors import VNSightError

SEGMENTS_SCHEMA: Final = {
    "patient_key": pl.Int64, "device_key": pl.Int64, "stream": pl.Int8,
    "start_ms": pl.Int64, "end_ms": pl.Int64, "cycle_ms": pl.Int64,
    "charge_pc": pl.Int64, "pulses_milli": pl.Int64, "on_ms": pl.Int64,
    "cum_charge_pc": pl.Int64, "cum_pulses_milli": pl.Int64, "cum_on_ms": pl.Int64, "cum_sessions": pl.Int64,
    "sessions": pl.Int8, "coverage": pl.Int8, "charge_known": pl.Boolean, "rate_known": pl.Boolean,
    "current_ua": pl.Int64,
}  # fmt: skip

# How the table is best written as Parquet: rising columns as differences, repeating ones by dictionary. A third smaller than
# dictionaries for all, and read faster (bench/join.py).
RISING_COLUMNS: Final = ("start_ms", "end_ms", "cum_charge_pc", "cum_pulses_milli", "cum_on_ms", "cum_sessions")
REPEATING_COLUMNS: Final = tuple(c for c in SEGMENTS_SCHEMA if c not in RISING_COLUMNS)


class UnknownModelError(VNSightError):
    """A device of a model that `schemas/codes/device_models.yaml` does not list."""


@dataclass(frozen=True)
class DoseOptions:
    """What a site may choose: how long settings are carried forward, and how much of the ramps counts as charge."""

    carry_limit_ms: int = 180 * DAY_MS
    convention: Convention = "on_only"


DEFAULT_OPTIONS: Final = DoseOptions()


def build_segments(
    devices: pl.DataFrame,
    settings: pl.DataFrame,
    interrogations: pl.DataFrame,
    sessions: pl.DataFrame,
    options: DoseOptions = DEFAULT_OPTIONS,
) -> pl.DataFrame:
    """Return the segments of a shard: `SEGMENTS_SCHEMA`, sorted by patient, device, stream and start.

    Inputs are canonical accepted facts with patient_key and device_key in place of ids and instants in UTC; sessions carry a
    repaired `started_at` and their `_fingerprint`. Facts of devices that `devices` does not list are left out. The order of
    rows never matters. A device without an end has open segments (end 2100-01-01). Errors: `UnknownModelError`.
    """
    return segments_of(with_model_facts(devices), settings, interrogations, sessions, options)


def segments_of(
    devices: pl.DataFrame,
    settings: pl.DataFrame | None,
    interrogations: pl.DataFrame | None,
    sessions: pl.DataFrame | None,
    options: DoseOptions,
) -> pl.DataFrame:
    """`build_segments` for devices whose modality and charge_known are there already; None is a source that was not asked.

    Implanted devices need settings and interrogations, the others need sessions; a source of None leaves its devices out.
    """
    known = devices.with_columns(
        a_ms=to_ms("activated_at"), e_ms=pl.min_horizontal(to_ms("ended_at").fill_null(OPEN_END_MS), OPEN_END_MS)
    )
    implanted = known.filter(pl.col("modality") == "implanted")
    driven = known.filter(pl.col("modality") != "implanted")
    parts: list[pl.DataFrame] = []
    if settings is not None and interrogations is not None:
        parts.append(implanted_pieces(implanted, settings, interrogations, options.carry_limit_ms, options.convention))
        parts.append(train_pieces(implanted, settings, interrogations))
    if sessions is not None:
        parts.append(session_pieces(driven, sessions, "on_only"))  # only implanted devices ramp
    owned = pl.concat(parts).join(known.select("device_key", "patient_key", "charge_known"), on="device_key", how="inner")
    return add_cumulative(owned.sort(*STREAM_COLUMNS, "start_ms")).select(
        pl.col(c).cast(dtype) for c, dtype in SEGMENTS_SCHEMA.items()
    )


def with_model_facts(devices: pl.DataFrame) -> pl.DataFrame:
    """Add modality and charge_known by `model`; `UnknownModelError` names the first model that is not listed."""
    rows = [(m.id, m.modality, m.charge_known) for m in load_models().values()]
    models = pl.DataFrame(rows, schema={"model": pl.String, "modality": pl.String, "charge_known": pl.Boolean}, orient="row")
    known = devices.drop("modality", strict=False).join(models, on="model", how="left")  # the model knows better
    unlisted = known.filter(pl.col("modality").is_null())["model"]
    if len(unlisted):
        raise UnknownModelError(f"devices, model: {unlisted[0]!r} is not in schemas/codes/device_models.yaml (add it there)")
    return known


def add_cumulative(segments: pl.DataFrame) -> pl.DataFrame:
    """Add `cum_charge_pc`, `cum_pulses_milli`, `cum_on_ms` and `cum_sessions` to sorted segments.

    Each is the amount of all whole segments of the same stream before this one, so the first of a stream has 0.
    """
    begins = stream_begins(*(segments[c].to_numpy() for c in STREAM_COLUMNS))
    length, cycle = (segments["end_ms"] - segments["start_ms"]).to_numpy(), segments["cycle_ms"].to_numpy()
    whole = {c: amount_after(segments[c].to_numpy(), length, cycle) for c in AMOUNTS}
    whole["sessions"] = segments["sessions"].to_numpy().astype(np.int64)
    return segments.with_columns(
        pl.Series(f"cum_{c}", _sum_before(amount, begins), dtype=pl.Int64) for c, amount in whole.items()
    )


def _sum_before(amount: Ints, begins: Flags) -> Ints:
    """Exclusive prefix sums that restart where a stream begins; a wrapped total cancels in the subtraction."""
    before: Ints = np.cumsum(amount) - amount
    first = np.flatnonzero(begins)
    result: Ints = before - before[first][np.cumsum(begins) - 1] if len(amount) else before
    return result
