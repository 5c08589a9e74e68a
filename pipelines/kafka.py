# SPDX-License-Identifier: Apache-2.0
"""A Kafka consumer that keeps no position at the broker: told where to stand, it hands over bounded tables of messages.

    with Reader({"bootstrap.servers": "127.0.0.1:9092"}) as reader:
        at = {Partition("vnsight.patients", 0): 0}
        ends = reader.ends(at)                                # first and next offset of each partition
        got = reader.fetch(at, ends, 20_000, 64 << 20, {})    # messages, and where to go on

Tables have the columns of `pipelines.core.messages.SCHEMA`. Errors that time may heal are `Unreachable`; a refused login or a property
that librdkafka does not know is not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines.core.messages import SCHEMA
from schemas.envelope import CONTENT_TYPE, END
from schemas.envelope import SCHEMA as SCHEMA_HEADER
from schemas.errors import UsageError, VNSightError

LOG = logging.getLogger("vnsight.kafka")
# What positions kept by us rely on: none at the broker, an offset that is gone is an error and no jump, the end of a partition is told.
FIXED: Mapping[str, Any] = {"enable.auto.commit": False, "auto.offset.reset": "error", "enable.partition.eof": True}
DEFAULTS: Mapping[str, Any] = {
    "group.id": "vnsight",  # librdkafka asks for one; without commits nothing is kept under it
    "fetch.wait.max.ms": 50, "fetch.message.max.bytes": 80 << 20, "receive.message.max.bytes": 256 << 20,
    "queued.max.messages.kbytes": 65_536, "log_level": 2,
}  # fmt: skip
ANSWER_S = 10.0  # how long a broker may take to answer


class Unreachable(VNSightError):
    """No broker answers, or none sends what it has; later it may."""


class MadeAnew(VNSightError):
    """The topic of a partition was deleted and made again: its offsets mean other messages now."""

    def __init__(self, partition: Partition, why: str) -> None:
        super().__init__(f"topic {partition.topic}, partition {partition.number}: {why}")
        self.topic = partition.topic


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int


class Ends(NamedTuple):
    """Offset of the first message that is still there, and of the next one to come."""

    low: int
    high: int


class Seen(NamedTuple):
    """A message that was read before: by it a topic is known again."""

    offset: int
    timestamp_ms: int


@dataclass(frozen=True)
class Fetched:
    """Messages by topic, sorted by partition and offset; the next offset of every partition that moved; partitions that failed.

    A topic may have moved without a message: markers of transactions and END messages are passed over.
    """

    tables: Mapping[str, pa.Table]
    positions: Mapping[Partition, int]
    lost: Mapping[Partition, str] = field(default_factory=dict)


class Reader:
    """One consumer over any number of partitions. `config` holds properties of librdkafka, with `bootstrap.servers`.

    What is asked goes over a connection of its own: on the one that fetches, every answer would wait for the next message.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        from confluent_kafka import Consumer, KafkaException

        self._heard, self._fatal = "", ""
        self._at: dict[Partition, int] = {}
        self.servers = str(config["bootstrap.servers"])
        try:
            self._consumer, self._asking = (Consumer({**DEFAULTS, **config, **FIXED, "error_cb": self._hear}) for _ in range(2))
        except KafkaException as error:
            raise UsageError(f"Kafka, config: {error.args[0].str()}; see the properties of librdkafka") from error

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
        self._asking.close()

    def topics(self) -> dict[str, list[Partition]]:
        """All topics the broker shows us, with their partitions; its internal ones are left out."""
        from confluent_kafka import KafkaException

        try:
            found = self._asking.list_topics(timeout=ANSWER_S).topics
        except KafkaException as error:
            raise self._trouble(error.args[0].str()) from error
        self._heard = ""
        return {
            name: [Partition(name, n) for n in sorted(topic.partitions)]
            for name, topic in sorted(found.items()) if topic.error is None and not name.startswith("__")
        }  # fmt: skip

    def ends(self, partitions: Iterable[Partition]) -> dict[Partition, Ends]:
        """Where each partition begins and ends now; one whose leader is away or whose topic just went is left out."""
        from confluent_kafka import KafkaError, KafkaException, TopicPartition

        gone = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC, KafkaError.LEADER_NOT_AVAILABLE)
        ends = {}
        for partition in partitions:
            try:
                ends[partition] = Ends(*self._asking.get_watermark_offsets(TopicPartition(*partition), timeout=ANSWER_S))
            except KafkaException as error:
                if error.args[0].code() not in gone:
                    raise self._trouble(f"{partition.topic}/{partition.number}: {error.args[0].str()}") from error
        return ends

    def fetch(
        self, at: Mapping[Partition, int], ends: Mapping[Partition, Ends], most: int, most_bytes: int, seen: Mapping[Partition, Seen]
    ) -> Fetched:
        """Read from the offsets `at` up to the `ends` that were asked for, or until `most` messages or bytes are there.

        A message is never cut: the last ones may exceed `most_bytes`. Raises `Unreachable` when messages are there and none comes, and
        `MadeAnew` when the last message that was `seen` of a partition is not the one at its offset any more.
        """
        self._stand(at, ends, seen)
        got = _Collected({p for p, offset in at.items() if p in ends and offset < ends[p].high})
        patience = time.monotonic() + ANSWER_S
        while got.missing and got.count < most and got.size < most_bytes:
            found = self._consumer.consume(min(200, most - got.count), 0.2)
            if found:
                patience = time.monotonic() + ANSWER_S
            elif time.monotonic() > patience:
                break
            for message in found:
                partition = Partition(message.topic(), message.partition())
                if message.error() is not None and not self._at_end(message):
                    got.lose(partition, message.error().str())
                elif message.error() is not None:
                    if partition not in ends or message.offset() >= ends[partition].high:  # else it was said before more came
                        got.pass_over(partition, message.offset())
                elif message.offset() < at[partition]:
                    _recognise(partition, message, seen.get(partition))
                else:
                    got.take(partition, message, ends.get(partition))
        self._at = {} if got.lost else {**self._at, **got.moved}
        if got.missing and not got.moved and not got.lost:
            raise self._trouble(f"none of the messages of {', '.join(sorted({p.topic for p in got.missing}))} came")
        return Fetched({topic: _table(rows) for topic, rows in got.rows.items()}, got.moved, got.lost)

    def _stand(self, at: Mapping[Partition, int], ends: Mapping[Partition, Ends], seen: Mapping[Partition, Seen]) -> None:
        """Go on from the given offsets; what was fetched ahead is kept when that is where we stand, else the last message is looked at."""
        from confluent_kafka import TopicPartition

        if self._at != at:
            begin = {p: seen[p].offset if p in seen and p in ends and seen[p].offset >= ends[p].low else offset for p, offset in at.items()}
            self._consumer.assign([TopicPartition(*partition, offset) for partition, offset in sorted(begin.items())])
            self._at = dict(at)

    @staticmethod
    def _at_end(message: Any) -> bool:
        from confluent_kafka import KafkaError

        return bool(message.error().code() == KafkaError._PARTITION_EOF)

    def _hear(self, error: Any) -> None:
        """Remember what librdkafka complains of: the errors of calls only say that they timed out."""
        from confluent_kafka import KafkaError

        self._heard = error.str()
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED):
            self._fatal = error.str()

    def _trouble(self, what: str) -> VNSightError:
        why = self._fatal or self._heard
        said = f"{what} ({why})" if why and why != what else what
        if self._fatal:
            self._fatal = ""
            return VNSightError(f"Kafka at {self.servers} refused us: {said}; check user, password and certificates")
        return Unreachable(f"Kafka at {self.servers} does not answer: {said}")


@dataclass
class _Collected:
    """What a fetch has so far; `missing` partitions have not been read to their ends."""

    missing: set[Partition]
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    moved: dict[Partition, int] = field(default_factory=dict)
    lost: dict[Partition, str] = field(default_factory=dict)
    count: int = 0
    size: int = 0

    def lose(self, partition: Partition, why: str) -> None:
        self.lost[partition] = why
        self.missing.discard(partition)

    def pass_over(self, partition: Partition, end: int) -> None:
        self.moved[partition] = end
        self.missing.discard(partition)

    def take(self, partition: Partition, message: Any, ends: Ends | None) -> None:
        self.moved[partition] = message.offset() + 1
        if ends is None or self.moved[partition] >= ends.high:
            self.missing.discard(partition)
        row = message_row(message)
        if row is not None:
            self.rows.setdefault(partition.topic, []).append(row)
            self.count, self.size = self.count + 1, self.size + len(row["value"] or b"")


def _recognise(partition: Partition, message: Any, seen: Seen | None) -> None:
    if seen is not None and message.offset() == seen.offset and message.timestamp()[1] != seen.timestamp_ms:
        raise MadeAnew(partition, f"at offset {seen.offset:,} is another message than was read")


def message_row(message: Any) -> dict[str, Any] | None:
    """A message of librdkafka as a row of `pipelines.core.messages.SCHEMA`; None for an END message."""
    headers = {k.lower(): v for k, v in message.headers() or () if v is not None}
    if END in headers:
        return None
    kind, timestamp = message.timestamp()
    return {
        "partition": message.partition(), "offset": message.offset(), "timestamp_ms": timestamp, "appended": kind == 2,
        "key": message.key(), "value": message.value(), "content_type": _text(headers.get(CONTENT_TYPE)),
        "schema": _text(headers.get(SCHEMA_HEADER)),
    }  # fmt: skip


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    rows.sort(key=lambda r: (r["partition"], r["offset"]))
    return pa.Table.from_pylist(rows, SCHEMA)
