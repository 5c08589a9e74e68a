# SPDX-License-Identifier: Apache-2.0
"""What is known of a streaming job before and between its lives: its options, its name, its savepoint, what it reads and begins with."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flows.sources import connectors
from flows.sources.kafka import Topics
from schemas.contract import SOURCES
from schemas.errors import UsageError
from schemas.workspace import Stream, Workspace
from warehouse.delta import last_complete, live_tables


@dataclass(frozen=True)
class Options(Stream):
    """What the workspace declares, and `commit_s`: seconds between commits. `drain_s`: how long a savepoint is tried. `until_idle`: end
    when every partition has ended or nothing waits."""

    commit_s: float = 15.0
    drain_s: float = 180.0
    until_idle: bool = False

    @classmethod
    def declared(cls, ws: Workspace, **chosen: Any) -> Options:
        """What the workspace declares, but for what was chosen for this time (None: nothing was)."""
        return cls(**vars(ws.stream) | {name: value for name, value in chosen.items() if value is not None})


@dataclass
class Remembered:
    """What `stream/job.json` holds: the job, what it was begun with, and the savepoint of the last drain.

    partitions: `topic/number` of those its state reads; a partition that is added later is in no state.
    source: name of the Kafka source it was begun for. Both are empty in files of older versions: unknown.
    made_anew: topic -> by what it was known that it is another one than the one its state reads.
    """

    name: str
    job: str = ""
    savepoint: str = ""
    cells: int = 0
    starts: int = 0
    partitions: list[str] = field(default_factory=list)
    source: str = ""
    made_anew: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, ws: Workspace) -> Remembered:
        """What is remembered; a fresh name when there is nothing."""
        try:
            return cls(**json.loads(_path(ws).read_bytes()))
        except FileNotFoundError:
            return cls(f"vnsight-{ws.home.name}-{os.urandom(3).hex()}")

    def write(self, ws: Workspace) -> None:
        """Remember, by one rename."""
        _path(ws).parent.mkdir(exist_ok=True)
        temporary = _path(ws).with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")
        os.replace(temporary, _path(ws))


def _path(ws: Workspace) -> Path:
    return ws.home / "stream" / "job.json"


def kafka_of(ws: Workspace) -> Topics:
    """The one Kafka a streaming job of a workspace reads; `UsageError` unless exactly one is declared."""
    found = [c for c in connectors(ws) if isinstance(c, Topics)]
    if len(found) != 1:
        raise UsageError(
            f'vnsight.toml: a streaming job reads one [[source]] with connector = "kafka", and there are {len(found)}; '
            'declare one: name = "stream", connector = "kafka", servers = "127.0.0.1:9092"'
        )
    return found[0]


def staged_facts(ws: Workspace) -> list[tuple[str, str]]:
    """(source, fact file relative to the workspace) of what is staged as of the last complete load."""
    live = live_tables(ws, last_complete(ws))
    return [(source, path) for source in SOURCES for path in live.get(f"staged/{source}", {}).values()]
