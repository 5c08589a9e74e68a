# SPDX-License-Identifier: Apache-2.0
"""The shop window: one DuckDB file in which analysts see a whole load, built aside and put in place by one rename."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files as resources
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import polars as pl

from quality.results import CheckResult
from schemas.contract import MARTS, SOURCES, Contract, load_contract
from schemas.workspace import Workspace
from warehouse.columns import MartColumn, comments, create_table, mart_columns, parquet_source, select_columns
from warehouse.connection import quote, write_window
from warehouse.definitions import TABLES, fill_definitions, use_own
from warehouse.staged import STAGED, staged_view
from warehouse.statistics import create_functions
from warehouse.storage import guard_storage
from warehouse.streamed import newer, shown, streamed_table
from warehouse.swap import remove_candidate

VIEWS = {  # what can be large stays in Parquet and is only referred to
    "patients": "marts/patients", "scores": "marts/scores", "dose_daily": "marts/dose_daily",
    "dose_outcomes": "marts/dose_outcomes", "patient_versions": "marts/patient_versions", "dispositions": "ledger/dispositions",
}  # fmt: skip
SQL_MARTS = (  # in this order: the later ones read the earlier and their temporary tables
    "exposures", "responders", "durability", "strata", "dose_response", "synergy", "autonomic", "safety",
)  # fmt: skip
_RESULTS: dict[str, pl.DataType] = {
    "table": pl.String(), "rule": pl.String(), "severity": pl.String(), "success": pl.Boolean(), "failed_rows": pl.Int64(),
    "total_rows": pl.Int64(), "meaning": pl.String(), "owner": pl.String(), "sample": pl.List(pl.String()), "query": pl.String(),
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class WindowMeta:
    """What a window says about itself. `known_by_us` (UTC microseconds) marks a rebuild of past knowledge."""

    load: int
    versions: Mapping[str, int] = field(default_factory=dict)
    known_by_us: int | None = None


def build_window(ws: Workspace, path: Path, files: Mapping[str, Sequence[str]], meta: WindowMeta) -> None:
    """Build a window file at `path` over exactly these files; a file already there is replaced.

    `files`: table (`marts/patients`, `ledger/ledger`, `staged/devices` ...) -> its live files relative to the workspace.
    A table without files is there with its columns and no rows. Errors of disk and SQL become `VNSightError`.
    """
    remove_candidate(path)
    with guard_storage(f"build of {path.name}"):
        path.write_bytes(_empty_window())
    with write_window(path, f"build of {path.name}") as connection:
        use_own(connection, ws.home)
        _create_streamed(connection, ws, files)
        for name, table in VIEWS.items():
            _create_view(connection, ws, name, files.get(table, ()), files.get(streamed_table(name), ()))
        _create_ledger(connection, ws, "ledger", files.get("ledger/ledger", ()), "load, source, file, bin")
        _create_ledger(connection, ws, "stream_agreement", files.get("ledger/agreement", ()), "load, mart")
        _fill_freshness(connection, ws, files, meta)
        _create_dose_28d(connection, ws)
        for source in STAGED:
            connection.execute(staged_view(ws.home, source, files.get(f"staged/{source}", ()), meta.known_by_us))
        for name in SQL_MARTS:
            _create_sql_mart(connection, ws, name)
        _write_meta(connection, meta)


@cache
def _empty_window() -> bytes:
    """A window file with what is the same in all of them: functions, definitions and empty tables. They take half a second to make."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.duckdb"
        with write_window(path, "build of an empty window") as connection:
            create_functions(connection)
            for name in (*TABLES, "freshness", "quality_results", "vnsight_meta"):
                connection.execute(_sql("tables", f"{name}.sql"))
            fill_definitions(connection)
        return path.read_bytes()


def stamp_window(path: Path, meta: WindowMeta) -> None:
    """Write anew what a candidate says about itself: the versions of its load, once known, and the warnings of its audit."""
    with write_window(path, f"stamp of {path.name}") as connection:
        connection.execute("delete from vnsight_meta")
        _write_meta(connection, meta)


def add_results(path: Path, load: int, results: Sequence[CheckResult]) -> None:
    """Write the results of the audit into a candidate, in place of any that are there."""
    found = pl.DataFrame([{name: getattr(r, name) for name in _RESULTS} for r in results], schema=_RESULTS).to_arrow()
    with write_window(path, f"results of the audit in {path.name}") as connection:
        connection.execute("delete from quality_results")
        connection.register("found", found)
        connection.execute(f"insert into quality_results by name select {load} as load, * from found")


def _sql(folder: str, name: str) -> str:
    return (resources("warehouse") / folder / name).read_text(encoding="utf-8")


def mart_steps(name: str) -> list[str]:
    """Texts of the SQL steps of a mart, in the order of their numbers."""
    folder = resources("warehouse") / "marts" / name
    return [_sql(f"marts/{name}", f) for f in sorted(one.name for one in folder.iterdir()) if f[0].isdigit()]


def _described(ws: Workspace, name: str) -> tuple[Contract, tuple[MartColumn, ...]]:
    contract = load_contract(f"mart.{name}")
    return contract, mart_columns(contract, ws.settings.windows_days)


def _execute_all(connection: duckdb.DuckDBPyConnection, statements: Iterator[str]) -> None:
    connection.execute(";\n".join(statements))


def _create_streamed(connection: duckdb.DuckDBPyConnection, ws: Workspace, files: Mapping[str, Sequence[str]]) -> None:
    """The patients whose rows come from the stream, because it knows more of them than the last nightly run."""
    batch = {m: files.get(f"marts/{m}", ()) for m in MARTS}
    contract, columns = _described(ws, "streamed")
    connection.execute(create_table("streamed", columns))
    connection.execute(f"insert into streamed by name {newer(ws.home, batch, {m: files.get(streamed_table(m), ()) for m in MARTS})}")
    _execute_all(connection, comments("table", "streamed", contract, columns))


def _create_view(
    connection: duckdb.DuckDBPyConnection, ws: Workspace, name: str, files: Sequence[str], streamed: Sequence[str]
) -> None:
    contract, columns = _described(ws, name)
    connection.execute(f"create view {name} as {shown(columns, ws.home, files, streamed)}")
    _execute_all(connection, comments("view", name, contract, columns))


def _create_ledger(connection: duckdb.DuckDBPyConnection, ws: Workspace, name: str, files: Sequence[str], order: str) -> None:
    contract, columns = _described(ws, name)
    connection.execute(create_table(name, columns))
    connection.execute(f"insert into {name} by name {select_columns(columns, ws.home, files)} order by {order}")
    _execute_all(connection, comments("table", name, contract, columns))


def _create_sql_mart(connection: duckdb.DuckDBPyConnection, ws: Workspace, name: str) -> None:
    """A table as the contract describes it, from `query.sql`; the steps `1_*.sql`, `2_*.sql` before it make its temporary tables."""
    contract, columns = _described(ws, name)
    connection.execute(create_table(name, columns))
    for step in mart_steps(name):
        connection.execute(step)
    connection.execute(f"insert into {name} by name {_sql(f'marts/{name}', 'query.sql')}")
    _execute_all(connection, comments("table", name, contract, columns))


def _create_dose_28d(connection: duckdb.DuckDBPyConnection, ws: Workspace) -> None:
    """What `responders` shows of the dose; null where the site does not ask for the window of 28 days."""
    asked = 28 in ws.settings.windows_days
    amounts = {"charge_pc_28d": "bigint", "on_ms_28d": "bigint", "coverage_28d": "double"}
    dose = ", ".join(amounts if asked else (f"null::{kind} as {name}" for name, kind in amounts.items()))
    connection.execute(f"create temp view dose_28d as select response_key, subscale, {dose} from dose_outcomes")


def _fill_freshness(connection: duckdb.DuckDBPyConnection, ws: Workspace, files: Mapping[str, Sequence[str]], meta: WindowMeta) -> None:
    until = "" if meta.known_by_us is None else f" where epoch_us(_known_at) <= {meta.known_by_us}"
    parts = ["select null::varchar as source, null::timestamptz as known_at, 0::bigint as n where false"]
    for source in SOURCES:
        if live := files.get(f"staged/{source}", ()):
            parts.append(f"select {quote(source)}, max(_known_at), count(*) from {parquet_source(ws.home, live)}{until}")
    promises = ", ".join(f"({quote(s)}, {load_contract(s).freshness_days or 'null'}::double)" for s in SOURCES)
    connection.execute(f"create temp view facts as {' union all '.join(parts)}")
    connection.execute(f"create temp view promises as from (values {promises}) as t (source, freshness_days)")
    connection.execute(f"insert into freshness by name {_sql('marts/freshness', 'query.sql')}")


def _write_meta(connection: duckdb.DuckDBPyConnection, meta: WindowMeta) -> None:
    known_by = None if meta.known_by_us is None else _EPOCH + timedelta(microseconds=meta.known_by_us)
    versions = json.dumps(dict(meta.versions), sort_keys=True)
    connection.execute(
        """insert into vnsight_meta select ?, ?, ?, ?, coalesce(list("table" || ': ' || rule order by "table", rule), [])
        from quality_results where not success and severity = 'warning'""",
        [meta.load, datetime.now(UTC), known_by, versions],
    )
