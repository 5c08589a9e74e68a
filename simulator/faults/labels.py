# SPDX-License-Identifier: Apache-2.0
"""The label of a faulty row, and the rows that may not be touched any more."""

from __future__ import annotations

import polars as pl

from schemas.contract import Contract
from simulator.columns import UTC_US
from simulator.plan import Array
from simulator.population import STAYS, People

LABELS = ("_fault", "_bin", "_rule")


def record_text(contract: Contract) -> pl.Expr:
    """The record's key as text: its parts joined by `/`, instants in ISO 8601."""
    parts = [
        pl.col(c).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ") if contract.column(c).type == "timestamp" else pl.col(c).cast(pl.String)
        for c in contract.key
    ]
    return pl.concat_str(parts, separator="/")


def add_labels(frame: pl.DataFrame, contract: Contract, people: People) -> pl.DataFrame:
    """Add empty labels and the other columns that decide how a row is sent; `_free` rows may still get a fault."""
    stays = pl.Series(people.withdrawal == STAYS).gather(frame["_patient"])
    return frame.with_columns(
        _free=stays, _wall=pl.lit(None, pl.String), _damage=pl.lit(None, pl.String),
        _later=pl.lit(False), _order=pl.col("_receipt"), _copy=pl.lit(0, pl.Int8), **{name: pl.lit(None, pl.String) for name in LABELS},
    )  # fmt: skip


def as_labels(fault: str, bin: str, rule: str) -> dict[str, pl.Expr]:
    """The label as columns, for rows that all carry it."""
    return {name: pl.lit(text) for name, text in zip(LABELS, (fault, bin, rule), strict=True)} | {"_free": pl.lit(False)}


def label(frame: pl.DataFrame, chosen: Array | pl.Series, fault: str, bin: str, rule: str) -> pl.DataFrame:
    """Label the chosen rows and take them out of the free ones."""
    here = pl.Series(chosen)
    texts = {name: pl.when(here).then(pl.lit(text)).otherwise(pl.col(name)) for name, text in zip(LABELS, (fault, bin, rule), strict=True)}
    return frame.with_columns(**texts, _free=pl.col("_free") & ~here)


def shift(column: str, us: Array) -> pl.Expr:
    """An instant moved by microseconds per row."""
    return (pl.col(column).cast(pl.Int64) + pl.Series(us)).cast(UTC_US).alias(column)
