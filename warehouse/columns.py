# SPDX-License-Identifier: Apache-2.0
"""The columns of a mart in SQL: types, tables, views over Parquet and comments, all from the contract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.contract import Column, Contract
from schemas.frames import mart_schema, window_names
from warehouse.connection import quote

TYPES = {
    "string": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "array<string>": "VARCHAR[]", "array<integer>": "BIGINT[]", "array<number>": "DOUBLE[]",
}  # fmt: skip
HOME_VARIABLE = "vnsight_home"


@dataclass(frozen=True)
class MartColumn:
    """One column of a mart as analysts see it; a per-window column of the contract becomes one of these per window."""

    name: str
    type: str
    comment: str
    column: Column


def mart_columns(contract: Contract, windows_days: tuple[int, ...]) -> tuple[MartColumn, ...]:
    """Columns in the order of the published table; `windows_days` as in the settings, `since_activation` is added."""
    windows = window_names(windows_days)
    known = {c.name: c for c in contract.columns if not c.per_window}
    known |= {f"{c.name}_{w}": c for c in contract.columns if c.per_window for w in windows}
    return tuple(MartColumn(n, TYPES[known[n].type], _comment(known[n]), known[n]) for n in mart_schema(contract, windows))


def _comment(column: Column) -> str:
    return f"{column.description} [{column.unit}]" if column.unit else column.description


def parquet_source(home: Path, files: Sequence[str]) -> str:
    """`read_parquet(...)` over exactly these files (relative to `home`), found from any working directory.

    The folder is written into the expression; a client may name another one first, with
    `set variable vnsight_home = '/where/it/is/now'` (docs/decisions/0003-paths-in-views.md).
    """
    root = f"coalesce(getvariable('{HOME_VARIABLE}')::varchar, {quote(str(home))})"
    paths = ", ".join(f"{root} || {quote('/' + file)}" for file in files)
    return f"read_parquet([{paths}], hive_partitioning = false)"


def select_columns(columns: Sequence[MartColumn], home: Path, files: Sequence[str]) -> str:
    """SELECT of the contract's columns only, so that bookkeeping columns stay out; no rows when there are no files yet."""
    if files:
        return f"select {', '.join(_name(c) for c in columns)} from {parquet_source(home, files)}"
    return f"select {', '.join(f'null::{c.type} as {_name(c)}' for c in columns)} where false"


def create_table(name: str, columns: Sequence[MartColumn]) -> str:
    """CREATE TABLE with the columns of the contract; no constraints, those are the audit's."""
    return f"create table {name} ({', '.join(f'{_name(c)} {c.type}' for c in columns)})"


def comments(kind: str, name: str, contract: Contract, columns: Sequence[MartColumn]) -> Iterator[str]:
    """COMMENT statements; `kind` is `view` or `table`."""
    yield f"comment on {kind} {name} is {quote(f'{contract.purpose} Grain: {contract.grain}. Owner: {contract.owner}.')}"
    for column in columns:
        yield f"comment on column {name}.{_name(column)} is {quote(column.comment)}"


def _name(column: MartColumn) -> str:
    return f'"{column.name}"'
