# SPDX-License-Identifier: Apache-2.0
"""Marts in SQL over a handful of hand-made rows, in memory: what they read is given, nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from in_memory import connect
from window_parts import Row, key

from schemas.contract import load_contract
from schemas.frames import mart_schema, window_names
from schemas.workspace import Workspace
from warehouse import window
from warehouse.columns import create_table, mart_columns
from warehouse.staged import STAGED, staged_view

READ = ("patients", "scores", "dose_daily", "responders")
WS = Workspace(Path())


def answer(n: int, responded: bool | None, **over: Any) -> Row:
    """A row of responders: PHQ-9 at month 6 by drop_50; who was not seen is neither carried forward nor left out of nri."""
    row = {"patient_key": key(n), "instrument": "PHQ-9", "subscale": "total", "visit": "m6", "definition": "drop_50"}
    row |= {"outcome": "undetermined" if responded is None else "response" if responded else "none", "responded": responded}
    row |= {"responded_locf": responded, "responded_nri": bool(responded), "remitted": False, "arm": "vns", "modality": "implanted"}
    row |= {"reason": "no_follow_up" if responded is None else None, "baseline_band": None, "charge_pc_28d": 10, "on_ms_28d": 7}
    row |= {"coverage_28d": 1.0}
    return row | over


def fill(connection: duckdb.DuckDBPyConnection, name: str, rows: Sequence[Row]) -> None:
    """Make a table with the columns of its mart and put rows in; columns that are not given are null."""
    contract = load_contract(f"mart.{name}")
    connection.execute(create_table(name, mart_columns(contract, WS.settings.windows_days)))
    if rows:
        schema = mart_schema(contract, window_names(WS.settings.windows_days))
        frame = pl.DataFrame([{c: row.get(c) for c in schema} for row in rows], schema=schema).to_arrow()
        connection.register("given", frame)
        connection.execute(f"insert into {name} by name from given")
        connection.unregister("given")


@contextmanager
def world(marts: Sequence[str], staged: Mapping[str, str] | None = None, **rows: Sequence[Row]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Build marts over rows of `READ`; `staged`: source -> a Parquet file of facts below the working directory of the test."""
    with connect() as connection:
        for name in READ:
            fill(connection, name, rows.get(name, ()))
        for source in STAGED:
            found = [staged[source]] if staged and source in staged else []
            connection.execute(staged_view(Path("/"), source, found, None))
        connection.execute(window.mart_steps("responders")[0])
        for name in marts:
            window._create_sql_mart(connection, WS, name)
        yield connection


def rows_of(connection: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    """Rows of a query as dicts."""
    return connection.sql(sql).to_arrow_table().to_pylist()
