# SPDX-License-Identifier: Apache-2.0
"""A Kafka broker without Kafka: librdkafka's mock, in a process of its own, so that it can be frozen and killed.

A topic appears with 4 partitions when somebody sends to it; a partition keeps its newest 5 MiB.
"""

import json
import signal
import subprocess
import sys

from confluent_kafka import Producer

from schemas.envelope import topic_of

HOST = """
import sys
from confluent_kafka import Producer
host = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "of the mock", "log_level": 2})
print(",".join(f"{b.host}:{b.port}" for b in host.list_topics(timeout=10).brokers.values()), flush=True)
sys.stdin.read()
"""


class Broker:
    """`servers` of a mock broker that lives until `stop`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.servers = self.process.stdout.readline().strip()
        assert self.servers, "the mock broker did not start"
        self.producer = Producer({"bootstrap.servers": self.servers, "message.max.bytes": 100_000_000, "log_level": 2})

    def send(self, source, *values, partition=0, key=b"k", timestamp_ms=1_750_000_000_000, headers=()):
        """Send values (bytes as they are, others as JSON) to the topic of a source and wait until they are there."""
        for value in values:
            data = value if isinstance(value, bytes | None) else json.dumps(value).encode()
            self.producer.produce(topic_of(source), data, key, partition, timestamp=timestamp_ms, headers=list(headers))
        assert self.producer.flush(20) == 0

    def freeze(self) -> None:
        """Let nobody be answered, as by a machine that hangs."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Answer again."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the broker; nothing it held survives."""
        self.thaw()
        self.process.kill()
        self.process.communicate()
