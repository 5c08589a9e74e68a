# SPDX-License-Identifier: Apache-2.0
"""Topics of a Kafka: what was pulled of a topic is one landed file of messages, and that file also says where to go on.

`<name>/<topic>/<number>.messages` is an Arrow IPC file (`pipelines.core.messages.SCHEMA`); its metadata hold the next offset of every
partition of the topic, and offset and timestamp of its last message. The newest landed file of a topic is therefore the position of
this source: data and offsets become known by the same rename, so that a crash can neither lose a message nor count one twice. Nothing
is kept at the broker.

A partition we never read begins at its beginning. A position behind its beginning means that the broker threw away what nobody had
read: said loudly, with the number, and read on. A position beyond its end, or another message where our last one was, means that
the topic was made anew: nothing is read then.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flows.sources.connector import Item, NotYet
from pipelines.kafka import FIXED, Ends, MadeAnew, Partition, Reader, Seen, Unreachable
from pipelines.landing import manifest
from schemas.contract import SOURCES
from schemas.envelope import PREFIX, source_of, topic_of
from schemas.errors import UsageError, VNSightError
from schemas.load import Landed
from schemas.milestones import milestone
from schemas.workspace import Workspace

LOG = logging.getLogger("vnsight.sources")
MAX_MESSAGES = 20_000  # of one landed file, and of one pull of a stream
MAX_BYTES = 64 << 20
LATE_MS = 24 * 3_600_000
_LANDED = b"vnsight-landed"


@dataclass(frozen=True)
class Place:
    """How far a topic is landed: number of its newest file, next offset and last message of every partition, newest timestamp (UTC ms)."""

    number: int = 0
    positions: Mapping[int, int] = field(default_factory=dict)
    last: Mapping[int, Seen] = field(default_factory=dict)
    newest_ms: int = 0


@dataclass
class Heard:
    """What the last pull learnt: messages that still wait per topic, age of the oldest of them as far as is known, late messages."""

    lag_messages: dict[str, int] = field(default_factory=dict)
    lag_seconds: float = 0.0
    late: int = 0  # stamped more than a day before the newest of their topic
    messages: int = 0
    full: bool = False  # a bound ended the pull
    notes: list[str] = field(default_factory=list)


@dataclass
class Topics:
    """The topics of one Kafka that carry sources. `budget`: most messages of a pull; None lands all that was there when it began."""

    name: str
    config: Mapping[str, Any] = field(repr=False)
    prefix: str = PREFIX
    sources: tuple[str, ...] = tuple(sorted(SOURCES))
    max_messages: int = MAX_MESSAGES
    max_bytes: int = MAX_BYTES
    budget: int | None = None
    heard: Heard = field(default_factory=Heard)

    def __post_init__(self) -> None:
        self._reader: Reader | None = None
        self._told: set[str] = set()
        self._left: dict[str, str] = {}  # topic that was made anew -> what was said of it
        self._read: dict[str, Place] = {}  # hash of a landed file -> what it says; a landed file never changes
        self._pending: dict[str, pa.Table] = {}
        self._passed: dict[Partition, int] = {}  # offsets behind markers, for which there is nothing to land

    def list_new(self, ws: Workspace) -> Iterator[Item]:
        """One item per topic that has news, over and over until all is landed that was there at the beginning, or the budget is used."""
        self.heard = Heard(notes=list(self._left.values()))
        try:
            while True:
                try:
                    yield from self._list(ws)
                    return
                except MadeAnew as error:
                    self._leave(error)
        except Unreachable as error:
            raise NotYet(f"source {self.name}: {error}; what came before is landed, run again to go on") from error
        finally:
            if self.budget is None:  # a night's pull, not one of many
                self.close()

    def _list(self, ws: Workspace) -> Iterator[Item]:
        reader = self._open()
        partitions, places = self._partitions(reader), self._places(ws)
        for topic in sorted(set(places) - set(self._left) - {p.topic for p in partitions}):
            self._say_once(f"topic {topic}: is not there any more; what was landed of it stays")
        ends = reader.ends(partitions)
        yield from self._all(reader, self._start(places, ends), ends, places)

    def _leave(self, error: MadeAnew) -> None:
        """Leave a topic alone whose offsets mean other messages now, and go on with the others."""
        self.close()
        left = (
            f"{error}: it was deleted and made anew and is left alone. Give source {self.name} a new name in vnsight.toml to read it from "
            "its beginning (what is known stays, copies do not count twice)"
        )
        self._left[error.topic] = left
        self.heard.notes.append(left)
        self._say_once(left)

    def fetch(self, item: Item) -> Iterable[bytes]:
        """The messages of an item as an Arrow IPC file, the same bytes for the same messages."""
        sink = pa.BufferOutputStream()
        table = self._pending[item.file]
        with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            writer.write_table(table)
        yield sink.getvalue()

    def done(self, ws: Workspace, item: Item) -> None:
        """Nothing to remember: what is landed says where to go on."""
        milestone("kafka:landed")
        del self._pending[item.file]

    def close(self) -> None:
        """Leave the broker, until the next pull."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _open(self) -> Reader:
        self._reader = self._reader or Reader(self.config)
        return self._reader

    def _partitions(self, reader: Reader) -> list[Partition]:
        """Partitions of the topics that carry our sources; other topics of our prefix are named once and left alone."""
        wanted = {topic_of(source, self.prefix) for source in self.sources}
        found = reader.topics()
        for topic in found:
            if topic.startswith(self.prefix) and topic not in wanted:
                self._say_once(f"topic {topic}: is left alone, it carries no source that is read here ({', '.join(self.sources)})")
        ours = [p for topic in sorted((wanted & set(found)) - set(self._left)) for p in found[topic]]
        if not ours:
            self._say_once(f"source {self.name}: there is no topic {self.prefix}<source> yet")
        return ours

    def _say_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            LOG.warning("%s", text)

    def _places(self, ws: Workspace) -> dict[str, Place]:
        """Topic -> how far it is landed."""
        newest: dict[str, tuple[int, Landed]] = {}
        for entry in manifest(ws):
            file = entry.landed.file
            if entry.landed.origin == self.name and file.endswith(".messages"):
                _, topic, number = file.rsplit("/", 2)
                if int(Path(number).stem) > newest.get(topic, (0,))[0]:
                    newest[topic] = int(Path(number).stem), entry.landed
        known = self._read
        self._read = {landed.sha256: known.get(landed.sha256) or _read_place(ws, landed, number) for number, landed in newest.values()}
        return {topic: self._read[landed.sha256] for topic, (_, landed) in newest.items()}

    def _start(self, places: Mapping[str, Place], ends: Mapping[Partition, Ends]) -> dict[Partition, int]:
        """Where to read on in each partition."""
        at = {}
        for partition, (low, high) in ends.items():
            known = places.get(partition.topic, Place()).positions.get(partition.number)
            if known is not None and known > high:
                raise MadeAnew(partition, f"ends at offset {high:,}, but messages up to {known:,} were landed")
            if known is not None and known < low:
                name = f"topic {partition.topic}, partition {partition.number}"
                lost = f"{name}: {low - known:,} messages were deleted by the broker before they were read; make its retention longer"
                LOG.warning("%s", lost)
                self.heard.notes.append(lost)
            at[partition] = max(low, known or 0, self._passed.get(partition, 0))
        return at

    def _all(
        self, reader: Reader, at: dict[Partition, int], ends: Mapping[Partition, Ends], places: dict[str, Place]
    ) -> Iterator[Item]:
        """Fetch, hand over, go on; a budget is one fetch."""
        while any(at[p] < ends[p].high for p in at):
            most = self.budget or self.max_messages
            seen = {p: places[p.topic].last[p.number] for p in at if p.topic in places and p.number in places[p.topic].last}
            got = reader.fetch(at, ends, most, self.max_bytes, seen)
            for partition, why in got.lost.items():
                LOG.warning("topic %s, partition %d: nothing was read (%s)", *partition, why)
                at.pop(partition)
            at.update(got.positions)
            self._passed.update((p, offset) for p, offset in got.positions.items() if p.topic not in got.tables)
            for topic, table in sorted(got.tables.items()):
                before = places.get(topic, Place())
                now = places[topic] = self._next(before, {p.number: o for p, o in at.items() if p.topic == topic}, table)
                item = Item(source_of(topic, self.prefix), f"{self.name}/{topic}/{now.number:08d}.messages", topic)
                self._pending[item.file] = _stamped(table, now)
                yield item
            self._measure(at, ends, places)
            if self.budget is not None:
                self.heard.full = any(at[p] < ends[p].high for p in at)
                return
        self._measure(at, ends, places)

    def _next(self, before: Place, at: Mapping[int, int], table: pa.Table) -> Place:
        """The place after a table of messages was landed. A timestamp of the future does not make all others late."""
        now_ms = time.time_ns() // 1_000_000
        stamps = table["timestamp_ms"].to_numpy()
        self.heard.messages += table.num_rows
        self.heard.late += int((stamps < before.newest_ms - LATE_MS).sum())
        newest = int(np.max(stamps[stamps <= now_ms], initial=before.newest_ms))
        columns = (table[c].to_pylist() for c in ("partition", "offset", "timestamp_ms"))
        last = {p: Seen(offset, ms) for p, offset, ms in zip(*columns, strict=True)}
        return Place(before.number + 1, {**before.positions, **at}, {**before.last, **last}, newest)

    def _measure(self, at: Mapping[Partition, int], ends: Mapping[Partition, Ends], places: Mapping[str, Place]) -> None:
        lag: dict[str, int] = {}
        for partition, offset in at.items():
            lag[partition.topic] = lag.get(partition.topic, 0) + max(ends[partition].high - offset, 0)
        self.heard.lag_messages = lag
        behind = [places[t].newest_ms for t, n in lag.items() if n and t in places]
        self.heard.lag_seconds = max(0.0, time.time() - min(behind) / 1000) if behind else 0.0


def _read_place(ws: Workspace, landed: Landed, number: int) -> Place:
    try:
        with pa.memory_map(str(ws.landing / landed.path)) as source, pa.ipc.open_file(source) as file:
            said = json.loads(file.schema.metadata[_LANDED])
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise VNSightError(
            f"{landed.file}: the landed file cannot be read, and with it where to go on; restore landing/{landed.path} from a copy"
        ) from error
    positions, last = ({int(p): value for p, value in said[key].items()} for key in ("positions", "last"))
    return Place(number, positions, {p: Seen(*value) for p, value in last.items()}, said["newest_ms"])


def _stamped(table: pa.Table, place: Place) -> pa.Table:
    said = {"positions": dict(place.positions), "last": dict(place.last), "newest_ms": place.newest_ms}
    return table.replace_schema_metadata({_LANDED: json.dumps(said, sort_keys=True).encode()})


def declared_topics(table: Mapping[str, Any], ws: Workspace) -> Topics:
    """A Kafka declared in `vnsight.toml`: name, servers, optionally prefix, sources, max_messages, config, sasl_password_env or _file."""
    where = f"vnsight.toml, source {table['name']}"
    servers, sources = table.get("servers"), table.get("sources", sorted(SOURCES))
    if not isinstance(servers, str) or not servers.strip():
        raise UsageError(f'{where}, servers: is missing; name the brokers, such as servers = "127.0.0.1:9092"')
    prefix = table.get("prefix", PREFIX)
    if not isinstance(prefix, str) or "/" in prefix:
        raise UsageError(f"{where}, prefix: {prefix} is no beginning of a topic's name")
    unknown = [s for s in sources if s not in SOURCES]
    if unknown or not sources:
        raise UsageError(f"{where}, sources: {unknown[0] if unknown else '(none)'} is no source; there are: {', '.join(sorted(SOURCES))}")
    most = table.get("max_messages", MAX_MESSAGES)
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise UsageError(f"{where}, max_messages: {most} is no number of messages")
    config = {"bootstrap.servers": servers, **_properties(table.get("config", {}), where), **_password(table, ws, where)}
    return Topics(table["name"], config, prefix, tuple(sorted(set(sources))), most)


def _properties(config: Any, where: str) -> dict[str, Any]:
    """Properties for librdkafka as they were given, without those that exactly-once rests on, and without passwords."""
    if not isinstance(config, dict):
        raise UsageError(f"{where}, config: is no table of properties")
    for key, value in config.items():
        if key == "bootstrap.servers":
            raise UsageError(f"{where}, config, {key}: name the brokers with servers instead")
        if key in FIXED:
            raise UsageError(f"{where}, config, {key}: is set by VNSight, because landed files say where to go on; remove it")
        if "password" in key:
            raise UsageError(f"{where}, config, {key}: settings are shared; name where it is with sasl_password_env or sasl_password_file")
        if not isinstance(value, str | int | float):
            raise UsageError(f"{where}, config, {key}: is neither text nor a number")
    return {k: str(v).lower() if isinstance(v, bool) else v for k, v in config.items()}


def _password(table: Mapping[str, Any], ws: Workspace, where: str) -> dict[str, str]:
    if variable := table.get("sasl_password_env"):
        word, missing = os.environ.get(variable, "").strip(), f"sasl_password_env: the variable {variable} with the password is not set"
    elif path := table.get("sasl_password_file"):
        file = ws.home / Path(path).expanduser()
        word = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
        missing = f"sasl_password_file: {path} with the password is not there or empty"
    else:
        return {}
    if not word:
        raise UsageError(f"{where}, {missing}")
    return {"sasl.password": word}
