# SPDX-License-Identifier: Apache-2.0
"""Messages to a folder: NDJSON files that appear whole, source by source, a few a second at most."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from schemas.envelope import CONTENT_TYPE, JSON, PREFIX, source_of
from schemas.errors import UsageError
from simulator.live.pace import Pace, Progress, Sent, stopped_by_ctrl_c
from simulator.live.replay import Message

_WINDOW_S: Final = 3.0  # real seconds whose messages share a file: 12 sources, so four files a second at most
_MOST_BYTES: Final = 16 << 20


class _Files:
    """What waits to be written, by source."""

    def __init__(self, folder: Path, pace: Pace, prefix: str) -> None:
        self.folder, self.pace, self.prefix = folder, pace, prefix
        self.waiting: dict[str, list[bytes]] = {}
        self.sizes: dict[str, int] = {}

    def add(self, message: Message) -> None:
        if (CONTENT_TYPE, JSON.encode()) not in message.headers:
            raise UsageError("files hold JSON; Arrow messages are for Kafka")
        source = source_of(message.topic, self.prefix)
        self.waiting.setdefault(source, []).append(message.value)
        self.sizes[source] = self.sizes.get(source, 0) + len(message.value)
        self.pace.sent.add(message)
        if self.sizes[source] >= _MOST_BYTES:
            self.write(source)

    def write(self, source: str) -> None:
        at = datetime.fromtimestamp(self.pace.sent.through_ms / 1000, UTC)
        path = self.folder / source / f"{at:%Y%m%dT%H%M%SZ}-{self.pace.sent.files + 1:06d}.ndjson"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_bytes(b"\n".join(self.waiting[source]) + b"\n")
        part.rename(path)
        del self.waiting[source], self.sizes[source]
        self.pace.sent.files += 1

    def write_all(self) -> None:
        for source in list(self.waiting):
            self.write(source)


def write_files(
    messages: Iterable[Message], folder: Path, *, speed: float = 0.0, prefix: str = PREFIX, progress: Progress | None = None
) -> Sent:
    """Write JSON messages to `folder/<source>/<sent at>-<number>.ndjson`, `speed` times as fast as they were made (0: without waiting).

    A file holds what left within three real seconds, or 16 MiB where that is less, and has the ending `.part` until it is complete:
    the same messages at the same speed give the same files. Ctrl-C ends it early, with `stopped` set and nothing half-written.
    `UsageError` when the folder holds files already.
    """
    if any(p.is_file() for p in folder.rglob("*")):
        raise UsageError(f"{folder} holds files already; send to another folder with --to, or remove it first")
    pace = Pace(speed, progress)
    files, window_ms = _Files(folder, pace, prefix), int(_WINDOW_S * 1000 * speed)
    closes_ms: int | None = None
    with stopped_by_ctrl_c(pace.sent):
        for message in messages:
            if closes_ms is not None and message.sent_ms >= closes_ms:
                pace.wait(closes_ms)
                files.write_all()
                closes_ms = None
            if pace.sent.stopped:
                break
            pace.seconds_until(message.sent_ms)
            if speed and closes_ms is None:
                closes_ms = message.sent_ms + window_ms
            files.add(message)
            pace.tell()
        files.write_all()
    pace.tell(last=True)
    return pace.sent
