# SPDX-License-Identifier: Apache-2.0
"""Let go of what epochs leave behind: an epoch replaces parts of the shards it touches, and thousands of them would fill any disk.

Removed are parts of staged tables and marts that the last complete load does not show and nobody may be reading any more; working
folders and audit reports of older loads. Kept for ever are landed files, plans, the ledger, quarantine, and every fact: the past is
derived from facts (`vnsight run --known-by`), not from old parts.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from schemas.workspace import Workspace
from warehouse.delta import FACTS_AND_MARTS, last_complete, live_files

REPLACED = (*FACTS_AND_MARTS, "staged/segments")  # tables with one part per shard
GRACE_S = 900.0  # a reader that opened marts.duckdb before a part was replaced has so long to end its query
EVERY_S = 60.0


class Tidy:
    """Call it with a workspace whose lock is held, as often as you like; it looks once a minute."""

    def __init__(self, grace_s: float = GRACE_S, every_s: float = EVERY_S) -> None:
        self._grace_s, self._every_s, self._next = grace_s, every_s, 0.0
        self._since: dict[Path, float] = {}  # part that is not shown -> when that was first seen

    def __call__(self, ws: Workspace) -> int:
        """Remove what is old; return how many parts that were."""
        now = time.monotonic()
        if now < self._next:
            return 0
        self._next = now + self._every_s
        base = last_complete(ws)
        shown = {ws.home / path for table in REPLACED for path in live_files(ws, table, base.versions.get(table))}
        self._since = {part: self._since.get(part, now) for part in _parts(ws) if part not in shown}
        old = [part for part, since in self._since.items() if now - since >= self._grace_s]
        for part in old:
            part.unlink(missing_ok=True)
            del self._since[part]
        _forget_loads(ws, base.load)
        return len(old)


def _parts(ws: Workspace) -> Iterator[Path]:
    """All parts of the tables that are replaced shard by shard, but for those a load that was held back may still be looked at by."""
    held = max((p.stat().st_mtime for p in (ws.home / "reports" / "held").glob("load-*.duckdb")), default=0.0)
    for table in REPLACED:
        for part in (ws.home / table).glob("_shard=*/*.parquet"):
            if part.stat().st_mtime > held:
                yield part


def _forget_loads(ws: Workspace, complete: int) -> None:
    for folder in ws.loads.glob("[0-9]*"):
        if folder.is_dir() and int(folder.name) < complete:
            shutil.rmtree(folder, ignore_errors=True)
    for report in (ws.home / "reports" / "quality").glob("load-*.json"):
        if int(report.stem.removeprefix("load-")) < complete:
            report.unlink(missing_ok=True)
