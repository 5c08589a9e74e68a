# SPDX-License-Identifier: Apache-2.0
"""The brute force against numbers worked out by hand: the literature's daily doses, and each rule of docs/dose.md."""

import pytest

from simulator.truth.expected import window_dose
from simulator.truth.facts import DeviceStreams
from simulator.truth.programmed import Change, Device, Reading, Train, Vector, implanted_streams
from simulator.truth.segments import OPEN_END_MS, Amounts, Stream
from simulator.truth.worn import Session, worn_streams

DAY = 86_400_000
MC = 1_000_000_000  # picocoulombs


def vector(ma: float, width: int = 250, hz: float = 20, on_s: float = 30, off_min: float = 5) -> Vector:
    return Vector(round(ma * 1000), width, round(hz * 1000), round(on_s * 1000), round(off_min * 60_000))


def implanted(changes=(), readings=(), begin=0, end=OPEN_END_MS) -> DeviceStreams:
    s = implanted_streams(list(changes), list(readings), Device(begin, end))
    return DeviceStreams([Stream(s.normal), Stream(s.magnet), Stream(s.autostim)], Stream(s.unknown), True)


def session(number, start, *, uploaded=None, minutes=2, steps=((0, 10_000),), gaps=(), width=200, on=None, offset_s=0) -> Session:
    upload = 1_000 * (start + minutes * 60_000 if uploaded is None else uploaded)
    clock = upload - offset_s * 1_000_000
    begin = start * 1_000 - offset_s * 1_000_000
    return Session(number, begin, clock, upload, minutes * 60_000, width, 25_000, on, on, list(steps), list(gaps))


def worn(sessions, charge_known=True, begin=0, end=OPEN_END_MS) -> DeviceStreams:
    s = worn_streams(list(sessions), Device(begin, end), charge_known)
    return DeviceStreams([Stream(s.normal)], Stream(s.unknown), charge_known)


DAILY = [  # domain table of worked doses: settings, millicoulombs per day while on, thousandths of a pulse per day
    ("A", vector(1.5), 58.9091, 157_090_909),
    ("B", vector(0.25, width=130), 5.1055, 157_090_909),
    ("C", vector(1.0), 39.2727, 157_090_909),
    ("D", vector(1.75, hz=30), 103.0909, 235_636_363),
    ("E", vector(1.0, on_s=7, off_min=0.3), 120.96, 483_840_000),
    ("H", vector(1.5, on_s=60, off_min=1.1), 308.5714, 822_857_142),
]


@pytest.mark.parametrize(("name", "settings", "mc", "pulses"), DAILY, ids=[d[0] for d in DAILY])
def test_worked_daily_doses(name, settings, mc, pulses):
    dose = window_dose([implanted([Change(0, settings)])], 0, DAY)
    assert round(dose.charge_pc / MC, 4) == mc
    assert dose.pulses_milli == pulses


def test_j_28_days_of_two_currents_and_two_days_off():
    changes = [Change(0, vector(1.0)), Change(14 * DAY, vector(1.5)), Change(26 * DAY, vector(0.0))]
    dose = window_dose([implanted(changes)], 0, 28 * DAY)
    assert round(dose.charge_pc / MC, 4) == 1256.7273
    assert dose.charge_pc == 150_000_000 * 14 * DAY // 330_000 + 225_000_000 * 12 * DAY // 330_000


def test_k_magnet_and_autostim_trains():
    magnet, autostim = Train(1_750, 250, 60_000), Train(1_625, 250, 60_000)
    change = Change(0, vector(0.0), magnet, autostim)
    dose = window_dose([implanted([change], [Reading(26 * DAY, None, magnet_count=3 * 26)])], 0, 26 * DAY)
    assert dose.charge_pc == 40_950_000_000  # 0.525 mC each, three a day
    dose = window_dose([implanted([change], [Reading(10 * DAY, None, autostim_count=250)])], 0, DAY)
    assert dose.charge_pc == 12_187_500_000 and dose.on_ms == 25 * 60_000


def test_m_six_cervical_doses():
    dose = window_dose([worn([session(n, n * 600_000) for n in range(1, 7)], charge_known=False)], 0, DAY)
    assert (dose.charge_pc, dose.sessions, dose.on_ms, dose.pulses_milli) == (None, 6, 12 * 60_000, 18_000_000)


def test_no_device_is_nothing_and_certain():
    assert vars(window_dose([], 0, DAY)) == {
        "charge_pc": 0, "pulses_milli": 0, "on_ms": 0, "sessions": 0, "charge_pc_high": 0, "on_ms_high": 0, "unknown_ms": 0,
    }  # fmt: skip


def test_settings_are_carried_180_days_and_then_unknown_at_their_rate():
    device = implanted([Change(0, vector(1.0))])
    assert window_dose([device], 170 * DAY, 180 * DAY).unknown_ms == 0
    late = window_dose([device], 180 * DAY, 190 * DAY)
    assert (late.charge_pc, late.unknown_ms) == (0, 10 * DAY) and late.charge_pc_high == 150_000_000 * 10 * DAY // 330_000


@pytest.mark.parametrize(
    ("read", "programmed", "unknown_days"),
    [
        (vector(1.0), None, 0),  # reads what is in force: confirmed, however long ago
        (None, None, 20),  # lost contact: carried for 180 days from the change
        (vector(2.0), None, 200),  # somebody changed it, nobody knows when
        (vector(2.0), vector(2.0), 20),  # read back after programming at the same instant
        (vector(3.0), vector(2.0), 200),
        (vector(1.0), vector(2.0), 0),
    ],
)  # fmt: skip
def test_what_an_interrogation_says_about_the_time_before_it(read, programmed, unknown_days):
    later = [] if programmed is None else [Change(200 * DAY, programmed)]
    device = implanted([Change(0, vector(1.0)), *later], [Reading(200 * DAY, read)])
    assert window_dose([device], 0, 200 * DAY).unknown_ms == unknown_days * DAY


def test_time_before_the_first_record_is_unknown_without_a_rate():
    dose = window_dose([implanted([Change(5 * DAY, vector(1.0))])], 0, 10 * DAY)
    assert (dose.unknown_ms, dose.charge_pc_high, dose.on_ms_high) == (5 * DAY, None, None)
    assert window_dose([implanted([Change(5 * DAY, vector(1.0))])], 5 * DAY, 6 * DAY).charge_pc_high is not None


def test_battery_at_its_end_means_no_output_and_explant_ends_all():
    device = implanted([Change(0, vector(1.0))], [Reading(10 * DAY, vector(1.0), eos=True)], end=30 * DAY)
    assert window_dose([device], 10 * DAY, 40 * DAY) == window_dose([], 0, DAY)
    assert window_dose([device], 9 * DAY, 10 * DAY).charge_pc == 39_272_727_273  # 330 s does not divide a day: the floor wanders


def test_windows_are_half_open_and_additive():
    device = implanted([Change(0, vector(1.0)), Change(DAY, vector(2.0))])
    assert window_dose([device], 0, DAY).charge_pc == 150_000_000 * DAY // 330_000  # the change at the very instant is after
    whole, parts = window_dose([device], 0, 3 * DAY), [window_dose([device], a, b) for a, b in ((0, 7), (7, DAY + 1), (DAY + 1, 3 * DAY))]
    assert whole.charge_pc == sum(p.charge_pc for p in parts)
    one = worn([session(1, 1_000)])
    assert [window_dose([one], a, b).sessions for a, b in ((0, 1_000), (1_000, 1_001), (1_001, DAY))] == [0, 1, 0]


def test_steps_and_losses_of_contact():
    steps, gaps = ((0, 1_000), (30_000, 0), (60_000, 2_000)), ((90_000, 15_000),)
    dose = window_dose([worn([session(1, 0, steps=steps, gaps=gaps)])], 0, DAY)
    # 30 s at 1 mA and 45 s at 2 mA in two pieces, 25 pulses a second of 200 us
    assert dose.on_ms == 75_000 and dose.charge_pc == 5_000_000 * 30 + 10_000_000 * 45 and dose.sessions == 1


def test_a_cycle_starts_anew_after_a_loss_of_contact():
    dose = window_dose([worn([session(1, 0, minutes=2, steps=((0, 1_000),), gaps=((45_000, 5_000),), on=30_000)])], 0, DAY)
    assert dose.on_ms == 30_000 * 45_000 // 60_000 + 30_000 * 70_000 // 60_000


@pytest.mark.parametrize(
    ("numbers", "missing"), [((1, 2), 0), ((1, 4), 2), ((5, 1), 0), ((3, 3), 0)], ids=["next", "two lost", "counter restarted", "same"]
)
def test_missing_sessions_are_unknown_at_the_rate_of_the_one_before(numbers, missing):
    first, second = session(numbers[0], 0), session(numbers[1], DAY)
    dose = window_dose([worn([first, second])], 120_000, DAY)
    assert dose.unknown_ms == (DAY - 120_000 if missing else 0)
    assert dose.charge_pc_high == missing * 5_000_000 * 10 * 120


def test_sessions_before_the_first_known_one_and_after_the_last_upload():
    device = worn([session(3, DAY), session(4, 2 * DAY)])
    before, after = window_dose([device], 0, DAY), window_dose([device], 2 * DAY + 120_000, 4 * DAY + 120_000)
    assert (before.unknown_ms, before.on_ms_high) == (DAY, 2 * 120_000)
    assert (after.unknown_ms, after.on_ms_high) == (2 * DAY, 2 * 120_000)  # one a day, as the last two


def test_a_device_without_sessions_is_unknown_without_a_rate():
    dose = window_dose([worn([])], 0, DAY)
    assert (dose.charge_pc, dose.charge_pc_high, dose.unknown_ms) == (0, None, DAY)


def test_of_overlapping_sessions_the_later_upload_keeps_the_time():
    early = session(1, 0, minutes=10, uploaded=DAY, steps=((0, 1_000),))
    late = session(2, 120_000, minutes=2, uploaded=2 * DAY, steps=((0, 2_000),))
    dose = window_dose([worn([early, late])], 0, DAY)
    assert dose.charge_pc == 5_000_000 * 480 + 10_000_000 * 120 and dose.sessions == 2
    buried = session(2, 120_000, minutes=2, uploaded=DAY // 2, steps=((0, 2_000),))
    assert window_dose([worn([early, buried])], 0, DAY).sessions == 1


def test_a_clock_over_two_minutes_off_is_moved_by_all_of_it():
    assert session(1, DAY, offset_s=120).start_ms == DAY - 120_000
    assert session(1, DAY, offset_s=121).start_ms == DAY
    assert session(1, DAY, offset_s=-7_200).start_ms == DAY


def test_amounts_of_a_segment_are_floored_once():
    assert implanted([Change(0, vector(1.0))]).known[0].until(1)[0] == Amounts(150_000_000 // 330_000, 600_000 // 330_000, 0)
