# SPDX-License-Identifier: Apache-2.0
"""Time of a patient-driven device about which nothing was uploaded (`docs/dose.md`, section 4, rules 5 and 6).

The device counts its sessions, so a counter that jumps tells how many are missing. Where nothing is missing, silence means no
stimulation; where something is, the missing sessions are taken to have been like the one before them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from pipelines.core.implanted import PIECE_COLUMNS, UNKNOWN, UNKNOWN_STREAM
from pipelines.core.kernel import AMOUNTS, amount_after
from pipelines.core.units import DAY_MS, to_ms

# Over nine years of the strongest device. A counter that claims more (a session_no of 2**31 in one day) is no rate.
LARGEST_AMOUNT: Final = 10**17
SILENCE_COLUMNS: Final = ("device_key", "start_ms", "end_ms", "a_ms", "e_ms", "missing", "cycle_ms", *AMOUNTS, "current_ua")


def silent_pieces(devices: pl.DataFrame, ordered: pl.DataFrame, delivered: pl.DataFrame) -> pl.DataFrame:
    """Return the unknown pieces: missing sessions, silence after the last upload, devices without any session.

    `ordered` are all sessions sorted by device and start with start_ms, stop_ms, a_ms, e_ms; `delivered` the pieces of time
    in which they stimulated, by session number.
    """
    sessions = ordered.join(_totals(delivered), on="session", how="left", maintain_order="left").with_columns(
        pl.col(c).fill_null(0) for c in (*AMOUNTS, "current_ua")
    )
    silences = pl.concat([_before_first(sessions), _between(sessions), _after_last(sessions), _never(devices, sessions)])
    clipped = silences.with_columns(pl.max_horizontal("start_ms", "a_ms"), pl.min_horizontal("end_ms", "e_ms"))
    return _with_rate(clipped.filter(pl.col("start_ms") < pl.col("end_ms")))


def _totals(delivered: pl.DataFrame) -> pl.DataFrame:
    """Whole-segment amounts of every session and the current it ended with."""
    length, cycle = (delivered["end_ms"] - delivered["start_ms"]).to_numpy(), delivered["cycle_ms"].to_numpy()
    whole = {c: pl.Series(amount_after(delivered[c].to_numpy(), length, cycle), dtype=pl.Int64) for c in AMOUNTS}
    return delivered.with_columns(**whole).group_by("session", maintain_order=True).agg(
        *(pl.col(c).sum() for c in AMOUNTS), pl.col("current_ua").last()
    )  # fmt: skip


def _before_first(sessions: pl.DataFrame) -> pl.DataFrame:
    """The device's counter says whether there were sessions before the first that was uploaded."""
    first = sessions.group_by("device_key", maintain_order=True).first().filter(pl.col("session_no") > 1)
    return first.with_columns(
        end_ms=pl.col("start_ms"), start_ms=pl.col("a_ms"), missing=pl.col("session_no") - 1, cycle_ms=None
    ).select(SILENCE_COLUMNS).cast({"cycle_ms": pl.Int64})  # fmt: skip


def _between(sessions: pl.DataFrame) -> pl.DataFrame:
    """A counter that rises by m + 1 misses m sessions; one that rises by 1, stays or restarts misses none."""
    following = pl.col("session_no").shift(-1).over("device_key") - pl.col("session_no") - 1
    return sessions.with_columns(
        missing=following, end_ms=pl.col("start_ms").shift(-1).over("device_key"), start_ms=pl.col("stop_ms"), cycle_ms=None
    ).filter(pl.col("missing") >= 1).select(SILENCE_COLUMNS).cast({"cycle_ms": pl.Int64})  # fmt: skip


def _after_last(sessions: pl.DataFrame) -> pl.DataFrame:
    """From the latest upload on nothing is known; stimulation may have gone on at the pace of the last two sessions."""
    paced = sessions.with_columns(
        pace=(pl.col("start_ms") - pl.col("start_ms").shift(1).over("device_key")).fill_null(DAY_MS),
        heard_ms=to_ms("uploaded_at").max().over("device_key"),
    )
    last = paced.group_by("device_key", maintain_order=True).last()
    return last.with_columns(
        start_ms=pl.max_horizontal("stop_ms", "heard_ms"),
        end_ms=pl.col("e_ms"),
        missing=pl.lit(0, pl.Int64),
        cycle_ms=pl.max_horizontal("duration_ms", pl.min_horizontal("pace", DAY_MS)),
    ).select(SILENCE_COLUMNS)


def _never(devices: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """A device that never uploaded a session: unknown without a rate (missing is null) from activation to its end."""
    silent = devices.join(sessions.select("device_key").unique(), on="device_key", how="anti")
    zero = pl.lit(0, pl.Int64)
    return silent.with_columns(
        start_ms="a_ms", end_ms="e_ms", missing=pl.lit(None, pl.Int64), cycle_ms=pl.lit(1, pl.Int64),
        charge_pc=zero, pulses_milli=zero, on_ms=zero, current_ua=zero,
    ).select(SILENCE_COLUMNS)  # fmt: skip


def _with_rate(silences: pl.DataFrame) -> pl.DataFrame:
    """Spread the missing sessions evenly over the clipped time; drop a rate no device could deliver."""
    length = pl.col("end_ms") - pl.col("start_ms")
    spread = silences.with_columns(
        cycle_ms=pl.coalesce("cycle_ms", pl.max_horizontal(1, length // pl.col("missing"))).cast(pl.Int64)
    )
    most = np.max([spread[c].to_numpy() for c in AMOUNTS], axis=0).astype(np.float64)
    claimed = pl.Series(most) * spread.select(length).to_series() / spread["cycle_ms"]
    believed = spread["missing"].is_not_null() & ((claimed <= LARGEST_AMOUNT) | (spread["end_ms"] == spread["e_ms"]))
    return spread.with_columns(rate_known=believed).with_columns(
        *(pl.when("rate_known").then(c).otherwise(0).alias(c) for c in (*AMOUNTS, "current_ua")),
        stream=pl.lit(UNKNOWN_STREAM, pl.Int8),
        coverage=pl.lit(UNKNOWN, pl.Int8),
        sessions=pl.lit(0, pl.Int8),
    ).select(PIECE_COLUMNS)
