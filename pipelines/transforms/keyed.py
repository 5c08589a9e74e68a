# SPDX-License-Identifier: Apache-2.0
"""The two keyed steps of the streaming graph: state and timers around the pure functions of `pipelines.core.cells`.

State is bytes: bags of blocks (pipelines/core/blocks.py, which say their own columns) and small JSON. It outlives versions of the program.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
import polars as pl
from apache_beam.coders import BytesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from pipelines.core.blocks import Block, pack, unpack
from pipelines.core.canonical import owners_of
from pipelines.core.cells import (
    DEVICE_SOURCES,
    compact,
    evaluate,
    route_devices,
    send,
    silent_patients,
    without_patients,
)
from pipelines.transforms.stream_options import KEYED, StreamOptions
from schemas.contract import load_contract
from schemas.frames import staged_schema


def _due(block: Block, settle_s: float) -> float:
    """End of the interval of event time in which the block came, in seconds."""
    return (math.floor(block.time_ms / 1000 / settle_s) + 1) * settle_s


class RouteDeviceFacts(beam.DoFn):  # type: ignore[misc]
    """Device facts to the cells of their owners; what nobody owns yet waits. Keyed by device."""

    FACTS = BagStateSpec("facts", BytesCoder())
    DEVICES = ReadModifyWriteStateSpec("devices", BytesCoder())
    NEWS = ReadModifyWriteStateSpec("news", BytesCoder())
    COPIES = ReadModifyWriteStateSpec("copies", BytesCoder())
    TIDY = TimerSpec("tidy", TimeDomain.WATERMARK)

    def __init__(self, options: StreamOptions) -> None:
        self.options = options
        self.owners: dict[int, tuple[bytes | None, pl.DataFrame]] = {}

    def process(
        self,
        element: KEYED,
        facts: Any = beam.DoFn.StateParam(FACTS),  # noqa: B008 - Beam reads these defaults
        devices: Any = beam.DoFn.StateParam(DEVICES),  # noqa: B008
        news: Any = beam.DoFn.StateParam(NEWS),  # noqa: B008
        copies: Any = beam.DoFn.StateParam(COPIES),  # noqa: B008
        tidy: Any = beam.DoFn.TimerParam(TIDY),  # noqa: B008
    ) -> Iterator[Any]:
        """Blocks for the cells."""
        key, data = element
        block, cells, known = unpack(data), self.options.cells.cells, devices.read()
        due = _due(block, self.options.settle_s)
        tidy.set(Timestamp.of(due), dynamic_timer_tag=str(due))
        if block.source == "devices":
            before = _rows(known)
            rows, out = route_devices(block, before, [unpack(b) for b in facts.read()], cells)
            devices.write(pack(Block("devices", block.time_ms, rows)))
            _add_copies(copies, {"devices": before.height + block.facts.height - rows.height})
            news.write(news.read() or b"0 0")
        else:
            _add(data, facts, news, copies, self.options)
            out = list(send(block.facts, block.source, block.time_ms, self._owners(key, known), cells))
        for cell, part in out:
            yield cell, pack(part)

    def _owners(self, key: int, known: bytes | None) -> pl.DataFrame:
        cached = self.owners.get(key)
        if cached is None or cached[0] != known:
            cached = self.owners[key] = (known, owners_of(_rows(known)))
        return cached[1]

    @on_timer(TIDY)  # type: ignore[untyped-decorator]
    def tidy(
        self,
        key: int = beam.DoFn.KeyParam,
        facts: Any = beam.DoFn.StateParam(FACTS),  # noqa: B008
        devices: Any = beam.DoFn.StateParam(DEVICES),  # noqa: B008
        news: Any = beam.DoFn.StateParam(NEWS),  # noqa: B008
        copies: Any = beam.DoFn.StateParam(COPIES),  # noqa: B008
    ) -> Iterator[Any]:
        """Say how many device facts are here and how many wait for an owner; keep the state small."""
        if not news.read():
            return
        news.clear()
        known = devices.read()
        owners = self._owners(key, known)
        held = _compacted(facts, copies, self.options.most_blocks)
        if self.options.remember_days is not None:  # they went to their owner long ago; a device that moves takes younger facts along
            old = pl.col("_known_at").dt.epoch("us") < _since_us(self.options.remember_days)
            young = {s: f.filter(~(old & pl.col("device_key").is_in(owners["device_key"].implode()))) for s, f in held.items()}
            held = _keep(facts, copies, held, young)
        held |= {"devices": _rows(known)}
        yield beam.pvalue.TaggedOutput("updates", ("held", _held("router", key, held, copies, owners)))


HELD = {
    "step": pl.String(), "key": pl.Int64(), "source": pl.String(), "rows": pl.Int64(), "copies": pl.Int64(), "let_go": pl.Int64(),
    "waiting": pl.Int64(),
}  # fmt: skip
LET_GO = "-"  # before the source: facts that were forgotten, or came when their patient was


def _held(step: str, key: int, facts: Mapping[str, pl.DataFrame], copies: Any, owners: pl.DataFrame | None = None) -> pl.DataFrame:
    """What a key holds, by source: distinct facts, copies of them that came, facts let go, and facts of devices nobody owns yet."""
    counted = json.loads(copies.read() or b"{}")
    rows = []
    for source, f in facts.items():
        waiting = 0 if owners is None else f.join(owners, on="device_key", how="anti").height
        row = (step, key, source, f.height, counted.get(source, 0), counted.get(LET_GO + source, 0), waiting)
        rows += [row] if any(row[3:]) else []
    return pl.DataFrame(rows, schema=HELD, orient="row")


def _add_copies(copies: Any, more: Mapping[str, int]) -> None:
    known = json.loads(copies.read() or b"{}")
    copies.write(json.dumps({s: known.get(s, 0) + more.get(s, 0) for s in {*known, *more}}).encode())


def _add(data: bytes, facts: Any, news: Any, copies: Any, options: StreamOptions) -> None:
    """Keep a block, and make the state small at once when as much has come as was kept: a storm of copies must not wait for a look.

    `news` holds the bytes that came since the last look or compaction, and those this one left; savepoints of before hold one number.
    """
    facts.add(data)
    came, kept, *_ = (*map(int, (news.read() or b"0").split()), 0)
    came += len(data)
    if came > max(kept, options.least_bytes):
        _compacted(facts, copies, 0)
        came, kept = 0, sum(map(len, facts.read()))
    news.write(b"%d %d" % (came, kept))


def _compacted(facts: Any, copies: Any, most_blocks: int) -> dict[str, pl.DataFrame]:
    """The distinct facts of a key by source; many blocks, or blocks with copies, are written back as one per source."""
    blocks = [unpack(b) for b in facts.read()]
    few = compact(blocks)
    held = {b.source: b.facts for b in few}
    more = {s: sum(b.facts.height for b in blocks if b.source == s) - f.height for s, f in held.items()}
    if len(blocks) > most_blocks or any(more.values()):
        facts.clear()
        for block in few:
            facts.add(pack(block))
        _add_copies(copies, more)
    return held


def _since_us(days: float) -> int:
    return time.time_ns() // 1000 - int(days * 86_400_000_000)


def _keep(facts: Any, copies: Any, held: dict[str, pl.DataFrame], kept: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Write back what is kept of what is held, if anything goes, and count what goes."""
    gone = {LET_GO + s: held[s].height - f.height for s, f in kept.items()}
    if any(gone.values()):
        facts.clear()
        for source, frame in kept.items():
            facts.add(pack(Block(source, 0, frame)))
        _add_copies(copies, gone)
    return kept


def _rows(known: bytes | None) -> pl.DataFrame:
    return unpack(known).facts if known else pl.DataFrame(schema=staged_schema(load_contract("devices")))


class JoinDoseToOutcomes(beam.DoFn):  # type: ignore[misc]
    """The facts of a cell of patients to snapshots of their marts, whenever more is known. Keyed by cell."""

    FACTS = BagStateSpec("facts", BytesCoder())
    TOLD = ReadModifyWriteStateSpec("told", BytesCoder())
    NEWS = ReadModifyWriteStateSpec("news", BytesCoder())
    COPIES = ReadModifyWriteStateSpec("copies", BytesCoder())
    LOOK = TimerSpec("look", TimeDomain.WATERMARK)

    def __init__(self, options: StreamOptions) -> None:
        self.options = options

    def process(
        self,
        element: KEYED,
        facts: Any = beam.DoFn.StateParam(FACTS),  # noqa: B008
        news: Any = beam.DoFn.StateParam(NEWS),  # noqa: B008
        copies: Any = beam.DoFn.StateParam(COPIES),  # noqa: B008
        look: Any = beam.DoFn.TimerParam(LOOK),  # noqa: B008
    ) -> None:
        """Keep the block and look when its interval is over: one timer per interval, so that none can be pushed ahead for ever."""
        block = unpack(element[1])
        _add(element[1], facts, news, copies, self.options)
        due = _due(block, self.options.settle_s)
        look.set(Timestamp.of(due), dynamic_timer_tag=str(due))

    @on_timer(LOOK)  # type: ignore[untyped-decorator]
    def look(
        self,
        key: int = beam.DoFn.KeyParam,
        facts: Any = beam.DoFn.StateParam(FACTS),  # noqa: B008
        told: Any = beam.DoFn.StateParam(TOLD),  # noqa: B008
        news: Any = beam.DoFn.StateParam(NEWS),  # noqa: B008
        copies: Any = beam.DoFn.StateParam(COPIES),  # noqa: B008
    ) -> Iterator[Any]:
        """Tell every patient of whom more is known than was told; a timer that finds no news is silent."""
        if not news.read():
            return
        news.clear()
        held = _compacted(facts, copies, self.options.most_blocks)
        before = {int(k): v for k, v in json.loads(told.read() or b"{}").items()}
        forgotten = frozenset(k for k, v in before.items() if v < 0)  # a version that was told and is kept no more
        held = _keep(facts, copies, held, without_patients(held, forgotten))
        snapshot = evaluate([Block(source, 0, frame) for source, frame in held.items()], before, key, self.options.cells, forgotten)
        if snapshot is not None:
            told.write(json.dumps(before | dict(snapshot.versions)).encode())
            yield from snapshot.marts.items()
            before |= snapshot.versions
        if self.options.remember_days is not None:
            silent = silent_patients(held, _since_us(self.options.remember_days)) - forgotten
            held = _keep(facts, copies, held, without_patients(held, silent))
            told.write(json.dumps(before | {k: -before[k] for k in silent if k in before}).encode())
        own = {s: f for s, f in held.items() if s not in (*DEVICE_SOURCES, "devices")}  # the others are counted where they are routed
        yield "held", _held("cell", key, own, copies)
