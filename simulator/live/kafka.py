# SPDX-License-Identifier: Apache-2.0
"""Messages to Kafka: one topic per source, an exact number of times, paced by the simulated clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from schemas.contract import SOURCES
from schemas.envelope import END, PREFIX, topic_of
from schemas.errors import UsageError, VNSightError
from simulator.live.pace import Pace, Progress, Sent
from simulator.live.replay import Message, partition_of

if TYPE_CHECKING:
    from confluent_kafka import Producer

_ANSWER_S: Final = 10.0  # how long a broker may take to answer
_SETTINGS: Final = {
    "enable.idempotence": True,  # a retry inside the client must not add a copy that the replay does not know of
    "compression.type": "lz4", "linger.ms": 20, "queue.buffering.max.kbytes": 65_536, "log_level": 2,
}  # fmt: skip


class _Road:
    """A producer, the partitions of its topics, and the first thing that could not be delivered."""

    def __init__(self, producer: Producer, partitions: dict[str, int]) -> None:
        self.producer, self.partitions = producer, partitions
        self.failure = ""

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None and not self.failure:
            self.failure = str(error.str())

    def produce(self, message: Message) -> None:
        self._produce(message, partition_of(message, self.partitions[message.topic]), list(message.headers))

    def _produce(self, message: Message, partition: int, headers: list[tuple[str, bytes]]) -> None:
        while True:
            self.check()
            try:
                self.producer.produce(
                    message.topic, message.value, message.key, partition, on_delivery=self._delivered,
                    timestamp=message.timestamp_ms, headers=headers,
                )  # fmt: skip
                return
            except BufferError:
                self.producer.poll(0.1)

    def wait(self, pace: Pace, at_ms: int) -> None:
        self.producer.poll(0)
        while (left := pace.seconds_until(at_ms)) > 0:
            self.producer.poll(min(left, 0.2))
            pace.tell()

    def end(self, at_ms: int) -> None:
        for topic, count in self.partitions.items():
            for partition in range(count):
                self._produce(Message(topic, None, b"", at_ms, (), at_ms), partition, [(END, b"1")])

    def check(self) -> None:
        if self.failure:
            raise VNSightError(f"Kafka did not take a message: {self.failure}; what was sent before may be in its topics")


def create_topics(servers: str, partitions: int, prefix: str = PREFIX) -> list[str]:
    """Create the topics of all sources that are missing, kept forever; return their names.

    Messages carry timestamps of the past: under a broker's usual retention of seven days they would be deleted within minutes.
    `UsageError` when no broker answers.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic

    if partitions < 1:
        raise UsageError("partitions: a topic has at least 1")
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 2})
    try:
        there = admin.list_topics(timeout=_ANSWER_S).topics
    except KafkaException as error:
        raise UsageError(f"no Kafka broker answers at {servers} ({error.args[0].str()}); start one, or correct the address") from error
    missing = [t for t in (topic_of(s, prefix) for s in SOURCES) if t not in there]
    if missing:
        made = admin.create_topics([NewTopic(t, num_partitions=partitions, config={"retention.ms": "-1"}) for t in missing])
        for topic, result in made.items():
            try:
                result.result(_ANSWER_S)
            except (KafkaException, TimeoutError) as error:
                raise VNSightError(f"Kafka did not create topic {topic}: {error}") from error
    return missing


def _open(servers: str, prefix: str) -> _Road:
    from confluent_kafka import KafkaException, Producer

    producer = Producer({"bootstrap.servers": servers, **_SETTINGS})
    counts = {}
    for topic in (topic_of(s, prefix) for s in SOURCES):
        try:
            found = producer.list_topics(topic, timeout=_ANSWER_S).topics[topic]
        except KafkaException as error:
            raise UsageError(f"no Kafka broker answers at {servers} ({error.args[0].str()}); start one, or correct the address") from error
        if found.error is not None or not found.partitions:
            raise VNSightError(f"topic {topic} cannot be written: {found.error or 'it has no partition'}")
        counts[topic] = len(found.partitions)
    return _Road(producer, counts)


def _finish(road: _Road, sent: Sent) -> None:
    """Wait for the messages under way; those of a broker that is gone do not count as sent."""
    left = road.producer.flush(_ANSWER_S if sent.stopped else 60.0)
    road.check()
    if left and not sent.stopped:
        raise VNSightError(f"Kafka did not confirm the last {left} messages within a minute; is the broker still there?")
    sent.messages -= left


def send(
    messages: Iterable[Message], servers: str, *, partitions: int | None = 2, speed: float = 0.0, end: bool = False,
    prefix: str = PREFIX, progress: Progress | None = None,
) -> Sent:  # fmt: skip
    """Send messages to their topics, `speed` times as fast as they were made (0: without waiting), and return what was sent.

    Topics that are missing are created with `partitions` partitions (None: by the broker, as it is set); those that exist keep theirs.
    A message goes to `partition_of` it. With `end`, every partition of every topic ends with one message under the header END. Ctrl-C
    ends it early, with `stopped` set. `UsageError` when no broker answers, `VNSightError` when one refuses a message.
    """
    pace = Pace(speed, progress)
    if partitions is not None:
        create_topics(servers, partitions, prefix)
    road = _open(servers, prefix)
    try:
        for message in messages:
            road.wait(pace, message.sent_ms)
            road.produce(message)
            pace.sent.add(message)
            pace.tell()
        if end:
            road.end(pace.sent.through_ms)
    except KeyboardInterrupt:
        pace.sent.stopped = True
    _finish(road, pace.sent)
    pace.tell(last=True)
    return pace.sent
