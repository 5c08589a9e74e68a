# SPDX-License-Identifier: Apache-2.0
"""How a stream is asked to stop: the first SIGINT or SIGTERM sets an event, the second interrupts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def asked_to_stop(heard: Callable[[], None]) -> Iterator[threading.Event]:
    """An event that a signal sets, for the time of the block; `heard` is called once. Outside the main thread no signal can be heard."""
    stop = threading.Event()

    def ask(_signal: int, _frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        heard()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
