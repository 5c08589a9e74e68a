# SPDX-License-Identifier: Apache-2.0
"""Dose per patient, device and UTC day, by the same edges and differences as the windows of responses."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from pipelines.core.implanted import NORMAL, UNKNOWN_STREAM
from pipelines.core.kernel import Ints, Streams
from pipelines.core.units import DAY_MS, to_ms
from pipelines.core.windows import Edge, Pairs, dose_between, edge_at

BLOCK_DAYS: Final = 200_000  # device days at a time: 150 MB, whatever the size of the shard
DAILY_COLUMNS: Final = (
    "patient_key", "device_key", "day", "charge_pc", "charge_pc_high", "pulses_milli", "on_ms", "sessions", "coverage",
    "current_ua", "adherence",
)  # fmt: skip


def dose_daily(segments: pl.DataFrame, devices: pl.DataFrame, horizon: pl.DataFrame) -> pl.DataFrame:
    """Return `DAILY_COLUMNS`, one row per patient, device and day, in that order.

    `segments` is one shard, sorted; `devices` has patient_key, device_key, activated_at, ended_at and prescribed_min_per_day;
    `horizon` has patient_key and horizon_ms, the last instant to report on. Days run from the day of activation to the day of
    the horizon or of the end, whichever is first; days are whole, so the first and last also hold time without the device.

    `coverage`, `charge_pc` and `charge_pc_high` as for a window of one day. `current_ua` is in force at the end of the day: of
    the last stretch of stimulation or programmed vector that meets the day; null when there is none or nobody knows.
    `adherence` is the time in sessions (contact and intensity above 0, pauses of the cycle included: the clinical minutes of
    Farmer 2021) by prescribed time, at most 1; null when nothing is prescribed.
    """
    streams = Streams.of(segments)
    days = _device_days(devices, horizon).join(_stream_ranges(streams), on=["patient_key", "device_key"], how="left")
    days = days.with_columns(pl.col("first", "last").fill_null(0)).sort("patient_key", "device_key", "day_no")
    return pl.concat([_dose_of_days(streams, days[k : k + BLOCK_DAYS]) for k in range(0, max(days.height, 1), BLOCK_DAYS)])


def _dose_of_days(streams: Streams, days: pl.DataFrame) -> pl.DataFrame:
    """Answer one block of device days."""
    pairs = Pairs.of(streams, days["first"].to_numpy(), days["last"].to_numpy())
    start = days["day_no"].to_numpy() * DAY_MS
    begin, end = _edges(streams, days)
    dose = dose_between(streams, pairs, begin, end, np.full(len(start), DAY_MS, dtype=np.int64))
    in_sessions = pairs.total(np.where(pairs.known, end.segment_ms - begin.segment_ms, 0))
    current = _current_at(streams, pairs, end, start[pairs.window])
    return pl.concat([days, dose], how="horizontal").with_columns(
        day=pl.col("day_no").cast(pl.Int32).cast(pl.Date),
        current_ua=current,
        adherence=_adherence(in_sessions, days["prescribed_min_per_day"]),
    ).select(DAILY_COLUMNS)  # fmt: skip


def _edges(streams: Streams, days: pl.DataFrame) -> tuple[Edge, Edge]:
    """Look up midnight once for the day it ends and the day it begins; only the last day of a device needs one more."""
    device, day_no = days["device_key"].to_numpy(), days["day_no"].to_numpy()
    is_last = np.append(device[1:] != device[:-1], True)[: len(device)]
    owner = np.repeat(np.arange(len(device)), 1 + is_last)
    closing = np.append(False, owner[1:] == owner[:-1])[: len(owner)]
    opening = np.append(True, closing[:-1])[: len(owner)]
    first, last = (days[c].to_numpy()[owner] for c in ("first", "last"))
    pairs = Pairs.of(streams, first, last)
    midnight = edge_at(streams, pairs, (day_no[owner] + closing) * DAY_MS)
    return midnight.of(~closing[pairs.window]), midnight.of(~opening[pairs.window])


def _adherence(session_ms: Ints, prescribed_min: pl.Series) -> pl.Series:
    """Divide in numpy: Polars multiplies by the reciprocal where a column is constant, so a ratio would depend on the shard."""
    prescribed_ms = prescribed_min.fill_null(0).to_numpy() * 60_000
    ratio = np.minimum(session_ms / np.maximum(prescribed_ms, 1), 1.0)
    return pl.Series("adherence", ratio).zip_with(pl.Series(prescribed_ms > 0), pl.Series([None], dtype=pl.Float64))


def _device_days(devices: pl.DataFrame, horizon: pl.DataFrame) -> pl.DataFrame:
    """One row per device and day number since 1970; a device that ended at midnight has no day after it."""
    end = to_ms("ended_at") - 1
    spans = devices.join(horizon, on="patient_key", how="inner").select(
        "patient_key",
        "device_key",
        "prescribed_min_per_day",
        first_day=to_ms("activated_at") // DAY_MS,
        last_day=pl.min_horizontal("horizon_ms", end) // DAY_MS,
    )
    lasting = spans.filter(pl.col("last_day") >= pl.col("first_day"))
    day_no = pl.int_ranges("first_day", pl.col("last_day") + 1).alias("day_no")
    return lasting.with_columns(day_no).explode("day_no", empty_as_null=False).drop("first_day", "last_day")


def _stream_ranges(streams: Streams) -> pl.DataFrame:
    """First stream of every device and the one after its last."""
    owners = pl.DataFrame({"patient_key": streams.patient_key, "device_key": streams.device_key}).with_row_index("stream")
    return owners.group_by("patient_key", "device_key").agg(
        first=pl.col("stream").min().cast(pl.Int64), last=pl.col("stream").max().cast(pl.Int64) + 1
    )


def _current_at(streams: Streams, pairs: Pairs, end: Edge, day_start: Ints) -> pl.Series:
    """Current of the piece, normal or unknown, that began last of those meeting the day; magnet trains are extra."""
    if not len(streams.key):
        return pl.Series("current_ua", [None] * (len(pairs.begin) - 1), dtype=pl.Int64)
    column, at = streams.columns, np.maximum(end.row, 0)
    meets = (end.row >= streams.first_row[pairs.stream]) & (column["end_ms"][at] > day_start)
    kind = streams.stream[pairs.stream]

    def of_stream(wanted: int, values: Ints) -> Ints:
        return pairs.total(np.where(meets & (kind == wanted), values, 0))

    current, rated = column["current_ua"][at], column["rate_known"][at].astype(np.int64)
    normal, unknown = of_stream(NORMAL, column["start_ms"][at]), of_stream(UNKNOWN_STREAM, column["start_ms"][at])
    last_is_normal = normal >= unknown
    value = np.where(last_is_normal, of_stream(NORMAL, current), of_stream(UNKNOWN_STREAM, current))
    given = np.where(last_is_normal, of_stream(NORMAL, rated), of_stream(UNKNOWN_STREAM, rated)) > 0
    return pl.Series("current_ua", value).zip_with(pl.Series(given), pl.Series([None], dtype=pl.Int64))
