# SPDX-License-Identifier: Apache-2.0
"""Arrow tables (Parquet row groups) to the wire's columns: lossless widening only, anything else refuses the file."""

from __future__ import annotations

import json

import polars as pl
import pyarrow as pa

from pipelines.core.rows import Parsed
from schemas.contract import Column, Contract
from schemas.frames import UTC_US, wire_type


class FileRefused(Exception):
    """A whole file cannot be taken in; `rule` is `file:<why>`, the message says what was expected and what was found."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def _holds(kind: pa.DataType, column: Column) -> bool:
    """Whether every value of an Arrow type is a value of the column's type."""
    t = pa.types
    if t.is_null(kind):
        return True
    if column.type.startswith("array"):
        inner = Column(column.name, column.type[6:-1], False, "")
        return (t.is_list(kind) or t.is_large_list(kind)) and _holds(kind.value_type, inner)
    if column.type in ("string", "timestamp", "date"):
        text = t.is_string(kind) or t.is_large_string(kind) or (t.is_dictionary(kind) and t.is_string(kind.value_type))
        return text or (column.type == "timestamp" and t.is_timestamp(kind) and kind.tz is not None and kind.unit != "ns")
    if column.type == "boolean":
        return bool(t.is_boolean(kind))
    integer = t.is_integer(kind) and not t.is_uint64(kind)
    return bool(integer or (column.type == "number" and t.is_floating(kind)))


def check_arrow_schema(schema: pa.Schema, contract: Contract) -> None:
    """Raise `FileRefused` when a required column is missing or a column's type would have to be coerced."""
    names = set(schema.names)
    for column in contract.columns:
        if column.name not in names:
            if column.required:
                raise FileRefused("file:columns", f"column {column.name} is required and missing; the file has: {', '.join(schema.names)}")
        elif not _holds(kind := schema.field(column.name).type, column):
            raise FileRefused("file:columns", f"column {column.name} is {kind}; the contract wants {column.type}, and nothing is coerced")


def parse_arrow(table: pa.Table, first_line: int, contract: Contract) -> Parsed:
    """Take the contract's columns of a table whose schema was checked; rows are numbered from `first_line`.

    Instants stay instants, text stays text; columns the file lacks are null.
    """
    present = [c for c in contract.columns if c.name in table.column_names]
    given = pl.DataFrame(pl.from_arrow(table.select([c.name for c in present])))
    columns = []
    for column in contract.columns:
        kind = wire_type(column)
        if column.name in given.columns and isinstance(given.schema[column.name], pl.Datetime):
            kind = UTC_US
            columns.append(pl.col(column.name).dt.convert_time_zone("UTC").cast(kind))
        else:
            source = pl.col(column.name) if column.name in given.columns else pl.lit(None)
            columns.append(source.cast(kind).alias(column.name))
    lines = pl.int_range(first_line, first_line + table.num_rows, dtype=pl.Int64, eager=True).alias("_line")
    return Parsed(given.select(columns).with_columns(lines) if present else pl.DataFrame({"_line": lines}))


def raw_row(table: pa.Table, index: int) -> bytes:
    """One row as JSON bytes, for the quarantine of formats that have no lines."""
    return json.dumps(table.slice(index, 1).to_pylist()[0], default=str).encode()
