# SPDX-License-Identifier: Apache-2.0
"""Content hash of a mart: the same rows give the same hash, however they are ordered, split into files or spread over loads.

1. A row is written as text: every value with a bar behind it, nothing before the bar for null. Text has its length in front, which
   keeps `a|b` and `a`, `b` apart and null apart from empty text. Numbers with a fraction are written in hexadecimal and instants as
   microseconds, so that neither a version of DuckDB nor the time zone of a session can change the text; -0 counts as 0.
2. Its MD5 is split into two 64-bit numbers. Each is summed over all rows modulo 2^64: addition has no order, and unlike exclusive or
   it does not forget a row that is there twice.
3. The hash is the SHA-256 of the column names and types, the number of rows and the two sums.

Columns of bookkeeping (`_load`, `_file` ...) are left out. `ledger`, `dispositions`, `freshness` and the tables about the file itself
tell how the data came in load by load, so they are hashed only when named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import duckdb

from schemas.errors import UsageError
from schemas.workspace import Workspace
from warehouse.connection import read_window
from warehouse.storage import guard_storage

DEFAULT_MARTS = (  # autonomic and safety read staged facts, which a stream does not have: theirs is asked for by name
    "patients", "dose_daily", "scores", "dose_outcomes", "responders", "durability", "exposures", "strata", "dose_response", "synergy",
)  # fmt: skip
COMBINED = "all"
_PLAIN = ("BIGINT", "INTEGER", "BOOLEAN", "DATE")  # their text holds no bar


def content_hash(place: Workspace | Path, mart: str | None = None) -> dict[str, str]:
    """Table -> hash of 64 hex characters, for one table or for the default marts.

    Without `mart` the last entry, `all`, combines the others. `UsageError` when the table does not exist or nothing is published.
    """
    path = place.window if isinstance(place, Workspace) else place
    with read_window(path) as connection, guard_storage(f"hash of {path.name}"):
        names = _tables(connection)
        if mart is not None:
            if mart not in names:
                raise UsageError(f"{path.name} has no table {mart}; there are: {', '.join(names)}")
            return {mart: _hash_table(connection, mart)}
        hashes = {name: _hash_table(connection, name) for name in DEFAULT_MARTS}
    combined = "\n".join(f"{name} {value}" for name, value in hashes.items())
    return hashes | {COMBINED: hashlib.sha256(combined.encode()).hexdigest()}


def _tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    rows = connection.execute("select distinct table_name from duckdb_columns() where not internal order by 1").fetchall()
    return [row[0] for row in rows]


def _hash_table(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    columns = [(c, t) for c, t, *_ in connection.execute(f'describe "{name}"').fetchall() if not c.startswith("_")]
    count, low, high = connection.execute(
        f"""select count(*), sum(md5_number_lower(content)) % {2**64}, sum(md5_number_upper(content)) % {2**64}
        from (select {row_text(columns)} as content from "{name}")"""
    ).fetchall()[0]
    shape = ";".join(f"{c} {t}" for c, t in columns)
    return hashlib.sha256(f"{shape}\n{count} {low or 0} {high or 0}".encode()).hexdigest()


def row_text(columns: Sequence[tuple[str, str]]) -> str:
    """SQL for a row of these columns (name, type) as text, told apart from every other row."""
    return f"concat({', '.join(_text(c, t) for c, t in columns)})"  # concat leaves nulls out


def _text(column: str, kind: str) -> str:
    """SQL for the text of a column, as arguments of `concat`."""
    value = f'"{column}"'
    if kind in ("DOUBLE", "FLOAT"):
        return f"printf('%a', {value}::double + 0.0), '|'"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"epoch_us({value}), '|'"
    if kind in _PLAIN:
        return f"{value}, '|'"
    value = f"to_json({value})::varchar" if kind.endswith("[]") else f"{value}::varchar"
    return f"strlen({value}), ':', {value}, '|'"
