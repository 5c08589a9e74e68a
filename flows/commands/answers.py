# SPDX-License-Identifier: Apache-2.0
"""Commands that answer: sql, hash, trace, keys."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from flows.commands import Home, check_out, find_workspace
from flows.terminal import OUT, print_table
from schemas.errors import UsageError

SHOWN = 200


Format = Literal["table", "csv", "json", "markdown", "parquet"]


def sql(query: str, *, home: Home = None, format: Format = "table", out: Path | None = None) -> None:
    """Ask the published marts one question in SQL; nothing can be changed.

    Example: vnsight sql "select stratum, n, k, rate from strata where arm = 'all'" --format csv

    Parameters
    ----------
    query
        One reading statement of DuckDB's SQL.
    format
        How to print the answer; table shows the first 200 rows.
    out
        Write to this file instead (needed for parquet).
    """
    import polars as pl

    from warehouse.sql import query as ask

    check_out(out)
    answer = ask(find_workspace(home), query)
    if format == "table" and out is None:
        print_table("", answer.column_names, [tuple(r.values()) for r in answer.slice(0, SHOWN).to_pylist()])
        OUT.print(f"{answer.num_rows:,} rows" + (f", the first {SHOWN} shown; --format csv gives all" if answer.num_rows > SHOWN else ""))
        return
    frame = pl.DataFrame(pl.from_arrow(answer))
    if format == "parquet":
        if out is None:
            raise UsageError("--format parquet: name the file with --out FILE")
        frame.write_parquet(out)
        return
    text = _as_text(frame, "csv" if format == "table" else format)
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")


def _as_text(frame: object, format: str) -> str:
    import polars as pl

    assert isinstance(frame, pl.DataFrame)
    if format == "json":
        return str(frame.write_json()) + "\n"
    lists = [c for c, t in frame.schema.items() if isinstance(t, pl.List)]
    flat = frame.with_columns(pl.col(c).list.eval(pl.element().cast(pl.String)).list.join(";") for c in lists)
    if format == "csv":
        return str(flat.write_csv())
    rows = [["" if v is None else str(v).replace("|", "\\|") for v in row] for row in flat.iter_rows()]
    lines = [flat.columns, ["---"] * flat.width, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def hash(mart: str | None = None, *, home: Home = None) -> None:
    """Print the content hash of the marts: the same rows give the same hash, in any order, files, shards or loads.

    Example: vnsight hash dose_outcomes --home study

    Parameters
    ----------
    mart
        One table; by default all marts whose content does not depend on how data was split into loads, and a line for all of them.
    """
    from warehouse.hash import content_hash

    for name, value in content_hash(find_workspace(home), mart).items():
        print(f"{value}  {name}")


def trace(id: str, *, home: Home = None) -> int:
    """Show where every record ended that carries an id: file and line, load, bin, rules, and the file it is stored in.

    Example: vnsight trace P000007 --home study

    Parameters
    ----------
    id
        A patient, device, response or record id as the source names it (needs the secret), or a key of 16 hexadecimal digits.
    """
    from flows.steps import live_tables
    from pipelines.secret import read_secret
    from pipelines.trace import trace as trace_record
    from warehouse.delta import last_complete, live_files

    ws = find_workspace(home)
    complete = last_complete(ws)
    fates, refused = (live_files(ws, table, complete.versions.get(table)) for table in ("ledger/dispositions", "streamed/quarantine"))
    found = trace_record(ws, id, read_secret(ws), live_tables(ws, complete), fates, refused)
    if not found.height:
        OUT.print("no record carries this id in the published loads; look at `vnsight status` for files that wait, and check the spelling")
        if any(table.startswith("streamed/") for table in complete.versions):
            OUT.print("what a stream on Flink accepted is traced once a nightly run has taken it: vnsight run")
        return 1
    counts = found.group_by("source", "bin").len().sort("source", "bin")
    print_table(f"{found.height:,} records", ("source", "bin", "records"), counts.rows())
    rows = [(*r[:5], ", ".join(r[5]), r[6].rsplit("/", 1)[0]) for r in found.head(SHOWN).rows()]
    print_table("", ("source", "load", "file", "line", "bin", "rules", "stored in"), rows)
    return 0


def keys(kind: Literal["patient", "device", "response"], *, home: Home = None) -> None:
    """Print the pseudonym of every id as CSV (id,key). It undoes the pseudonyms: treat the output as you treat the secret.

    Example: vnsight keys patient --home study > patients.csv

    Parameters
    ----------
    kind
        Which identifiers.
    """
    from pipelines.keys import list_keys
    from pipelines.landing import landed_files
    from pipelines.secret import read_secret

    ws = find_workspace(home)
    list_keys(ws, landed_files(ws), kind, read_secret(ws)).write_csv(sys.stdout)
