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

OPENED = {"source": pl.String(), "rows": pl.Int64(), "since": pl.Int64()}


def with_books_opened(ws: Workspace, files: LoadFiles, base: CompleteLoad, begun: Begun | None) -> LoadFiles:
    """The files of a commit, with the books of a state that began since the last commit in place of those of the state before."""
    if begun is None or begun.since == books_since(ws, base):
        return files
    rows = pl.DataFrame([(s, n, begun.since) for s, n in begun.staged.items()], schema=OPENED, orient="row")
    older = {table: tuple(found) for table, found in book_files(ws, base).items() if found}
    appended = {**files.appended, "streamed/opened": (stream_part(ws, "streamed/opened", rows, files.load),)}
    return replace(files, appended=appended, dropped={**files.dropped, **older})


def with_books_folded(ws: Workspace, files: LoadFiles, base: CompleteLoad) -> LoadFiles:
    """The files of a nightly load, with the books in few rows in place of all that were committed; they say the same."""
    folded, replaced = folded_books(ws, base)
    appended = {table: (stream_part(ws, table, rows, files.load),) for table, rows in folded.items()}
    return replace(files, appended={**files.appended, **appended}, dropped={**files.dropped, **replaced})


def stream_part(ws: Workspace, table: str, rows: pl.DataFrame, load: int) -> str:
    """Write rows as a part of a load, each with its number; return its path relative to the workspace."""
    with guard_storage(f"commit of the stream as load {load}"):
        return write_part(rows.with_columns(_load=pl.lit(load, dtype=pl.Int64)), ws.home, f"{table}/_load={load}")
