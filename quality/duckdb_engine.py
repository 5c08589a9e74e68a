# SPDX-License-Identifier: Apache-2.0
"""Great Expectations on DuckDB: the SQLAlchemy dialect and the data source it lacks.

Importing this module imports Great Expectations (seven seconds), so it is imported inside the audit only.

Two things are cured. No maintained SQLAlchemy dialect works with DuckDB 2: this one reads tables and views only. And Great
Expectations reads the rows of a result after it has given the connection back, when DuckDB has already dropped them: one connection
is therefore kept open for the whole audit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import sqlalchemy
from great_expectations.datasource.fluent.sql_datasource import SQLDatasource
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from sqlalchemy import types
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql import base as postgresql
from sqlalchemy.pool import NullPool

from warehouse.connection import dbapi

_TYPES: dict[str, Any] = {
    "BIGINT": types.BIGINT, "INTEGER": types.INTEGER, "HUGEINT": types.NUMERIC, "DOUBLE": postgresql.DOUBLE_PRECISION,
    "VARCHAR": types.VARCHAR, "BOOLEAN": types.BOOLEAN, "DATE": types.DATE, "TIMESTAMP": postgresql.TIMESTAMP,
    "TIMESTAMP WITH TIME ZONE": postgresql.TIMESTAMP,
}  # fmt: skip


class DuckDBDialect(postgresql.PGDialect):  # type: ignore[misc]  # sqlalchemy's stubs are skipped
    """DuckDB as a read-only relative of PostgreSQL: what is needed to ask questions and to list columns."""

    name = "duckdb"
    driver = "duckdb"
    default_paramstyle = "qmark"
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Any:
        """Return the DuckDB module."""
        return dbapi()

    @classmethod
    def get_pool_class(cls, url: Any) -> Any:
        """Keep no connection that nobody uses: an open one would hold the candidate when it is to be removed."""
        return NullPool

    def create_connect_args(self, url: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Open the file of the address read-only: two connections of one process must agree on that."""
        return (), {"database": url.database, "read_only": True}

    def initialize(self, connection: Any) -> None:
        """Say what PostgreSQL would be asked for."""
        self.default_schema_name = "main"
        self.server_version_info = (14, 0)

    def on_connect(self) -> Any:
        """Answer in UTC, whatever the zone of the machine."""
        return lambda connection: connection.execute("set TimeZone = 'UTC'")

    def do_begin(self, dbapi_connection: Any) -> None:
        """Do nothing: a reader needs no transaction."""

    do_commit = do_rollback = do_begin

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Ask the least question there is."""
        dbapi_connection.execute("select 1").fetchall()
        return True

    def get_columns(self, connection: Any, table_name: str, schema: str | None = None, **_: Any) -> list[dict[str, Any]]:
        """List the columns of a table or view with their types."""
        rows = connection.exec_driver_sql(
            "select column_name, data_type from duckdb_columns() where table_name = ? and schema_name = ? order by column_index",
            (table_name, schema or "main"),
        ).fetchall()
        return [{"name": n, "type": _type(t), "nullable": True, "default": None, "comment": None} for n, t in rows]

    def get_table_names(self, connection: Any, schema: str | None = None, **_: Any) -> list[str]:
        """List tables and views alike: the audit does not care which is which."""
        rows = connection.exec_driver_sql("select distinct table_name from duckdb_columns() where not internal").fetchall()
        return [row[0] for row in rows]

    def get_view_names(self, connection: Any, schema: str | None = None, **_: Any) -> list[str]:
        """List none, they are among the tables."""
        return []

    def has_table(self, connection: Any, table_name: str, schema: str | None = None, **_: Any) -> bool:
        """Tell whether a table or view of that name exists."""
        return table_name in self.get_table_names(connection, schema)

    def get_schema_names(self, connection: Any, **_: Any) -> list[str]:
        """Name the one schema of a window."""
        return ["main"]

    def get_pk_constraint(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Report none: keys are the audit's to check."""
        return {"constrained_columns": [], "name": None}

    def get_foreign_keys(self, *_: Any, **__: Any) -> list[Any]:
        """Report none."""
        return []

    get_indexes = get_unique_constraints = get_foreign_keys


def _type(name: str) -> Any:
    if name.endswith("[]"):
        return postgresql.ARRAY(types.NullType())
    found = _TYPES.get(name.split("(", maxsplit=1)[0].strip(), types.NullType)
    return found(timezone=True) if name.endswith("WITH TIME ZONE") else found()


class DuckDBExecutionEngine(SqlAlchemyExecutionEngine):  # type: ignore[misc]  # great_expectations is untyped here
    """The SQL engine with one connection kept open, and PostgreSQL's words for regular expressions and types."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._lent: Any = None
        super().__init__(*arguments, **options)
        self.dialect_module = sqlalchemy.dialects.postgresql

    @contextmanager
    def get_connection(self) -> Iterator[Any]:
        """Lend the one connection."""
        if self._lent is None:
            self._lent = self.engine.connect()
        yield self._lent

    def close(self) -> None:
        """Give the file back: the candidate is to be renamed or removed next."""
        if self._lent is not None:
            self._lent.close()
            self._lent = None
        self.engine.dispose()


class DuckDBDatasource(SQLDatasource):  # type: ignore[misc]  # great_expectations is untyped here
    """Registers itself as `context.data_sources.add_duckdb(name, connection_string=...)`."""

    type: Literal["duckdb"] = "duckdb"

    @property
    def execution_engine_type(self) -> Any:  # `type` is the name of the field above
        """The engine above."""
        return DuckDBExecutionEngine


registry.register("duckdb", __name__, "DuckDBDialect")
