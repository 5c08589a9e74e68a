# SPDX-License-Identifier: Apache-2.0
"""Connections to window files: one way to write a new one, one way to read a published one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import duckdb

from schemas.errors import UsageError, VNSightError
from warehouse.storage import guard_storage

STORAGE_VERSION = "v1.2.0"  # 2.0's own format is unreadable in 1.x, and many analyst tools still carry a 1.x driver


def dbapi() -> ModuleType:
    """The DuckDB module, for the audit's SQLAlchemy dialect."""
    return duckdb


def quote(text: str) -> str:
    """Write text as a SQL literal: `it's` gives `'it''s'`."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def write_window(path: Path, step: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a window file for writing, in UTC, as the current database; it is closed without a log file beside it.

    The file is made if it is not there. Errors of disk and SQL become `VNSightError`, named after `step`.
    """
    spill = path.with_name(path.name + ".spill")
    with guard_storage(step):
        connection = duckdb.connect()
        try:
            connection.execute("set TimeZone = 'UTC'")
            connection.execute(f"set temp_directory = {quote(str(spill))}")
            connection.execute(f"attach {quote(str(path))} as vnsight_window (storage_version '{STORAGE_VERSION}')")
            connection.execute("use vnsight_window")
            connection.execute("begin")  # one write to the disk instead of one per statement
            yield connection
            connection.execute("commit")
            connection.execute("use memory")
            connection.execute("detach vnsight_window")  # checkpoints: everything is in the one file
        finally:
            connection.close()
            if spill.is_dir():
                for left in spill.iterdir():
                    left.unlink()
                spill.rmdir()
    log = path.with_name(path.name + ".wal")
    if log.exists():
        raise VNSightError(f"{step}: {log.name} was left beside the new file, so it is not complete; run again")


@contextmanager
def read_window(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a window file read-only, in UTC; `UsageError` when there is none yet, `VNSightError` when it cannot be read."""
    if not path.exists():
        raise UsageError(f"{path} does not exist; nothing was published yet: vnsight run --home {path.parent}")
    try:
        connection = duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise VNSightError(
            f"{path.name} cannot be opened: {error}. If another program holds it open for writing, close that program; "
            f"if the file is damaged, build it anew: vnsight refresh --home {path.parent}"
        ) from error
    try:
        connection.execute("set TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()
