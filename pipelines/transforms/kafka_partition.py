# SPDX-License-Identifier: Apache-2.0
"""One Kafka partition read from a given offset, as tables of messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.core.messages import SCHEMA
from pipelines.kafka import DEFAULTS, FIXED, message_row
from schemas.errors import VNSightError


@dataclass(frozen=True)
class Read:
    """Messages that stood next to each other: their table as IPC bytes, their timestamps, the offset to go on from."""

    messages: int
    timestamps: list[int]
    ipc: bytes
    position: int
    ended: bool  # an END message came; what lies behind it is not read


class PartitionReader:
    """A consumer of one partition; `position` is the next offset."""

    def __init__(self, config: Mapping[str, Any], topic: str, partition: int, position: int) -> None:
        from confluent_kafka import Consumer, TopicPartition

        self.name, self.partition, self.position = f"{topic}/{partition}", partition, position
        self._consumer = Consumer({**DEFAULTS, **config, **FIXED, "enable.partition.eof": False})
        self._consumer.assign([TopicPartition(topic, partition, position)])

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def read(self, most: int, most_bytes: int, wait_s: float) -> Read:
        """Messages from `position` on, as many as come within the bounds; `VNSightError` when the offset cannot be had any more."""
        rows: list[dict[str, Any]] = []
        size, ended = 0, False
        while not ended and len(rows) < most and size < most_bytes:
            found = self._consumer.consume(min(500, most - len(rows)), 0.0 if rows else wait_s)
            if not found:
                break
            for message in found:
                if message.error():
                    raise VNSightError(f"{self.name}, offset {self.position}: {message.error().str()}")
                self.position = message.offset() + 1
                row = message_row(message)
                if row is None:
                    ended = True
                    break
                rows.append(row)
                size += len(row["value"] or b"")
        return Read(len(rows), [r["timestamp_ms"] for r in rows], _ipc(rows) if rows else b"", self.position, ended)


def _ipc(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    return bytes(sink.getvalue().to_pybytes())
