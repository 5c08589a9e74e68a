# SPDX-License-Identifier: Apache-2.0
"""The shape of every connector: say what is new, fetch it, remember it. What is landed is decided by landing, not by the connector."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pipelines.landing import NO_STAMP, Stamp, land
from schemas.errors import VNSightError
from schemas.load import Landed
from schemas.workspace import Workspace

Progress = Callable[[str, int, int], None]


class NotYet(VNSightError):
    """A source could not be read now, but may be later; the only kind of failure that is worth another try."""


@dataclass(frozen=True)
class Item:
    """A file to be fetched: its contract, its name at the source, and how it looked there."""

    source: str
    file: str
    place: str
    stamp: Stamp = NO_STAMP


class Connector(Protocol):
    """A place data comes from. Cut off anywhere, the next pull goes on where this one stopped."""

    @property
    def name(self) -> str:
        """What the connector is called in `vnsight.toml`; the origin of what it lands."""

    def list_new(self, ws: Workspace) -> Iterator[Item]:
        """What may be new, in an order that makes a later pull go on; may be long, may be lazy."""

    def fetch(self, item: Item) -> Iterable[bytes]:
        """The bytes of an item, block by block; a `VNSightError` when they cannot be had."""

    def done(self, ws: Workspace, item: Item) -> None:
        """The item is safely landed: move a cursor, if there is one."""


def pull(ws: Workspace, connector: Connector, progress: Progress) -> list[Landed]:
    """Fetch and land everything new at one place; return what was landed (nothing twice)."""
    landed: list[Landed] = []
    count = 0
    for count, item in enumerate(connector.list_new(ws), start=1):
        file = land(ws, (item.source, item.file, connector.name), connector.fetch(item), time.time_ns() // 1000, item.stamp)
        connector.done(ws, item)
        landed += [file] if file else []
        progress(f"pull {connector.name}", count, 0)
    if count:
        progress(f"pull {connector.name}", count, count)
    return landed
