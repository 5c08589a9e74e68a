# SPDX-License-Identifier: Apache-2.0
"""The whole streaming graph on Beam: TestStream on the bundle runner, the one local runner that keeps event time right."""

import random
from pathlib import Path

import apache_beam as beam
import apache_beam.testing.test_stream as event_stream  # under its own name pytest would collect the class
import polars as pl
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.transforms.window import TimestampedValue

from pipelines.core.cells import CellOptions
from pipelines.core.messages import SCHEMA
from pipelines.transforms.stream import StreamMarts, StreamOptions
from pipelines.updates import merge_updates, waiting_updates
from schemas.envelope import topic_of
from tests.small_world import SECRET
from tests.stream_world import Line, arrival, assert_same, batch_of, by_source, lines_of

WORLDS, STEPS, STEP_S = 1000, 5, 86_400


def ipc(lines: list[bytes], offset: int) -> bytes:
    rows = [{"partition": 0, "offset": offset + i, "timestamp_ms": 0, "appended": False, "value": v} for i, v in enumerate(lines)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    return sink.getvalue().to_pybytes()


def arriving(worlds: int, seed: object) -> list[list[tuple[int, Line]]]:
    due: list[list[tuple[int, Line]]] = [[] for _ in range(STEPS)]
    for world in range(worlds):
        for step, claimed, line in arrival(world, STEPS, seed):
            due[step].append((claimed, line))
    return [random.Random(f"{seed} {n}").sample(d, len(d)) for n, d in enumerate(due)]


def stream_of(worlds: int, seed: object) -> tuple[event_stream.TestStream, int]:
    """So many arrival orders in one stream, and how many messages it holds; the watermark leaps ahead once, so that the rest comes
    beyond any allowance."""
    stream, sent = event_stream.TestStream(coder=beam.coders.FastPrimitivesCoder()), 0
    for step, due in enumerate(arriving(worlds, seed)):
        for half in (due[::2], due[1::2]):
            for source, lines in by_source(line for _, line in half).items():
                time_ms = min(claimed for claimed, _ in half) * STEP_S * 1000
                element = TimestampedValue((topic_of(source), time_ms, ipc(lines, sent)), time_ms / 1000)
                stream, sent = stream.add_elements([element]), sent + len(lines)
        stream = stream.advance_watermark_to((step + 1) * STEP_S * (1 if step < STEPS - 2 else 1000))
    return stream.advance_watermark_to_infinity(), sent


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("stream")
    (home / "secret.key").write_bytes(SECRET)
    stream, sent = stream_of(WORLDS, "beam")
    options = StreamOptions(str(home), cells=CellOptions(cells=3), settle_s=STEP_S)
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=PipelineOptions(["--streaming"])) as pipeline:
        pipeline | stream | StreamMarts(options)
    return merge_updates(waiting_updates(Path(home))).tables, sent


def test_a_thousand_orders_end_in_the_rows_of_the_batch(streamed):
    assert_same(streamed[0], batch_of(line for w in range(WORLDS) for line in lines_of(w)))


def test_the_ledger_of_the_stream_balances(streamed):
    tables, sent = streamed
    receipts = tables["receipts"]
    assert receipts.height == receipts["offset"].n_unique() == sent
    assert receipts["quarantined"].sum() == tables["quarantine"].height > 0
    assert receipts["records"].sum() == sent  # one record a message here


def test_every_accepted_record_is_held_once_or_was_a_copy(streamed):
    tables, _ = streamed
    # as warehouse/stream_books.py picks it: most facts last, and where a device came without news of its facts, fewest waiting
    order = pl.sum_horizontal("rows", "copies", "let_go"), -pl.col("waiting")
    held = tables["held"].sort(order).group_by("step", "key", "source").last()
    found = held.group_by("source").agg(n=pl.sum_horizontal("rows", "copies", "let_go").sum()).sort("source")
    accepted = tables["receipts"].group_by("source").agg(n=(pl.col("records") - pl.col("quarantined")).sum()).sort("source")
    assert found.equals(accepted.cast({"n": pl.Int64}))
    assert held["waiting"].sum() == WORLDS  # settings of a device nobody names, one in every world
