# SPDX-License-Identifier: Apache-2.0
"""Faults of single rows as data: in which source, which columns become what, and where the row must end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from schemas.contract import SOURCES

ANSWERED: Final = "survey_responses"
SESSIONS: Final = "stimulation_sessions"
VECTORS: Final = ("device_settings", "interrogations")
OF_DEVICES: Final = (*VECTORS, SESSIONS)
REFERRED: Final = ("patients", "devices", "consents")  # a missing one would change the fate of other rows
LEAVES: Final = tuple(s for s in SOURCES if s not in REFERRED)

_ON = pl.lit(True)
_LATE_US: Final = 33 * 86_400_000_000


def _later(name: str) -> pl.Expr:
    return (pl.col(name).cast(pl.Int64) + _LATE_US).cast(pl.Datetime("us", "UTC"))


def receipt_columns(source: str) -> tuple[str, ...]:
    """Columns that move together when a row of the source is received later."""
    if source == SESSIONS:
        return ("uploaded_at", "device_clock_at")
    return ("uploaded_at",) if source == ANSWERED else ("recorded_at",)


def received_later(source: str) -> dict[str, pl.Expr]:
    """The same row received 33 days later, so also in a later monthly file."""
    return {name: _later(name) for name in receipt_columns(source)} | {"_receipt": pl.col("_receipt") + _LATE_US}


@dataclass(frozen=True)
class RowFault:
    """One fault in one source: the rows it can happen to, the columns it changes, and the label of the row.

    `times` multiplies the rate of the fault's name where a source has few rows.
    """

    name: str
    source: str
    bin: str
    rule: str
    columns: Mapping[str, pl.Expr] = field(default_factory=dict)
    where: pl.Expr = _ON
    times: float = 1.0


def _values() -> list[RowFault]:
    current, off = pl.col("current_ma"), pl.col("off_min")
    faults = []
    for source in VECTORS:
        minutes = {"off_min": off * 60}
        faults += [
            RowFault("unit_ma_as_ua", source, "quarantined", "current_ma:range", {"current_ma": current * 1000}, current > 0, 5),
            RowFault("off_seconds_as_minutes", source, "quarantined", "off_min:range", minutes, off > 3, 5),
            # 1.1 and 1.8 minutes give 66 and 108, within the range but on no grid; 0.5 gives 30, which nobody can tell
            RowFault("off_seconds_as_minutes", source, "quarantined", "off_min:grid", minutes, off.is_in([1.1, 1.8]), 5),
            RowFault("off_grid", source, "quarantined", "current_ma:grid", {"current_ma": current + 0.05}, current.is_not_null(), 5),
        ]
    steps = pl.col("step_intensities")
    amps = {"step_intensities": steps.list.eval(pl.element() * 1000)}
    faults.append(RowFault("unit_ma_as_ua", SESSIONS, "quarantined", "step_intensities:range", amps, steps.list.max() > 0))
    faults.append(RowFault("off_grid", SESSIONS, "quarantined", "frequency_hz:grid", {"frequency_hz": pl.lit(27.0)}))
    return faults


def _answers() -> list[RowFault]:
    answers = pl.col("answers")
    rest = answers.list.slice(1)
    wrong = pl.concat_list(answers.list.get(0) + 7, rest)
    missing = pl.concat_list(pl.lit(None, pl.Int64), rest.list.slice(0, 2), answers.list.slice(3))
    twice = pl.concat_list(pl.lit(None, pl.Int64), pl.lit(None, pl.Int64), pl.lit(None, pl.Int64), answers.list.slice(3))
    many = pl.when(pl.col("_receipt") % 3 == 0).then(twice).otherwise(missing)
    return [
        RowFault("item_missing", ANSWERED, "accepted", "", {"answers": many, "source_score": pl.lit(None, pl.Float64)}),
        RowFault("item_out_of_range", ANSWERED, "quarantined", "answers:range", {"answers": wrong}),
        RowFault("wrong_form_version", ANSWERED, "quarantined", "form_version:unknown", {"form_version": pl.lit("draft-0")}),
    ]


def _references() -> list[RowFault]:
    ghost = pl.concat_str(pl.lit("GHOST-"), pl.col("device_id"))
    unknown = [RowFault("unknown_device", s, "pending", "device_id:unknown", {"device_id": ghost}) for s in OF_DEVICES]
    keys = {"conditions": "condition_id", "history_events": "event_id", "therapy_sessions": "session_id", "physiology": "measurement_id",
            "adverse_events": "event_id", ANSWERED: "response_id"} | dict.fromkeys(OF_DEVICES, "device_id")  # fmt: skip
    return unknown + [RowFault("null_id", s, "quarantined", f"{k}:null", {k: pl.lit(None, pl.String)}) for s, k in keys.items()]


def _lines() -> list[RowFault]:
    faults = []
    for source in LEAVES:
        json = pl.col("_ndjson")
        cut, cells = {"_damage": pl.lit("cut")}, {"_damage": pl.lit("cells")}
        faults += [
            RowFault("malformed_line", source, "quarantined", "line:malformed", cut, json),
            RowFault("malformed_line", source, "quarantined", "line:columns", cells, pl.col("_text") & ~json),
            RowFault("bad_utf8", source, "quarantined", "line:utf8", {"_damage": pl.lit("utf8")}, pl.col("_text")),
        ]
    return faults


def _receipts() -> list[RowFault]:
    late = [RowFault("late_upload", s, "accepted", "", received_later(s)) for s in SOURCES if s != "consents"]
    early = pl.when(pl.col("_receipt") % 2 == 0)
    place = early.then(pl.lit(0, pl.Int64)).otherwise(pl.lit(1 << 61, pl.Int64))
    mixed = {"_order": place, "_period": pl.col("_period") + pl.col("_receipt") // 2 % 2}
    return late + [RowFault("out_of_order", s, "accepted", "", mixed) for s in SOURCES if s != "consents"]


def row_faults() -> list[RowFault]:
    """Every fault of single rows but the two kinds of duplicates."""
    return [*_values(), *_answers(), *_references(), *_lines(), *_receipts()]
