# SPDX-License-Identifier: Apache-2.0
"""One patient with a million facts: what a cell holds and how long a look takes grow with the facts, not with their square."""

import json
import time

import polars as pl
import pytest

from pipelines.core.canonical import canonicalise, owners_of
from pipelines.core.cells import CellOptions
from pipelines.transforms.keyed import unpack
from pipelines.transforms.stream_options import StreamOptions
from schemas.contract import SOURCES, load_contract
from schemas.frames import staged_schema
from tests.mini_runner import MiniRunner
from tests.small_world import device, patient, session
from tests.stream_world import facts_of_lines

TIMES = ("device_started_at", "started_at", "device_clock_at", "uploaded_at")


def one_fact(source: str, row: dict) -> pl.DataFrame:
    return facts_of_lines(source, [json.dumps(row).encode()])


def sessions(first: int, count: int) -> pl.DataFrame:
    """Sessions of half a minute of device D4, one a minute."""
    n = pl.int_range(first, first + count, eager=True)
    one = one_fact("stimulation_sessions", session(4, 1, duration_ms=30_000, step_offsets_ms=[0], step_intensities=[0.5]))
    return pl.concat([one] * count).with_columns(
        session_no=n, _fingerprint=n.hash(1).reinterpret(signed=True), _key=n.hash(2).reinterpret(signed=True),
        **{c: pl.col(c) + pl.duration(minutes=n) for c in TIMES},
    )  # fmt: skip


def test_which_fact_counts_takes_no_square_of_the_facts():
    facts = {s: pl.DataFrame(schema=staged_schema(load_contract(s))) for s in SOURCES}
    facts |= {"patients": one_fact("patients", patient(4)), "devices": one_fact("devices", device(4))}
    facts["stimulation_sessions"] = sessions(0, 300_000)
    began = time.monotonic()
    decided = canonicalise(facts, owners_of(facts["devices"]))
    assert decided.accepted("stimulation_sessions").height == 300_000
    assert time.monotonic() - began < 5  # 0.3 s; the square took 12 s


@pytest.mark.cluster  # long
def test_a_million_facts_of_one_patient():
    runner, part = MiniRunner(StreamOptions("", cells=CellOptions(cells=1), settle_s=60)), 20_000
    runner.hear("patients", one_fact("patients", patient(4)), 0)
    runner.hear("devices", one_fact("devices", device(4)), 0)
    for first in range(0, 1_000_000, part):
        runner.hear("stimulation_sessions", sessions(first, part), 0)
        if first % 100_000 == 0:
            runner.hear("stimulation_sessions", sessions(first, part), 0)  # and copies
    began = time.monotonic()
    runner.advance(10**6)
    assert time.monotonic() - began < 100  # 15 s; the square took 200 s
    daily = runner.read()["dose_daily"]
    assert daily["patient_key"].n_unique() == 1 and daily.height > 600
    (join,) = (s for (step, _), s in runner.keys.items() if step == "join")
    held = [b for b in map(unpack, join.facts) if b.source == "stimulation_sessions"]
    assert sum(b.facts.height for b in held) == 1_000_000
    assert sum(map(len, join.facts)) < 200 << 20
    assert json.loads(join.copies.read())["stimulation_sessions"] == 200_000
