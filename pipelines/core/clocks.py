# SPDX-License-Identifier: Apache-2.0
"""Where on the one clock of UTC a fact happened: device clocks that are off, and wall clocks without an offset.

Rules: `docs/dose.md`, section 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

SECOND_US: Final = 1_000_000
TOLERANCE_US: Final = 120 * SECOND_US
QUARTER_HOUR_US: Final = 900 * SECOND_US
WIDEST_ZONE_US: Final = 14 * 3_600 * SECOND_US
DAY_US: Final = 86_400 * SECOND_US


def repair_session_clock(frame: pl.DataFrame) -> pl.DataFrame:
    """Add started_at (UTC), clock_method (none, zone, drift, reset) and clock_uncertainty_ms (floored) to sessions.

    Reads device_started_at, device_clock_at and uploaded_at: the last two are one instant by two clocks. A device that is at
    most 120 s off is believed as it is; otherwise the start moves by the whole offset. Null in, null out. The order of start
    and upload is not checked here.
    """
    offset = pl.col("uploaded_at").dt.epoch("us") - pl.col("device_clock_at").dt.epoch("us")
    quarters = ((offset + QUARTER_HOUR_US // 2) // QUARTER_HOUR_US) * QUARTER_HOUR_US
    distance = (offset - quarters).abs()
    method = (
        pl.when(offset.is_null()).then(None)
        .when(offset.abs() <= TOLERANCE_US).then(pl.lit("none"))
        .when((distance <= TOLERANCE_US) & (quarters.abs() <= WIDEST_ZONE_US)).then(pl.lit("zone"))
        .when(offset.abs() > DAY_US).then(pl.lit("reset"))
        .otherwise(pl.lit("drift"))
    )  # fmt: skip
    moved = pl.when(method == "none").then(0).otherwise(offset)
    uncertain = pl.when(method == "none").then(offset.abs()).when(method == "zone").then(distance).otherwise(TOLERANCE_US)
    started_us = pl.col("device_started_at").dt.epoch("us") + moved
    return frame.with_columns(
        started_at=started_us.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        clock_method=method,
        clock_uncertainty_ms=pl.when(method.is_not_null()).then(uncertain // 1_000),
    )


@dataclass(frozen=True)
class UtcTimes:
    """Instants in UTC (null where there is none) and why: the wall time never was, or its zone is not known."""

    utc: pl.Series
    nonexistent: pl.Series
    unknown_zone: pl.Series


def local_to_utc(naive: pl.Series, zone: pl.Series) -> UtcTimes:
    """Turn wall times (Datetime without zone, us) in named zones into UTC.

    When clocks are set back a wall time happens twice: the first of the two is meant. When they are set forward some never
    happen: `nonexistent`. A null wall time gives null and neither mark; a null zone is unknown.
    """
    frame = pl.DataFrame({"wall": naive, "zone": zone}).with_row_index("row")
    parts = [_in_zone(part) for part in frame.partition_by("zone", maintain_order=True)]
    empty = frame.clear().with_columns(utc=pl.lit(None, pl.Datetime("us", "UTC")), unknown=pl.lit(False))
    done = pl.concat([empty, *parts]).sort("row")
    gone = done["utc"].is_null() & done["wall"].is_not_null() & ~done["unknown"]
    return UtcTimes(done["utc"], gone.alias("nonexistent"), done["unknown"].alias("unknown_zone"))


def _in_zone(part: pl.DataFrame) -> pl.DataFrame:
    """Convert the rows of one zone; a zone that the time zone database does not know leaves them null and marked."""
    zone, wall = part["zone"][0], pl.col("wall")
    unknown = part.with_columns(utc=pl.lit(None, pl.Datetime("us", "UTC")), unknown=pl.lit(True))
    if not zone:
        return unknown
    try:
        local = wall.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        return part.with_columns(utc=local.dt.convert_time_zone("UTC"), unknown=pl.lit(False))
    except pl.exceptions.ComputeError:
        return unknown
