# SPDX-License-Identifier: Apache-2.0
"""One Kafka partition read from a given offset, as tables of messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.core.messages import SCHEMA
from schemas.envelope import CONTENT_TYPE, END
from schemas.envelope import SCHEMA as SCHEMA_HEADER
from schemas.errors import VNSightError

# What the offsets of a checkpoint rely on: nothing is committed at the broker, and an offset that is gone is an error, not a jump.
FIXED: dict[str, Any] = {"group.id": "vnsight", "enable.auto.commit": False, "auto.offset.reset": "error"}
DEFAULTS: dict[str, Any] = {"fetch.wait.max.ms": 50, "fetch.message.max.bytes": 80 << 20, "queued.max.messages.kbytes": 65536}


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
        self._consumer = Consumer({**DEFAULTS, **config, **FIXED})
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
                row = _row(message, self.partition)
                if row is None:
                    ended = True
                    break
                rows.append(row)
                size += len(row["value"] or b"")
        return Read(len(rows), [r["timestamp_ms"] for r in rows], _ipc(rows) if rows else b"", self.position, ended)


def _row(message: Any, partition: int) -> dict[str, Any] | None:
    """A message as a row of `SCHEMA`; None for an END message."""
    headers = {k.lower(): v for k, v in message.headers() or () if v is not None}
    if END in headers:
        return None
    kind, timestamp = message.timestamp()
    return {
        "partition": partition, "offset": message.offset(), "timestamp_ms": timestamp, "appended": kind == 2, "key": message.key(),
        "value": message.value(), "content_type": _text(headers.get(CONTENT_TYPE)), "schema": _text(headers.get(SCHEMA_HEADER)),
    }  # fmt: skip


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def _ipc(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    return bytes(sink.getvalue().to_pybytes())
