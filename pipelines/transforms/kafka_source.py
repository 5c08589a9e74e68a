# SPDX-License-Identifier: Apache-2.0
"""Kafka for a streaming Beam graph: a splittable DoFn whose offsets and watermark are part of the runner's checkpoints.

One element is a partition, its restriction the range of offsets still to read. What comes out is a table of neighbouring messages
(`pipelines.core.messages.SCHEMA`), as Arrow IPC bytes: a message at a time would cost more than its content.

The watermark of a partition follows the median of its last five timestamps, never beyond now: one or two messages that claim 1970 or
2099 cannot move it. It trails by `lag_s`. A partition that was read to its end and stays silent holds the others up until
`idle_s` have passed, then it follows the clock; with `idle_s` None it waits (a replay of the past, where the clock says nothing).
An END message (schemas.envelope) moves a partition to the end of time, so that a finite test ends.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam import coders
from apache_beam.io.iobase import RestrictionProgress
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Duration, Timestamp

from pipelines.transforms.kafka_partition import PartitionReader, Read

ENDLESS = 2**62
REMEMBERED = 5  # timestamps of which the median moves the watermark
AHEAD_MS = 300_000  # clocks of producers may be this much fast
Partition = tuple[str, int]  # topic, number
Place = tuple[str, int, int]  # topic, number, offset to begin at


@dataclass(frozen=True)
class KafkaOptions:
    """How partitions are read; bundles are short because a checkpoint waits for their end.

    config: librdkafka's, with bootstrap.servers and without a password: it would travel in the graph. The worker finds it in the
    environment variable `password_env` or in the file `password_file`.
    """

    config: Mapping[str, str | int | float | bool]
    password_env: str | None = None
    password_file: str | None = None
    lag_s: float = 0.0
    idle_s: float | None = 60.0
    max_messages: int = 2000
    max_bytes: int = 16 << 20
    bundle_s: float = 0.5
    wait_s: float = 0.02
    pause_s: float = 0.25  # after a partition had nothing

    def connection(self) -> dict[str, str | int | float | bool]:
        """The properties with the password, on the machine that connects."""
        secret = os.environ.get(self.password_env or "") or (Path(self.password_file).read_text().strip() if self.password_file else "")
        return {**self.config, "sasl.password": secret} if secret else dict(self.config)


class _Tracker(OffsetRestrictionTracker):  # type: ignore[misc]
    """A range without an end: it is never cut in proportion, only where it stands."""

    def is_bounded(self) -> bool:
        return bool(self._range.stop < ENDLESS)

    def try_split(self, fraction: float) -> Any:
        return super().try_split(fraction) if fraction == 0 or self.is_bounded() else None

    def current_progress(self) -> RestrictionProgress:
        at = self._range.start if self._current_position is None else self._current_position
        return RestrictionProgress(completed=float(max(at - self._range.start, 0)), remaining=1.0)


class _Provider(RestrictionProvider):  # type: ignore[misc]
    def initial_restriction(self, element: Place) -> OffsetRange:
        return OffsetRange(element[2], ENDLESS)

    def create_tracker(self, restriction: OffsetRange) -> _Tracker:
        return _Tracker(restriction)

    def restriction_size(self, _element: Place, restriction: OffsetRange) -> float:
        return float(min(restriction.stop - restriction.start, 1000))

    def restriction_coder(self) -> coders.Coder:
        return coders.registry.get_coder(OffsetRange)

    def truncate(self, _element: Place, _restriction: OffsetRange) -> None:
        """Draining: what was read is finished, nothing more is begun."""


class EventClock:
    """The watermark of one partition, in milliseconds; None until anything is known."""

    def __init__(self, options: KafkaOptions, start_ms: int | None = None) -> None:
        self._options, self._last = options, deque[int](maxlen=REMEMBERED)
        self._silent_since: float | None = None
        self.high_ms = start_ms

    def hear(self, timestamps: list[int], now_s: float) -> None:
        """Take in the timestamps of messages in the order they were written."""
        self._silent_since = None
        for ms in timestamps:
            self._last.append(ms)
            if len(self._last) > REMEMBERED // 2:
                self._raise(int(statistics.median_low(self._last)), now_s)

    def silent(self, now_s: float) -> None:
        """The partition was read to its end."""
        self._silent_since = self._silent_since or now_s
        idle = self._options.idle_s
        if idle is not None and now_s - self._silent_since >= idle:
            self._raise(int(now_s * 1000), now_s)

    def _raise(self, ms: int, now_s: float) -> None:
        ms = min(ms, int(now_s * 1000) + AHEAD_MS)
        self.high_ms = ms if self.high_ms is None else max(self.high_ms, ms)

    @property
    def watermark_ms(self) -> int | None:
        """Event time up to which the partition was heard, less the lag."""
        return None if self.high_ms is None else self.high_ms - int(self._options.lag_s * 1000)


class ReadPartition(beam.DoFn):  # type: ignore[misc]
    """(topic, partition, first offset) -> (topic, event time in ms, table of messages as IPC bytes), over and over."""

    def __init__(self, options: KafkaOptions) -> None:
        self.options = options
        self.open: dict[Partition, PartitionReader] = {}
        self.clocks: dict[Partition, EventClock] = {}

    def teardown(self) -> None:
        """Close what is open."""
        for reader in self.open.values():
            reader.close()
        self.open = {}

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: Place,
        tracker: Any = beam.DoFn.RestrictionParam(_Provider()),  # noqa: B008 - Beam reads these defaults
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterator[TimestampedValue]:
        """Read for one bundle, then give the rest of the range back to the runner."""
        topic, number, _ = element
        at = topic, number
        clock = self._clock(at, watermark.current_watermark())
        deadline, position, heard = time.monotonic() + self.options.bundle_s, tracker.current_restriction().start, False
        while time.monotonic() < deadline:
            read = self._read(at, position)
            if not (read.messages or read.ended):
                break
            heard, position = True, read.position
            if not tracker.try_claim(position - 1):
                self._drop(at)  # the runner cut the range here: what was just read is read again by its rest
                return
            before = clock.watermark_ms
            clock.hear(read.timestamps, time.time())
            if read.messages:  # when nothing is known yet, a message that claims 2099 must not be looked at then
                earliest = before if before is not None else min(*read.timestamps, int(time.time() * 1000))
                yield TimestampedValue((topic, clock.high_ms or earliest, read.ipc), Timestamp.of(earliest / 1000))
            if read.ended:
                watermark.set_watermark(MAX_TIMESTAMP)
                tracker.try_claim(ENDLESS)
                return
        if not heard:
            clock.silent(time.time())
        self._advance(watermark, clock.watermark_ms)
        tracker.defer_remainder(Duration.of(0 if heard else self.options.pause_s))

    def _read(self, element: Partition, position: int) -> Read:
        reader = self.open.get(element)
        if reader is None or reader.position != position:
            self._drop(element)
            reader = self.open[element] = PartitionReader(self.options.connection(), *element, position)
        return reader.read(self.options.max_messages, self.options.max_bytes, self.options.wait_s)

    def _drop(self, element: Partition) -> None:
        reader = self.open.pop(element, None)
        if reader is not None:
            reader.close()

    def _clock(self, element: Partition, restored: Timestamp | None) -> EventClock:
        clock = self.clocks.get(element)
        if clock is None:
            ms = None if restored is None else restored.micros // 1000 + int(self.options.lag_s * 1000)
            clock = self.clocks[element] = EventClock(self.options, ms)
        return clock

    def _advance(self, watermark: Any, ms: int | None) -> None:
        if ms is None:
            return
        at, current = Timestamp(micros=ms * 1000), watermark.current_watermark()
        if current is None or at > current:
            watermark.set_watermark(at)


class ReadKafka(beam.PTransform):  # type: ignore[misc]
    """All partitions of the topics, named when the pipeline starts from nothing: a state goes on with those it knows, and no other."""

    def __init__(self, partitions: list[Place], options: KafkaOptions) -> None:
        super().__init__()
        self.partitions, self.options = partitions, options

    def expand(self, begin: Any) -> Any:
        """(topic, event time in ms, IPC bytes) of every bundle of messages."""
        return (
            begin
            | "Partitions" >> beam.Create(self.partitions).with_output_types(tuple[str, int, int])
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(ReadPartition(self.options)).with_output_types(tuple[str, int, bytes])
        )
