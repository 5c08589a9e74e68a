# SPDX-License-Identifier: Apache-2.0
"""Rows that came by a streaming pipeline, beside those of the last nightly run: which of them readers see, and whether the two agree.

`streamed/<mart>` holds snapshots of patients, one load per commit. A patient is shown as the newest source knows them: the snapshot
with the greatest version, if that is greater than the version of the batch, else the batch. So a patient is never shown half from one
and half from the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from schemas.contract import MARTS, load_contract
from warehouse.columns import MartColumn, parquet_source, select_columns
from warehouse.delta import partition_value
from warehouse.hash import row_text

VERSIONS = "patient_versions"
REFUSED = "streamed/quarantine"  # what a stream refused
Files = Mapping[str, Sequence[str]]

_NEWEST = """
select patient_key, _version as version, _load as load from {versions}
qualify row_number() over (partition by patient_key order by _version desc, _facts desc, _load desc) = 1"""


def streamed_table(mart: str) -> str:
    """Delta table of what a stream says about a mart."""
    return f"streamed/{mart}"


def newest(home: Path, streamed: Files) -> str:
    """SELECT of the newest snapshot of every streamed patient: patient_key, version, load."""
    files = streamed.get(VERSIONS, ())
    if not files:
        return "select null::varchar as patient_key, null::bigint as version, null::bigint as load where false"
    return _NEWEST.format(versions=parquet_source(home, files))


def newer(home: Path, batch: Files, streamed: Files) -> str:
    """SELECT of those newest snapshots that know more than the batch."""
    return f"""select s.* from ({newest(home, streamed)}) as s left join ({_known(home, batch)}) as b on b.patient_key = s.patient_key
        where s.version > coalesce(b.version, 0)"""


def _known(home: Path, batch: Files) -> str:
    files = batch.get(VERSIONS, ())
    if not files:
        return "select null::varchar as patient_key, null::bigint as version where false"
    return f"select patient_key, version from {parquet_source(home, files)}"


def shown(columns: Sequence[MartColumn], home: Path, batch: Sequence[str], streamed: Sequence[str]) -> str:
    """SELECT of a mart as readers see it; `streamed` names the patients whose rows come from the stream (table `streamed`)."""
    rows = select_columns(columns, home, batch)
    if not streamed:
        return rows
    names = ", ".join(f'r."{c.name}"' for c in columns)
    return f"""select * from ({rows}) as r where r.patient_key not in (select patient_key from streamed)
        union all by name
        select {names} from {parquet_source(home, streamed)} as r
        semi join streamed as s on s.patient_key = r.patient_key and s.load = r._load"""


def obsolete(home: Path, batch: Files, streamed: Files) -> dict[str, tuple[str, ...]]:
    """Streamed mart files of which no row is shown any more: table -> files, to be dropped by the next commit."""
    connection = duckdb.connect()
    try:
        needed = {int(row[0]) for row in connection.execute(f"select distinct load from ({newer(home, batch, streamed)})").fetchall()}
    finally:
        connection.close()
    found = {m: tuple(f for f in streamed.get(m, ()) if partition_value(f) not in needed) for m in MARTS}
    return {streamed_table(m): files for m, files in found.items() if files}


def compare(home: Path, batch: Files, streamed: Files) -> list[dict[str, Any]]:
    """Compare what a stream said with what the batch says, mart by mart, where both know the same of a patient.

    Rows: mart, patients (of equal version), equal, mismatched, missing (the batch has the row), extra (the stream has it), ahead and
    behind (patients of whom the stream knows more, or less). Nothing was streamed: no rows.
    """
    if not streamed.get(VERSIONS):
        return []
    connection = duckdb.connect()
    try:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"create temp table s as {newest(home, streamed)}")
        connection.execute(f"create temp table b as {_known(home, batch)}")
        connection.execute("create temp table same as select s.* from s join b on b.patient_key = s.patient_key and b.version = s.version")
        counts = connection.execute("""select (select count(*) from same),
            count(*) filter (s.version > coalesce(b.version, 0)), count(*) filter (s.version < b.version)
            from s left join b on b.patient_key = s.patient_key""").fetchall()[0]
        patients = dict(zip(("patients", "ahead", "behind"), counts, strict=True))
        return [{"mart": m} | patients | _compare_mart(connection, home, m, batch.get(m, ()), streamed.get(m, ())) for m in MARTS]
    finally:
        connection.close()


def _compare_mart(
    connection: duckdb.DuckDBPyConnection, home: Path, mart: str, batch: Sequence[str], streamed: Sequence[str]
) -> dict[str, int]:
    of_patient = "semi join same on same.patient_key = r.patient_key"
    ours = _rows(connection, mart, f"{parquet_source(home, batch)} as r {of_patient}" if batch else "")
    theirs = _rows(connection, mart, f"{parquet_source(home, streamed)} as r {of_patient} and same.load = r._load" if streamed else "")
    found = connection.execute(f"""select count(*) filter (ours.content = theirs.content), count(*) filter (ours.content <> theirs.content),
        count(*) filter (theirs.content is null), count(*) filter (ours.content is null)
        from ({ours}) as ours full join ({theirs}) as theirs on ours.id = theirs.id""").fetchall()[0]
    return dict(zip(("equal", "mismatched", "missing", "extra"), found, strict=True))


def _rows(connection: duckdb.DuckDBPyConnection, mart: str, source: str) -> str:
    """SELECT of the key and the content of every row as text."""
    if not source:
        return "select null::varchar as id, null::varchar as content where false"
    columns = [(c, t) for c, t, *_ in connection.execute(f"describe select * from {source}").fetchall() if not c.startswith("_")]
    key = [(c, t) for c, t in columns if c in load_contract(f"mart.{mart}").key]
    return f"select {row_text(key)} as id, md5({row_text(sorted(columns))}) as content from {source}"
