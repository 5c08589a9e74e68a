# SPDX-License-Identifier: Apache-2.0
"""Laws of the exact integral: what must hold for any segments, any instants and any order."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.core.kernel import INT64_MAX, Streams, amount_after, cumulative, muldiv
from pipelines.core.segments import add_cumulative

AMOUNTS = ("charge_pc", "pulses_milli", "on_ms")


@given(st.lists(st.tuples(st.integers(0, INT64_MAX), st.integers(0, 2**43), st.integers(1, 2**43)), min_size=1, max_size=20))
def test_muldiv_equals_whole_numbers_of_any_size(rows):
    rows = [(q, r, c) for q, r, c in rows if q * r // c <= INT64_MAX]
    assume(rows)
    q, r, c = zip(*rows, strict=True)
    assert muldiv(q, r, c).tolist() == [a * b // d for a, b, d in rows]


@pytest.mark.parametrize(("q", "r", "c"), [
    (INT64_MAX, 1, 1), (INT64_MAX, 7, 7), (INT64_MAX, 2**42, 2**42), (INT64_MAX, 2**42 - 1, 2**42),
    (3_037_000_500, 3_037_000_500, 3),  # the first square beyond 63 bits
    (2**62 + 1, 2, 2), (0, 2**42, 1), (1, 0, 5),
])  # fmt: skip
def test_muldiv_at_the_edge_of_64_bits(q, r, c):
    assert muldiv([q], [r], [c]).tolist() == [q * r // c]


def test_muldiv_of_nothing_and_of_one_divisor():
    assert muldiv([], [], 3).tolist() == []
    assert muldiv([7, 8], 2, 3).tolist() == [4, 5]


@given(st.integers(0, 10**14), st.integers(0, 10**11), st.integers(1, 10**12))
def test_amount_after_is_a_floored_fraction(amount, elapsed, cycle):
    assume(amount * elapsed // cycle <= INT64_MAX)
    one = (np.array([x], dtype=np.int64) for x in (amount, elapsed, cycle))
    assert amount_after(*one).tolist() == [Fraction(amount * elapsed, cycle).__floor__()]


segment = st.tuples(
    st.integers(0, 3),  # pause before it
    st.integers(1, 12),  # length
    st.integers(1, 7),  # cycle
    st.tuples(*[st.sampled_from([0, 1, 5, 10**15 + 7])] * 3),
    st.booleans(),
)
shards = st.lists(st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(0, 3), st.lists(segment, max_size=5)), max_size=5)


def frame_of(shard):
    """Segments of (patient, device, stream) groups, in the sorted form of the staged table."""
    rows = []
    for (patient, device, stream), pieces in {group[:3]: group[3] for group in shard}.items():
        t = 100
        for pause, length, cycle, amounts, session in pieces:
            t += pause
            rows.append((patient, device, stream, t, t + length, cycle, *amounts, int(session)))
            t += length
    names = ("patient_key", "device_key", "stream", "start_ms", "end_ms", "cycle_ms", *AMOUNTS, "sessions")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Int64), orient="row")
    return add_cumulative(frame.cast({"stream": pl.Int8, "sessions": pl.Int8}).sort(names[:4]))


def brute(frame, stream, t):
    """C(t) of one stream, segment by segment."""
    mine = [r for r in frame.iter_rows(named=True) if (r["patient_key"], r["device_key"], r["stream"]) == stream]
    begun = [r for r in mine if r["start_ms"] < t]
    done = [
        sum(Fraction(r[c] * (min(t, r["end_ms"]) - r["start_ms"]), r["cycle_ms"]).__floor__() for r in begun) for c in AMOUNTS
    ]
    return (*done, sum(r["sessions"] for r in begun))


def kernel(streams, t):
    index = np.arange(len(streams.stream), dtype=np.int64)
    c = cumulative(streams, index, np.full(len(index), t, dtype=np.int64))
    return list(zip(c.charge_pc, c.pulses_milli, c.on_ms, c.sessions, strict=True))


@settings(max_examples=150, deadline=None)
@given(shards, st.integers(95, 180))
def test_cumulative_equals_fractions(shard, t):
    frame = frame_of(shard)
    streams = Streams.of(frame)
    owners = zip(streams.patient_key, streams.device_key, streams.stream, strict=True)
    assert kernel(streams, t) == [brute(frame, owner, t) for owner in owners]


@pytest.mark.parametrize(("t", "amount"), [(0, 0), (100, 0), (101, 2), (103, 7), (104, 10), (110, 10), (111, 12), (2**43, 17)])
def test_edges_of_segments(t, amount):
    """Before, at the start, inside, at the end, in the pause, inside the next, after all: 10 in 4 ms, pause, 7 in 3 ms."""
    frame = frame_of([(1, 1, 0, [(0, 4, 4, (10, 0, 0), True), (6, 3, 3, (7, 0, 0), False)])])
    [(charge, _, _, sessions)] = kernel(Streams.of(frame), t)
    assert (charge, sessions) == (amount, int(t > 100))


@settings(max_examples=60, deadline=None)
@given(shards, st.tuples(*[st.integers(95, 180)] * 3).map(sorted))
def test_adjacent_windows_add_up(shard, edges):
    streams = Streams.of(frame_of(shard))
    a, b, c = (np.array(kernel(streams, t), dtype=np.int64) for t in edges)
    assert ((b - a) + (c - b) == c - a).all()
    assert (b >= a).all()


@settings(max_examples=60, deadline=None)
@given(shards, st.integers(95, 180), st.integers(1, 10**9))
def test_shifting_time_shifts_the_answer(shard, t, by):
    frame = frame_of(shard)
    shifted = frame.with_columns(pl.col("start_ms", "end_ms") + by)
    assert kernel(Streams.of(shifted), t + by) == kernel(Streams.of(frame), t)


@settings(max_examples=60, deadline=None)
@given(shards, st.integers(95, 180), st.integers(1, 11))
def test_splitting_a_segment_at_a_whole_cycle_changes_nothing(shard, t, cycles):
    frame = frame_of(shard)
    cut = pl.col("start_ms") + cycles * pl.col("cycle_ms")
    inside = cut < pl.col("end_ms")
    first = frame.with_columns(end_ms=pl.when(inside).then(cut).otherwise("end_ms"))
    rest = frame.filter(inside).with_columns(start_ms=cut, sessions=pl.lit(0, pl.Int8))
    split = add_cumulative(pl.concat([first, rest]).sort("patient_key", "device_key", "stream", "start_ms"))
    assert kernel(Streams.of(split), t) == kernel(Streams.of(frame), t)


def test_a_shard_without_segments_has_no_streams():
    streams = Streams.of(frame_of([]))
    assert kernel(streams, 5) == []
    first, last = streams.of_patients(np.array([1, 2], dtype=np.int64))
    assert (first == last).all()
