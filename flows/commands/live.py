# SPDX-License-Identifier: Apache-2.0
"""`vnsight simulate --live`: a simulated workspace as a source that keeps sending."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import Group, Parameter

from flows.terminal import ERR, OUT, Watch, watch
from schemas.errors import UsageError

if TYPE_CHECKING:
    from simulator.live import Replay, Sent

_TOLD_EVERY_S = 10.0
_ARROW_BATCH = 500


@Parameter(name="*", group=Group("Live"))
@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """How a simulated workspace is replayed."""

    live: bool = False
    """Send the records of HOME/inbox as uploads in the order of their receipt, until all are sent or Ctrl-C."""
    speed: float | Literal["max"] = 1000.0
    """How many times faster than real time; 0 or max: as fast as possible."""
    to: Path | None = None
    """Folder that gets NDJSON files, FOLDER/<source>/; by default HOME/live."""
    kafka: str | None = None
    """Kafka brokers to send to instead, such as 127.0.0.1:9092: one topic a source, vnsight.<source>."""
    partitions: int = 2
    """Partitions of the topics that are made; those that exist keep theirs."""
    batch: int | None = None
    """Most records of a message, neighbours of one source on lines of their own; by default 1, with --arrow 500."""
    arrow: bool = False
    """Send Arrow IPC streams instead of JSON."""
    road_faults: bool = True
    """Delay, disorder and repeat messages and silence devices for weeks, by --seed; or send everything in order, once."""
    end: bool = False
    """Close every partition of every topic with a message that says so."""

    def check(self, serve: bool) -> None:
        """Raise `UsageError` for options that do not go together."""
        if not self.live and self != LiveOptions():
            raise UsageError("options of a replay were given without --live; add it")
        if self.live and serve:
            raise UsageError("--live and --serve: give one of them")
        if self.to is not None and self.kafka is not None:
            raise UsageError("--to and --kafka: give one of them")
        if self.live and self.kafka is None and (self.arrow or self.end):
            raise UsageError("--arrow and --end are for Kafka; name its brokers with --kafka")
        if self.partitions < 1 or (self.batch is not None and self.batch < 1):
            raise UsageError("--partitions and --batch: give at least 1")
        if self.speed != "max" and not 0 <= self.speed < float("inf"):
            raise UsageError("--speed: give how many times faster than real time, or max")


class _Shown:
    """Progress as a bar on a terminal, as a line now and then elsewhere."""

    def __init__(self, bar: Watch, total: int) -> None:
        self.bar, self.total, self.told = bar, total, time.monotonic()

    def __call__(self, sent: Sent) -> None:
        self.bar("send", sent.rows, self.total)
        if self.bar.bars is None and time.monotonic() - self.told >= _TOLD_EVERY_S:
            self.told = time.monotonic()
            ERR.print(f"{sent.rows:,} of {self.total:,} records with their copies, simulated time {_instant(sent.through_ms)}")


def _instant(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}"


def _sending(messages: Replay, place: str, how: LiveOptions) -> str:
    begin, end = (_instant(int(messages.departures.sent_us[i]) // 1000) for i in (0, -1))
    pace = "as fast as possible" if how.speed in ("max", 0) else f"{how.speed:,g} times as fast as they were made"
    return f"{len(messages.spool):,} records of {begin} to {end}, to {place}, {pace}; stop with Ctrl-C"


def _summary(sent: Sent) -> str:
    seconds = max(sent.seconds, 1e-3)
    lines = [
        f"{sent.messages:,} messages ({sent.copies:,} duplicates, {sent.delayed:,} delayed by over an hour), {sent.rows:,} records with "
        f"{sent.rows - sent.records:,} copies, {sent.size / 1e6:,.1f} MB in {sent.seconds:,.1f} s: "
        f"{sent.messages / seconds:,.0f} messages a second"
    ]
    if sent.files:
        lines.append(f"{sent.files:,} files")
    if sent.unconfirmed:
        lines.append(f"{sent.unconfirmed:,} of the messages were not confirmed by the broker")
    if sent.stopped:
        lines.append(f"stopped at the simulated time {_instant(sent.through_ms)}; the rest was not sent")
    return "\n".join(lines)


def replay(home: Path, seed: int, how: LiveOptions) -> int:
    """Send everything, say how it went, and return the exit code: 1 when stopped before the end."""
    from simulator.live import ROUGH, SMOOTH, Options, Replay, read_inbox, send, write_files

    batch = how.batch or (_ARROW_BATCH if how.arrow else 1)
    options = Options(batch, how.arrow, ROUGH if how.road_faults else SMOOTH, seed)
    speed = 0.0 if how.speed == "max" else how.speed
    folder = how.to or home / "live"
    with read_inbox(home) as spool:
        messages = Replay(spool, options)
        OUT.print(_sending(messages, how.kafka or str(folder), how), soft_wrap=True)
        with watch() as bar:
            shown = _Shown(bar, messages.rows)
            if how.kafka is not None:
                sent = send(messages, how.kafka, partitions=how.partitions, speed=speed, end=how.end, progress=shown)
            else:
                sent = write_files(messages, folder, speed=speed, progress=shown)
    OUT.print(_summary(sent), soft_wrap=True)
    return 1 if sent.stopped else 0
