# SPDX-License-Identifier: Apache-2.0
"""One publication in a process of its own, which may be told to die on the way; imported once by the server that forks them."""

from __future__ import annotations

import os
from pathlib import Path

from window_parts import small_load, workspace

from schemas.contract import load_contracts
from schemas.instrument import load_instruments
from warehouse import publish as steps

load_contracts(), load_instruments()  # read before the fork, so that every child has them


def run_load(home: Path, load: int, kill_at: str) -> None:
    os.environ["VNSIGHT_KILL_AT"] = kill_at
    ws = workspace(home)
    base = steps.refresh(ws)
    if base.load < load:
        files = small_load(ws, load, drop=0.1 * load)
        path = steps.candidate(ws, files, base)
        steps.record(ws, path, files, [])
        steps.publish(ws, path, steps.commit(ws, files, base))
