# SPDX-License-Identifier: Apache-2.0
"""Messages to Kafka: one topic per source, an exact number of times, paced by the simulated clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from schemas.contract import SOURCES
from schemas.envelope import END, PREFIX, topic_of
from schemas.errors import UsageError, VNSightError
from simulator.live.pace import Pace, Progress, Sent, stopped_by_ctrl_c
from simulator.live.replay import Message, partition_of

if TYPE_CHECKING:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient

_ANSWER_S: Final = 10.0  # how long a broker may take to answer
_SETTINGS: Final = {
    "enable.idempotence": True,  # a retry inside the client must not add a copy that the replay does not know of
    "compression.type": "lz4", "linger.ms": 20, "queue.buffering.max.kbytes": 65_536, "log_level": 2, "message.max.bytes": 80 << 20,
    "message.timeout.ms": 60_000,
}  # fmt: skip


class _Line:
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
                self.producer.poll(0)
                return
            except BufferError:
                self.producer.poll(0.1)

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
    `UsageError` when no broker answers, or a topic that exists would lose messages.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic

    if partitions < 1:
        raise UsageError("partitions: a topic has at least 1")
    admin, wanted = AdminClient({"bootstrap.servers": servers, "log_level": 2}), [topic_of(s, prefix) for s in SOURCES]
    try:
        there = admin.list_topics(timeout=_ANSWER_S).topics
    except KafkaException as error:
        raise _no_broker(servers, error) from error
    missing = [NewTopic(t, num_partitions=partitions, config={"retention.ms": "-1"}) for t in wanted if t not in there]
    try:
        _check_retention(admin, [t for t in wanted if t in there])
        for result in admin.create_topics(missing).values() if missing else ():
            result.result(_ANSWER_S)
    except (KafkaException, TimeoutError) as error:
        raise VNSightError(f"Kafka at {servers} did not make or describe the topics {prefix}...: {error}") from error
    return [t.topic for t in missing]


def _no_broker(servers: str, error: Exception) -> UsageError:
    return UsageError(f"no Kafka broker answers at {servers} ({error.args[0].str()}); start one, or correct the address")


def _check_retention(admin: AdminClient, topics: list[str]) -> None:
    from confluent_kafka.admin import ConfigResource

    asked = [ConfigResource(ConfigResource.Type.TOPIC, t) for t in topics]
    for topic, result in admin.describe_configs(asked).items() if asked else ():
        config = {name: entry.value for name, entry in result.result(_ANSWER_S).items()}
        by_age = config["retention.ms"] != "-1" and config["message.timestamp.type"] == "CreateTime"
        if by_age or config["cleanup.policy"] != "delete":
            raise UsageError(
                f"topic {topic.name} would lose messages of the past (retention.ms={config['retention.ms']}, "
                f"cleanup.policy={config['cleanup.policy']}); set retention.ms=-1 and cleanup.policy=delete, or remove the topic"
            )


def _open(servers: str, prefix: str) -> _Line:
    from confluent_kafka import KafkaException, Producer

    producer = Producer({"bootstrap.servers": servers, **_SETTINGS})
    counts = {}
    for topic in (topic_of(s, prefix) for s in SOURCES):
        try:
            found = producer.list_topics(topic, timeout=_ANSWER_S).topics[topic]
        except KafkaException as error:
            raise _no_broker(servers, error) from error
        if found.error is not None or not found.partitions:
            raise VNSightError(f"topic {topic} cannot be written: {found.error or 'it has no partition'}")
        counts[topic] = len(found.partitions)
    return _Line(producer, counts)


def _finish(line: _Line, sent: Sent) -> None:
    """Wait for the messages under way; those of a broker that is gone do not count as sent."""
    left = line.producer.flush(_ANSWER_S if sent.stopped else 60.0)
    line.check()
    if left and not sent.stopped:
        raise VNSightError(f"Kafka did not confirm the last {left} messages within a minute; is the broker still there?")
    sent.unconfirmed = left


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
    line = _open(servers, prefix)
    with stopped_by_ctrl_c(pace.sent):
        for message in messages:
            pace.wait(message.sent_ms, line.producer.poll)
            if pace.sent.stopped:
                break
            line.produce(message)
            pace.sent.add(message)
            pace.tell()
        if end and not pace.sent.stopped:
            line.end(pace.sent.through_ms)
        _finish(line, pace.sent)
    pace.tell(last=True)
    return pace.sent
