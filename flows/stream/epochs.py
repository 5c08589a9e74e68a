# SPDX-License-Identifier: Apache-2.0
"""The loop of `vnsight stream`: epoch by epoch, each a whole run (pull, stage, audit, publish) of what came since the last.

An epoch is `flows.nightly.run_steps`, so a stream is right wherever a nightly run is: a kill at any point leaves a load that the next
epoch finishes, or a landed file that it takes. The next epoch begins an interval after the last began, or at once while messages wait.
Back-pressure is the bound on a pull: it halves when a full pull made an epoch too long, and grows again when it did not. Too long is
longer than the interval and than four times the shortest epoch seen: an epoch has a price whatever it holds, and below that it would be
paid more often than anything is gained (with an interval of a second and a price of three, the backlog would only grow).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from flows.lock import Busy, only_run
from flows.nightly import Step, do_plainly, run_steps
from flows.plan import waiting_files
from flows.sources import connectors
from flows.sources.connector import Connector, NotYet, Progress, pull
from flows.sources.kafka import MAX_MESSAGES, Topics
from flows.steps import Outcome
from flows.stream.status import Status
from flows.stream.tidy import Tidy
from pipelines.launch import silent
from schemas.errors import VNSightError
from schemas.load import Landed
from schemas.milestones import milestone
from schemas.workspace import Workspace
from warehouse.storage import guard_storage

LEAST = 500  # messages: below this an epoch costs the same whatever it holds
PRICES = 4  # times the shortest epoch: at most a quarter of the time goes into what every epoch costs
LONGEST_PAUSE_S = 60.0
_BY_HAND = ", run again to go on"  # the advice of a source to a run that ends; a stream tries again by itself
BUSY_S = 1.0  # between two looks whether another run has ended
Show = Callable[[Status, bool], None]  # the flag says that an epoch ended


@dataclass(frozen=True)
class Options:
    """`interval_s`: from the start of an epoch to the start of the next. `max_messages`: most of an epoch; None: as declared.
    `until_idle`: end when a whole pull brought nothing."""

    interval_s: float = 10.0
    max_messages: int | None = None
    until_idle: bool = False


@dataclass
class _Pause:
    """A source that did not answer: not asked again before `until`, and longer each time."""

    until: float = 0.0
    seconds: float = 0.5
    why: str = ""


@dataclass
class Sources:
    """All places data comes from, open for the life of a stream; one that does not answer is left alone for a while."""

    all: list[Connector]
    pauses: dict[str, _Pause] = field(default_factory=dict)
    landed: int = 0
    bound: int = 0  # most messages of a pull

    @property
    def topics(self) -> list[Topics]:
        """Those that are Kafkas."""
        return [c for c in self.all if isinstance(c, Topics)]

    @property
    def trouble(self) -> str:
        """What does not answer, why, and how long it is left alone."""
        return "; ".join(f"{p.why}; tried again after {p.seconds:.0f} s" for p in self.pauses.values())

    @property
    def unanswered(self) -> str:
        """What did not answer, and why, for a stream that tries no more."""
        return "; ".join(p.why for p in self.pauses.values())

    def pull(self, ws: Workspace, progress: Progress) -> list[Landed]:
        """Land what is new at every place that answers."""
        landed: list[Landed] = []
        for topics in self.topics:
            topics.budget = self.bound
        for connector in self.all:
            pause = self.pauses.get(connector.name, _Pause())
            if time.monotonic() < pause.until:
                continue
            try:
                landed += pull(ws, connector, progress)
                self.pauses.pop(connector.name, None)
            except NotYet as error:
                longer = min(LONGEST_PAUSE_S, 2 * pause.seconds)
                self.pauses[connector.name] = _Pause(time.monotonic() + longer, longer, str(error).removesuffix(_BY_HAND))
        self.landed = len(landed)
        return landed

    @property
    def full(self) -> bool:
        """Whether the last pull ended at its bound."""
        return any(t.heard.full for t in self.topics)

    def close(self) -> None:
        """Leave the brokers."""
        for topics in self.topics:
            topics.close()


class Epochs:
    """The epochs of one stream, with its status."""

    def __init__(self, ws: Workspace, options: Options, show: Show) -> None:
        self.ws, self.options, self.show = ws, options, show
        self.sources = Sources(connectors(ws))
        self.most = options.max_messages or max((t.max_messages for t in self.sources.topics), default=MAX_MESSAGES)
        self.sources.bound = self.most
        self.status = Status(options.interval_s, self.most)
        self.tidy = Tidy()
        self.price_s = math.inf  # of the shortest epoch that brought something

    def run(self, stop: Event) -> Outcome | None:
        """Run epochs until told to stop, idle (if asked for) or held back; return the outcome that was held, if one was."""
        try:
            while not stop.is_set():
                began = time.monotonic()
                with self._turn(stop) as mine:
                    held = self._epoch() if mine else None
                if held:
                    self._tell(state="held", message=f"load {held.load} was held back; readers keep what they had")
                    return held
                if self.options.until_idle and mine and self._idle():
                    break
                if not any(self.status.lag_messages.values()):
                    stop.wait(began + self.options.interval_s - time.monotonic())
            self._tell(state="stopped", message=self.sources.unanswered)
            return None
        except BaseException as error:
            with suppress(VNSightError):  # the disk may be full
                self._tell(state="stopped", message=str(error) or type(error).__name__)
            raise
        finally:
            self.sources.close()

    def _tell(self, *, ended: bool = False, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self.status, name, value)
        with guard_storage("status of the stream"):
            self.status.save(self.ws)
        self.show(self.status, ended)

    @contextmanager
    def _turn(self, stop: Event) -> Iterator[bool]:
        """Hold the workspace for an epoch; False when told to stop while another run had it."""
        while not stop.is_set():
            try:
                with only_run(self.ws):
                    yield True
                    return
            except Busy as busy:
                self._tell(state="waiting", message=str(busy).partition(";")[0])
                stop.wait(BUSY_S)
        yield False

    def _idle(self) -> bool:
        return not (self.sources.landed or self.sources.trouble or any(self.status.lag_messages.values()))

    def _epoch(self) -> Outcome | None:
        """Run one epoch; return its outcome if it was held back."""
        seconds: dict[str, float] = {}
        outcomes: list[Outcome] = []

        def do(step: Step, *arguments: Any, **options: Any) -> Any:
            began = time.monotonic()
            result: Any = self.sources.pull(*arguments) if step == "pull" else do_plainly(step, *arguments, **options)
            seconds[step] = seconds.get(step, 0.0) + time.monotonic() - began
            if step == "pull":
                milestone("epoch:pulled")
            elif step == "publish":
                milestone("epoch:published")
                outcomes.append(result)
            return result

        first = "" if self.status.epoch else f"streaming from {', '.join(c.name for c in self.sources.all)}; the first epoch is under way"
        self._tell(state="running", epoch=self.status.epoch + 1, message=first or self.status.message)
        outcome = run_steps(self.ws, silent, do=do)
        held = outcome if outcome.state == "held" else None
        with guard_storage("tidying up"):
            self.tidy(self.ws)
        self._adapt(sum(seconds.values()))
        self._count([o for o in outcomes if o is not held], seconds)
        self._listen()
        load = outcome.load - 1 if held else outcome.load
        self._tell(ended=True, load=load, waiting_files=len(waiting_files(self.ws, load)))
        return held

    def _adapt(self, seconds: float) -> None:
        """Take less in the next pull when this one made an epoch too long, a little more when it did not."""
        self.price_s = min(seconds, self.price_s) if self.sources.landed else self.price_s
        if not self.sources.full:
            return
        most, bound = self.most, self.sources.bound
        too_long = seconds > max(self.options.interval_s, PRICES * self.price_s)
        bound = max(min(LEAST, most), bound // 2) if too_long else min(most, bound + most // 10 + 1)
        self.sources.bound = self.status.bound = bound

    def _count(self, published: list[Outcome], seconds: Mapping[str, float]) -> None:
        """Count the rows that were published, by bin, and the seconds it took."""
        if not published:
            return
        bins: Counter[str] = Counter()
        for ledger in (o.ledger for o in published if o.ledger is not None):
            for name, rows in zip(ledger["bin"], ledger["rows"], strict=True):
                bins[name] += rows
        self.status.add_rows(bins)
        self.status.epoch_seconds = {step: round(s, 3) for step, s in seconds.items()} | {"all": round(sum(seconds.values()), 3)}

    def _listen(self) -> None:
        """Take over what the pull learnt of the topics."""
        heard, status = [t.heard for t in self.sources.topics], self.status
        status.late += sum(h.late for h in heard)
        status.lag_messages = {topic: n for h in heard for topic, n in h.lag_messages.items()}
        status.lag_seconds = round(max((h.lag_seconds for h in heard), default=0.0), 3)
        status.message = "; ".join([*filter(None, [self.sources.trouble]), *(n for h in heard for n in h.notes)])
        status.state = "waiting" if self.sources.trouble else "running"
