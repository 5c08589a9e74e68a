# SPDX-License-Identifier: Apache-2.0
"""Which file a row is sent in, in which format, and on which physical line it stands there."""

from __future__ import annotations

import zlib
from typing import Final

import polars as pl

from schemas.contract import SOURCES
from simulator.plan import Plan

_MIXED: Final = ("ndjson", "csv", "ndjson.gz", "parquet", "ndjson.zst", "csv.gz")
_SPREAD: Final = len(_MIXED)


def period_of(plan: Plan) -> pl.Expr:
    """The number of the file's months since year 0, by the month of receipt."""
    received = pl.col("_receipt").cast(pl.Datetime("us"))
    month = received.dt.year() * 12 + received.dt.month().cast(pl.Int32) - 1
    return (month // plan.months_per_file).cast(pl.Int64)


def extension(plan: Plan, source: str, period: int) -> str:
    """Return the file ending of a source in a period; in a mixed workspace it changes from month to month and source to source."""
    if plan.format != "mixed":
        return plan.format
    return _MIXED[(period + SOURCES.index(source) + zlib.crc32(source.encode())) % _SPREAD]


def add_periods(plan: Plan, source: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Add `_period`, and whether its file is text (`_text`, only there a line can be damaged) and NDJSON (`_ndjson`)."""
    frame = frame.with_columns(_period=period_of(plan))
    endings = {p: extension(plan, source, p) for p in frame["_period"].unique().to_list()}
    text = [p for p, ending in endings.items() if ending != "parquet"]
    json = [p for p, ending in endings.items() if ending.startswith("ndjson")]
    return frame.with_columns(_text=pl.col("_period").is_in(text), _ndjson=pl.col("_period").is_in(json))


def _period_name(plan: Plan, period: int) -> str:
    first = period * plan.months_per_file
    year, month = divmod(first, 12)
    return f"{year:04d}-{month + 1:02d}" if plan.months_per_file == 1 else f"{year:04d}-H{month // 6 + 1}"


def file_name(plan: Plan, source: str, period: int, local: bool, block: int) -> str:
    """Return the path below the inbox. Names sort in the order of the periods.

    Rows with a local time go to a Parquet file of their own, as their column is text there; a workspace of one block has no
    block number in its names.
    """
    ending = extension(plan, source, period)
    parts = [_period_name(plan, period)]
    if local and ending == "parquet":
        parts.append("local")
    if len(plan.blocks) > 1:
        parts.append(f"{block:03d}")
    return f"{source}/{'-'.join(parts)}.{ending}"


def arrange(plan: Plan, source: str, frame: pl.DataFrame, block: int) -> pl.DataFrame:
    """Sort the rows as they are sent and add `_file` (below the inbox) and `_line` (from 1; a CSV header is line 1).

    Needs `_period`, `_wall` (local time as text, or null), `_order` (place within the file) and `_copy`.
    """
    kinds = frame.select("_period", local=pl.col("_wall").is_not_null()).unique().sort("_period", "local")
    names = [file_name(plan, source, p, local, block) for p, local in kinds.iter_rows()]
    frame = frame.with_columns(local=pl.col("_wall").is_not_null()).join(
        kinds.with_columns(_file=pl.Series(names, dtype=pl.String)), on=["_period", "local"], how="left", maintain_order="left"
    )
    frame = frame.drop("local").with_row_index("_row").sort("_file", "_order", "_copy", "_row").drop("_row")
    header = pl.col("_file").str.contains(".csv", literal=True).cast(pl.Int64)
    return frame.with_columns(_line=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("_file") + header)
