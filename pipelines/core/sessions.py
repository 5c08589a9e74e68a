# SPDX-License-Identifier: Apache-2.0
"""Patient-driven devices: from sessions with steps and gaps to pieces of constant intensity (`docs/dose.md`, section 4)."""

from __future__ import annotations

from typing import Final

import polars as pl

from pipelines.core.implanted import CONFIRMED, NORMAL, PIECE_COLUMNS
from pipelines.core.overlaps import lost_time
from pipelines.core.silences import silent_pieces
from pipelines.core.units import CONTINUOUS_MS, Convention, to_ms, to_whole, with_cycle

STEP, EDGE = 0, 1  # at one instant the step is read before the edges, so that the order never matters
EVENT_COLUMNS: Final = ("session", "t", "kind", "intensity", "covered")


def session_pieces(devices: pl.DataFrame, sessions: pl.DataFrame, convention: Convention) -> pl.DataFrame:
    """Return the pieces of streams normal and unknown of patient-driven devices, clipped to the life of the device.

    `devices` has device_key, a_ms, e_ms and charge_known; `sessions` are canonical, with repaired `started_at` and
    `_fingerprint`. Missing sessions and the time after the last upload become unknown pieces (`pipelines.core.silences`).
    """
    ordered = _ordered(devices, sessions)
    delivered = _delivered(ordered, convention)
    return pl.concat([delivered.select(PIECE_COLUMNS), silent_pieces(devices, ordered, delivered)])


def _ordered(devices: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Sort sessions by device and start and number them; ties by counter, upload and hash, so that no input order shows."""
    life = devices.select("device_key", "a_ms", "e_ms", "charge_known")
    start = to_ms("started_at")
    placed = sessions.with_columns(start_ms=start, stop_ms=start + pl.col("duration_ms"))
    ordered = placed.join(life, on="device_key", how="inner").sort(
        "device_key", "start_ms", "session_no", "uploaded_at", "_fingerprint"
    )
    return ordered.with_row_index("session").with_columns(pl.col("session").cast(pl.Int64))


def _delivered(ordered: pl.DataFrame, convention: Convention) -> pl.DataFrame:
    """Return PIECE_COLUMNS and the session number for every stretch in which current flowed."""
    pieces = _constant_stretches(pl.concat([_steps(ordered), *_taken_out(ordered), _ends(ordered)]))
    session = ordered.select(
        "session", "device_key", "a_ms", "e_ms", "charge_known",
        pl.col("pulse_width_us").cast(pl.Int64).alias("width_us"),
        to_whole("frequency_hz", 1_000).alias("frequency_mhz"), *_pauses(),
    )  # fmt: skip
    pieces = pieces.join(session, on="session", how="inner", maintain_order="left").with_columns(
        pl.max_horizontal("start_ms", "a_ms"),
        pl.min_horizontal("end_ms", "e_ms"),
        current_ua=to_whole("intensity", 1_000),
    )
    flowing = pieces.filter((pl.col("start_ms") < pl.col("end_ms")) & (pl.col("current_ua") > 0))
    return with_cycle(flowing, convention).with_columns(
        charge_pc=pl.when("charge_known").then("charge_pc").otherwise(0),
        stream=pl.lit(NORMAL, pl.Int8),
        coverage=pl.lit(CONFIRMED, pl.Int8),
        rate_known=pl.lit(True),
        sessions=pl.col("session").is_first_distinct().cast(pl.Int8),
    ).select(*PIECE_COLUMNS, "session")


def _pauses() -> list[pl.Expr]:
    """On and off time of a cycle; without both, stimulation is continuous."""
    pauses = pl.col("on_s").is_not_null() & pl.col("off_s").is_not_null()
    return [
        pl.when(pauses).then(to_whole("on_s", 1_000)).otherwise(CONTINUOUS_MS).alias("on_ms"),
        pl.when(pauses).then(to_whole("off_s", 1_000)).otherwise(0).alias("off_ms"),
    ]


def _steps(ordered: pl.DataFrame) -> pl.DataFrame:
    """One event per intensity step, at its absolute instant."""
    lists = ("step_offsets_ms", "step_intensities")
    steps = ordered.select("session", "start_ms", "duration_ms", *lists).explode(lists, empty_as_null=False)
    return steps.filter(pl.col("step_offsets_ms") < pl.col("duration_ms")).select(
        "session", t=pl.col("start_ms") + pl.col("step_offsets_ms"), kind=pl.lit(STEP, pl.Int8),
        intensity=pl.col("step_intensities").cast(pl.Float64), covered=pl.lit(0, pl.Int64),
    )  # fmt: skip


def _taken_out(ordered: pl.DataFrame) -> list[pl.DataFrame]:
    """Two events per stretch without stimulation: loss of contact, and time that another session keeps."""
    lists = ("gap_offsets_ms", "gap_durations_ms")
    gaps = ordered.select("session", "start_ms", *lists).drop_nulls(lists).explode(lists, empty_as_null=False)
    begin = pl.col("start_ms") + pl.col("gap_offsets_ms")
    lost = pl.concat([
        gaps.select("session", from_ms=begin, to_ms=begin + pl.col("gap_durations_ms")),
        lost_time(ordered),
    ])  # fmt: skip
    return [
        lost.select(
            "session", t=pl.col(edge), kind=pl.lit(EDGE, pl.Int8),
            intensity=pl.lit(None, pl.Float64), covered=pl.lit(change, pl.Int64),
        )
        for edge, change in (("from_ms", 1), ("to_ms", -1))
    ]  # fmt: skip


def _ends(ordered: pl.DataFrame) -> pl.DataFrame:
    return ordered.select(
        "session", t=pl.col("stop_ms"), kind=pl.lit(STEP, pl.Int8),
        intensity=pl.lit(0.0), covered=pl.lit(0, pl.Int64),
    )  # fmt: skip


def _constant_stretches(events: pl.DataFrame) -> pl.DataFrame:
    """Sweep the events of every session: a stretch between two events counts where nothing is taken out.

    A gap may outlast its session and gaps may overlap; the end of a session sets the intensity to 0 and the number of
    reasons to leave time out returns to 0 with every session, so one running sum serves the whole shard.
    """
    swept = events.sort("session", "t", "kind").with_columns(
        end_ms=pl.col("t").shift(-1).over("session"),
        intensity=pl.col("intensity").forward_fill().over("session"),
        depth=pl.col("covered").cum_sum(),
    )
    return swept.filter(
        (pl.col("depth") == 0) & (pl.col("intensity") > 0) & (pl.col("t") < pl.col("end_ms"))
    ).select("session", "intensity", start_ms="t", end_ms="end_ms")
