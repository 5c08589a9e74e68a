# SPDX-License-Identifier: Apache-2.0
"""Processes that outlive the command that started them, known by pid and by the instant of their birth.

A pid alone is not enough: after a crash or a reboot another program may have it. A recorded process is signalled only if the kernel still
gives the birth that was recorded; otherwise it counts as gone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

_POLL_S = 0.05
_PROC = Path("/proc")

_children: dict[int, subprocess.Popen[bytes]] = {}  # ours: to be waited for, or their pids would never come free


@dataclass(frozen=True)
class Started:
    """A process that was started."""

    pid: int
    born: str
    """What the kernel says of its start; never the same for two processes with one pid."""
    tag: str = ""
    """What its starter wants to know it by."""

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return birth(self.pid) == self.born

    def group(self) -> list[int]:
        """Pids of the processes in its group: those it started, and those they started; without itself."""
        return [pid for pid in _pids() if pid != self.pid and _in_group(pid, self.pid)] if self.alive() else []


def start(command: Sequence[str], log: Path, *, env: Mapping[str, str], cwd: Path, tag: str = "") -> Started:
    """Start a command in a session of its own, its output appended to a log."""
    with log.open("ab") as stream:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=dict(env), cwd=cwd, start_new_session=True
        )
    _children[child.pid] = child
    return Started(child.pid, birth(child.pid) or "gone at once", tag)


def end(process: Started, *, kill: bool = False, grace_s: float = 10.0) -> None:
    """End a process with all it started: SIGTERM, and SIGKILL after the grace, or at once with `kill`. Gone already is fine."""
    if not process.alive():
        return
    if not kill:
        _signal(process.pid, signal.SIGTERM)
        _await_end(process, grace_s)
    _signal(process.pid, signal.SIGKILL)  # after a SIGTERM: who of the group did not listen
    _await_end(process, grace_s)
    child = _children.pop(process.pid, None)
    if child is not None:
        child.wait()  # /proc may have called it a zombie a moment after it was asked for last


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _await_end(process: Started, seconds: float) -> None:
    until = time.monotonic() + seconds
    while process.alive() and time.monotonic() < until:
        time.sleep(_POLL_S)


def read(path: Path) -> Started | None:
    """The process a file speaks of, running or not; none where there is no file or a torn one."""
    try:
        return Started(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write(process: Started, path: Path) -> None:
    """Record a process in a file, whole or not at all."""
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(asdict(process)) + "\n", encoding="utf-8")
    draft.replace(path)


def birth(pid: int) -> str | None:
    """When a process was started, as the kernel tells it; none when it has ended (a zombie has)."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]
        return None
    return _birth_in_proc(pid) if _PROC.joinpath("self/stat").exists() else _birth_by_ps(pid)


def _birth_in_proc(pid: int) -> str | None:
    fields = _stat(pid)
    return f"{_boot()} {fields[19]}" if fields and fields[0] not in "ZX" else None


def _birth_by_ps(pid: int) -> str | None:
    told = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.split(None, 1)
    return told[1].strip() if len(told) == 2 and not told[0].startswith("Z") else None


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the third on: state, parent, group, ..., start in ticks since boot."""
    try:
        return (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


@cache
def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()


def _pids() -> list[int]:
    if _PROC.joinpath("self/stat").exists():
        return [int(p.name) for p in _PROC.iterdir() if p.name.isdigit()]
    told = subprocess.run(["ps", "-A", "-o", "pid="], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in told.split()]


def _in_group(pid: int, group: int) -> bool:
    try:
        return os.getpgid(pid) == group and birth(pid) is not None
    except ProcessLookupError:
        return False
