# SPDX-License-Identifier: Apache-2.0
"""Wide survey files (one column per item) to the rows of `survey_responses`, through a mapping declared in `vnsight.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.core.parse_arrow import FileRefused
from pipelines.core.parse_csv import parse_cells, read_header, split_records
from pipelines.core.rows import Broken, Parsed, TextChunk
from pipelines.core.wide import map_wide
from pipelines.core.wide_mapping import read_mapping
from pipelines.read import kind_of, read_chunks
from schemas.contract import load_contract
from schemas.frames import wire_schema
from schemas.instrument import load_instruments

SELDOM = 10  # a label in no more cells than this may be somebody's own words and is not repeated


@dataclass(frozen=True)
class WideRows:
    """A mapped file: rows in the contract's columns, the text they came from, and words for what the mapping found."""

    parsed: Parsed
    chunk: TextChunk
    registers: bool
    messages: Mapping[str, str]
    notes: tuple[str, ...]


def _whole(path: Path, file: str) -> tuple[TextChunk, list[Broken]]:
    """A wide file is read whole: its coding can only be judged over all its rows."""
    kind = kind_of(file)
    if kind.format != "csv":
        raise FileRefused("file:unreadable", "a wide survey mapping reads CSV files")
    pieces = list(read_chunks(path, kind.packing, quoted=True))
    texts = [p for p in pieces if isinstance(p, TextChunk)]
    data = b"".join(p.data for p in texts).removeprefix(b"\xef\xbb\xbf")
    return TextChunk(data, 1, any(p.cut for p in texts)), [p for p in pieces if isinstance(p, Broken)]


def read_wide(path: Path, file: str, table: Mapping[str, Any]) -> WideRows:
    """Map a wide CSV file. A file whose codes or item order contradict the declared form is refused row by row
    (`file:coding`, `file:item_order`).

    `table` is the `wide` table of a `[[source]]`; its own key `register_patients` makes the file's patients known without a
    row in `patients`. Cells with a label the map does not know refuse their row; each unknown label is counted in the notes.
    """
    options = dict(table)
    registers = bool(options.pop("register_patients", False))
    mapping = read_mapping(options)
    chunk, damaged = _whole(path, file)
    records = split_records(chunk.data, 1)
    if not records:
        return WideRows(Parsed(_empty(), damaged), chunk, registers, {}, ())
    header = read_header(records[0][1])
    start = chunk.data.index(records[0][1]) + len(records[0][1])
    body = TextChunk(chunk.data[start:], records[0][0], chunk.cut)
    cells, rows, broken = parse_cells(body, header)
    result = map_wide(cells.drop("_line"), mapping, load_instruments())
    if result.refused is not None and result.refused.rule == "file:columns":
        raise FileRefused(result.refused.rule, result.refused.message)
    if result.refused is not None:
        all_rows = [Broken(n, raw, (result.refused.rule,)) for n, raw in rows]
        notes = (f"{result.refused.rule}: {result.refused.message}",)
        messages = {result.refused.rule: result.refused.message}
        return WideRows(Parsed(_empty(), [*damaged, *broken, *all_rows]), chunk, registers, messages, notes)
    refused = result.bad.select("row", "response_id", "reasons").iter_rows()
    bad = [Broken(rows[r][0], rows[r][1], tuple(reasons), i) for r, i, reasons in refused]
    lines = cells["_line"].gather(result.responses["row"])
    frame = result.responses.with_columns(lines.alias("_line")).select([*wire_schema(load_contract("survey_responses")), "_line"])
    return WideRows(Parsed(frame, [*damaged, *broken, *bad]), body, registers, {}, _label_notes(result.unknown_labels, len(bad)))


def _empty() -> pl.DataFrame:
    return pl.DataFrame(schema=wire_schema(load_contract("survey_responses")) | {"_line": pl.Int64()})


def _label_notes(unknown: Mapping[str, int], rows: int) -> tuple[str, ...]:
    if not unknown:
        return ()
    often = sorted(((label, n) for label, n in unknown.items() if n > SELDOM), key=lambda i: -i[1])[:10]
    seen = ", ".join(f"{label!r} {n:,} cells" for label, n in often) or f"none of them in more than {SELDOM} cells"
    total = sum(unknown.values())
    where = f"{total:,} cells in {rows:,} rows"
    return (f"labels the map does not know: {where} ({seen}); add them under wide.labels, with their codes",)
