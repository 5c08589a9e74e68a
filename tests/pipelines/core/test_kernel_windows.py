# SPDX-License-Identifier: Apache-2.0
"""What a window reports, column by column, and against a sum over single segments for any histories and instants."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from dose_facts import at, device, driven_histories, frames, implanted_histories, interrogation, oracle_segments, session, setting
from dose_oracle import DAY, amount_before, ms
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.segments import build_segments
from pipelines.core.windows import DOSE_COLUMNS, dose_in_windows, known_amounts

WINDOWS = (7, 28)


def asked(rows):
    return pl.DataFrame(rows, schema={"patient_key": pl.Int64, "completed_ms": pl.Int64}, orient="row")


def activation(devices):
    first = {}
    for d in devices:
        first[d["patient_key"]] = min(ms(d["activated_at"]), first.get(d["patient_key"], ms(d["activated_at"])))
    return pl.DataFrame(list(first.items()), schema={"patient_key": pl.Int64, "activated_ms": pl.Int64}, orient="row")


def doses(devices, changes=(), readings=(), sessions=(), *, when, patient=1, windows=WINDOWS):
    segments = build_segments(*frames(devices, changes, readings, sessions))
    found = dose_in_windows(segments, asked([(patient, ms(when))]), activation(devices), windows).row(0, named=True)
    return {suffix: {c: found[f"{c}_{suffix}"] for c in DOSE_COLUMNS} for suffix in (*(f"{w}d" for w in windows), "since_activation")}


def brute_window(owned, a, b):
    """owned: (segments of one device, charge known) of every device of the patient."""
    out = {"charge_pc": 0, "charge_pc_high": 0, "pulses_milli": 0, "on_ms": 0, "on_ms_high": 0, "sessions": 0}
    unknown, limited, unrated = 0, False, False
    for segs, charge_known in owned:
        for s in segs:
            gained = {k: amount_before(s, getattr(s, k), b) - amount_before(s, getattr(s, k), a) for k in ("charge", "pulses", "on")}
            meets = a < b and s.start < b and s.end > a
            limited |= meets and not charge_known
            unrated |= meets and not s.rate_known
            out["charge_pc_high"] += gained["charge"]
            out["on_ms_high"] += gained["on"]
            if s.stream == 3:
                unknown += max(0, min(b, s.end) - max(a, s.start))
                continue
            out["charge_pc"] += gained["charge"]
            out["pulses_milli"] += gained["pulses"]
            out["on_ms"] += gained["on"]
            out["sessions"] += s.sessions and a <= s.start < b
    out["charge_pc_low"] = out["charge_pc"]
    out["coverage"] = max(0.0, 1 - unknown / (b - a)) if b > a else 1.0
    out["charge_reason"] = "voltage_limited" if limited else None
    nulls = {"charge_pc", "charge_pc_low", "charge_pc_high"} if limited else set()
    nulls |= {"charge_pc_high", "on_ms_high"} if unrated else set()
    return {c: None if c in nulls else out[c] for c in DOSE_COLUMNS}


half_days = st.integers(-40, 800).map(lambda h: ms(at(h / 2)))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(implanted_histories(1), implanted_histories(2)),
    st.tuples(driven_histories(3), driven_histories(4)),
    st.lists(st.tuples(st.integers(1, 3), half_days), max_size=8),
    st.integers(0, DAY),
)
def test_any_window_equals_a_sum_over_segments(implants, handsets, responses, shift):
    devices = [h[0] | {"patient_key": p} for h, p in zip((*implants, *handsets), (1, 2, 1, 2), strict=True)]
    changes, readings = (implants[0][i] + implants[1][i] for i in (1, 2))
    sessions = handsets[0][1] + handsets[1][1]
    responses = [(p, t + shift) for p, t in responses]
    segments, active = build_segments(*frames(devices, changes, readings, sessions)), activation(devices)
    found = dose_in_windows(segments, asked(responses), active, WINDOWS)
    lean = known_amounts(segments, *(np.array(x, dtype=np.int64) for x in zip(*responses, strict=True)), WINDOWS) if responses else {}
    started = dict(active.iter_rows())
    for i, (patient, b) in enumerate(responses):
        owned = [
            (oracle_segments(d, changes, readings, sessions), d["model"] != "SAPPHIRE") for d in devices if d["patient_key"] == patient
        ]
        begins = {"7d": b - 7 * DAY, "28d": b - 28 * DAY, "since_activation": min(started.get(patient, b), b)}
        for suffix, a in begins.items():
            expected = brute_window(owned, a, b)
            assert {c: found[f"{c}_{suffix}"][i] for c in DOSE_COLUMNS} == expected
        for c in ("pulses_milli", "on_ms"):
            assert lean[f"{c}_28d"][i] == found[f"{c}_28d"][i]


V = (1.5, 250, 20, 30, 5)
PER_DAY = 225_000_000 * DAY // 330_000


def test_unknown_time_counts_zero_below_and_its_rate_above():
    week = doses([device()], [setting(at(-176))], when=at(7))["7d"]  # carried until day 4
    assert week["charge_pc"] == week["charge_pc_low"] == 4 * DAY * 225_000_000 // 330_000
    assert week["charge_pc_high"] == week["charge_pc"] + 3 * DAY * 225_000_000 // 330_000
    assert week["coverage"] == 1 - 3 / 7


def test_a_piece_without_a_rate_has_no_upper_bound():
    week = doses([device()], [setting(at(5))], when=at(7))["7d"]
    assert (week["charge_pc"], week["charge_pc_high"], week["on_ms_high"]) == (2 * DAY * 225_000_000 // 330_000, None, None)


@pytest.mark.parametrize(("days", "bounded"), [(12, True), (11.99999, False)])
def test_touching_is_half_open(days, bounded):
    """The piece without a rate ends on day 5, the week begins on day `days - 7`."""
    week = doses([device()], [setting(at(5))], when=at(days))["7d"]
    assert (week["charge_pc_high"] is not None) == bounded


def test_a_change_at_the_very_instant_of_the_response_counts_after_it():
    before = doses([device()], [setting(at(0))], when=at(20))
    assert doses([device()], [setting(at(0)), setting(at(20), (3.0, *V[1:]))], when=at(20)) == before


@pytest.mark.parametrize(("when", "begun"), [(8, 0), (8.00001, 1), (15, 1), (15.00001, 0)])
def test_a_session_is_in_the_window_in_which_it_begins(when, begun):
    week = doses([device(model="NEMOS")], sessions=[session(1, at(8))], when=at(when))["7d"]
    assert week["sessions"] == begun


def test_no_device_is_no_stimulation_and_fully_known():
    nothing = dict.fromkeys(DOSE_COLUMNS, 0) | {"coverage": 1.0, "charge_reason": None}
    assert doses([device()], when=at(9), patient=77) == dict.fromkeys(("7d", "28d", "since_activation"), nothing)


def test_a_response_before_activation_has_nothing_behind_it():
    found = doses([device(activated=at(50))], [setting(at(50))], when=at(40))
    assert found["since_activation"]["charge_pc"] == found["28d"]["charge_pc"] == 0
    assert found["since_activation"]["coverage"] == 1.0


def test_charge_behind_the_skin_is_null_with_its_reason_and_the_rest_is_not():
    dose = session(1, at(1), 2, ((0, 20.0),), pauses=(None, None))
    week = doses([device(model="SAPPHIRE")], sessions=[dose], when=at(2))["7d"]
    assert (week["charge_pc"], week["charge_pc_high"], week["charge_reason"]) == (None, None, "voltage_limited")
    assert (week["sessions"], week["pulses_milli"], week["on_ms"]) == (1, 3_000_000, 120_000)


def test_devices_of_a_patient_add_and_unknown_time_is_never_more_than_all():
    devices = [device(1), device(2, patient=1)]
    both = [setting(at(0)), setting(at(0), key=2)]
    assert doses(devices, both, when=at(20))["7d"]["charge_pc"] == 2 * doses(devices[:1], both[:1], when=at(20))["7d"]["charge_pc"]
    assert doses(devices, when=at(20))["7d"]["coverage"] == 0.0


def test_magnet_trains_are_delivered_dose():
    changes = [setting(at(0), V, (1.75, 250, 60))]
    with_trains = doses([device()], changes, [interrogation(at(14), magnet=14)], when=at(14))["7d"]
    assert with_trains["charge_pc"] - doses([device()], changes, when=at(14))["7d"]["charge_pc"] == 7 * 525_000_000


def test_windows_are_what_is_asked_for_and_rows_keep_their_order():
    segments = build_segments(*frames([device()], [setting(at(0))]))
    found = dose_in_windows(segments, asked([(1, ms(at(30))), (9, 0), (1, ms(at(2)))]), activation([device()]), (1,))
    assert found.columns == [f"{c}_{s}" for s in ("1d", "since_activation") for c in DOSE_COLUMNS]
    assert found["charge_pc_since_activation"].to_list() == [30 * DAY * 225_000_000 // 330_000, 0, 2 * DAY * 225_000_000 // 330_000]
