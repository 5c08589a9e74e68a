# SPDX-License-Identifier: Apache-2.0
"""An answer of `vnsight sql` as it leaves: a table that fits the screen or records for people, CSV, JSON or Markdown for programs.

In CSV a struct becomes one column per field, `wilson.low`; a list of plain values is joined by semicolons, any other is JSON. Instants
are ISO 8601 with `+00:00`, intervals of time are text, and truth is `true` or `false`, in CSV as in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from flows.terminal import OUT, fitting, print_table, text_of

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

SHOWN = 200
FEW = 5  # rows: so many wide ones are read better one after another than as a table that lacks most columns
_INSTANT = "%Y-%m-%dT%H:%M:%S%.f"


def show_answer(answer: pa.Table, width: int) -> None:
    """Print an answer for people, in at most `width` characters: a table; where its columns do not fit, few rows as records.

    Many rows that are too wide are a table of the first columns that fit, with the names of those left out. No header is ever cut.
    """
    names = answer.column_names
    rows = [tuple(r.values()) for r in answer.slice(0, SHOWN).to_pylist()]
    shown = fitting(names, rows, width)
    if shown < len(names) and len(rows) <= FEW:
        _print_records(names, rows)
    elif rows or shown == len(names):
        print_table("", names[:shown], [r[:shown] for r in rows])
    more = f", the first {SHOWN} shown; --format csv gives all" if answer.num_rows > SHOWN else ""
    OUT.print(f"{answer.num_rows:,} row{'' if answer.num_rows == 1 else 's'}{more}")
    if shown < len(names) and not 0 < len(rows) <= FEW:
        left = names[shown:]
        OUT.print(f"+ {len(left)} column{'' if len(left) == 1 else 's'} too wide for {width} characters: {', '.join(left)}")
        OUT.print("  name those you want (select a, b from ...), or --format csv gives all")


def _print_records(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    broad = max(cell_len(n) for n in names)
    for number, row in enumerate(rows, 1):
        OUT.print(f"── row {number} " + "─" * max(broad - 4, 4))
        for name, value in zip(names, row, strict=True):
            indented = text_of(value).replace("\n", "\n" + " " * (broad + 2))
            OUT.print(f"{name}{' ' * (broad - cell_len(name))}  {indented}".rstrip(), soft_wrap=True)
    OUT.print()


def as_text(answer: pa.Table, format: str) -> str:
    """An answer as `csv`, `json` (an array of objects) or `markdown` (a table, read by people)."""
    import polars as pl

    if format == "markdown":
        return _as_markdown(answer)
    frame = pl.DataFrame(pl.from_arrow(answer))
    if format == "json":
        return str(_exchanged(frame).write_json()) + "\n"
    return str(_exchanged(_flattened(frame)).with_columns(pl.col(pl.List).cast(pl.List(pl.String)).list.join(";")).write_csv())


def _as_markdown(answer: pa.Table) -> str:
    rows = [[text_of(v) for v in r.values()] for r in answer.to_pylist()]
    escaped = [[c.replace("|", "\\|").replace("\r", "").replace("\n", "<br>") for c in row] for row in (answer.column_names, *rows)]
    lines = [escaped[0], ["---"] * len(escaped[0]), *escaped[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _flattened(frame: pl.DataFrame) -> pl.DataFrame:
    """Structs as a column per field, to any depth; lists of lists, lists of structs and maps as JSON text."""
    import polars as pl

    columns: list[pl.Series] = []
    waiting = list(reversed(frame.get_columns()))
    while waiting:
        column = waiting.pop()
        kind = column.dtype
        if isinstance(kind, pl.Struct):
            fields = [column.struct.field(f.name).alias(f"{column.name}.{f.name}") for f in kind.fields]
            waiting.extend(reversed(fields))
        elif kind.is_nested() and not (isinstance(kind, pl.List) and not kind.inner.is_nested()):
            texts = [None if v is None else json.dumps(v, default=str, ensure_ascii=False) for v in column.to_list()]
            columns.append(pl.Series(column.name, texts, dtype=pl.String))
        else:
            columns.append(column)
    return pl.DataFrame(columns)


def _exchanged(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns as every reader of CSV and JSON takes them: instants as text, decimals as numbers, bytes as text."""
    import polars as pl

    def exchanged(column: pl.Series) -> pl.Series:
        kind = column.dtype
        if isinstance(kind, pl.Datetime):
            return column.dt.to_string(_INSTANT + ("%:z" if kind.time_zone else ""))
        if isinstance(kind, pl.Decimal):
            whole = column.cast(pl.Int64, strict=False) if kind.scale == 0 else None
            return whole if whole is not None and whole.null_count() == column.null_count() else column.cast(pl.Float64)
        if kind == pl.Binary:
            texts = [None if v is None else v.decode("utf-8", "backslashreplace") for v in column.to_list()]
            return pl.Series(column.name, texts, dtype=pl.String)
        return column.cast(_without_decimals(kind)) if kind.is_nested() else column

    return pl.DataFrame([exchanged(c) for c in frame.get_columns()])


def _without_decimals(kind: Any) -> Any:
    """A nested type with floats for decimals, which JSON would hold as texts."""
    import polars as pl

    if isinstance(kind, pl.Struct):
        return pl.Struct({f.name: _without_decimals(f.dtype) for f in kind.fields})
    if isinstance(kind, pl.List):
        return pl.List(_without_decimals(kind.inner))
    return pl.Float64 if isinstance(kind, pl.Decimal) else kind
