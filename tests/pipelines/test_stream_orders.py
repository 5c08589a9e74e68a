# SPDX-License-Identifier: Apache-2.0
"""Arrival orders: whatever comes first, late, twice or again after a crash, the stream ends in the rows of the batch."""

import random
from functools import cache

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipelines.core.cells import CellOptions
from pipelines.transforms.stream import StreamOptions
from tests.mini_runner import MiniRunner
from tests.stream_world import arrival, assert_same, batch_of, by_source, facts_of_lines, lines_of

STEP_S = 86_400
SMALL = st.fixed_dictionaries({"most_blocks": st.sampled_from([1, 4, 64]), "least_bytes": st.sampled_from([0, 20_000, 1 << 20])})
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # a smaller seed is no simpler order


@cache
def expected(worlds: int):
    return batch_of(line for w in range(worlds) for line in lines_of(w))


def run_stream(worlds: int, steps: int, seed: object, cells: int = 3, crashes: float = 0.15, **options: int) -> MiniRunner:
    """Stream the worlds with crashes: what came since the last checkpoint comes again, in another order."""
    rng = random.Random(f"{seed}")
    due = [[] for _ in range(steps)]
    for world in range(worlds):
        for step, claimed, line in arrival(world, steps, seed):
            due[step].append((claimed, line))
    runner = MiniRunner(StreamOptions("", cells=CellOptions(cells=cells), settle_s=STEP_S, **options))
    since = []
    for step in range(steps):
        since = since + due[step]
        _hear(runner, due[step], rng)
        runner.advance((step + rng.choice((0, 1, 1, 2))) * STEP_S)
        if rng.random() < crashes:
            runner.crash()
            _hear(runner, since, rng)
        elif rng.random() < 0.4:
            runner.checkpoint()
            since = []
    runner.advance(float("inf"))
    return runner


def _hear(runner: MiniRunner, arriving, rng: random.Random) -> None:
    arriving = rng.sample(arriving, len(arriving))
    size = max(1, len(arriving) // rng.randrange(1, 4)) if arriving else 1
    for start in range(0, len(arriving), size):
        some = arriving[start : start + size]
        for source, lines in by_source(line for _, line in some).items():
            runner.hear(source, facts_of_lines(source, lines), max(claimed for claimed, _ in some) * STEP_S * 1000)


@settings(max_examples=3, deadline=None, phases=NO_SHRINKING)
@given(seed=st.integers(0, 10**9), cells=st.sampled_from([1, 2, 5]), steps=st.integers(2, 9), small=SMALL)
def test_any_order_with_crashes_ends_in_the_rows_of_the_batch(seed, cells, steps, small):
    assert_same(run_stream(2, steps, seed, cells, **small).read(), expected(2))


@pytest.mark.cluster  # long
def test_a_thousand_orders_with_crashes_end_in_the_rows_of_the_batch():
    runner = run_stream(1000, 6, "thousand", cells=3, crashes=0.5)
    assert_same(runner.read(), expected(1000))
