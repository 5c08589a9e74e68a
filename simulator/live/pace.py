# SPDX-License-Identifier: Apache-2.0
"""When the next message is due at a speed, and the count of what has gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from schemas.errors import UsageError
from simulator.live.replay import Message

_EVERY_S: Final = 0.5  # between two reports of progress


@dataclass
class Sent:
    """What has been sent so far: messages with their copies, records without, bytes of the values. `stopped`: before the end, by Ctrl-C.

    `through_ms` is the simulated instant that has been reached, `delayed` the messages that left over an hour after their timestamp.
    """

    messages: int = 0
    records: int = 0
    size: int = 0
    copies: int = 0
    delayed: int = 0
    files: int = 0
    through_ms: int = 0
    seconds: float = 0.0
    stopped: bool = False

    def add(self, message: Message) -> None:
        """Count one message."""
        self.messages += 1
        self.size += len(message.value)
        self.records += 0 if message.copy else message.records
        self.copies += message.copy
        self.delayed += message.delayed
        self.through_ms = message.sent_ms


Progress = Callable[[Sent], None]


@dataclass
class Pace:
    """A clock that runs `speed` times as fast as the real one from the first message on; 0 never waits."""

    speed: float
    progress: Progress | None = None
    sent: Sent = field(default_factory=Sent)
    _began: float = field(default_factory=time.monotonic)
    _first_ms: int | None = None
    _told: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.speed < float("inf"):
            raise UsageError(f"speed: {self.speed} is no speed; give how many times faster than real time, or 0 for as fast as possible")

    def seconds_until(self, at_ms: int) -> float:
        """Return how long to wait for a simulated instant, 0 if it has passed; the first instant asked for is now."""
        if self._first_ms is None:
            self._first_ms, self._began = at_ms, time.monotonic()
        if self.speed == 0:
            return 0.0
        return max(0.0, self._began + (at_ms - self._first_ms) / 1000 / self.speed - time.monotonic())

    def tell(self, *, last: bool = False) -> None:
        """Report progress, twice a second at most."""
        now = time.monotonic()
        self.sent.seconds = now - self._began
        if self.progress is not None and (last or now - self._told >= _EVERY_S):
            self._told = now
            self.progress(self.sent)
