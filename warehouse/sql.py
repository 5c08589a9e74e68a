# SPDX-License-Identifier: Apache-2.0
"""One read-only question in SQL to the published marts, with errors a person can act on."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import duckdb
import pyarrow as pa

from schemas.errors import UsageError, VNSightError
from schemas.workspace import Workspace
from warehouse.connection import read_window

_READS = ("SELECT", "EXPLAIN")
_ODD = re.compile(r"\bINTERVAL\b|.\bBLOB\b|\bBLOB\b.")


def query(place: Workspace | Path, sql: str) -> pa.Table:
    """Answer one SELECT (also WITH, FROM, DESCRIBE, SUMMARIZE, SHOW, EXPLAIN) from `marts.duckdb` or another window file.

    Instants come in UTC. `UsageError` for anything else than one reading statement, for wrong syntax and for unknown names, with
    the names that exist; `VNSightError` when the files behind the views cannot be read.
    Intervals of time come as text, since few readers of Arrow know them.
    """
    path = place.window if isinstance(place, Workspace) else place
    with read_window(path) as connection:
        _check_one_read(connection, sql)
        try:
            answer: pa.Table = _exchangeable(connection.sql(sql)).to_arrow_table()
        except duckdb.CatalogException as error:
            raise UsageError(_unknown_table(connection, str(error))) from error
        except duckdb.BinderException as error:
            raise UsageError(f"{_first(error)} (columns of a table: describe TABLE)") from error
        except duckdb.IOException as error:
            raise VNSightError(f"{_first(error)}. Was the folder moved? Build the window anew: vnsight refresh") from error
        except duckdb.Error as error:
            raise UsageError(f"the query failed: {_first(error)}") from error
    return answer.rename_columns(_each_once(answer.column_names))


def _exchangeable(answer: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Columns that hold intervals, or bytes inside lists and structs, as text; all others as they are."""
    as_text = [bool(_ODD.search(str(kind))) for kind in answer.types]
    if not any(as_text):
        return answer
    names = ['"' + name.replace('"', '""') + '"' for name in answer.columns]
    return answer.project(", ".join(f"{f'#{i}::varchar' if odd else f'#{i}'} as {names[i - 1]}" for i, odd in enumerate(as_text, 1)))


def _each_once(names: list[str]) -> list[str]:
    """Names of an answer, each once: a join that selects `patient_key` of both sides gives `patient_key` and `patient_key_1`."""
    taken: dict[str, int] = {}
    unique = []
    for name in names:
        count = taken.get(name, 0)
        taken[name] = count + 1
        unique.append(f"{name}_{count}" if count else name)
    return unique


def _check_one_read(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        hint = "quote the whole query for your shell, and write text in single quotes"
        raise UsageError(f"this is not SQL: {_first(error)} ({hint})") from error
    if len(statements) != 1:
        if not statements:
            raise UsageError("the query is empty; ask something, such as: vnsight sql \"describe strata\"")
        raise UsageError(
            f"one statement at a time: {len(statements)} were given; a table of your own can be part of it: "
            "with t as (select ...) from kaplan_meier('t')"
        )
    kind = statements[0].type.name
    if kind not in _READS:
        raise UsageError(f"the marts are read-only: {kind} is not a question (SELECT, FROM, WITH, DESCRIBE, SHOW, EXPLAIN are)")


def _unknown_table(connection: duckdb.DuckDBPyConnection, message: str) -> str:
    rows = connection.execute("select distinct table_name from duckdb_columns() where not internal order by 1").fetchall()
    names = [row[0] for row in rows]
    asked = re.search(r"with name (\w+) does not exist", message)
    if asked is None or "Table" not in message:
        return message.split("\n", maxsplit=1)[0]
    near = difflib.get_close_matches(asked[1].lower(), names, 1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    return f"there is no table {asked[1]}{guess}; there are: {', '.join(names)}"


def _first(error: Exception) -> str:
    return str(error).split("\n")[0]
