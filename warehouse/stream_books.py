# SPDX-License-Identifier: Apache-2.0
"""The books of a streaming job, as committed: what was read, refused, held, came twice, or waits for the owner of its device.

`streamed/receipts` has a row per message (again after a replay: each counts once), `streamed/held` a row per key and source whenever a
key was looked at (the last one counts). A nightly run that knows everything closes the books; then there is nothing here.

Receipts count since the books were opened, `held` since the state began, with the staged facts it began with: read = quarantined + held +
duplicate only for a state that began with nothing, before its first closing, and when all was looked at.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from schemas.workspace import Workspace
from warehouse.columns import parquet_source
from warehouse.delta import last_complete, live_files

BINS = ("read", "quarantined", "held", "duplicate", "pending")

_READ = """select source, sum(records)::bigint as read, sum(quarantined)::bigint as quarantined
    from (select distinct topic, "partition", "offset", source, records, quarantined from {receipts}) group by source"""
_HELD = """select source, sum(rows)::bigint as held, sum(copies)::bigint as duplicate, sum(waiting)::bigint as pending from (
    from {held} qualify row_number() over (partition by step, key, source order by _load desc, rows + copies desc, waiting) = 1
    ) group by source"""


def stream_books(ws: Workspace) -> dict[str, Mapping[str, int]]:
    """Source -> bin (`BINS`) -> rows; empty without a stream. `pending` is a part of `held`."""
    complete = last_complete(ws)
    files = {name: live_files(ws, f"streamed/{name}", complete.versions.get(f"streamed/{name}")) for name in ("receipts", "held")}
    books: dict[str, dict[str, int]] = {}
    connection = duckdb.connect()
    try:
        for name, sql in (("receipts", _READ), ("held", _HELD)):
            if files[name]:
                answer = connection.execute(sql.format(**{name: parquet_source(ws.home, files[name])}))
                columns = [d[0] for d in answer.description][1:]
                for source, *numbers in answer.fetchall():
                    books.setdefault(source, dict.fromkeys(BINS, 0)).update(zip(columns, map(int, numbers), strict=True))
    finally:
        connection.close()
    return dict(sorted(books.items()))
