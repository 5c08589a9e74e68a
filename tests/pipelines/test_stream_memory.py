# SPDX-License-Identifier: Apache-2.0
"""What a stream keeps: facts of patients nobody hears of are let go and counted, what comes for them later is left to the night."""

import json
import time

import polars as pl
import pytest

from pipelines.core.cells import CellOptions
from pipelines.transforms import keyed
from pipelines.transforms.stream import StreamOptions
from tests.mini_runner import MiniRunner
from tests.stream_world import assert_same, batch_of, by_source, facts_of_lines, lines_of

DAY_NS = 86_400 * 10**9


def hear(runner: MiniRunner, lines, known_ns: int) -> None:
    for source, some in by_source(lines).items():
        facts = facts_of_lines(source, some)
        stamp = pl.lit(known_ns // 1000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        runner.hear(source, facts.with_columns(_known_at=stamp), 0)
    runner.advance(runner.watermark + 10 * 86_400 if runner.watermark > 0 else 10 * 86_400)


@pytest.fixture
def runner():
    made = MiniRunner(StreamOptions("", cells=CellOptions(cells=1), remember_days=30))
    made.held = []
    return made


def held_rows(runner: MiniRunner) -> int:
    return sum(len(keyed.unpack(b).facts) for (step, _), s in runner.keys.items() if step == "join" for b in s.facts)


def test_silent_patients_are_let_go_and_stay_as_they_were_told(runner, monkeypatch):
    now = time.time_ns()
    hear(runner, lines_of(0), now)
    full = held_rows(runner)
    monkeypatch.setattr(time, "time_ns", lambda: now + 40 * DAY_NS)
    hear(runner, lines_of(1), now + 40 * DAY_NS)  # world 0 has been silent for 40 days
    assert held_rows(runner) < full * 1.2
    assert_same(runner.read(), batch_of(line for w in (0, 1) for line in lines_of(w)))


def test_what_comes_for_a_forgotten_patient_is_counted_and_tells_nothing(runner, monkeypatch):
    now = time.time_ns()
    lines = lines_of(0)
    late = [line for line in lines if line[0] == "survey_responses"]
    hear(runner, [line for line in lines if line not in late], now)
    monkeypatch.setattr(time, "time_ns", lambda: now + 40 * DAY_NS)
    hear(runner, lines_of(1), now + 40 * DAY_NS)
    told = len(runner.written)
    before = runner.read()["scores"].height
    hear(runner, late, now + 40 * DAY_NS)
    assert runner.read()["scores"].height == before
    assert all(rows.height == 0 for mart, rows in runner.written[told:] if mart == "scores")
    copies = [s.copies.read() for (step, _), s in runner.keys.items() if step == "join"]
    assert any(b"-survey_responses" in (c or b"") for c in copies)


def test_without_a_limit_nothing_is_let_go(monkeypatch):
    endless = MiniRunner(StreamOptions("", cells=CellOptions(cells=1)))
    now = time.time_ns()
    hear(endless, lines_of(0), now)
    full = held_rows(endless)
    monkeypatch.setattr(time, "time_ns", lambda: now + 4000 * DAY_NS)
    hear(endless, lines_of(1), now)
    assert held_rows(endless) > 1.8 * full


@pytest.mark.cluster  # long
def test_a_storm_of_copies_before_anybody_looks_takes_no_room():
    least = 30_000
    runner = MiniRunner(StreamOptions("", cells=CellOptions(cells=1), least_bytes=least))
    lines, weights = list(lines_of(0)), []
    for _ in range(40):
        for source, some in by_source(lines).items():
            runner.hear(source, facts_of_lines(source, some), 0)  # no look: the watermark stands still
        weights.append(max(sum(map(len, s.facts)) for s in runner.keys.values()))
    assert runner.written == []
    assert max(weights[20:]) <= 2 * max(weights[:3]) + least
    runner.advance(float("inf"))
    assert_same(runner.read(), batch_of(lines))
    (join,) = (s for (step, _), s in runner.keys.items() if step == "join")
    surveys = facts_of_lines("survey_responses", by_source(lines)["survey_responses"]).height
    held = sum(b.facts.height for b in map(keyed.unpack, join.facts) if b.source == "survey_responses")
    assert json.loads(join.copies.read())["survey_responses"] == 40 * surveys - held  # each copy is counted once, whenever it was found
