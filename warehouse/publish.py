# SPDX-License-Identifier: Apache-2.0
"""Publication of a load, in the order that makes a crash harmless.

    path = candidate(ws, files, base)        # everything readers will see, in a file nobody reads yet
    ... results = quality.audit(path) ...
    record(ws, path, files, results)         # what the audit found becomes part of the window
    ... quality.gate(results) ...            # bad: hold(ws, path, load), nothing was published
    complete = commit(ws, files, base)       # Delta, the ledger last: from here on the load exists
    publish(ws, path, complete)              # one rename

A crash before the ledger's commit leaves the old load; a crash after it leaves the window one load behind, and `refresh`, with
which the next run begins, builds it from the last complete load.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quality.results import CheckResult, read_results, save_results
from schemas.contract import MARTS, SOURCES
from schemas.errors import VNSightError
from schemas.load import CompleteLoad, LoadFiles
from schemas.workspace import Workspace
from warehouse.connection import read_window
from warehouse.delta import commit_load, last_complete, live_files, live_shards
from warehouse.storage import guard_storage
from warehouse.streamed import REFUSED, compare, obsolete, streamed_table
from warehouse.swap import candidate_path, remove_candidate, swap
from warehouse.window import VIEWS, WindowMeta, add_results, build_window, stamp_window

LOG = logging.getLogger("vnsight.warehouse")
_SHOWN = (
    *VIEWS.values(), "ledger/ledger", "ledger/agreement", *(f"staged/{source}" for source in SOURCES),
    *(streamed_table(mart) for mart in MARTS),
)  # fmt: skip


def window_files(ws: Workspace, files: LoadFiles, base: CompleteLoad) -> dict[str, list[str]]:
    """Table -> the files a window shows: those of the last complete load with the new ones put in.

    In a rebuild of past knowledge the marts are the rebuilt ones alone, without the stream; ledger and sources stay those of the load.
    """
    shown: dict[str, list[str]] = {}
    for table in _SHOWN:
        version = base.versions.get(table)
        if table.startswith("streamed/") and files.known_by_us is not None:
            shown[table] = []
        elif table.startswith(("ledger/", "streamed/")):
            dropped = set(files.dropped.get(table, ()))
            shown[table] = [*(f for f in live_files(ws, table, version) if f not in dropped), *files.appended.get(table, ())]
        elif files.known_by_us is not None and table.startswith("marts/"):
            shown[table] = list(files.replaced.get(table, {}).values())
        else:
            shards = live_shards(ws, table, version) | dict(files.replaced.get(table, {}))
            shown[table] = [shards[n] for n in sorted(shards)]
    return shown


def candidate(ws: Workspace, files: LoadFiles, base: CompleteLoad, path: Path | None = None) -> Path:
    """Build the window that would be published in a file of its own (`path`, or beside the published one); return its path."""
    path = path or candidate_path(ws, files.load)
    meta = WindowMeta(files.load, base.versions, files.known_by_us)
    build_window(ws, path, window_files(ws, files, base), meta)
    return path


def reconcile(ws: Workspace, files: LoadFiles, base: CompleteLoad) -> tuple[list[dict[str, Any]], dict[str, tuple[str, ...]]]:
    """Compare a nightly load that is not committed with what was streamed: the agreement, and the streamed files it makes needless.

    When no streamed row is shown any more, refused rows of the stream go too: the nightly quarantine has them.
    """
    batch, streamed = _sides(ws, files, base)
    needless = obsolete(ws.home, batch, streamed)
    refused = tuple(live_files(ws, REFUSED, base.versions.get(REFUSED)))
    if refused and all(set(streamed[m]) <= set(needless.get(streamed_table(m), ())) for m in MARTS):
        needless[REFUSED] = refused
    return compare(ws.home, batch, streamed), needless


def superseded(ws: Workspace, files: LoadFiles, base: CompleteLoad) -> dict[str, tuple[str, ...]]:
    """Streamed files of earlier commits of which a new commit leaves nothing to be shown: table -> files."""
    new = {path for paths in files.appended.values() for path in paths}
    found = {table: tuple(f for f in paths if f not in new) for table, paths in obsolete(ws.home, *_sides(ws, files, base)).items()}
    return {table: paths for table, paths in found.items() if paths}


def _sides(ws: Workspace, files: LoadFiles, base: CompleteLoad) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Mart -> files of the batch, and of the stream, as they would be after the load."""
    after = window_files(ws, files, base)
    return {m: after[f"marts/{m}"] for m in MARTS}, {m: after[streamed_table(m)] for m in MARTS}


def discard(path: Path) -> None:
    """Remove a candidate that is not to be published."""
    remove_candidate(path)


def hold(ws: Workspace, path: Path, load: int) -> Path:
    """Keep a candidate that did not pass the gate where its owner can look at it; only the latest is kept. Returns its place."""
    place = ws.home / "reports" / "held" / f"load-{load}.duckdb"
    with guard_storage(f"keeping the held load {load}"):
        place.parent.mkdir(parents=True, exist_ok=True)
        for older in place.parent.glob("load-*.duckdb"):
            older.unlink()
        path.chmod(0o444)
        path.replace(place)
    return place


def record(ws: Workspace, path: Path, files: LoadFiles, results: Sequence[CheckResult]) -> None:
    """Write what the audit found into a candidate and keep that of a load for later rebuilds of its window."""
    if files.known_by_us is None:
        with guard_storage(f"results of the audit of load {files.load}"):
            save_results(ws, files.load, results)
    add_results(path, files.load, results)


def commit(ws: Workspace, files: LoadFiles, base: CompleteLoad) -> CompleteLoad:
    """Make the load exist: see `warehouse.delta.commit_load`."""
    return commit_load(ws, files, base)


def publish(ws: Workspace, path: Path, complete: CompleteLoad, known_by_us: int | None = None) -> None:
    """Put a candidate in the place of `marts.duckdb`, stamped with the versions of its load and the warnings of its audit."""
    stamp_window(path, WindowMeta(complete.load, complete.versions, known_by_us))
    swap(ws, path)


def refresh(ws: Workspace, force: bool = False) -> CompleteLoad:
    """Build the window from the last complete load if it is missing or behind it, or in any case (`force`: the folder moved).

    Returns the last complete load. Nothing is done before the first load.
    """
    complete = last_complete(ws)
    if complete.load and (force or published_load(ws) < complete.load):
        path = candidate(ws, LoadFiles(complete.load), complete)
        add_results(path, complete.load, read_results(ws, complete.load))
        publish(ws, path, complete)
        LOG.info("marts.duckdb was built anew from load %d", complete.load)
    return complete


def published_load(ws: Workspace) -> int:
    """Load that `marts.duckdb` shows; 0 when there is none, when it shows the past, or when it cannot be read."""
    if not ws.window.exists():
        return 0
    try:
        with read_window(ws.window) as connection:
            return int(connection.execute("select case when known_by is null then load else 0 end from vnsight_meta").fetchall()[0][0])
    except (VNSightError, LookupError) as error:
        LOG.warning("marts.duckdb cannot be read and is built anew: %s", error)
        return 0
