# SPDX-License-Identifier: Apache-2.0
"""Dose: the published arithmetic of vagus nerve stimulation, worked through to the last digit the tables show.

Settings are current (mA), pulse width (us), frequency (Hz), ON (s), OFF (min).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import polars as pl
import pytest

from pipelines.core.segments import DoseOptions, build_segments
from pipelines.core.units import duty_cycle
from pipelines.core.windows import dose_in_windows

INSTANT = pl.Datetime("us", "UTC")
ZERO = datetime(2024, 1, 1, tzinfo=UTC)
ZERO_MS = 1_704_067_200_000
DAY_MS = 86_400_000

# The manufacturer's table of duty cycles in whole percent: ramps of 2 s up and 2 s down count, halves are rounded up.
OFF_MIN = (Fraction("0.2"), Fraction("0.3"), Fraction("0.5"), Fraction("0.8"), Fraction("1.1"), Fraction("1.8"), 3, 5, 10)
DUTY_PERCENT = {
    7: (58, 44, 30, 20, 15, 10, 6, 4, 2),
    14: (69, 56, 41, 29, 23, 15, 9, 6, 3),  # 14 s and 1.1 min: 22.5 % exactly
    21: (76, 64, 49, 36, 29, 19, 12, 8, 4),
    30: (81, 71, 57, 44, 35, 25, 16, 10, 5),
    60: (89, 82, 71, 59, 51, 38, 27, 18, 10),
}


@pytest.mark.parametrize(("on_s", "off_min", "percent"), [
    (on, off, percent) for on, row in DUTY_PERCENT.items() for off, percent in zip(OFF_MIN, row, strict=True)
])  # fmt: skip
def test_duty_cycle_table(on_s, off_min, percent):
    duty = duty_cycle(on_s * 1000, int(off_min * 60_000), 20_000)
    assert (100 * duty + Fraction(1, 2)).__floor__() == percent  # half up; round() would go to the even neighbour


def test_the_trap_of_the_table():
    duty = duty_cycle(14_000, 66_000, 20_000)
    assert duty == Fraction(225, 1000)
    assert round(100 * duty) == 22  # half to even: one percent below the manufacturer's table


def test_n_below_ten_hertz_there_are_no_ramps():
    assert duty_cycle(30_000, 300_000, 5_000) == duty_cycle(30_000, 300_000, 20_000, ramped=False) == Fraction(1, 11)


# id: settings, charge per pulse (nC), cycles per day, ON hours per day, duty % without and with ramps, pulses per day,
#     charge per day (mC): ON only, ramps as triangles, ramps in full
WORKED = {
    "A": ((1.5, 250, 20, 30, 5), 375, "261.8182", "2.1818", "9.0909", "10.3030", "157090.91", "58.9091", "62.8364", "66.7636"),
    "B": ((0.25, 130, 20, 30, 5), 32.5, "261.8182", "2.1818", "9.0909", "10.3030", "157090.91", "5.1055", "5.4458", "5.7862"),
    "C": ((1.0, 250, 20, 30, 5), 250, "261.8182", "2.1818", "9.0909", "10.3030", "157090.91", "39.2727", "41.8909", "44.5091"),
    "D": ((1.75, 250, 30, 30, 5), 437.5, "261.8182", "2.1818", "9.0909", "10.3030", "235636.36", "103.0909", "109.9636", "116.8364"),
    "E": ((1.0, 250, 20, 7, 0.3), 250, "3456", "6.72", "28.0", "44.0", "483840", "120.96", "155.52", "190.08"),
    "H": ((1.5, 250, 20, 60, 1.1), 375, "685.7143", "11.4286", "47.6190", "50.7937", "822857.14", "308.5714", "318.8571", "329.1429"),
}  # fmt: skip


def shown(value, printed: str) -> bool:
    """True when the exact value, rounded to as many decimals as the table prints, is what it prints."""
    decimals = len(printed.partition(".")[2])
    return abs(Fraction(value) - Fraction(printed)) <= Fraction(1, 2 * 10**decimals)


def settings_row(day, vector, magnet=(None, None, None), autostim=(None, None, None)):
    names = ("current_ma", "pulse_width_us", "frequency_hz", "on_s", "off_min")
    trains = ("current_ma", "pulse_width_us", "on_s")
    return {
        "device_key": 1, "effective_at": ZERO + timedelta(days=day), **dict(zip(names, vector, strict=True)),
        **{f"magnet_{c}": v for c, v in zip(trains, magnet, strict=True)},
        **{f"autostim_{c}": v for c, v in zip(trains, autostim, strict=True)},
    }  # fmt: skip


FACTS = {
    "device_key": pl.Int64, "effective_at": INSTANT, "interrogated_at": INSTANT, "current_ma": pl.Float64,
    "pulse_width_us": pl.Int64, "frequency_hz": pl.Float64, "on_s": pl.Float64, "off_min": pl.Float64,
    "magnet_current_ma": pl.Float64, "magnet_pulse_width_us": pl.Int64, "magnet_on_s": pl.Float64,
    "autostim_current_ma": pl.Float64, "autostim_pulse_width_us": pl.Int64, "autostim_on_s": pl.Float64,
    "magnet_count": pl.Int64, "autostim_count": pl.Int64, "battery_status": pl.String,
    "session_no": pl.Int64, "started_at": INSTANT, "uploaded_at": INSTANT, "duration_ms": pl.Int64, "off_s": pl.Float64,
    "step_offsets_ms": pl.List(pl.Int64), "step_intensities": pl.List(pl.Float64),
    "gap_offsets_ms": pl.List(pl.Int64), "gap_durations_ms": pl.List(pl.Int64), "_fingerprint": pl.UInt64,
}  # fmt: skip


def facts(rows=()):
    return pl.DataFrame([{c: r.get(c) for c in FACTS} for r in rows], schema=FACTS)


def dose(days, settings=(), interrogations=(), sessions=(), *, model="106", convention="on_only"):
    """The dose of the first so many days of a device activated at day 0."""
    device = pl.DataFrame(
        {"patient_key": [1], "device_key": [1], "model": [model], "activated_at": [ZERO], "ended_at": [None]},
        schema_overrides={"activated_at": INSTANT, "ended_at": INSTANT},
    )
    inputs = (facts(rows) for rows in (settings, interrogations, sessions))
    segments = build_segments(device, *inputs, DoseOptions(convention=convention))
    asked = pl.DataFrame({"patient_key": [1], "completed_ms": [ZERO_MS + days * DAY_MS]})
    found = dose_in_windows(segments, asked, pl.DataFrame({"patient_key": [1], "activated_ms": [ZERO_MS]}), (days,))
    return {c.removesuffix(f"_{days}d"): v for c, v in found.row(0, named=True).items() if c.endswith(f"_{days}d")}


@pytest.mark.parametrize("row", WORKED)
def test_worked_settings(row):
    vector, charge_nc, cycles, hours, plain, ramped, pulses, on_only, trapezoid, full = WORKED[row]
    current_ma, width_us, frequency_hz, on_s, off_min = vector
    on_ms, off_ms = on_s * 1000, round(off_min * 60_000)
    assert current_ma * width_us == charge_nc
    assert shown(Fraction(DAY_MS, on_ms + off_ms), cycles)
    assert shown(100 * duty_cycle(on_ms, off_ms, frequency_hz * 1000, ramped=False), plain)
    assert shown(100 * duty_cycle(on_ms, off_ms, frequency_hz * 1000), ramped)
    day = {c: dose(1, [settings_row(0, vector)], convention=c) for c in ("on_only", "ramp_trapezoid", "ramp_full")}
    assert shown(Fraction(day["on_only"]["on_ms"], 3_600_000), hours)
    assert shown(Fraction(day["on_only"]["pulses_milli"], 1000), pulses)
    for convention, printed in (("on_only", on_only), ("ramp_trapezoid", trapezoid), ("ramp_full", full)):
        assert shown(Fraction(day[convention]["charge_pc"], 10**9), printed)  # 1 mC is 10**9 pC
        assert day[convention]["on_ms"] == day["on_only"]["on_ms"]


def test_i_the_arms_of_the_dose_study_do_not_mix():
    """Medium 0.5 to 1.0 mA is 19.6364 to 39.2727 mC a day, high 1.25 to 1.5 mA is 49.0909 to 58.9091, all at 250 us."""
    per_day = [dose(1, [settings_row(0, (ma, 250, 20, 30, 5))])["charge_pc"] for ma in (0.5, 1.0, 1.25, 1.5)]
    assert all(shown(Fraction(pc, 10**9), mc) for pc, mc in zip(per_day, ("19.6364", "39.2727", "49.0909", "58.9091"), strict=True))
    assert per_day == sorted(per_day)


def test_j_four_weeks_of_titration():
    """14 days at 1.0 mA, 12 at 1.5 mA, 2 off: 1,256.7273 mC; the days off stay in the denominator of the mean current."""
    changes = [settings_row(d, (ma, 250, 20, 30, 5)) for d, ma in ((0, 1.0), (14, 1.5), (26, 0.0))]
    month = dose(28, changes)
    assert shown(Fraction(month["charge_pc"], 10**9), "1256.7273")
    assert month["coverage"] == 1.0
    assert shown(Fraction(14 * 1000 + 12 * 1500, 28 * 1000), "1.142857")
    assert shown(Fraction(14 * 1000 + 12 * 1500, 26 * 1000), "1.230769")
    assert month["on_ms"] == 14 * DAY_MS // 11 + 12 * DAY_MS // 11  # two segments, each floored
    assert shown(Fraction(2600, 28), "92.857")  # percent of days on


def test_k_magnet_and_autostim_trains():
    """A magnet train of 60 s at 1.75 mA is 0.525 mC, 3 a day for 26 days 40.95 mC; AutoStim at 1.625 mA 0.4875 mC, 25 a day 12.1875 mC."""
    off = (0.0, 250, 20, 30, 5)
    programmed = settings_row(0, off, magnet=(1.75, 250, 60), autostim=(1.625, 250, 60))
    read = {"device_key": 1, "interrogated_at": ZERO + timedelta(days=26)}
    assert dose(26, [programmed], [read | {"magnet_count": 78}])["charge_pc"] == 40_950_000_000
    assert dose(26, [programmed], [read | {"magnet_count": 1}])["charge_pc"] == 525_000_000
    assert dose(26, [programmed], [read | {"autostim_count": 1}])["charge_pc"] == 487_500_000
    day = read | {"interrogated_at": ZERO + timedelta(days=1), "autostim_count": 25}
    assert dose(1, [programmed], [day])["charge_pc"] == 12_187_500_000


def test_m_a_two_minute_cervical_dose():
    """3,000 bursts a dose and 18,000 in six; 3 s of carrier (5 cycles of 200 us a burst); charge is limited by the skin's voltage."""
    sessions = [
        {
            "device_key": 1, "session_no": n, "started_at": ZERO + timedelta(hours=n), "uploaded_at": ZERO + timedelta(days=2),
            "duration_ms": 120_000, "pulse_width_us": 200, "frequency_hz": 25, "step_offsets_ms": [0], "step_intensities": [20],
            "_fingerprint": n,
        }
        for n in range(1, 7)
    ]  # fmt: skip
    one, six = (dose(1, sessions=rows, model="SAPPHIRE") for rows in (sessions[:1], sessions))
    assert (one["sessions"], one["pulses_milli"], one["on_ms"]) == (1, 3_000_000, 120_000)
    assert (six["sessions"], six["pulses_milli"], six["on_ms"]) == (6, 18_000_000, 720_000)
    assert (six["charge_pc"], six["charge_reason"]) == (None, "voltage_limited")
    cycles = one["pulses_milli"] // 1000 * 5
    assert (cycles, cycles * 200) == (15_000, 3_000_000)  # us of carrier
