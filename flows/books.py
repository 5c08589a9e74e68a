# SPDX-License-Identifier: Apache-2.0
"""Keep the books of a streaming job: opened when a state begins, made small at night. What they hold: `warehouse.stream_books`."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from pipelines.spill import write_part
from pipelines.updates import Begun
from schemas.load import CompleteLoad, LoadFiles
from schemas.workspace import Workspace
from warehouse.storage import guard_storage
from warehouse.stream_books import book_files, books_since, folded_books


def with_books_opened(ws: Workspace, files: LoadFiles, base: CompleteLoad, begun: Begun | None) -> LoadFiles:
    """The files of a commit, with the books of a state that began since the last commit in place of those of the state before."""
    if begun is None or begun.since == books_since(ws, base):
        return files
    rows = pl.DataFrame([(s, n, begun.since) for s, n in begun.staged.items()], schema=OPENED, orient="row")
    older = {table: tuple(found) for table, found in book_files(ws, base).items() if found}
    appended = {**files.appended, "streamed/opened": (_part(ws, "streamed/opened", rows, files.load),)}
    return replace(files, appended=appended, dropped={**files.dropped, **older})


def with_books_folded(ws: Workspace, files: LoadFiles, base: CompleteLoad) -> LoadFiles:
    """The files of a nightly load, with the books in few rows in place of all that were committed; they say the same."""
    folded, replaced = folded_books(ws, base)
    appended = {table: (_part(ws, table, rows, files.load),) for table, rows in folded.items()}
    return replace(files, appended={**files.appended, **appended}, dropped={**files.dropped, **replaced})


OPENED = {"source": pl.String(), "rows": pl.Int64(), "since": pl.Int64()}


def _part(ws: Workspace, table: str, rows: pl.DataFrame, load: int) -> str:
    with guard_storage(f"books of the stream, load {load}"):
        return write_part(rows.with_columns(_load=pl.lit(load, dtype=pl.Int64)), ws.home, f"{table}/_load={load}")
