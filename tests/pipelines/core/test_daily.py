# SPDX-License-Identifier: Apache-2.0
"""The dose per device and day: which days there are, what stands on them, and that they add up to the windows."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from dose_facts import at, device, driven_histories, frames, implanted_histories, interrogation, session, setting
from dose_oracle import DAY, ms
from hypothesis import given, settings

from pipelines.core.daily import DAILY_COLUMNS, dose_daily
from pipelines.core.segments import build_segments
from pipelines.core.windows import dose_in_windows

V = (1.5, 250, 20, 30, 5)


def horizons(*rows):
    return pl.DataFrame([(p, ms(t)) for p, t in rows], schema={"patient_key": pl.Int64, "horizon_ms": pl.Int64}, orient="row")


def daily(devices, changes=(), readings=(), sessions=(), *, until=2.5):
    facts = frames(devices, changes, readings, sessions)
    patients = {d["patient_key"] for d in devices}
    return dose_daily(build_segments(*facts), facts[0], horizons(*((p, at(until)) for p in patients)))


@pytest.mark.parametrize(("activated", "ended", "until", "days"), [
    (0, None, 2.5, [1, 2, 3]),
    (0.5, None, 2, [1, 2, 3]),  # the day of the horizon is reported, whatever the hour
    (0, 1.5, 9, [1, 2]),
    (0, 2, 9, [1, 2]),  # ended at midnight: no day after it
    (0, 0, 9, []),
    (5, None, 3, []),  # not yet active
])  # fmt: skip
def test_days_run_from_activation_to_the_horizon_or_the_end(activated, ended, until, days):
    one = device(activated=at(activated), ended=None if ended is None else at(ended))
    found = daily([one], [setting(at(0))], until=until)
    assert found["day"].to_list() == [date(2024, 1, d) for d in days]
    assert found.columns == list(DAILY_COLUMNS)


def test_a_patient_without_a_horizon_has_no_days():
    facts = frames([device()])
    assert dose_daily(build_segments(*facts), facts[0], horizons((2, at(9)))).height == 0


def test_a_day_of_an_implant():
    row = daily([device()], [setting(at(0))]).row(1, named=True)
    whole = DAY * 2 * 225_000_000 // 330_000 - DAY * 225_000_000 // 330_000
    assert row == {
        "patient_key": 1, "device_key": 1, "day": date(2024, 1, 2), "charge_pc": whole, "charge_pc_high": whole,
        "pulses_milli": DAY * 2 * 600_000 // 330_000 - DAY * 600_000 // 330_000, "on_ms": DAY * 2 // 11 - DAY // 11,
        "sessions": 0, "coverage": 1.0, "current_ua": 1500, "adherence": None,
    }  # fmt: skip


def test_the_current_is_the_one_at_the_end_of_the_day():
    changes = [setting(at(0)), setting(at(1.5), (1.75, *V[1:])), setting(at(2), (2.0, *V[1:]))]
    assert daily([device(ended=at(3.5))], changes, until=9)["current_ua"].to_list() == [1500, 1750, 2000, 2000]


def test_the_current_of_unknown_time_is_the_last_one_known_or_null():
    assert daily([device()])["current_ua"].to_list() == [None] * 3
    assert daily([device()], [setting(at(-180))])["current_ua"].to_list() == [1500] * 3
    mismatch = [interrogation(at(2.5), (1.0, *V[1:]))]
    assert daily([device()], [setting(at(0)), setting(at(1.5), (2.0, *V[1:]))], mismatch)["current_ua"].to_list() == [1500, 2000, 1000]


def test_the_current_of_a_handset_is_that_of_its_last_session_of_the_day():
    sessions = [session(1, at(0.5), 60, ((0, 1.0), (60_000, 1.4)), uploaded=at(30)), session(2, at(2.1), 60, uploaded=at(30))]
    assert daily([device(model="NEMOS")], sessions=sessions)["current_ua"].to_list() == [1400, None, 1000]


@pytest.mark.parametrize(("prescribed", "adherence"), [(None, None), (120, 0.5), (60, 1.0), (10, 1.0)])
def test_adherence_is_time_in_sessions_by_prescribed_time_at_most_one(prescribed, adherence):
    sessions = [session(1, at(0.5), 60, uploaded=at(9))]  # an hour, of which half is on
    found = daily([device(model="NEMOS", prescribed=prescribed)], sessions=sessions, until=1)["adherence"].to_list()
    assert found == [adherence, None if prescribed is None else 0.0]


def test_nothing_in_nothing_out():
    facts = frames()
    empty = dose_daily(build_segments(*facts), facts[0], horizons())
    assert (empty.columns, empty.height) == (list(DAILY_COLUMNS), 0)


@settings(max_examples=40, deadline=None)
@given(implanted_histories(1), driven_histories(2))
def test_the_days_of_a_device_add_up_to_one_window_over_them(implant, handset):
    devices = [implant[0], handset[0]]
    facts = frames(devices, implant[1], implant[2], handset[1])
    segments = build_segments(*facts)
    days = dose_daily(segments, facts[0], horizons((1, at(30)), (2, at(30))))
    for (key,), mine in days.group_by("device_key"):
        first, n = mine["day"].min(), mine.height
        asked = pl.DataFrame({"patient_key": [key], "completed_ms": [(first - date(1970, 1, 1)).days * DAY + n * DAY]})
        window = dose_in_windows(segments, asked, facts[0].select("patient_key", activated_ms=pl.lit(0)), (n,))
        for c in ("pulses_milli", "on_ms", "sessions"):
            assert mine[c].sum() == window[f"{c}_{n}d"][0]
        assert mine["day"].is_sorted()
        assert (mine["coverage"].sum() / n) == pytest.approx(window[f"coverage_{n}d"][0])


def test_blocks_of_days_leave_no_seam(monkeypatch):
    devices = [device(1), device(2, "NEMOS", prescribed=240), device(3, patient=1)]
    changes, sessions = [setting(at(0)), setting(at(1.5), (2.0, *V[1:]), key=3)], [session(1, at(1.99), 60, key=2, uploaded=at(4))]
    whole = daily(devices, changes, sessions=sessions, until=6)
    monkeypatch.setattr("pipelines.core.daily.BLOCK_DAYS", 2)
    assert daily(devices, changes, sessions=sessions, until=6).equals(whole)
