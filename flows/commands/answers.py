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
        One reading statement of DuckDB's SQL; a table of your own is a part of it: with t as (...) from kaplan_meier('t').
    format
        How to print the answer. table: the first 200 rows, and what fits the terminal (COLUMNS, if it is set); few wide rows one
        after another. csv: a struct is a column per field, such as wilson.low. Intervals of time are text in csv and json.
    out
        Write to this file instead (needed for parquet).
    """
    from flows.answer import as_text, show_answer
    from warehouse.sql import query as ask

    check_out(out)
    if format == "parquet" and out is None:
        raise UsageError("--format parquet: name the file with --out FILE")
    answer = ask(find_workspace(home), query)
    if out is None and format == "table":
        show_answer(answer, OUT.width)
    elif out is None:
        sys.stdout.write(as_text(answer, format))
    elif format == "parquet":
        import polars as pl

        pl.DataFrame(pl.from_arrow(answer)).write_parquet(out)
    else:
        out.write_text(as_text(answer, "csv" if format == "table" else format), encoding="utf-8")


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
    """Show where every record ended that carries an id: file and line, load, bin, rules, the file it is stored in, and why.

    Example: vnsight trace P000007 --home study

    Parameters
    ----------
    id
        A patient, device, response or record id as the source names it (needs the secret), or a key of 16 hexadecimal digits.
        By an id, not by a key, refused rows are found too that name it anywhere; for that the whole quarantine is read.
    """
    from pipelines.secret import read_secret
    from pipelines.trace import meaning
    from pipelines.trace import trace as trace_record
    from warehouse.delta import last_complete, live_files, live_tables

    ws = find_workspace(home)
    complete = last_complete(ws)
    books = ("ledger/dispositions", "streamed/quarantine", "quarantine")
    files = (live_files(ws, table, complete.versions.get(table)) for table in books)
    found = trace_record(ws, id, read_secret(ws), live_tables(ws, complete), *files)
    if not found.height:
        OUT.print("no record carries this id in the published loads; look at `vnsight status` for files that wait, and check the spelling")
        if any(table.startswith("streamed/") for table in complete.versions):
            OUT.print("what a stream on Flink accepted is traced once a nightly run has taken it: vnsight run")
        return 1
    counts = found.group_by("source", "bin").len().sort("source", "bin")
    print_table(f"{found.height:,} record{'' if found.height == 1 else 's'}", ("source", "bin", "records"), counts.rows())
    rows = [(*r[:5], ", ".join(r[5]), r[6].rsplit("/", 1)[0]) for r in found.head(SHOWN).rows()]
    print_table("", ("source", "load", "file", "line", "bin", "rules", "stored in"), rows)
    if found.height > SHOWN:
        OUT.print(f"the first {SHOWN} shown")
    why = found.explode("rules").drop_nulls("rules").unique(["source", "rules"]).sort("source", "rules").select("source", "rules").rows()
    if why:
        print_table("why", ("source", "rule", "meaning"), [(source, rule, meaning(source, rule)) for source, rule in why])
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
