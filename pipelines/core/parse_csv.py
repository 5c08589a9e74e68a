# SPDX-License-Identifier: Apache-2.0
"""CSV to columns: every cell is text first, then cast strictly; a cell that does not fit is a reason, never a null."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pc

from pipelines.core.rows import MAX_LINE, Broken, Parsed, TextChunk
from schemas.contract import Column, Contract
from schemas.frames import wire_type

_INTEGER = r"^[+-]?[0-9]+$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_TRUE, _FALSE = ("true", "TRUE", "True", "1"), ("false", "FALSE", "False", "0")


def split_records(data: bytes, first_line: int) -> list[tuple[int, bytes]]:
    """Split text into records with the line each begins on: a newline inside quotes does not end a record. Blank lines vanish.

    When quotes never close, plain lines are the records: one stray quote must not swallow the rest of a file.
    """
    raw = np.frombuffer(data, dtype=np.uint8)
    newlines = np.flatnonzero(raw == ord("\n"))
    quotes = np.cumsum(raw == ord('"'))
    ends = newlines[quotes[newlines] % 2 == 0] if len(newlines) else newlines
    if len(raw) and quotes[-1] % 2:
        ends = newlines
    starts = np.concatenate([[0], ends + 1])
    stops = np.concatenate([ends, [len(data)]])
    lines = first_line + np.searchsorted(newlines, starts)
    records = ((int(n), data[a:b].rstrip(b"\r")) for n, a, b in zip(lines, starts, stops, strict=True))
    return [(n, record) for n, record in records if record.strip()]


def read_header(record: bytes) -> tuple[str, ...]:
    """Names of the columns from the first record of a CSV file."""
    return tuple(name.strip() for name in next(csv.reader([record.decode("utf-8-sig")])))


def _table(records: Sequence[bytes], header: Sequence[str]) -> pl.DataFrame | None:
    """All records as text columns, or None when any has another number of cells."""
    if not records:
        return pl.DataFrame(schema=dict.fromkeys(header, pl.String))
    data = b"\n".join(records)
    try:
        table = pc.read_csv(
            io.BytesIO(data),
            read_options=pc.ReadOptions(column_names=list(header), use_threads=False, block_size=len(data) + 1),
            parse_options=pc.ParseOptions(newlines_in_values=True),
            convert_options=pc.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except pa.ArrowException:
        return None
    return pl.DataFrame(pl.from_arrow(table))


def _line_rule(record: bytes, cells: int) -> str | None:
    """What is wrong with one record on its own, if anything."""
    if len(record) > MAX_LINE:
        return "line:too_long"
    if b"\0" in record:
        return "line:nul"
    try:
        rows = list(csv.reader(io.StringIO(record.decode("utf-8"), newline=""), strict=True))
    except UnicodeDecodeError:
        return "line:utf8"
    except csv.Error:
        return "line:malformed"
    return None if len(rows) == 1 and len(rows[0]) == cells else "line:columns"


def parse_cells(chunk: TextChunk, header: Sequence[str]) -> tuple[pl.DataFrame, list[tuple[int, bytes]], list[Broken]]:
    """Cells of a chunk as text, the records they came from, and the records that are no row of this file.

    An empty cell is null. The frame has the header's columns plus `_line`; the records are in the frame's order.
    """
    records = split_records(chunk.data, chunk.first_line)
    frame = _table([r for _, r in records], header) if b"\0" not in chunk.data else None
    broken: list[Broken] = []
    if frame is None or frame.height != len(records):
        judged = [(n, r, _line_rule(r, len(header))) for n, r in records]
        last = records[-1][0] if records and chunk.cut else None
        broken = [Broken(n, r, ("line:truncated" if n == last and rule == "line:columns" else rule,)) for n, r, rule in judged if rule]
        records = [(n, r) for n, r, rule in judged if not rule]
        frame = _table([r for _, r in records], header)
        if frame is None or frame.height != len(records):  # the two readers disagree: take none of it rather than misplace cells
            broken += [Broken(n, r, ("line:malformed",)) for n, r in records]
            records, frame = [], pl.DataFrame(schema=dict.fromkeys(header, pl.String))
    return frame.with_columns(_line=pl.Series([n for n, _ in records], dtype=pl.Int64)), records, broken


def _cast(column: Column, text: pl.Expr) -> pl.Expr:
    """Strict cast of a text cell; null where it does not fit (told apart from an empty cell by the caller)."""
    kind = column.type
    if kind.startswith("array"):
        inner = {"array<integer>": pl.Int64(), "array<number>": pl.Float64(), "array<string>": pl.String()}[kind]
        body = text.str.strip_chars().str.strip_prefix("[").str.strip_suffix("]")
        return pl.when(body == "").then(pl.lit([], dtype=pl.List(inner))).otherwise(
            body.str.split(",").list.eval(
                pl.element().str.strip_chars().replace("null", None).str.strip_chars('"').cast(inner, strict=False)
            )
        )  # fmt: skip
    if kind == "integer":
        return pl.when(text.str.contains(_INTEGER)).then(text).cast(pl.Int64, strict=False)
    if kind == "number":
        return pl.when(text.str.contains(_NUMBER)).then(text).cast(pl.Float64, strict=False)
    if kind == "boolean":
        return pl.when(text.is_in(_TRUE)).then(True).when(text.is_in(_FALSE)).then(False).otherwise(None)
    return text


def _misfit(column: Column, text: pl.Expr, value: pl.Expr) -> pl.Expr:
    """True where the cell holds something that the type of the column cannot hold."""
    if not column.type.startswith("array"):
        return text.is_not_null() & value.is_null()
    body = text.str.strip_chars()
    words = body.str.strip_chars("[]").str.split(",").list.eval(pl.element().str.strip_chars())
    nulls = words.list.eval((pl.element() == "null").cast(pl.Int64)).list.sum()
    lost = value.list.eval(pl.element().is_null().cast(pl.Int64)).list.sum()
    return text.is_not_null() & (~body.str.contains(r"^\[[^\[\]]*\]$") | (lost != nulls))


def cast_cells(frame: pl.DataFrame, contract: Contract) -> tuple[pl.DataFrame, pl.Series]:
    """Cast text cells to the wire's types. Columns the file lacks are null; the series lists `column:type` reasons per row."""
    texts = {c.name: pl.col(c.name) if c.name in frame.columns else pl.lit(None, dtype=pl.String) for c in contract.columns}
    values = frame.with_columns(**{f"{n}\0": t for n, t in texts.items()}).select(
        pl.col("_line"), *(_cast(c, pl.col(f"{c.name}\0")).cast(wire_type(c)).alias(c.name) for c in contract.columns),
        *(pl.col(f"{c.name}\0") for c in contract.columns),
    )  # fmt: skip
    typed = [c for c in contract.columns if c.type not in ("string", "timestamp", "date")]
    reasons = values.select(
        pl.concat_list(
            pl.lit([], dtype=pl.List(pl.String)),
            *(pl.when(_misfit(c, pl.col(f"{c.name}\0"), pl.col(c.name))).then(_misfit_rule(c)) for c in typed),
        ).list.drop_nulls().alias("rules")
    )["rules"]  # fmt: skip
    return values.select("_line", *(c.name for c in contract.columns)), reasons


def _misfit_rule(column: Column) -> pl.Expr:
    odd = pl.col(f"{column.name}\0").str.to_lowercase().is_in(["nan", "inf", "+inf", "-inf", "infinity", "-infinity"])
    finite = pl.lit(f"{column.name}:type")
    return pl.when(odd).then(pl.lit(f"{column.name}:not_finite")).otherwise(finite) if column.type == "number" else finite


def parse_csv(chunk: TextChunk, header: Sequence[str], contract: Contract) -> Parsed:
    """Parse CSV records by the types of the contract; arrays are JSON text such as `[0,1,null]`."""
    cells, records, broken = parse_cells(chunk, header)
    if not cells.height:
        return Parsed(cast_cells(cells, contract)[0], broken)
    frame, reasons = cast_cells(cells, contract)
    bad = reasons.list.len() > 0
    for i in bad.arg_true():
        record_id = "/".join(str(frame[k][i]) for k in contract.key) if all(frame[k][i] is not None for k in contract.key) else None
        broken.append(Broken(records[i][0], records[i][1], tuple(reasons[i]), record_id))
    return Parsed(frame.filter(~bad), broken)
