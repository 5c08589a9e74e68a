# SPDX-License-Identifier: Apache-2.0
"""The SQL of the marts over small tables in memory: no files, no workspace, so that thousands of worlds can be tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import Any

import duckdb
import polars as pl

from schemas.contract import load_contract
from schemas.frames import mart_schema
from warehouse.columns import create_table, mart_columns
from warehouse.definitions import TABLES, fill_definitions
from warehouse.statistics import create_functions
from warehouse.window import mart_steps

Row = dict[str, Any]


@cache
def _filled() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("set threads = 1")
    create_functions(connection)
    for name in TABLES:
        connection.execute((files("warehouse") / "tables" / f"{name}.sql").read_text(encoding="utf-8"))
    fill_definitions(connection)
    return connection


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in UTC with the functions there and the definitions and instruments filled; what is done to it is undone."""
    with _filled().cursor() as connection:
        connection.execute("set TimeZone = 'UTC'; begin")
        try:
            yield connection
        finally:
            connection.execute("rollback")


def build(
    connection: duckdb.DuckDBPyConnection, people: Sequence[Row], scores: Sequence[Row], marts: Sequence[str]
) -> dict[str, list[Row]]:
    """Rows of `marts`, built in that order; nobody has a dose."""
    for name, rows in (("patients", people), ("scores", scores)):
        schema = mart_schema(load_contract(f"mart.{name}"), ())
        frame = pl.DataFrame([{c: row.get(c) for c in schema} for row in rows], schema=schema)
        connection.register(f"{name}_frame", frame.to_arrow())
        connection.execute(f"create or replace table {name} as from {name}_frame")
    connection.execute("create or replace temp view dose_28d as select response_key, subscale, 1::bigint as charge_pc_28d, "
                       "1::bigint as on_ms_28d, "
                       "1::double as coverage_28d from scores")  # fmt: skip
    found = {}
    for name in marts:
        connection.execute(create_table(name, mart_columns(load_contract(f"mart.{name}"), ())))
        for step in mart_steps(name):
            connection.execute(step)
        query = (files("warehouse") / "marts" / name / "query.sql").read_text(encoding="utf-8")
        connection.execute(f"insert into {name} by name {query}")
        found[name] = connection.sql(f"from {name}").to_arrow_table().to_pylist()
    return found
