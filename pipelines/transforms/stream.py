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

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
import pyarrow as pa
from apache_beam.metrics import Metrics

from pipelines.core.blocks import Block, pack
from pipelines.core.cells import (
    DEVICE_SOURCES,
    split,
)
from pipelines.messages import read_messages
from pipelines.secret import read_secret
from pipelines.stage import read_facts
from pipelines.transforms.keyed import JoinDoseToOutcomes, RouteDeviceFacts
from pipelines.transforms.stream_options import KEYED, StreamOptions
from pipelines.updates import write_update
from schemas.contract import load_contract
from schemas.envelope import source_of
from schemas.workspace import open_workspace

__all__ = ["KEYED", "StreamMarts", "StreamOptions"]
LATE_MS = {"1h": 3_600_000, "1d": 86_400_000, "7d": 604_800_000}  # upper ends of the buckets of lateness

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
