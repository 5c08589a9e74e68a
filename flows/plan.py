# SPDX-License-Identifier: Apache-2.0
"""Which landed files a load takes. A plan is written before anything else and pins the load: what a crash leaves half done is done
again with the same files, never with others under the same number."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
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


def drop_plan(ws: Workspace, load: int) -> None:
    """Release the files of a load that was held back: the next run plans anew, with whatever has been mended."""
    _path(ws, load).unlink(missing_ok=True)


def waiting_files(ws: Workspace, complete: int) -> list[Landed]:
    """Landed files that no complete load has taken."""
    taken = {f for n in range(1, complete + 1) for f in read_plan(ws, n) or ()}
    return [f for f in landed_files(ws) if f not in taken]
