# SPDX-License-Identifier: Apache-2.0
"""The one rename by which readers pass from one load to the next."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from schemas.milestones import milestone
from schemas.workspace import Workspace
from warehouse.storage import guard_storage

LOG = logging.getLogger("vnsight.warehouse")
CANDIDATE = ".candidate-"


def candidate_path(ws: Workspace, load: int) -> Path:
    """Place of a window that is not published yet: in the folder of the published one, so that a rename is enough."""
    return ws.home / f"{CANDIDATE}{load}.duckdb"


def swap(ws: Workspace, candidate: Path) -> None:
    """Put a finished candidate in the place of `marts.duckdb`, read-only, by one rename; older candidates are removed.

    Readers see the old file or the new one. A log file left beside the published file by a client that opened it for writing
    is removed first: DuckDB would replay it onto the new file.
    """
    with guard_storage("swap of marts.duckdb"):
        os.chmod(candidate, 0o444)
        _sync(candidate)
        stray = ws.window.with_name(ws.window.name + ".wal")
        if stray.exists():
            LOG.warning("%s was left by a client that opened the published file for writing; it is removed", stray.name)
            stray.unlink()
        milestone("swap")
        os.replace(candidate, ws.window)
        _sync(ws.home)
        milestone("swapped")
        for left in ws.home.glob(f"{CANDIDATE}*.duckdb"):
            remove_candidate(left)


def remove_candidate(path: Path) -> None:
    """Remove a candidate and the log file a killed run may have left beside it; nothing there is fine."""
    with guard_storage(f"removal of {path.name}"):
        for left in (path, path.with_name(path.name + ".wal")):
            left.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
