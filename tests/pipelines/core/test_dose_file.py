# SPDX-License-Identifier: Apache-2.0
"""The dose of one file of settings or sessions, as `vnsight dose` gives it."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from dose_facts import SESSIONS, SETTINGS, at, frame, session, setting
from dose_oracle import DAY

from pipelines.core.dose_file import dose_of_file
from pipelines.core.segments import UnknownModelError
from schemas.errors import UsageError


def settings_file(*rows, **columns):
    named = frame(rows, SETTINGS).with_columns(device_id=pl.format("S{}", "device_key")).drop("device_key")
    return named.with_columns(**columns)


def sessions_file(*rows, model="NEMOS", clock_off=timedelta(0)):
    named = frame(rows, SESSIONS).with_columns(
        device_id=pl.format("H{}", "device_key"), model=pl.lit(model), device_started_at="started_at",
        device_clock_at=pl.col("uploaded_at") - clock_off,
    )  # fmt: skip
    return named.drop("device_key", "started_at", "_fingerprint")


def test_settings_one_row_per_device_and_window_in_order():
    found = dose_of_file(settings_file(setting(at(0), key=2), setting(at(10), key=1)), at(28), (28, 7))
    assert found.columns == ["device", "window_days", "charge_pc", "pulses_milli", "on_ms", "sessions", "coverage"]
    assert found.rows() == [
        ("S1", 28, 18 * DAY * 225_000_000 // 330_000, 18 * DAY * 600_000 // 330_000, 18 * DAY * 30_000 // 330_000, 0, 1.0),
        ("S1", 7, *(18 * DAY * x // 330_000 - 11 * DAY * x // 330_000 for x in (225_000_000, 600_000, 30_000)), 0, 1.0),
        ("S2", 28, *(28 * DAY * x // 330_000 for x in (225_000_000, 600_000, 30_000)), 0, 1.0),
        ("S2", 7, *(28 * DAY * x // 330_000 - 21 * DAY * x // 330_000 for x in (225_000_000, 600_000, 30_000)), 0, 1.0),
    ]


def test_settings_without_the_optional_columns_and_with_two_revisions():
    rows = settings_file(setting(at(0), (3.0, 250, 20, 30, 5)), setting(at(0)), recorded_at=pl.Series([at(2), at(1)]))
    lean = rows.drop([c for c in rows.columns if c.startswith(("magnet", "autostim"))])
    assert dose_of_file(lean, at(1), (1,))["charge_pc"].to_list() == [DAY * 450_000_000 // 330_000]


def test_sessions_with_a_clock_in_local_time():
    shifted = sessions_file(session(1, at(10), uploaded=at(12)), clock_off=timedelta(hours=2))
    assert dose_of_file(shifted, at(10, hours=2), (7,))["sessions"].to_list() == [0]
    late = dose_of_file(shifted, at(10, hours=3), (7,)).row(0, named=True)
    assert (late["sessions"], late["on_ms"], late["charge_pc"]) == (1, 1_800_000, 11_250_000_000)


def test_sessions_without_clocks_stand_where_the_device_says():
    bare = sessions_file(session(1, at(10))).drop("device_clock_at", "uploaded_at", "on_s", "off_s", "gap_offsets_ms")
    found = dose_of_file(bare, at(11), (7,)).row(0, named=True)
    assert (found["sessions"], found["on_ms"]) == (1, 3_600_000)
    assert found["coverage"] == 1 - 23 / 24 / 7  # nothing is known after the session


def test_charge_that_cannot_be_known_is_empty():
    dose = session(1, at(1), 2, ((0, 20.0),), pauses=(None, None))
    assert dose_of_file(sessions_file(dose, model="SAPPHIRE"), at(2), (7,))["charge_pc"].to_list() == [None]


@pytest.mark.parametrize(("rows", "when", "error", "message"), [
    (pl.DataFrame({"x": [1]}), at(1), UsageError, "neither effective_at"),
    (pl.DataFrame({"effective_at": [at(0)], "device_id": ["a"]}), at(1), UsageError, "lacks the columns current_ma, pulse"),
    (settings_file(setting(at(0))), datetime(2024, 1, 1), UsageError, "has no zone"),
    (sessions_file(session(1, at(1)), model="X"), at(1), UnknownModelError, "'X'"),
])  # fmt: skip
def test_errors_say_what_is_wrong(rows, when, error, message):
    with pytest.raises(error, match=message):
        dose_of_file(rows, when)


def test_an_empty_file_has_no_devices():
    assert dose_of_file(settings_file(), at(1)).height == 0
    assert dose_of_file(sessions_file(), at(1)).height == 0
