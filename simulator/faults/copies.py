# SPDX-License-Identifier: Apache-2.0
"""Rows sent twice: the same again, or a revision, after which the older row no longer counts."""

from __future__ import annotations

from typing import Final

import polars as pl

from schemas.contract import SOURCES
from simulator.faults.labels import as_labels
from simulator.faults.row_faults import ANSWERED, SESSIONS, RowFault, received_later

_HALF_OFF = pl.when(pl.col("off_min") == 10).then(5.0).otherwise(10.0)
_OTHER_CODE = pl.when(pl.col("answers").list.get(0) == 1).then(pl.lit(2, pl.Int64)).otherwise(pl.lit(1, pl.Int64))

# what the older row said; the newer one is the truth
_BEFORE: Final[dict[str, dict[str, pl.Expr]]] = {
    "patients": {"birth_year": pl.col("birth_year").fill_null(1970) - 1},
    "devices": {
        "ended_at": pl.lit(None, pl.Datetime("us", "UTC")), "end_reason": pl.lit(None, pl.String),
        "prescribed_min_per_day": pl.lit(100, pl.Int64),
    },
    "conditions": {"onset_at": (pl.col("recorded_at").cast(pl.Int64) - 86_400_000_000).cast(pl.Datetime("us", "UTC"))},
    "history_events": {"responded": ~pl.col("responded").fill_null(False)},
    "therapy_sessions": {"duration_min": pl.lit(30, pl.Int64)},
    "device_settings": {"off_min": _HALF_OFF},
    "interrogations": {"magnet_count": pl.col("magnet_count").fill_null(0) + 3},
    # a partial upload: steps end before 0.6 of the session (see telemetry), gaps may not
    SESSIONS: {
        "duration_ms": pl.col("duration_ms") * 6 // 10, "gap_offsets_ms": pl.lit(None, pl.List(pl.Int64)),
        "gap_durations_ms": pl.lit(None, pl.List(pl.Int64)), "end_reason": pl.lit(None, pl.String),
    },
    ANSWERED: {"answers": pl.concat_list(_OTHER_CODE, pl.col("answers").list.slice(1)), "source_score": pl.lit(None, pl.Float64)},
    "physiology": {"value": pl.col("value") + 1.0},
    "adverse_events": {"severity": pl.when(pl.col("severity") == "mild").then(pl.lit("moderate")).otherwise(pl.lit("mild"))},
}  # fmt: skip


def copy_faults() -> list[RowFault]:
    """The two kinds of duplicates as faults of rows; half of the ended devices were first sent without their end."""
    same = [RowFault("exact_duplicate", s, "duplicate", "row:duplicate") for s in SOURCES]
    changed = [RowFault("changed_duplicate", s, "superseded", "row:superseded") for s in _BEFORE if s != "devices"]
    ended = RowFault("changed_duplicate", "devices", "superseded", "row:superseded", where=pl.col("ended_at").is_not_null(), times=250)
    return [*same, *changed, ended]


def send_twice(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows and the same rows again, every second one in a later file; the copy is the faulty row."""
    labels = as_labels("exact_duplicate", "duplicate", "row:duplicate")
    copies = rows.with_columns(_copy=pl.lit(1, pl.Int8), _period=pl.col("_period") + pl.col("_receipt") % 2, **labels)
    return pl.concat([rows.with_columns(_free=pl.lit(False)), copies])


def send_revised(rows: pl.DataFrame, source: str) -> pl.DataFrame:
    """Return the rows as known before, and as received a month later: the newer one, in a later file, is the truth."""
    older = rows.with_columns(**_BEFORE[source], **as_labels("changed_duplicate", "superseded", "row:superseded"))
    newer = rows.with_columns(**received_later(source), _copy=pl.lit(1, pl.Int8), _free=pl.lit(False))
    return pl.concat([older, newer.with_columns(_order=pl.col("_receipt"), _later=pl.lit(True))])
