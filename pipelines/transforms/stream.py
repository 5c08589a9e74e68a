# SPDX-License-Identifier: Apache-2.0
"""The streaming graph: messages to updates of the marts, by the same rules and the same kernel as the nightly batch.

    messages ─ ValidateMessages ─┬─ devices, device facts ─ RouteDeviceFacts ─┬─ JoinDoseToOutcomes ─┐
                                 ├─ facts of patients ────────────────────────┘                      ├─ WriteUpdates
                                 └─ receipts, quarantine ─────────────────────────────────────────────┘

Nothing is dropped for being late: a late fact makes the patient's version grow, and what is told then replaces what was told before.
Time only decides when a cell is looked at: when the watermark has passed the end of the interval in which its news came, so that an
answer waits for what was uploaded up to then and a burst is looked at once.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
import pyarrow as pa
from apache_beam.coders import BytesCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from pipelines.core.blocks import Block, pack, unpack
from pipelines.core.canonical import owners_of
from pipelines.core.cells import (
    DEVICE_SOURCES,
    CellOptions,
    compact,
    evaluate,
    route_devices,
    send,
    silent_patients,
    split,
    without_patients,
)
from pipelines.messages import read_messages
from pipelines.secret import read_secret
from pipelines.stage import read_facts
from pipelines.updates import write_update
from schemas.contract import load_contract
from schemas.envelope import PREFIX, source_of
from schemas.frames import staged_schema
from schemas.workspace import open_workspace

KEYED = tuple[int, bytes]
LATE_MS = {"1h": 3_600_000, "1d": 86_400_000, "7d": 604_800_000}  # upper ends of the buckets of lateness


@dataclass(frozen=True)
class StreamOptions:
    """What the steps share. `settle_s`: event time after which news is looked at. `remember_days`: how long the facts of a patient of whom
    nothing comes are kept (None: for ever); what comes later is counted and left to the nightly run."""

    home: str
    prefix: str = PREFIX
    cells: CellOptions = field(default_factory=CellOptions)
    settle_s: float = 3600.0
    remember_days: float | None = None
    most_blocks: int = 64  # of a key, before they are made one per source


class ValidateMessages(beam.DoFn):  # type: ignore[misc]
    """(topic, event time, messages as IPC) -> facts as blocks by key, receipts and refused rows; refused rows lose nothing."""

    def __init__(self, options: StreamOptions) -> None:
        self.options = options

    def setup(self) -> None:
        """The secret is read where the work is done: it must not travel in the graph."""
        self.workspace = open_workspace(Path(self.options.home))
        self.secret = read_secret(self.workspace)

    def process(self, element: tuple[str, int, bytes]) -> Iterator[Any]:
        """Blocks go to `devices` or `patients`, everything else to the main output, as (table, rows)."""
        topic, time_ms, ipc = element
        table = pa.ipc.open_stream(pa.py_buffer(ipc)).read_all()
        source = source_of(topic, self.options.prefix)
        trusted = source in self.workspace.settings.trusted_receipt
        read = read_messages(table, topic, load_contract(source), self.secret, trusted, time.time_ns() // 1000)
        _count(table, time_ms)
        yield "receipts", read.receipts
        if read.quarantine.height:
            yield "quarantine", read.quarantine
        yield from _keyed(Block(source, time_ms, read.facts), self.options.cells.cells)


def _count(table: pa.Table, time_ms: int) -> None:
    """Counters and buckets of lateness: distributions and gauges do not survive every runner, counters do."""
    Metrics.counter("vnsight", "messages").inc(table.num_rows)
    for stamp in table["timestamp_ms"].to_pylist():
        behind = time_ms - stamp
        bucket = next((name for name, end in LATE_MS.items() if behind <= end), "older")
        if behind > 0:
            Metrics.counter("vnsight", f"behind_{bucket}").inc()


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
        news.write(b"1")
        due = _due(block, self.options.settle_s)
        tidy.set(Timestamp.of(due), dynamic_timer_tag=str(due))
        if block.source == "devices":
            before = _rows(known)
            rows, out = route_devices(block, before, [unpack(b) for b in facts.read()], cells)
            devices.write(pack(Block("devices", block.time_ms, rows)))
            _add_copies(copies, {"devices": before.height + block.facts.height - rows.height})
        else:
            facts.add(data)
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
        look: Any = beam.DoFn.TimerParam(LOOK),  # noqa: B008
    ) -> None:
        """Keep the block and look when its interval is over: one timer per interval, so that none can be pushed ahead for ever."""
        block = unpack(element[1])
        facts.add(element[1])
        news.write(b"1")
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


class WriteUpdates(beam.DoFn):  # type: ignore[misc]
    """(table, rows) -> one update folder per bundle, complete before the runner's checkpoint says so; the committer takes it from there."""

    def __init__(self, options: StreamOptions) -> None:
        self.options = options
        self.held: dict[str, list[pl.DataFrame]] = {}

    def start_bundle(self) -> None:
        """A bundle that failed left rows behind: they come again."""
        self.held = {}

    def process(self, element: tuple[str, pl.DataFrame]) -> None:
        """Hold the rows until the bundle ends."""
        self.held.setdefault(element[0], []).append(element[1])

    def finish_bundle(self) -> None:
        """Write what the bundle brought, by one rename."""
        if self.held:
            write_update(Path(self.options.home), {name: pl.concat(frames) for name, frames in self.held.items()})
            self.held = {}


class ReadStaged(beam.DoFn):  # type: ignore[misc]
    """(source, fact file relative to the workspace) -> its facts as blocks by key: what was known before the stream began."""

    def __init__(self, options: StreamOptions) -> None:
        self.options = options

    def process(self, element: tuple[str, str]) -> Iterator[Any]:
        """Blocks go to `devices` or `patients`, as those of messages do."""
        source, path = element
        yield from _keyed(Block(source, 0, read_facts(Path(self.options.home), path, source)), self.options.cells.cells)


def _keyed(facts: Block, cells: int) -> Iterator[Any]:
    of_device = facts.source in (*DEVICE_SOURCES, "devices")
    for key, block in split(facts, "device_key" if of_device else "patient_key", cells):
        yield beam.pvalue.TaggedOutput("devices" if of_device else "patients", (key, pack(block)))


class StreamMarts(beam.PTransform):  # type: ignore[misc]
    """(topic, event time in ms, messages as IPC bytes) -> updates of the marts in the workspace's `stream/` folder."""

    def __init__(self, options: StreamOptions, staged: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__()
        self.options, self.staged = options, list(staged)

    def expand(self, messages: Any) -> Any:
        """The graph drawn above; facts that are staged already come first."""
        named = ("devices", "patients")
        checked = messages | "Validate" >> beam.ParDo(ValidateMessages(self.options)).with_outputs(*named, main="updates")
        staged = (
            messages.pipeline
            | "Staged" >> beam.Create(self.staged or [("", "")]).with_output_types(tuple[str, str])
            | "Any" >> beam.Filter(lambda file: bool(file[1]))
            | "ReadStaged" >> beam.ParDo(ReadStaged(self.options)).with_outputs(*named)
        )
        devices, patients = ((checked[name], staged[name]) | f"All{name}" >> beam.Flatten() for name in named)
        routed = (
            devices
            | "TypeDevices" >> beam.Map(lambda kv: kv).with_output_types(KEYED)
            | "Route" >> beam.ParDo(RouteDeviceFacts(self.options)).with_outputs("updates", main="cells")
        )
        cells = (
            patients | "TypePatients" >> beam.Map(lambda kv: kv).with_output_types(KEYED),
            routed.cells | "TypeRouted" >> beam.Map(lambda kv: kv).with_output_types(KEYED),
        ) | "Cells" >> beam.Flatten()
        snapshots = cells | "Join" >> beam.ParDo(JoinDoseToOutcomes(self.options))
        for name, output in (("Receipts", checked.updates), ("Held", routed.updates), ("Snapshots", snapshots)):
            output | f"Write{name}" >> beam.ParDo(WriteUpdates(self.options))
        return snapshots
