# SPDX-License-Identifier: Apache-2.0
"""The books of a streaming job, as committed: what it began with and read, and what became of it. They live as long as its state.

    streamed/opened    facts a state began with, per source; a job that begins anew opens new books, and the older ones go
    streamed/receipts  a row per message, again after a replay: each offset counts once
    streamed/closed    receipts that were added up, per topic and partition: those before offset `until`
    streamed/held      a row per key and source whenever a key was looked at, counted since its state began: the last one counts

A nightly run adds receipts up and keeps the last row of each key (`folded_books`), so that the books stay small; what they say does not
change. So at every moment, of every source:

    staged + read = quarantined + held + duplicate + let_go + what nobody has looked at yet
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import polars as pl

from schemas.load import CompleteLoad
from schemas.workspace import Workspace
from warehouse.columns import parquet_source
from warehouse.delta import last_complete, live_files

BINS = ("staged", "read", "quarantined", "held", "duplicate", "let_go", "pending")
BOOKS = ("streamed/opened", "streamed/closed", "streamed/receipts", "streamed/held")

_EMPTY = {
    "opened": "select null::varchar as source, null::bigint as rows, null::bigint as since where false",
    "closed": """select null::varchar as topic, null::bigint as "partition", null::varchar as source, null::bigint as until,
        null::bigint as records, null::bigint as quarantined where false""",
    "receipts": """select null::varchar as topic, null::bigint as "partition", null::bigint as "offset", null::varchar as source,
        null::bigint as records, null::bigint as quarantined where false""",
    "held": """select null::varchar as step, null::bigint as key, null::varchar as source, null::bigint as rows, null::bigint as copies,
        null::bigint as let_go, null::bigint as waiting, null::bigint as _load where false""",
}
_CLOSED = """select topic, "partition", source, max(until)::bigint as until, sum(records)::bigint as records,
        sum(quarantined)::bigint as quarantined
    from (
        select topic, "partition", source, until, records, quarantined from closed
        union all
        select distinct r.topic, r."partition", r.source, r."offset" + 1, r.records, r.quarantined
        from receipts as r left join closed as c on c.topic = r.topic and c."partition" = r."partition"
        where r."offset" >= coalesce(c.until, 0))
    group by topic, "partition", source order by topic, "partition", source"""
_LAST = """select step, key, source, rows, copies, let_go, waiting from held
    qualify row_number() over (partition by step, key, source order by _load desc, rows + copies + let_go desc, waiting) = 1
    order by step, key, source"""
_SUMS = {
    "staged": "select source, sum(rows) as staged from opened where rows > 0 group by source",
    "read": f"select source, sum(records) as read, sum(quarantined) as quarantined from ({_CLOSED}) group by source",
    "held": f"""select source, sum(rows) as held, sum(copies) as duplicate, sum(let_go) as let_go, sum(waiting) as pending
        from ({_LAST}) group by source""",
}


def stream_books(ws: Workspace) -> dict[str, Mapping[str, int]]:
    """Source -> bin (`BINS`) -> rows since the state of the job began; empty without a stream. `pending` is a part of `held`."""
    books: dict[str, dict[str, int]] = {}
    with _opened(ws, book_files(ws, last_complete(ws))) as connection:
        for sql in _SUMS.values():
            for row in _frame(connection, sql).iter_rows(named=True):
                source = row.pop("source")
                books.setdefault(source, dict.fromkeys(BINS, 0)).update({name: int(n) for name, n in row.items()})
    return dict(sorted(books.items()))


def folded_books(ws: Workspace, base: CompleteLoad) -> tuple[dict[str, pl.DataFrame], dict[str, tuple[str, ...]]]:
    """The books of a complete load in two small parts, and the files these replace: table -> rows, table -> files.

    Both are empty when no receipt came since the last time. An offset below `until` that is told later was counted: a replay.
    """
    files = book_files(ws, base)
    if not files["streamed/receipts"] and len(files["streamed/held"]) < 2:
        return {}, {}
    with _opened(ws, files) as connection:
        rows = {"streamed/closed": _frame(connection, _CLOSED), "streamed/held": _frame(connection, _LAST)}
    replaced = {table: tuple(found) for table, found in files.items() if found and table != "streamed/opened"}
    return {table: frame for table, frame in rows.items() if frame.height}, replaced


def book_files(ws: Workspace, complete: CompleteLoad) -> dict[str, list[str]]:
    """Table of the books -> its live files as of a complete load."""
    return {table: live_files(ws, table, complete.versions.get(table)) for table in BOOKS}


def books_since(ws: Workspace, complete: CompleteLoad) -> int:
    """When the state began whose books these are, in ns; 0 when none were opened."""
    with _opened(ws, book_files(ws, complete)) as connection:
        return int(connection.execute("select coalesce(max(since), 0) from opened").fetchall()[0][0])


def _opened(ws: Workspace, files: Mapping[str, list[str]]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    for table, found in files.items():
        name = table.removeprefix("streamed/")
        connection.execute(f"create temp view {name} as {f'from {parquet_source(ws.home, found)}' if found else _EMPTY[name]}")
    return connection


def _frame(connection: duckdb.DuckDBPyConnection, sql: str) -> pl.DataFrame:
    return pl.DataFrame(connection.sql(sql).to_arrow_table())
