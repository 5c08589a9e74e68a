# SPDX-License-Identifier: Apache-2.0
"""One run, and one stream, at a time in a workspace: locks that die with their process, so a crash never leaves one behind."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from schemas.errors import VNSightError
from schemas.workspace import Workspace


class Busy(VNSightError):
    """Somebody else is at work in the workspace."""


@contextmanager
def only_run(ws: Workspace) -> Iterator[None]:
    """Hold the workspace's lock; `Busy` at once when another run holds it."""
    with _hold(ws.home / ".lock", "another run is at work in this workspace (process {}); wait for it to end, then run again"):
        yield


@contextmanager
def only_stream(ws: Workspace) -> Iterator[None]:
    """Be the one stream of a workspace; `Busy` at once when there is one. Runs take turns with its epochs, by `only_run`."""
    with _hold(ws.home / ".stream.lock", "a stream is at work in this workspace already (process {}); stop it first"):
        yield


def stream_at_work(ws: Workspace) -> bool:
    """Whether a stream holds the workspace now."""
    path = ws.home / ".stream.lock"
    if not path.exists():
        return False
    with path.open() as stream:
        return not _try(stream, fcntl.LOCK_SH)


def _try(stream: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _hold(path: Path, message: str) -> Iterator[None]:
    with path.open("a+") as stream:
        if not _try(stream, fcntl.LOCK_EX):
            time.sleep(0.1)  # somebody may only have looked whether it is held
            if not _try(stream, fcntl.LOCK_EX):
                stream.seek(0)
                raise Busy(message.format(stream.read().strip() or "unknown"))
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
