# SPDX-License-Identifier: Apache-2.0
"""Row rules of a contract as Polars expressions: name `column:rule` -> true where a row breaks it.

The frame has the wire's columns, already typed (instants as UTC microseconds). A null breaks `null` only; every other rule looks
at values that are there.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from schemas.contract import Column, Contract
from schemas.devices import load_models

Rules = dict[str, pl.Expr]


def _bound(column: Column, value: float | str) -> pl.Expr:
    return pl.lit(value).str.to_datetime(time_unit="us", time_zone="UTC") if column.type == "timestamp" else pl.lit(value)


def _outside(column: Column, value: pl.Expr) -> pl.Expr:
    checks = []
    if column.minimum is not None:
        checks.append(value < _bound(column, column.minimum))
    if column.maximum is not None:
        checks.append(value > _bound(column, column.maximum))
    return pl.any_horizontal(checks)


def _off_grid(value: pl.Expr, legal: frozenset[int]) -> pl.Expr:
    thousandths = (value * 1000).round()
    return ~thousandths.cast(pl.Int64).is_in(sorted(legal)) | ((value * 1000 - thousandths).abs() > 1e-6)


def _grid_rule(column: Column, present: frozenset[str]) -> pl.Expr:
    """True where the value is none that the row's own model can be set to; models without such a grid are not judged.

    present: the models of the frame, so that a frame of one model is not asked about all the others.
    """
    known = {m: load_models()[m].grid.get(column.grid or "") for m in sorted(present) if m in load_models()}
    value, check = pl.col(column.name), pl.lit(False)
    for legal in {grid for grid in known.values() if grid is not None}:
        is_array = column.type.startswith("array")
        broken = value.list.eval(_off_grid(pl.element(), legal)).list.any() if is_array else _off_grid(value, legal)
        ids = [m for m, grid in known.items() if grid == legal]
        check = check | (broken if len(ids) == len(present) else pl.col("model").is_in(ids) & broken)
    return check


def _column_rules(column: Column, present: frozenset[str]) -> Rules:
    value, rules = pl.col(column.name), Rules()
    if column.required:
        rules["null"] = value.is_null() | ((value == "") if column.type == "string" else pl.lit(False))
    if column.minimum is not None or column.maximum is not None:
        is_array = column.type.startswith("array")
        rules["range"] = value.list.eval(_outside(column, pl.element())).list.any() if is_array else _outside(column, value)
    if column.pattern:
        rules["pattern"] = ~value.str.contains(column.pattern) & (value != "")
    if column.valid_values:
        rules["enum"] = ~value.is_in(column.valid_values)
    if column.grid == "model":
        rules["unknown"] = ~value.is_in(list(load_models()))
    elif column.grid and column.grid not in ("instrument", "form_version", "answers", "subscales"):
        rules["grid"] = _grid_rule(column, present)
    return {f"{column.name}:{name}": rule for name, rule in rules.items()}


def _session_rules() -> Rules:
    steps, gaps, lengths = pl.col("step_offsets_ms"), pl.col("gap_offsets_ms"), pl.col("gap_durations_ms")
    rising: Callable[[pl.Expr], pl.Expr] = lambda e: e.list.diff().list.eval(pl.element() <= 0).list.any()  # noqa: E731
    return {
        "step_offsets_ms:order": (steps.list.len() == 0) | (steps.list.first() != 0) | rising(steps)
        | (steps.list.last() >= pl.col("duration_ms")),
        "step_offsets_ms:null_item": steps.list.eval(pl.element().is_null()).list.any(),
        "step_intensities:null_item": pl.col("step_intensities").list.eval(pl.element().is_null()).list.any(),
        "step_intensities:length": pl.col("step_intensities").list.len() != steps.list.len(),
        "gap_durations_ms:length": gaps.list.len().fill_null(0) != lengths.list.len().fill_null(0),
        "gap_offsets_ms:order": rising(gaps),
        "device_started_at:order": pl.col("device_started_at") > pl.col("device_clock_at"),
        "off_s:null": pl.col("on_s").is_not_null() != pl.col("off_s").is_not_null(),
    }  # fmt: skip


def row_rules(contract: Contract, present: frozenset[str] | None = None) -> Rules:
    """All row rules of a source contract, in column order; `present` names the models of the frame (by default any)."""
    present = frozenset(load_models()) if present is None else present
    rules: Rules = {}
    for column in contract.columns:
        rules |= _column_rules(column, present)
    if contract.name == "stimulation_sessions":
        rules |= _session_rules()
    return rules


HINTS = {
    "current_ma:range": "is it in microamperes?",
    "off_min:range": "is it in seconds?",
    "off_min:grid": "is it in seconds?",
    "pulse_width_us:range": "is it in milliseconds?",
    "form_version:unknown": "add the form to the instrument's YAML file, with its item order and coding",
    "instrument:unknown": "the names are in docs/instruments.md; a new instrument is a YAML file in schemas/instruments",
}


WHOLE_ROWS = {
    "line:malformed": "the line is not JSON", "line:columns": "the line has another number of cells than the header",
    "line:utf8": "the line holds bytes that are not UTF-8", "line:nul": "the line holds a NUL byte",
    "line:too_long": "the line is over 1 MiB; only its first 64 KiB are in quarantine, all of it in landing",
    "line:truncated": "the file ends in the middle of this line; ask for the rest",
    "line:duplicate_key": "a key stands in the line twice",
    "line:too_deep": "the line nests too deep",
    "line:not_object": "the line is JSON, but no object",
    "file:truncated": "the packed file breaks off here; ask for it again",
    "file:coding": "the whole file uses another coding than declared",
    "file:item_order": "the whole file has its items in the order of another form than declared",
    "file:unreadable": "the file cannot be read as what its name says", "file:bomb": "the file unpacks to far more than its size",
    "file:columns": "the file lacks columns, or their types would have to be coerced",
    "message:schema": "the message was written by another major version of the contract",
    "message:content_type": "the message is neither application/json nor application/vnd.apache.arrow.stream",
    "message:empty": "the message holds no record", "message:arrow": "the message cannot be read as an Arrow stream",
    "message:columns": "the Arrow message lacks columns, or their types would have to be coerced",
    "message:too_long": "the message is over 64 MiB; send smaller batches",
}  # fmt: skip


MAPPED = {
    "label": "holds a label the map does not know", "range": "holds a code outside the coding of its item", "type": "holds no whole number",
}  # fmt: skip


def _out_of_range(low: float | str | None, high: float | str | None, unit: str) -> str:
    if low is None and high is None:
        return "is outside what its instrument allows"
    if high is None:
        return f"is below {low} {unit}".rstrip()
    return f"is {'above' if low is None else f'outside {low} to'} {high} {unit}".rstrip()


LENGTHS = {
    "answers:length": "holds more or fewer answers than the form has items",
    "step_intensities:length": "holds more or fewer intensities than there are steps",
    "gap_durations_ms:length": "holds more or fewer lengths than there are gaps",
    "source_subscale_scores:length": "holds more or fewer scores than subscales are named",
}

# What a contract says of a column is about values outside what is declared. It fits these other rules all the same.
_FITS_TOO = {
    "device_started_at:null", "device_clock_at:null", "action:null", "therapy:null", "serious:null", "completed_at:null",
    "completed_at:nonexistent", "step_offsets_ms:order", "gap_offsets_ms:order", "gap_durations_ms:length", "source_subscale_scores:length",
}  # fmt: skip


def _fits(column: Column, kind: str) -> bool:
    """Whether the contract's rationale of a column belongs to this rule: `missing` is not explained by what an odd value would mean."""
    if column.identifier is not None and kind == "null":
        return True
    return kind in ("range", "pattern", "enum", "grid", "unknown") or f"{column.name}:{kind}" in _FITS_TOO


def explain(contract: Contract, rule: str) -> str:
    """Say in words what breaking `column:rule` means, with the bounds and a hint, but never the value."""
    name, _, kind = rule.partition(":")
    if rule in WHOLE_ROWS:
        return WHOLE_ROWS[rule]
    column = next((c for c in contract.columns if c.name == name), None)
    if column is None:  # a column of a mapped file, not of the contract
        return f"column {name} {MAPPED.get(kind, kind)}"
    what = {
        "null": "is required and missing", "type": f"is not of type {column.type}", "timestamp": "is not an ISO 8601 instant",
        "range": _out_of_range(column.minimum, column.maximum, column.unit or ""),
        "pattern": "does not have the declared form",
        "enum": f"is none of {', '.join(column.valid_values)}", "grid": "cannot be set on this model", "unknown": "is not known",
        "zone": "has no zone", "nonexistent": "never was: clocks were set forward", "not_finite": "is not a finite number",
        "length": LENGTHS.get(rule, "does not have the length it must have"), "null_item": "holds an item that is null",
        "order": "is out of order", "repeated": "names one twice",
        "label": "holds a label the map does not know",
    }.get(kind, kind)  # fmt: skip
    hint = f" ({HINTS[rule]})" if rule in HINTS else ""
    return f"column {name} {what}{hint}." + (f" {column.failure}" if _fits(column, kind) else "")
