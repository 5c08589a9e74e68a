# SPDX-License-Identifier: Apache-2.0
"""The keyed steps by themselves: whatever the order, batching and repetition, the greatest version of every patient is the batch's row."""

import json
import random
from collections import defaultdict

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipelines.core.blocks import Block, pack, unpack
from pipelines.core.canonical import owners_of
from pipelines.core.cells import DEVICE_SOURCES, CellOptions, compact, evaluate, route_devices, send, split
from pipelines.core.parse_json import parse_json
from pipelines.core.rows import TextChunk
from pipelines.core.segments import DoseOptions
from pipelines.core.shard import stage_shard
from pipelines.core.validate import Provenance, validate
from schemas.contract import MARTS, SOURCES, load_contract
from schemas.frames import staged_schema
from tests.small_world import SECRET, files

OPTIONS = CellOptions(cells=3)


def facts_of_lines(source: str, lines: list[bytes]) -> pl.DataFrame:
    contract = load_contract(source)
    parsed = parse_json(TextChunk(b"\n".join(lines), 1), contract)
    return validate(parsed, contract, Provenance(0, "stream", 0), SECRET).facts


def small_world_lines() -> list[tuple[str, bytes]]:
    return [(name.split("/")[0], line) for name, text in files().items() for line in text.splitlines()]


LINES = small_world_lines()


@pytest.fixture(scope="module")
def batch():
    by = defaultdict(list)
    for source, line in LINES:
        by[source].append(line)
    facts = {s: facts_of_lines(s, by[s]) if by[s] else pl.DataFrame(schema=staged_schema(load_contract(s))) for s in SOURCES}
    return stage_shard(facts, owners_of(facts["devices"]), 0, DoseOptions(), (7, 28, 90)).marts


class World:
    """A router and cells fed by hand."""

    def __init__(self, options: CellOptions = OPTIONS) -> None:
        self.options = options
        self.devices = defaultdict(lambda: pl.DataFrame(schema=staged_schema(load_contract("devices"))))
        self.waiting, self.cells = defaultdict(list), defaultdict(list)
        self.told = defaultdict(dict)
        self.best = {m: {} for m in MARTS}
        self.version = {}

    def hear(self, source: str, facts: pl.DataFrame, time_ms: int = 0) -> None:
        block, n = unpack(pack(Block(source, time_ms, facts))), self.options.cells
        key = "device_key" if source in (*DEVICE_SOURCES, "devices") else "patient_key"
        for k, part in split(block, key, n):
            if source == "devices":
                self.devices[k], out = route_devices(part, self.devices[k], self.waiting[k], n)
            elif source in DEVICE_SOURCES:
                self.waiting[k].append(part)
                out = list(send(part.facts, source, time_ms, owners_of(self.devices[k]), n))
            else:
                out = [(k, part)]
            for cell, b in out:
                self.cells[cell].append(b)

    def tell(self, cell: int) -> None:
        snapshot = evaluate(self.cells[cell], self.told[cell], cell, self.options)
        if snapshot is None:
            return
        for key, version in snapshot.versions.items():
            assert version > self.told[cell].get(key, 0)  # it only grows
        self.told[cell] |= snapshot.versions
        for row in snapshot.marts["patient_versions"].iter_rows(named=True):
            self.version[row["patient_key"]] = row["version"]
            for mart in MARTS:
                self.best[mart][row["patient_key"]] = snapshot.marts[mart].filter(pl.col("patient_key") == row["patient_key"])

    def rows(self, mart: str, like: pl.DataFrame) -> pl.DataFrame:
        found = [f.select(like.columns) for f in self.best[mart].values()]
        return pl.concat([like.clear(), *found]).sort(load_contract(f"mart.{mart}").key)


@pytest.mark.cluster  # long
@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(seed=st.integers(0, 10**9), size=st.integers(3, 25), cells=st.sampled_from([1, 2, 3, 7]))
def test_any_arrival_ends_in_the_rows_of_the_batch(batch, seed, size, cells):
    rng = random.Random(seed)
    lines = LINES + rng.sample(LINES, len(LINES) // 5)  # some arrive twice
    rng.shuffle(lines)
    world = World(CellOptions(cells=cells))
    for start in range(0, len(lines), size):
        by = defaultdict(list)
        for source, line in lines[start : start + size]:
            by[source].append(line)
        for source, some in by.items():
            world.hear(source, facts_of_lines(source, some))
        if rng.random() < 0.2:
            cell = rng.randrange(cells)
            if rng.random() < 0.5:
                world.cells[cell] = compact(world.cells[cell])
                world.waiting[cell] = compact(world.waiting[cell])
            world.tell(cell)
    for cell in range(cells):
        world.tell(cell)
    for mart in MARTS:
        assert world.rows(mart, batch[mart]).equals(batch[mart].sort(load_contract(f"mart.{mart}").key)), mart


def test_nothing_new_gives_no_snapshot_and_copies_are_nothing_new():
    world = World()
    for source, line in LINES:
        world.hear(source, facts_of_lines(source, [line]))
    for cell in range(3):
        world.tell(cell)
    for source, line in LINES:
        world.hear(source, facts_of_lines(source, [line]))
    assert [evaluate(world.cells[c], world.told[c], c, OPTIONS) for c in range(3)] == [None] * 3


def test_a_patient_who_withdrew_is_told_without_a_row():
    world = World(CellOptions(cells=1))
    for source, line in LINES:
        if json.loads(line + (b'"}' if line.endswith(b"cut o") else b"")).get("consent_id") != "C2":
            world.hear(source, facts_of_lines(source, [line]))
    world.tell(0)
    known = {k for k, f in world.best["scores"].items() if f.height}
    for source, line in LINES:
        world.hear(source, facts_of_lines(source, [line]))
    world.tell(0)
    assert len(known - {k for k, f in world.best["scores"].items() if f.height}) == 1


def test_blocks_survive_a_gained_and_a_lost_column():
    facts = facts_of_lines("physiology", [])
    one = pack(Block("physiology", 5, facts.with_columns(gone=pl.lit(1)).drop("unit" if "unit" in facts.columns else facts.columns[3])))
    assert unpack(one).facts.schema == facts.schema
