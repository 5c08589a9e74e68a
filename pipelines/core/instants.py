# SPDX-License-Identifier: Apache-2.0
"""Text to instants: ISO 8601 with an offset is UTC; local time only where the contract allows it, and only with a known zone."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from pipelines.core.clocks import local_to_utc
from schemas.contract import Column, Contract

_ARROW_UTC = pa.timestamp("us", tz="UTC")
_OFFSET = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})$"
_NAIVE = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?$"


def _canonical(text: pl.Expr) -> pl.Expr:
    """Every accepted spelling as `YYYY-MM-DDTHH:MM:SS[.f]+HH:MM`."""
    return (
        text.str.replace(r"^(.{10}) ", "${1}T").str.replace("Z$", "+00:00").str.replace(r"([+-]\d{2})(\d{2})$", "${1}:${2}")
        .str.replace(r"^(.{16})([+-]|$)", "${1}:00${2}")
    )  # fmt: skip


def _all_plain(text: pl.Series) -> pl.Series | None:
    """All texts as instants in one go, where every one of them is spelt as we accept it; None sends them the slower way."""
    if not text.drop_nulls().str.contains(_OFFSET).all():
        return None
    try:
        return pl.Series(text.name, text.to_arrow().cast(_ARROW_UTC))
    except pa.ArrowInvalid:
        return None


def _with_offset(text: pl.Expr) -> pl.Expr:
    spelt = pl.when(text.str.contains(_OFFSET)).then(_canonical(text))
    return spelt.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)


def _naive(text: pl.Expr) -> pl.Expr:
    spelt = pl.when(text.str.contains(_NAIVE)).then(_canonical(text))
    return spelt.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)


def _local(frame: pl.DataFrame, name: str) -> tuple[pl.Series, pl.Series]:
    """Instants of local texts in the row's `time_zone`, and which of them never were."""
    naive = frame.select(_naive(pl.col(name)).alias(name))[name]
    times = local_to_utc(naive, frame["time_zone"])
    return times.utc.alias(name), times.nonexistent


def _text_column(frame: pl.DataFrame, column: Column) -> tuple[pl.DataFrame, dict[str, pl.Expr]]:
    name, raw = column.name, f"{column.name}\0"
    frame = frame.with_columns(pl.col(name).alias(raw))
    text = pl.col(raw)
    instants = frame.select(_with_offset(text).alias(name))[name]
    if column.clock == "device":  # a device's wall clock knows no zone; its offset is repaired from the upload's clock pair
        instants = frame.select(pl.coalesce(instants, _naive(text).dt.replace_time_zone("UTC")).alias(name))[name]
    rules = {f"{name}:timestamp": text.is_not_null() & pl.col(name).is_null()}
    if column.clock == "local":
        local, never = _local(frame, name)
        instants = instants.zip_with(instants.is_not_null(), local)
        frame = frame.with_columns(never.alias(f"{name}\0never"))
        rules = {f"{name}:nonexistent": pl.col(f"{name}\0never")}
    if column.clock != "device":
        spelt = text.str.contains(_NAIVE) & _naive(text).is_not_null()
        lost = pl.col(name).is_null() & ~(pl.col(f"{name}\0never") if column.clock == "local" else pl.lit(False))
        rules[f"{name}:zone"] = lost & spelt
        rules[f"{name}:timestamp"] = lost & text.is_not_null() & ~spelt
    return frame.with_columns(instants.alias(name)), rules


def parse_instants(frame: pl.DataFrame, contract: Contract) -> tuple[pl.DataFrame, dict[str, pl.Expr]]:
    """Replace text in timestamp columns by UTC microseconds; columns that already are instants stay.

    Returns the frame (unparsable texts are null, the text kept under `<column>\\0`) and the rules that say what was wrong:
    `timestamp` (no instant), `zone` (no offset where one is needed), `nonexistent` (a local time skipped by the clock).
    The `null` rule of a required column looks at the text, so that an unreadable instant is not also reported missing.
    """
    rules: dict[str, pl.Expr] = {}
    for column in contract.columns:
        if column.type != "timestamp" or frame.schema[column.name] != pl.String:
            continue
        plain = _all_plain(frame[column.name])
        if plain is not None:
            frame = frame.with_columns(plain)
            continue
        frame = frame.with_columns(pl.col(column.name).replace("", None))
        frame, found = _text_column(frame, column)
        rules |= found
        if column.required:
            rules[f"{column.name}:null"] = pl.col(f"{column.name}\0").is_null()
    return frame, rules
