# SPDX-License-Identifier: Apache-2.0
"""Extra trains of implanted devices: magnet and AutoStim counters spread evenly between two interrogations.

A counter says how many trains there were, not when: they are imputed. Rule: `docs/dose.md`, section 3.
"""

from __future__ import annotations

import polars as pl

from pipelines.core.implanted import AUTOSTIM, CARRIED, MAGNET, PIECE_COLUMNS
from pipelines.core.units import to_ms, to_whole, with_cycle


def train_pieces(devices: pl.DataFrame, settings: pl.DataFrame, interrogations: pl.DataFrame) -> pl.DataFrame:
    """Return one piece of stream magnet or autostim per counted interval, clipped to the life of the device.

    The interval of an interrogation begins at the one before it (the first: at activation) and its trains are those of the
    last settings change before it. A count without such a change, or whose train is not fully programmed, is ignored.
    Amounts are those of all trains of the interval, which is one cycle. A ramp is never part of a train.
    """
    intervals = _counted_intervals(devices, interrogations)
    return pl.concat([
        _spread(intervals, settings, "magnet", MAGNET),
        _spread(intervals, settings, "autostim", AUTOSTIM),
    ])  # fmt: skip


def _counted_intervals(devices: pl.DataFrame, interrogations: pl.DataFrame) -> pl.DataFrame:
    """Return device_key, t, start_ms, end_ms and both counts of every interrogation with time before it to fill."""
    at = interrogations.sort("device_key", "interrogated_at").with_columns(t=to_ms("interrogated_at"))
    previous = at.with_columns(start_ms=pl.col("t").shift(1).over("device_key"))
    clipped = previous.join(devices.select("device_key", "a_ms", "e_ms"), on="device_key", how="inner").with_columns(
        start_ms=pl.max_horizontal("start_ms", "a_ms"), end_ms=pl.min_horizontal("t", "e_ms")
    )
    return clipped.filter(pl.col("start_ms") < pl.col("end_ms")).select(
        "device_key", "t", "start_ms", "end_ms", "magnet_count", "autostim_count"
    )


def _spread(intervals: pl.DataFrame, settings: pl.DataFrame, kind: str, stream: int) -> pl.DataFrame:
    """Spread the trains of one kind: the interval is the cycle, the amounts are those of one train times their number."""
    programmed = settings.sort("effective_at").select(
        "device_key",
        to_ms("effective_at").alias("at"),
        to_whole(f"{kind}_current_ma", 1_000).alias("current_ua"),
        pl.col(f"{kind}_pulse_width_us").cast(pl.Int64).alias("width_us"),
        to_whole("frequency_hz", 1_000).alias("frequency_mhz"),
        to_whole(f"{kind}_on_s", 1_000).alias("on_ms"),
    )
    counted = intervals.filter(pl.col(f"{kind}_count") > 0).sort("t")
    found = counted.join_asof(
        programmed, left_on="t", right_on="at", by="device_key", strategy="backward",
        allow_exact_matches=False, check_sortedness=False,
    ).drop_nulls(["current_ua", "width_us", "on_ms"])  # fmt: skip
    train = with_cycle(found.with_columns(off_ms=pl.lit(0, pl.Int64)), "on_only")
    return train.with_columns(
        *(pl.col(c) * pl.col(f"{kind}_count") for c in ("charge_pc", "pulses_milli", "on_ms")),
        stream=pl.lit(stream, pl.Int8),
        cycle_ms=pl.col("end_ms") - pl.col("start_ms"),
        sessions=pl.lit(0, pl.Int8),
        coverage=pl.lit(CARRIED, pl.Int8),
        rate_known=pl.lit(True),
    ).select(PIECE_COLUMNS)
