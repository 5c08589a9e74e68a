# SPDX-License-Identifier: Apache-2.0
"""The walk over settings and interrogations, rule by rule, and then against plain Python on any history."""

from __future__ import annotations

from itertools import chain

import pytest
from dose_facts import as_segs, at, device, frames, implanted_histories, interrogation, oracle_segments, setting
from dose_oracle import DAY, OPEN, ms
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.segments import DoseOptions, build_segments

V, W, OFF = (1.5, 250, 20, 30, 5), (1.0, 250, 20, 30, 5), (0.0, 250, 20, 30, 5)
NO_READING = None
E_ = "eos"


def days(instant):
    return (instant - ms(at())) / DAY


def walk(changes, readings, ended=None):
    """Pieces of one device activated on day 0: (from day, to day, coverage, current in uA, has a rate)."""
    facts = frames([device(ended=ended)], changes, readings)
    segments = build_segments(*facts).filter(stream=0).vstack(build_segments(*facts).filter(stream=3)).sort("start_ms")
    columns = ("start_ms", "end_ms", "coverage", "current_ua", "rate_known")
    return [
        (days(a), None if e == OPEN else days(e), ("confirmed", "carried", "unknown")[c], ua, rated)
        for a, e, c, ua, rated in segments.select(columns).iter_rows()
    ]


CASES = {
    # one row per branch of section 3; the device runs from day 0 to day 400 unless noted
    "nothing is known": ([], [], [(0, 400, "unknown", 0, False)]),
    "carried for 180 days, then unknown at its rate": (
        [setting(at(0))], [], [(0, 180, "carried", 1500, True), (180, 400, "unknown", 1500, True)]),
    "before the first instant there is no rate": (
        [setting(at(10))], [],
        [(0, 10, "unknown", 0, False), (10, 190, "carried", 1500, True), (190, 400, "unknown", 1500, True)]),
    "read back as programmed: confirmed, however long": (
        [setting(at(0))], [interrogation(at(300), V)], [(0, 300, "confirmed", 1500, True), (300, 400, "carried", 1500, True)]),
    "read back as something else: unknown": (
        [setting(at(0))], [interrogation(at(30), W)],
        [(0, 30, "unknown", 1500, True), (30, 210, "carried", 1000, True), (210, 400, "unknown", 1000, True)]),
    "read what is programmed at that very instant: carried": (
        [setting(at(0)), setting(at(30), W)], [interrogation(at(30), W)],
        [(0, 30, "carried", 1500, True), (30, 210, "carried", 1000, True), (210, 400, "unknown", 1000, True)]),
    "read neither what was nor what is programmed: unknown": (
        [setting(at(0)), setting(at(30), W)], [interrogation(at(30), (2.0, *V[1:]))],
        [(0, 30, "unknown", 1500, True), (30, 210, "carried", 1000, True), (210, 400, "unknown", 1000, True)]),
    "read what was while something else is programmed: confirmed": (
        [setting(at(0)), setting(at(30), W)], [interrogation(at(30), V)],
        [(0, 30, "confirmed", 1500, True), (30, 210, "carried", 1000, True), (210, 400, "unknown", 1000, True)]),
    "an interrogation that reads nothing is no instant": (
        [setting(at(0))], [interrogation(at(30), NO_READING)],
        [(0, 180, "carried", 1500, True), (180, 400, "unknown", 1500, True)]),
    "end of service: off from then on": (
        [setting(at(0))], [interrogation(at(30), V, battery=E_)],
        [(0, 30, "confirmed", 1500, True), (30, 210, "carried", 0, True), (210, 400, "unknown", 0, True)]),
    "end of service without a reading": (
        [setting(at(0))], [interrogation(at(30), battery=E_)],
        [(0, 30, "carried", 1500, True), (30, 210, "carried", 0, True), (210, 400, "unknown", 0, True)]),
    "programmed at the very instant of end of service: on": (
        [setting(at(0)), setting(at(30), W)], [interrogation(at(30), battery=E_)],
        [(0, 30, "carried", 1500, True), (30, 210, "carried", 1000, True), (210, 400, "unknown", 1000, True)]),
    "settings before activation: carried from when they were made": (
        [setting(at(-100))], [], [(0, 80, "carried", 1500, True), (80, 400, "unknown", 1500, True)]),
    "facts after the end are clipped": (
        [setting(at(0)), setting(at(500), W)], [], [(0, 180, "carried", 1500, True), (180, 400, "unknown", 1500, True)]),
    "off is a vector like any other": (
        [setting(at(0), OFF)], [interrogation(at(300), OFF)], [(0, 300, "confirmed", 0, True), (300, 400, "carried", 0, True)]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_walk(case):
    changes, readings, expected = CASES[case]
    assert walk(changes, readings, ended=at(400)) == expected


def test_without_an_end_the_last_piece_is_open():
    assert walk([setting(at(0))], [])[-1] == (180, None, "unknown", 1500, True)


def test_battery_empty_and_nothing_ever_programmed_is_off():
    assert walk([], [interrogation(at(5), battery="eos")], ended=at(20)) == [
        (0, 5, "unknown", 0, False), (5, 20, "carried", 0, True),
    ]  # fmt: skip


def test_a_current_of_zero_delivers_no_pulses_and_no_time():
    [segment] = as_segs(build_segments(*frames([device(ended=at(9))], [setting(at(0), OFF)])))
    assert (segment.charge, segment.pulses, segment.on, segment.cycle) == (0, 0, 0, 330_000)


@pytest.mark.parametrize(("convention", "charge"), [
    ("on_only", 225_000_000), ("ramp_trapezoid", 240_000_000), ("ramp_full", 255_000_000),
])  # fmt: skip
def test_ramps_count_as_the_convention_says(convention, charge):
    facts = frames([device(ended=at(9))], [setting(at(0))])
    [segment] = as_segs(build_segments(*facts, DoseOptions(convention=convention)))
    assert (segment.charge, segment.pulses, segment.on) == (charge, 600_000, 30_000)


def test_below_ten_hertz_there_is_no_ramp():
    facts = frames([device(ended=at(9))], [setting(at(0), (1.5, 250, 5, 30, 5))])
    assert as_segs(build_segments(*facts, DoseOptions(convention="ramp_full"))) == as_segs(build_segments(*facts))


TRAIN = (1.75, 250, 60)


def magnets(changes, readings, ended=None):
    segments = build_segments(*frames([device(ended=ended)], changes, readings)).filter(stream=1)
    return [(days(s.start), days(s.end), s.charge, s.pulses, s.on) for s in as_segs(segments)]


def test_magnet_counts_spread_over_the_time_since_the_interrogation_before():
    readings = [interrogation(at(d), magnet=n) for d, n in ((10, 2), (20, 0), (30, None), (40, 3))]
    assert magnets([setting(at(0), magnet=TRAIN)], readings) == [
        (0, 10, 2 * 525_000_000, 2 * 1_200_000, 2 * 60_000),  # 0.525 mC a train
        (30, 40, 3 * 525_000_000, 3 * 1_200_000, 3 * 60_000),
    ]


def test_the_train_is_the_one_programmed_before_the_count_was_read():
    changes = [setting(at(0), magnet=TRAIN), setting(at(10), magnet=(1.0, 250, 60))]
    assert magnets(changes, [interrogation(at(10), magnet=1)])[0][2] == 525_000_000


@pytest.mark.parametrize("train", [(None, 250, 60), (1.75, None, 60), (1.75, 250, None)])
def test_a_count_without_a_full_train_is_ignored(train):
    assert magnets([setting(at(0), magnet=train)], [interrogation(at(10), magnet=5)]) == []
    assert magnets([], [interrogation(at(10), magnet=5)]) == []


def test_counts_after_the_end_fall_into_the_life_of_the_device():
    readings = [interrogation(at(10), magnet=0), interrogation(at(30), magnet=4)]
    assert magnets([setting(at(0), magnet=TRAIN)], readings, ended=at(20)) == [(10, 20, 2_100_000_000, 4_800_000, 240_000)]


@settings(max_examples=60, deadline=None)
@given(st.tuples(*(implanted_histories(k) for k in (1, 2, 3))), st.integers(0, 2), st.sampled_from([0, DAY, 180 * DAY]))
def test_any_history_equals_the_walk_in_plain_python(histories, ramps, limit):
    devices, changes, readings = ([h[i] for h in histories] for i in range(3))
    changes, readings = (list(chain.from_iterable(rows)) for rows in (changes, readings))
    options = DoseOptions(limit, ("on_only", "ramp_trapezoid", "ramp_full")[ramps])
    segments = build_segments(*frames(devices, changes, readings), options)
    for one in devices:
        expected = sorted(oracle_segments(one, changes, readings, ramps=ramps, limit=limit))
        assert as_segs(segments.filter(device_key=one["device_key"])) == expected
