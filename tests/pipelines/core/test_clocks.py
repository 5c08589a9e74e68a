# SPDX-License-Identifier: Apache-2.0
"""Device clocks that are off and wall clocks without an offset, one row per boundary of docs/dose.md, section 6."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipelines.core.clocks import local_to_utc, repair_session_clock

INSTANT = pl.Datetime("us", "UTC")
STARTED, CLOCK = datetime(2024, 5, 1, 8, tzinfo=UTC), datetime(2024, 5, 2, 9, tzinfo=UTC)
S, M, H, D = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
US = timedelta(microseconds=1)


def repaired(offset, started=STARTED):
    row = {"device_started_at": started, "device_clock_at": CLOCK, "uploaded_at": None if offset is None else CLOCK + offset}
    found = repair_session_clock(pl.DataFrame([row], schema=dict.fromkeys(row, INSTANT))).row(0, named=True)
    return found["started_at"], found["clock_method"], found["clock_uncertainty_ms"]


@pytest.mark.parametrize(("offset", "moved", "method", "uncertainty"), [
    (0 * S, False, "none", 0),
    (1500 * US, False, "none", 1),  # floored
    (120 * S, False, "none", 120_000),
    (-120 * S, False, "none", 120_000),
    (120 * S + US, True, "drift", 120_000),
    (13 * M - US, True, "drift", 120_000),
    (13 * M, True, "zone", 120_000),  # within 120 s of a quarter hour
    (H, True, "zone", 0),
    (-5 * H - 30 * M - 7 * S, True, "zone", 7_000),
    (H + 120 * S, True, "zone", 120_000),
    (H + 120 * S + US, True, "drift", 120_000),
    (14 * H + 120 * S, True, "zone", 120_000),
    (-14 * H - 120 * S, True, "zone", 120_000),
    (14 * H + 15 * M, True, "drift", 120_000),  # a quarter hour, but no zone is that wide
    (D, True, "drift", 120_000),
    (D + US, True, "reset", 120_000),
    (-20_000 * D, True, "reset", 120_000),  # lands before 1970
])  # fmt: skip
def test_offsets(offset, moved, method, uncertainty):
    assert repaired(offset) == (STARTED + (offset if moved else 0 * S), method, uncertainty)


def test_a_missing_clock_repairs_nothing():
    assert repaired(None) == (None, None, None)


def utc(walls, zones):
    times = local_to_utc(
        pl.Series(walls, dtype=pl.String).str.to_datetime(time_unit="us"), pl.Series(zones, dtype=pl.String)
    )
    shown = times.utc.dt.strftime("%m-%dT%H:%M").to_list()
    return list(zip(shown, times.nonexistent, times.unknown_zone, strict=True))


def test_wall_times_in_zones_keep_their_order():
    noon = "2024-07-01T12:00:00"
    walls = ["2024-10-27T02:30:00", "2024-03-31T02:30:00", noon, noon, None, noon]
    zones = ["Europe/Berlin", "Europe/Berlin", "America/New_York", "Mars/Base", "UTC", None]
    assert utc(walls, zones) == [
        ("10-27T00:30", False, False),  # the first of the two
        (None, True, False),  # never was
        ("07-01T16:00", False, False),
        (None, False, True),
        (None, False, False),
        (None, False, True),
    ]


def test_the_second_half_hour_is_not_ambiguous_one_hour_later():
    assert utc(["2024-10-27T03:00:00", "2024-10-27T02:00:00"], ["Europe/Berlin"] * 2) == [
        ("10-27T02:00", False, False), ("10-27T00:00", False, False),
    ]  # fmt: skip


def test_no_rows_no_times():
    assert utc([], []) == []
