# SPDX-License-Identifier: Apache-2.0
"""Which landed files a load takes. A plan is written before anything else and pins the load: what a crash leaves half done is done
again with the same files, never with others under the same number."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from fnmatch import fnmatch
from pathlib import Path

from pipelines.landing import landed_files
from schemas.load import Landed
from schemas.workspace import Workspace


def _path(ws: Workspace, load: int) -> Path:
    return ws.loads / f"{load:06d}.plan.json"


def read_plan(ws: Workspace, load: int) -> list[Landed] | None:
    """Files of a load, or None when it was never planned."""
    path = _path(ws, load)
    return [Landed(**f) for f in json.loads(path.read_bytes())] if path.exists() else None


def write_plan(ws: Workspace, load: int, files: Iterable[Landed]) -> None:
    """Pin the files of a load, by one rename."""
    ws.loads.mkdir(exist_ok=True)
    temporary = _path(ws, load).with_suffix(".tmp")
    temporary.write_text(json.dumps([asdict(f) for f in files]), encoding="utf-8")
    os.replace(temporary, _path(ws, load))
    _again(ws).unlink(missing_ok=True)


def _again(ws: Workspace) -> Path:
    return ws.loads / "again.json"


def ask_again(ws: Workspace, pattern: str) -> int:
    """Let landed files whose name matches a pattern (`clinic/*.csv`) wait again, after a mapping was mended; return how many.

    What they brought before is a duplicate then; what was refused gets another chance under today's settings, and becomes known
    now, not when the file landed: what was published in the past did not know it.
    """
    now = time.time_ns() // 1000
    chosen = [replace(f, landed_us=now) for f in landed_files(ws) if fnmatch(f.file, pattern)]
    ws.loads.mkdir(exist_ok=True)
    temporary = _again(ws).with_suffix(".tmp")
    temporary.write_text(json.dumps([asdict(f) for f in chosen]), encoding="utf-8")
    os.replace(temporary, _again(ws))
    return len(chosen)


def pass_plan_on(ws: Workspace, load: int) -> None:
    """Let the load after this one carry out the plan of a load whose number is needed for something else."""
    if _path(ws, load).exists():
        os.replace(_path(ws, load), _path(ws, load + 1))


def drop_plan(ws: Workspace, load: int) -> None:
    """Release the files of a load that was held back: the next run plans anew, with whatever has been mended."""
    _path(ws, load).unlink(missing_ok=True)


def waiting_files(ws: Workspace, complete: int) -> list[Landed]:
    """Landed files that no complete load has taken, and those that were asked for again."""
    again = [Landed(**f) for f in json.loads(_again(ws).read_bytes())] if _again(ws).exists() else []
    taken = _taken_by(ws, complete)
    return [f for f in (*landed_files(ws), *again) if f not in taken]


# folder of plans -> last load that was looked at, files of all loads up to it
_TAKEN: dict[str, tuple[int, set[Landed]]] = {}


def _taken_by(ws: Workspace, complete: int) -> set[Landed]:
    """Files of all loads up to a complete one. Their plans never change again, so each is read once per process."""
    last, taken = _TAKEN.get(str(ws.loads), (0, set[Landed]()))
    if last > complete:
        last, taken = 0, set()
    for n in range(last + 1, complete + 1):
        taken.update(read_plan(ws, n) or ())
    _TAKEN[str(ws.loads)] = complete, taken
    return taken
