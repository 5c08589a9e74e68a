# SPDX-License-Identifier: Apache-2.0
"""When the next message is due at a speed, and the count of what has gone."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from schemas.errors import UsageError
from simulator.live.replay import Message

_EVERY_S: Final = 0.5  # between two reports of progress
_NAP_S: Final = 0.2


@dataclass
class Sent:
    """What has been sent so far: messages with their copies, `records` without and `rows` with them, `size` of the values in bytes.

    `stopped`: by Ctrl-C, before the end.
    `through_ms` is the simulated instant that has been reached, `delayed` the messages that left over an hour after their timestamp,
    `unconfirmed` those of `messages` that nobody had confirmed when the sending was stopped.
    """

    messages: int = 0
    records: int = 0
    rows: int = 0
    size: int = 0
    copies: int = 0
    delayed: int = 0
    files: int = 0
    through_ms: int = 0
    unconfirmed: int = 0
    seconds: float = 0.0
    stopped: bool = False

    def add(self, message: Message) -> None:
        """Count one message."""
        self.messages += 1
        self.size += len(message.value)
        self.rows += message.records
        self.records += 0 if message.copy else message.records
        self.copies += message.copy
        self.delayed += message.delayed
        self.through_ms = message.sent_ms


Progress = Callable[[Sent], None]


@contextmanager
def stopped_by_ctrl_c(sent: Sent) -> Iterator[None]:
    """Let Ctrl-C set `sent.stopped` instead of raising, once; a second one raises. Does nothing outside the main thread.

    An exception would do harm within a client's C code (confluent-kafka 2.16 answers with a SystemError), or between two steps.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        sent.stopped = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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

    def wait(self, at_ms: int, rest: Callable[[float], object] = time.sleep) -> None:
        """Wait for a simulated instant, or until stopped; `rest` is called with the seconds to spend, and may do something useful."""
        while (left := self.seconds_until(at_ms)) > 0 and not self.sent.stopped:
            rest(min(left, _NAP_S))
            self.tell()

    def tell(self, *, last: bool = False) -> None:
        """Report progress, twice a second at most."""
        now = time.monotonic()
        self.sent.seconds = now - self._began
        if self.progress is not None and (last or now - self._told >= _EVERY_S):
            self._told = now
            self.progress(self.sent)
