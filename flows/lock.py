# SPDX-License-Identifier: Apache-2.0
"""One run at a time in a workspace: a lock that dies with its process, so a crash never leaves it behind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import VNSightError
from schemas.workspace import Workspace


@contextmanager
def only_run(ws: Workspace) -> Iterator[None]:
    """Hold the workspace's lock; `VNSightError` at once when another run holds it."""
    with (ws.home / ".lock").open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            message = f"another run is at work in this workspace (process {holder}); wait for it to end, then run again"
            raise VNSightError(message) from error
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
