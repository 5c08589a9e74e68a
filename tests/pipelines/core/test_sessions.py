# SPDX-License-Identifier: Apache-2.0
"""Sessions of patient-driven devices: steps, gaps, overlap, missing sessions, silence; then against plain Python."""

from __future__ import annotations

from itertools import chain

import pytest
from dose_facts import as_segs, at, device, driven_histories, frames, oracle_segments, session
from dose_oracle import DAY, ms
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.segments import build_segments

MINUTE = 60_000


def pieces(sessions, stream=0, model="NEMOS", ended=None, start=None):
    """(from minute, to minute, charge per cycle in uC, session begun) of one device, in minutes since `start`."""
    found = build_segments(*frames([device(model=model, ended=ended)], sessions=sessions)).filter(stream=stream)
    zero = ms(start or at(1))
    return [((s.start - zero) / MINUTE, (s.end - zero) / MINUTE, s.charge / 1e6, s.sessions) for s in as_segs(found)]


def test_steps_cut_a_session_and_the_first_piece_carries_the_count():
    steps = ((0, 1.0), (10 * MINUTE, 2.0), (20 * MINUTE, 0.0), (30 * MINUTE, 2.0))
    assert pieces([session(1, at(1), 60, steps)]) == [(0, 10, 187.5, 1), (10, 20, 375, 0), (30, 60, 375, 0)]


def test_a_session_without_any_current_is_no_session():
    assert pieces([session(1, at(1), 60, ((0, 0.0),))]) == []


def test_gaps_are_taken_out_even_when_they_overlap_or_outlast_the_session():
    gaps = ((0, 5 * MINUTE), (3 * MINUTE, 4 * MINUTE), (50 * MINUTE, 99 * MINUTE))
    assert pieces([session(1, at(1), 60, gaps=gaps)]) == [(7, 50, 187.5, 1)]


def test_a_session_over_the_end_of_the_device_is_clipped_on_both_sides():
    assert pieces([session(1, at(1), 60)], ended=at(1, minutes=20)) == [(0, 20, 187.5, 1)]
    assert pieces([session(1, at(minutes=-20), 60)], start=at()) == [(0, 40, 187.5, 1)]


def test_continuous_stimulation_is_a_cycle_of_one_second():
    facts = frames([device(model="PARASYM")], sessions=[session(1, at(1), pauses=(None, None))])
    [piece] = as_segs(build_segments(*facts).filter(stream=0))
    assert (piece.cycle, piece.on, piece.pulses, piece.charge) == (1_000, 1_000, 25_000, 6_250_000)


def test_the_charge_of_a_cervical_device_is_not_known():
    dose = session(1, at(1), 2, ((0, 20),), pauses=(None, None))
    segments = build_segments(*frames([device(model="SAPPHIRE")], sessions=[dose]))
    piece = segments.filter(stream=0).row(0, named=True)
    assert (piece["charge_pc"], piece["charge_known"], piece["pulses_milli"], piece["current_ua"]) == (0, False, 25_000, 20_000)


@pytest.mark.parametrize(("mark_1", "upload_2", "expected"), [
    (0, 3, [(0, 30, 187.5, 1), (30, 90, 375, 1)]),  # the later upload keeps the time
    (0, 2, [(0, 30, 187.5, 1), (30, 90, 375, 1)]),  # one upload: the larger hash keeps it
    (9, 2, [(0, 60, 187.5, 1), (60, 90, 375, 1)]),
    (9, 1.9, [(0, 60, 187.5, 1), (60, 90, 375, 1)]),
])  # fmt: skip
def test_overlap_goes_to_the_later_upload_then_to_the_larger_hash(mark_1, upload_2, expected):
    first = session(1, at(1), 60, uploaded=at(2), mark=mark_1)
    second = session(2, at(1, minutes=30), 60, ((0, 2.0),), uploaded=at(upload_2), mark=5)
    assert pieces([first, second]) == expected


def test_a_session_within_a_longer_one_cuts_it_in_two():
    inner = session(2, at(1, minutes=20), 10, ((0, 2.0),), uploaded=at(9))
    assert pieces([session(1, at(1), 60), inner]) == [(0, 20, 187.5, 1), (20, 30, 375, 1), (30, 60, 187.5, 0)]


def silences(sessions):
    found = build_segments(*frames([device(model="NEMOS", ended=at(100))], sessions=sessions)).filter(stream=3)
    return [((s.start - ms(at())) / DAY, (s.end - ms(at())) / DAY, s.cycle / DAY, s.on, s.rate_known) for s in as_segs(found)]


HALF = 30 * MINUTE  # on time of an hour at 30 s on, 30 s off
HOUR = 1 / 24


@pytest.mark.parametrize(("numbers", "expected"), [
    ((1, 2), []),  # nothing missing
    ((0, 1), []),  # a counter from 0
    ((5, 5), [(0, 1, 1 / 4, HALF, True)]),  # does not rise: restarted; four were missing before the first
    ((5, 1), [(0, 1, 1 / 4, HALF, True)]),
    ((1, 3), [(1 + HOUR, 3, 2 - HOUR, HALF, True)]),
    ((1, 4), [(1 + HOUR, 3, (2 - HOUR) / 2, HALF, True)]),
    ((2, 3), [(0, 1, 1, HALF, True)]),
])  # fmt: skip
def test_counters_tell_what_is_missing(numbers, expected):
    sessions = [session(no, at(day), uploaded=at(100)) for no, day in zip(numbers, (1, 3), strict=True)]
    assert silences(sessions) == expected


@pytest.mark.parametrize(("starts", "cycle"), [
    ((1,), 1.0),  # one session: one a day
    ((1, 1.5), 0.5),  # as often as the last two
    ((1, 4), 1.0),  # not less often than daily
    ((1, 1.01), HOUR),  # nor more often than they fit
])  # fmt: skip
def test_after_the_last_upload_the_pace_of_the_last_two_sessions_goes_on(starts, cycle):
    sessions = [session(n, at(day), uploaded=at(10)) for n, day in enumerate(starts)]
    [(begin, end, found, _, rated)] = silences(sessions)
    assert (begin, end, rated) == (10, 100, True)
    assert found == pytest.approx(cycle)


def test_an_upload_before_the_end_of_the_session_leaves_no_doubt_about_the_session():
    assert silences([session(1, at(1), uploaded=at(0.5))])[0][0] == 1 + HOUR


def test_a_device_that_never_uploaded_is_unknown_without_a_rate():
    assert silences([]) == [(0, 100, 1 / DAY, 0, False)]


def test_a_counter_that_claims_the_impossible_is_no_rate():
    sessions = [session(no, at(day), 1440, ((0, 5.0),), uploaded=at(100)) for no, day in ((1, 1), (2**31 - 1, 3))]
    [(_, _, _, on, rated)] = silences(sessions)
    assert (on, rated) == (0, False)


@settings(max_examples=80, deadline=None)
@given(st.tuples(*(driven_histories(k) for k in (1, 2))))
def test_any_history_equals_plain_python(histories):
    devices, sessions = [h[0] for h in histories], list(chain.from_iterable(h[1] for h in histories))
    segments = build_segments(*frames(devices, sessions=sessions))
    for one in devices:
        expected = sorted(oracle_segments(one, sessions=sessions))
        assert as_segs(segments.filter(device_key=one["device_key"])) == expected
