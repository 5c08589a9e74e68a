# SPDX-License-Identifier: Apache-2.0
"""Score a survey table by itself, without a workspace: CSV, TSV or Parquet in, one row per survey and subscale out."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Literal

import polars as pl

from pipelines.core.score import score_responses
from pipelines.core.wide import WHOLE_NUMBER, WideResult, map_wide
from pipelines.core.wide_mapping import WideMapping, item_columns
from schemas.errors import UsageError, VNSightError
from schemas.instrument import Instrument, load_instrument

SEPARATORS = {".csv": ",", ".tsv": "\t"}
FEWEST_SHOWN = 11  # a label in 1 to 10 cells may be one person's own words, so it is counted but not repeated
HINTS = {
    "label": "the label is in no wording of the form: name its code under labels, or mark it missing",
    "type": "not a whole number: mark it missing, or choose the columns that hold the codes",
    "range": "a code outside the coding of the form: mark it missing if it means unanswered, or check the form version",
}


def read_text_table(path: Path) -> pl.DataFrame:
    """Read a table with every cell as text; null is an empty cell. `UsageError` for a missing file or an unknown ending,
    `VNSightError` for one that cannot be read."""
    ending = path.suffix.lower()
    if ending not in (*SEPARATORS, ".parquet"):
        raise UsageError(f"{path.name}: the ending says neither CSV, TSV nor Parquet; rename it to .csv, .tsv or .parquet")
    if not path.is_file():
        raise UsageError(f"{path.name} is not a file; check the path")
    try:
        if ending == ".parquet":
            return pl.read_parquet(path).select(pl.all().cast(pl.String))
        blank = _check_lines(path)
        frame = pl.read_csv(path, separator=SEPARATORS[ending], infer_schema=False)
        return frame.filter(~pl.int_range(pl.len()).is_in(blank))
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError, csv.Error) as error:
        raise VNSightError(f"{path.name} cannot be read as a table: {str(error).splitlines()[0]}") from error


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Records with the physical line each begins on; a quoted cell may hold line breaks, so lines are not rows."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader, begin = csv.reader(lines, delimiter=SEPARATORS[path.suffix.lower()]), 1
        for record in reader:
            yield begin, record
            begin = reader.line_num + 1


def _check_lines(path: Path) -> list[int]:
    """Refuse what the fast reader would mend without a word: a short line (its end read as unanswered), a name twice.

    Returns the rows (from 0) that are blank lines; the fast reader takes them for surveys without answers."""
    header: list[str] = []
    blank: list[int] = []
    for row, (line, record) in enumerate(_records(path), start=-1):
        if row < 0:
            header = record
            twice = next((name for name in header if header.count(name) > 1), None)
            if twice is not None:
                raise VNSightError(f"{path.name} line 1: two columns are called {twice!r}; rename one")
        elif not record:
            blank.append(row)
        elif len(record) != len(header):
            cells = f"{len(record)} cells where the header has {len(header)}"
            raise VNSightError(f"{path.name} line {line}: {cells} (line:columns)")
    if not header:
        raise VNSightError(f"{path.name} is empty; it needs a line with the names of its columns")
    return blank


def detect_coding(frame: pl.DataFrame, columns: tuple[str, ...], missing: tuple[str, ...]) -> Literal["codes", "labels"]:
    """Tell whether cells hold codes or labels: what most answered cells are; codes for a table without answers."""
    cells = pl.concat([frame[c].alias("cell").str.strip_chars() for c in columns]).drop_nulls()
    cells = cells.filter(~cells.is_in(["", *missing]))
    numbers = int(cells.str.contains(WHOLE_NUMBER).sum())
    return "codes" if 2 * numbers >= len(cells) else "labels"


def score_file(
    path: Path,
    instrument: str,
    items: str | tuple[str, ...] = "q{}",
    id: str | None = None,
    missing: tuple[str, ...] = (),
    *,
    form_version: str = "standard",
    labels: Mapping[str, int] | None = None,
) -> pl.DataFrame:
    """Score every row of a wide table: columns id, instrument, subscale, score, status, n_answered, band, reason, in order
    of the rows.

    `items` is a template filled with 1, 2, ... or the columns in form order; cells hold codes or labels of the form, which is
    found out. Without `id` the row number (from 1) stands for it. A score is null where too few items were answered, and then
    `reason` says how many; `band` is the severity band of the score, null where none is published.
    Raises `UsageError` for a wrong call, and `VNSightError` naming line, column, rule and a hint if any cell cannot be
    read or if the codes of the whole file contradict the form: nothing is scored then.
    """
    form = load_instrument(instrument)
    if form_version not in form.forms:
        raise UsageError(f"{instrument} has no form {form_version}; there are: {', '.join(form.forms)}")
    if not form.forms[form_version].items:
        raise UsageError(f"{instrument}, form {form_version} has no items to score: it is kept as the total of the source")
    frame = read_text_table(path)
    columns = item_columns(items, form.forms[form_version])
    absent = [c for c in (*columns, *([id] if id else [])) if c not in frame.columns]
    if absent:
        there = ", ".join(frame.columns[:12])
        raise UsageError(f"{path.name}: no column is called {absent[0]}; it has {there}; check --items and --id")
    mapping = WideMapping(
        instrument=instrument, form_version=form_version, response_id=columns[0], patient_id=columns[0], items=columns,
        completed_at_constant="", coding=detect_coding(frame, columns, missing), missing=missing, labels=labels or {},
    )  # fmt: skip
    result = map_wide(frame, mapping, {instrument: form})
    _refuse(path, frame, result)
    ids = frame[id] if id else pl.Series("id", range(1, frame.height + 1), dtype=pl.Int64).cast(pl.String)
    return _score(result, form, ids)


def _score(result: WideResult, instrument: Instrument, ids: pl.Series) -> pl.DataFrame:
    row = pl.col("row")
    keyed = result.responses.with_columns(row.alias("response_key"), row.alias("patient_key"))
    scores = score_responses(keyed, {instrument.id: instrument})
    named = scores.with_columns(ids.gather(scores["response_key"]).alias("id"))
    return named.select("id", "instrument", "subscale", "score", "status", "n_answered", _bands(scores, instrument), "reason")


def _bands(scores: pl.DataFrame, instrument: Instrument) -> pl.Series:
    """The severity band of every score; few scores differ, so each is looked up once."""
    different = scores.select("subscale", "score").unique()
    named = [None if score is None else instrument.subscales[name].band(score) for name, score in different.rows()]
    looked_up = different.with_columns(pl.Series("band", named, dtype=pl.String))
    return scores.join(looked_up, on=["subscale", "score"], how="left", nulls_equal=True, maintain_order="left")["band"]


def _refuse(path: Path, frame: pl.DataFrame, result: WideResult) -> None:
    if result.refused:
        raise VNSightError(f"{path.name}, {result.refused.rule}: {result.refused.message}")
    if result.bad.is_empty():
        return
    first = result.bad.row(0, named=True)
    column, rule = first["reasons"][0].rsplit(":", 1)
    place = f"row {first['row'] + 1}" if path.suffix.lower() == ".parquet" else f"line {_line_of(path, first['row'])}"
    cells = int(result.bad["reasons"].list.len().sum())
    shown = [f"{label!r} in {n:,} cells" for label, n in result.unknown_labels.items() if n >= FEWEST_SHOWN]
    unknown = f"; unknown labels: {', '.join(shown[:8])}" if shown else ""
    raise VNSightError(
        f"{path.name} {place}, {column}, {rule}: {HINTS[rule]}. "
        f"In all {cells:,} such cells in {result.bad.height:,} of {frame.height:,} rows{unknown}; nothing was scored"
    )


def _line_of(path: Path, row: int) -> int:
    return next(islice((line for line, record in _records(path) if record), row + 1, None))
