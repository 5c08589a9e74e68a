# SPDX-License-Identifier: Apache-2.0
"""Wide surveys: a table with one row per survey and one column per item, into rows of the contract `survey_responses`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.core.coding_guard import CodeCounts, FileRefusal, refuse_coding
from pipelines.core.order_guard import refuse_order
from pipelines.core.wide_mapping import WideLayout, WideMapping, lay_out
from schemas.instrument import Instruments

WHOLE_NUMBER = r"^[+-]?[0-9]+(\.0+)?$"  # 2.0 is what many tools write for 2 beside a missing cell; nothing is lost by reading it
CODE_LIMIT = 10_000  # codes beyond are counted as this one: a column of identifiers must not fill the memory


@dataclass(frozen=True)
class WideResult:
    """What became of a wide table.

    `responses`: columns of the contract plus `row` (0-based row of the input); instants are still text. `bad`: row,
    response_id and the list of `reasons` of each row that is refused. `unknown_labels`: label -> cells. `counts` feed
    `refuse_coding` over all chunks of a file; `refused` is its answer or that of `refuse_order` for this table alone, or a missing column.
    """

    responses: pl.DataFrame
    bad: pl.DataFrame
    unknown_labels: Mapping[str, int]
    counts: CodeCounts
    refused: FileRefusal | None


def map_wide(frame: pl.DataFrame, mapping: WideMapping, instruments: Instruments) -> WideResult:
    """Map a table of text cells (null or empty: unanswered) to survey responses; see `WideResult`.

    A row is bad if any cell is: `<column>:label` for a label the map does not know, `<column>:type` for no whole number,
    `<column>:range` for a code outside the coding of the item; never scored as 0 or as missing. Columns the mapping does not
    name are ignored. Raises `UsageError` for a mapping that does not fit its instrument.
    """
    layout = lay_out(mapping, instruments)
    absent = [c for c in (*mapping.own_columns, *layout.columns) if c not in frame.columns]
    if absent:
        message = f"column {absent[0]} is not in the file ({len(absent)} columns missing); check items and the other names"
        none = _read_cells(pl.DataFrame(schema=dict.fromkeys((*mapping.own_columns, *layout.columns), pl.String)), layout)
        return WideResult(_responses(none, layout), _bad_rows(none), {}, CodeCounts(), FileRefusal("file:columns", message))
    read = _read_cells(frame, layout)
    good = read.filter(pl.col("reasons").list.len() == 0)
    unknown, counts = _count_unknown_labels(read, layout), _count_codes(read, layout)
    refused = refuse_coding(counts, layout.declared) if mapping.coding == "codes" else None
    refused = refused or refuse_order(_codes(good, layout), layout.instrument, mapping.form_version)
    return WideResult(_responses(good, layout), _bad_rows(read), unknown, counts, refused)


def _text(column: str, missing: tuple[str, ...]) -> pl.Expr:
    text = pl.col(column).cast(pl.String).str.strip_chars()
    return pl.when(~text.is_in(["", *missing])).then(text)


def _read_cells(frame: pl.DataFrame, layout: WideLayout) -> pl.DataFrame:
    """Add per item i: text_i, code_i (form code, null if unreadable); and `reasons`, `response_id`, `row`, `source_<subscale>`."""
    mapping, positions = layout.mapping, range(len(layout.columns))
    texts = frame.with_row_index("_row").select(
        pl.col("_row").cast(pl.Int64).alias("row"),
        *(_text(c, mapping.missing).alias(f"text_{i}") for i, c in enumerate(layout.columns)),
        *(_text(c, ()).alias(f"own_{c}") for c in mapping.own_columns),
    )
    read = texts.with_columns(_code(i, layout).alias(f"code_{i}") for i in positions)
    flaws, given = [flaw for i in positions for flaw in _item_flaws(i, layout)], []
    for name, column in mapping.source_columns.items():
        text = pl.when(~pl.col(f"own_{column}").is_in(mapping.missing)).then(f"own_{column}")
        score = text.cast(pl.Float64, strict=False)
        given.append(score.alias(f"source_{name}"))
        flaws += [(text.is_not_null() & score.is_null(), f"{column}:type"), (~score.is_finite(), f"{column}:not_finite")]
    reasons = pl.concat_list([pl.when(bad).then(pl.lit(reason)) for bad, reason in flaws]).list.drop_nulls()
    identifier = (pl.lit(mapping.id_prefix) + pl.col(f"own_{mapping.response_id}")).alias("response_id")
    return read.with_columns(reasons.alias("reasons"), identifier, *given)


def _code(position: int, layout: WideLayout) -> pl.Expr:
    text = pl.col(f"text_{position}")
    if layout.mapping.coding == "labels":
        return text.str.to_lowercase().replace_strict(layout.labels, default=None, return_dtype=pl.Int64)
    number = pl.when(text.str.contains(WHOLE_NUMBER)).then(text.str.replace(r"\.0+$", "").str.strip_prefix("+"))
    return number.cast(pl.Int64, strict=False) - layout.shift


def _codes(good: pl.DataFrame, layout: WideLayout) -> npt.NDArray[np.float64]:
    codes = good.select(pl.col(f"code_{i}").cast(pl.Float64) for i in range(len(layout.columns)))
    return codes.fill_null(np.nan).to_numpy() if layout.columns else np.empty((good.height, 0))


def _item_flaws(position: int, layout: WideLayout) -> list[tuple[pl.Expr, str]]:
    column, text, code = layout.columns[position], pl.col(f"text_{position}"), pl.col(f"code_{position}")
    outside = (code.is_not_null() & ~code.is_in(layout.legal(position)), f"{column}:range")
    if layout.mapping.coding == "labels":
        return [(text.is_not_null() & code.is_null(), f"{column}:label"), outside]
    # digits beyond 64 bits are a number, only not one of this scale
    too_long = text.str.contains(WHOLE_NUMBER) & code.is_null()
    return [(text.is_not_null() & ~text.str.contains(WHOLE_NUMBER), f"{column}:type"), (too_long | outside[0], outside[1])]


def _responses(good: pl.DataFrame, layout: WideLayout) -> pl.DataFrame:
    mapping, n = layout.mapping, len(layout.columns)

    def instant(column: str | None, constant: str | None) -> pl.Expr:
        return pl.col(f"own_{column}") if column else pl.lit(constant, pl.String)

    completed = instant(mapping.completed_at, mapping.completed_at_constant)
    uploaded = completed
    if mapping.uploaded_at or mapping.uploaded_at_constant:
        uploaded = instant(mapping.uploaded_at, mapping.uploaded_at_constant)
    return good.select(
        "row", "response_id", pl.col(f"own_{mapping.patient_id}").alias("patient_id"),
        pl.lit(mapping.instrument).alias("instrument"), pl.lit(mapping.form_version).alias("form_version"),
        completed.alias("completed_at"), pl.lit(mapping.time_zone, pl.String).alias("time_zone"), uploaded.alias("uploaded_at"),
        (pl.concat_list([f"code_{i}" for i in range(n)]) if n else pl.lit([], pl.List(pl.Int64))).alias("answers"),
        (pl.col("source_total") if mapping.source_score else pl.lit(None, pl.Float64)).alias("source_score"),
        *_source_subscales(list(mapping.source_subscales)),
    )  # fmt: skip


def _source_subscales(names: list[str]) -> tuple[pl.Expr, pl.Expr]:
    """Both columns of the contract about subscales; null where the file has none."""
    scores = pl.concat_list([f"source_{name}" for name in names]) if names else pl.lit(None, pl.List(pl.Float64))
    return pl.lit(names or None, pl.List(pl.String)).alias("source_subscales"), scores.alias("source_subscale_scores")


def _bad_rows(read: pl.DataFrame) -> pl.DataFrame:
    return read.filter(pl.col("reasons").list.len() > 0).select("row", "response_id", "reasons")


def _count_unknown_labels(read: pl.DataFrame, layout: WideLayout) -> dict[str, int]:
    if layout.mapping.coding == "codes" or not layout.columns:
        return {}
    items = range(len(layout.columns))
    unknown = [read.filter(pl.col(f"code_{i}").is_null())[f"text_{i}"].alias("text").drop_nulls() for i in items]
    cells = pl.concat(unknown).value_counts()
    return dict(sorted(cells.iter_rows(), key=lambda pair: (-pair[1], pair[0])))


def _count_codes(read: pl.DataFrame, layout: WideLayout) -> CodeCounts:
    """Codes as the file writes them, with the rows in which one is outside."""
    if layout.mapping.coding == "labels" or not layout.columns:
        return CodeCounts()
    codes = [pl.col(f"code_{i}") for i in range(len(layout.columns))]
    outside = pl.any_horizontal(~code.is_in(layout.legal(i)) for i, code in enumerate(codes))
    coded = pl.any_horizontal(code.is_not_null() for code in codes)
    rows = read.select(coded.sum().alias("rows"), outside.sum().alias("outside")).row(0)
    cells = pl.concat([read[f"code_{i}"].alias("code") for i in range(len(codes))]).drop_nulls() + layout.shift
    counted = cells.clip(-CODE_LIMIT, CODE_LIMIT).value_counts(name="cells").sort("code")
    return CodeCounts(dict(counted.iter_rows()), *rows)
