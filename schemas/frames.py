# SPDX-License-Identifier: Apache-2.0
"""The columns of a contract as Polars and Arrow types: as they arrive (wire), and as they are kept (staged)."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from schemas.contract import Column, Contract

_PLAIN: dict[str, pl.DataType] = {
    "string": pl.String(), "integer": pl.Int64(), "number": pl.Float64(), "boolean": pl.Boolean(), "date": pl.Date(),
    "array<integer>": pl.List(pl.Int64), "array<number>": pl.List(pl.Float64), "array<string>": pl.List(pl.String),
}  # fmt: skip
UTC_US = pl.Datetime("us", "UTC")

# Where a fact came from and when it became known; left out of every content hash.
BOOKKEEPING: dict[str, pl.DataType] = {
    "_key": pl.Int64(), "_fingerprint": pl.Int64(), "_known_at": UTC_US, "_load": pl.Int64(), "_file": pl.String(),
    "_line": pl.Int64(), "_registers": pl.Boolean(), "_bin": pl.String(),
}  # fmt: skip
# What staging adds to a session: its start by a repaired clock, and how sure that is.
REPAIRED: dict[str, pl.DataType] = {"started_at": UTC_US, "clock_method": pl.String(), "clock_uncertainty_ms": pl.Int64()}


def wire_type(column: Column) -> pl.DataType:
    """Type of a column as text formats deliver it: instants are still text."""
    return pl.String() if column.type == "timestamp" else _PLAIN[column.type]


def wire_schema(contract: Contract) -> dict[str, pl.DataType]:
    """Column -> type as it arrives."""
    return {c.name: wire_type(c) for c in contract.columns}


def staged_type(column: Column) -> pl.DataType:
    """Type of a column beyond landing: identifiers are 64-bit keys, instants UTC microseconds."""
    if column.identifier:
        return pl.Int64()
    return UTC_US if column.type == "timestamp" else _PLAIN[column.type]


def staged_schema(contract: Contract) -> dict[str, pl.DataType]:
    """Column -> type of a staged fact table, bookkeeping last."""
    own = {c.staged_name: staged_type(c) for c in contract.columns}
    repaired = REPAIRED if contract.name == "stimulation_sessions" else {}
    return own | repaired | BOOKKEEPING


def arrow_schema(schema: dict[str, pl.DataType]) -> pa.Schema:
    """The same columns as Arrow sees them, text as plain `string` so that every Delta reader takes it."""
    large = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    return pa.schema([pa.field(f.name, _plain_text(f.type)) for f in large])


def _plain_text(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_list(kind):
        return pa.list_(_plain_text(kind.value_type))
    return kind


def mart_schema(contract: Contract, windows: tuple[str, ...]) -> dict[str, pl.DataType]:
    """Column -> type of a mart; a per-window column appears once per window suffix such as `28d`.

    Per-window columns are ordered window by window, as the windows are given.
    """
    fixed = {c.name: UTC_US if c.type == "timestamp" else _PLAIN[c.type] for c in contract.columns if not c.per_window}
    moving = {f"{c.name}_{w}": _PLAIN[c.type] for w in windows for c in contract.columns if c.per_window}
    return fixed | moving


def window_names(days: tuple[int, ...]) -> tuple[str, ...]:
    """Suffixes of the look-back windows: `(7, 28)` gives `7d`, `28d`, `since_activation`."""
    return (*(f"{d}d" for d in days), "since_activation")
