# SPDX-License-Identifier: Apache-2.0
"""The dose of a single file of settings or sessions, without a workspace and without a table of devices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from pipelines.core.clocks import repair_session_clock
from pipelines.core.fingerprint import fingerprint
from pipelines.core.kernel import Streams
from pipelines.core.segments import DEFAULT_OPTIONS, DoseOptions, segments_of, with_model_facts
from pipelines.core.units import DAY_MS
from pipelines.core.windows import WINDOWS_DAYS, Pairs, dose_between, edge_at
from schemas.errors import UsageError

Schema = dict[str, pl.DataType | type[pl.DataType]]

INSTANT: Final = pl.Datetime("us", "UTC")
OPTIONAL_SETTINGS: Final[Schema] = {
    f"{kind}_{column}": dtype
    for kind in ("magnet", "autostim")
    for column, dtype in (("current_ma", pl.Float64), ("pulse_width_us", pl.Int64), ("on_s", pl.Float64))
}
OPTIONAL_SESSIONS: Final[Schema] = {
    "on_s": pl.Float64, "off_s": pl.Float64,
    "gap_offsets_ms": pl.List(pl.Int64), "gap_durations_ms": pl.List(pl.Int64),
}  # fmt: skip
INTERROGATIONS: Final[Schema] = {
    "device_key": pl.Int64, "interrogated_at": INSTANT, "current_ma": pl.Float64, "pulse_width_us": pl.Int64,
    "frequency_hz": pl.Float64, "on_s": pl.Float64, "off_min": pl.Float64, "magnet_count": pl.Int64,
    "autostim_count": pl.Int64, "battery_status": pl.String,
}  # fmt: skip
SETTINGS_NEEDED: Final = ("device_id", "effective_at", "current_ma", "pulse_width_us", "frequency_hz", "on_s", "off_min")
SESSIONS_NEEDED: Final = (
    "device_id", "model", "session_no", "duration_ms", "pulse_width_us", "frequency_hz", "step_offsets_ms", "step_intensities",
)  # fmt: skip


def dose_of_file(
    frame: pl.DataFrame, at: datetime, windows: Sequence[int] = WINDOWS_DAYS, options: DoseOptions = DEFAULT_OPTIONS
) -> pl.DataFrame:
    """Return device, window_days, charge_pc, pulses_milli, on_ms, sessions and coverage of the windows that end at `at`.

    `frame` holds typed rows of `device_settings` or `stimulation_sessions` by raw device_id; which, its columns say. Of two
    revisions of a row the later one counts. A device is active from its first fact on, without an end. Session clocks are
    repaired where both clocks are there. charge_pc is null where it cannot be known. One row per device and window, in the
    order of device and of `windows`. Errors: `UsageError` names columns that are missing or an instant without a zone.
    """
    if at.tzinfo is None:
        raise UsageError(f"--at: {at.isoformat()} has no zone (write 2025-03-01T00:00:00Z)")
    if "effective_at" in frame.columns:
        devices, segments = _from_settings(_needed(frame, SETTINGS_NEEDED), options)
    elif "session_no" in frame.columns:
        devices, segments = _from_sessions(_needed(frame, SESSIONS_NEEDED), options)
    else:
        raise UsageError("the file has neither effective_at (device_settings) nor session_no (stimulation_sessions)")
    streams = Streams.of(segments)
    end_ms = pl.Series([at]).cast(INSTANT).dt.epoch("us")[0] // 1_000
    return pl.concat([_window(streams, devices, end_ms, days) for days in windows]).sort("device", maintain_order=True)


def _needed(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise UsageError(f"the file lacks the columns {', '.join(missing)}")
    return frame


def _with_keys(frame: pl.DataFrame, started: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Number the devices; return them with their first fact as activation, and the facts by number."""
    devices = frame.group_by("device_id").agg(pl.col(started).min().alias("activated_at")).sort("device_id").with_row_index("n")
    devices = devices.with_columns(
        device_key=pl.col("n").cast(pl.Int64), patient_key=pl.col("n").cast(pl.Int64), ended_at=pl.lit(None, INSTANT)
    ).drop("n")
    return devices, frame.join(devices.select("device_id", "device_key"), on="device_id", how="inner")


def _optional(frame: pl.DataFrame, columns: Schema) -> pl.DataFrame:
    return frame.with_columns(pl.lit(None, dtype).alias(c) for c, dtype in columns.items() if c not in frame.columns)


def _latest(frame: pl.DataFrame, key: Sequence[str], revision: str) -> pl.DataFrame:
    """Keep the last revision of every key; without a revision column, the last row."""
    if revision in frame.columns:
        frame = frame.sort(revision, maintain_order=True)
    return frame.unique(key, keep="last", maintain_order=True)


def _from_settings(frame: pl.DataFrame, options: DoseOptions) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = _latest(_optional(frame, OPTIONAL_SETTINGS), ("device_id", "effective_at"), "recorded_at")
    devices, settings = _with_keys(rows, "effective_at")
    implanted = devices.with_columns(modality=pl.lit("implanted"), charge_known=pl.lit(True))
    return devices, segments_of(implanted, settings, pl.DataFrame(schema=INTERROGATIONS), None, options)


def _from_sessions(frame: pl.DataFrame, options: DoseOptions) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = _placed(_optional(frame, OPTIONAL_SESSIONS))
    start = "device_started_at" if "device_started_at" in rows.columns else "started_at"
    rows = _latest(rows, ("device_id", "session_no", start), "uploaded_at")
    rows = rows.with_columns(fingerprint(rows, sorted(set(rows.columns))).alias("_fingerprint"))
    devices, sessions = _with_keys(rows, "started_at")
    models = rows.group_by("device_id").agg(pl.col("model").last())
    known = with_model_facts(devices.join(models, on="device_id", how="left"))
    return devices, segments_of(known, None, None, sessions, options)


def _placed(frame: pl.DataFrame) -> pl.DataFrame:
    """Give every session its start; a file that does not say when it was uploaded ends with each session."""
    if {"device_started_at", "device_clock_at", "uploaded_at"} <= set(frame.columns):
        return repair_session_clock(frame)
    if "started_at" not in frame.columns:
        frame = _needed(frame, ("device_started_at",)).with_columns(started_at=pl.col("device_started_at"))
    if "uploaded_at" not in frame.columns:
        frame = frame.with_columns(uploaded_at=pl.col("started_at") + pl.duration(milliseconds="duration_ms"))
    return frame


def _window(streams: Streams, devices: pl.DataFrame, end_ms: int, days: int) -> pl.DataFrame:
    """One window of all devices; their keys are their row numbers, and each is its own patient."""
    pairs = Pairs.of(streams, *streams.of_patients(devices["patient_key"].to_numpy()))
    end = np.full(devices.height, end_ms, dtype=np.int64)
    length = np.full(devices.height, days * DAY_MS, dtype=np.int64)
    dose = dose_between(streams, pairs, edge_at(streams, pairs, end - length), edge_at(streams, pairs, end), length)
    return dose.select(
        devices["device_id"].alias("device"), pl.lit(days, pl.Int64).alias("window_days"),
        "charge_pc", "pulses_milli", "on_ms", "sessions", "coverage",
    )  # fmt: skip
