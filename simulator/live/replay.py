# SPDX-License-Identifier: Apache-2.0
"""The messages of a simulated inbox in the order in which they leave, the same for the same arguments."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from schemas.contract import SOURCES, load_contract
from schemas.envelope import ARROW, CONTENT_TYPE, JSON, PREFIX, SCHEMA, topic_of
from schemas.errors import UsageError
from simulator.live.arrow import to_arrow
from simulator.live.road import ROUGH, Departures, Road, depart, hold_offline
from simulator.live.spool import Spool, read_inbox
from simulator.live.uploads import Uploads, pack

LATE_MS: Final = 3_600_000  # a message that leaves later than this after its timestamp counts as delayed


@dataclass(frozen=True)
class Options:
    """What goes into a message and what happens to it. `batch` is the most records of a message, `arrow` sends Arrow IPC streams.

    `road` is how bad the road is (`SMOOTH`: everything in order, once), `seed` decides whom it hits, `prefix` stands before the source.
    """

    batch: int = 1
    arrow: bool = False
    road: Road = ROUGH
    seed: int = 1
    prefix: str = PREFIX

    def __post_init__(self) -> None:
        if self.batch < 1 or self.seed < 0:
            raise UsageError("live: a batch is at least 1 record, and the seed not negative")


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `timestamp_ms` is the latest receipt of its records, `sent_ms` when it leaves, both Unix milliseconds of the replay.

    `key` is the device or participant all its records belong to, None if there are several or nobody. `copy`: it was sent before.
    """

    topic: str
    key: bytes | None
    value: bytes
    timestamp_ms: int
    headers: tuple[tuple[str, bytes], ...]
    sent_ms: int
    records: int = 1
    copy: bool = False

    @property
    def delayed(self) -> bool:
        """Whether it leaves more than an hour after its timestamp, and not because it is a copy."""
        return not self.copy and self.sent_ms - self.timestamp_ms > LATE_MS


def partition_of(message: Message, partitions: int) -> int:
    """Return the partition of a message: it follows from its key, without one from its value."""
    return zlib.crc32(message.value if message.key is None else message.key) % partitions


def _milliseconds(us: int) -> int:
    """Round up: no record of a message came after the message's timestamp."""
    return -(-int(us) // 1000)


class Replay:
    """What is to be sent, counted and in order; iterate for the messages while the spool is open.

    `rows` counts the records of all messages, copies included; an upload whose records Arrow cannot all hold leaves as two messages.
    """

    def __init__(self, spool: Spool, options: Options) -> None:
        self.spool, self.options = spool, options
        streams = np.random.SeedSequence([options.seed, zlib.crc32(b"live")]).spawn(2)
        outages, journeys = (np.random.default_rng(s) for s in streams)
        ready, held = hold_offline(options.road, outages, spool.at_us, spool.key, len(spool.keys))
        self.uploads: Uploads = pack(spool, ready, held, options.batch)
        self.departures: Departures = depart(options.road, journeys, self.uploads.ready_us)
        self.rows = int(np.diff(self.uploads.first)[self.departures.message].sum())

    def __iter__(self) -> Iterator[Message]:
        for message, sent_us, copy in zip(*self.departures, strict=True):
            yield from self._messages(int(message), _milliseconds(sent_us), bool(copy))

    def _messages(self, number: int, sent_ms: int, copy: bool) -> Iterator[Message]:
        up = self.uploads
        source, key = SOURCES[up.source[number]], int(up.key[number])
        contract = load_contract(source)
        texts = [self.spool.text(r) for r in up.records(number)]
        for value, kind, records in self._values(texts, source):
            headers = ((CONTENT_TYPE, kind.encode()), (SCHEMA, contract.version.encode()))
            yield Message(
                topic_of(source, self.options.prefix), None if key < 0 else self.spool.keys[key], value,
                _milliseconds(up.stamp_us[number]), headers, sent_ms, records, copy,
            )  # fmt: skip

    def _values(self, texts: Sequence[bytes], source: str) -> Iterator[tuple[bytes, str, int]]:
        if not self.options.arrow:
            yield b"\n".join(texts), JSON, len(texts)
            return
        stream, left = to_arrow(texts, load_contract(source))
        if stream is not None:
            yield stream, ARROW, len(texts) - len(left)
        if left:
            yield b"\n".join(left), JSON, len(left)


def messages(home: Path, options: Options | None = None) -> Iterator[Message]:
    """Yield all messages of the simulated workspace `home` in the order in which they leave.

    The same arguments yield the same messages in the same order. Every row of the inbox is in a message, the rows that are broken
    as the bytes they are; what the road adds are whole messages sent again. `UsageError` when the inbox is empty.
    """
    with read_inbox(home) as spool:
        yield from Replay(spool, options or Options())
