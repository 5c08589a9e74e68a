# SPDX-License-Identifier: Apache-2.0
from datetime import timedelta

import pytest
from in_memory import build, connect
from window_parts import INDEX, patient


@pytest.mark.parametrize(
    ("activated", "cbt", "expected", "remark"),
    [
        (None, None, [(0, None, "neither")], "nothing ever"),
        (0, None, [(0, None, "vns")], "from the index date on"),
        (-20, None, [(0, None, "vns")], "begun before: from day 0"),
        (5, 240, [(0, 5, "neither"), (5, 240, "vns"), (240, None, "vns_cbt")], "therapy at month 8 exposes nobody before"),
        (5, 5, [(0, 5, "neither"), (5, None, "vns_cbt")], "both at once"),
        (None, 30, [(0, 30, "neither"), (30, None, "cbt")], "without a device"),
        (90, 0, [(0, 90, "cbt"), (90, None, "vns_cbt")], "at the landmark"),
    ],
)
def test_a_time_line(activated, cbt, expected, remark):
    at = [None if day is None else INDEX + timedelta(days=day) for day in (activated, cbt)]
    with connect() as connection:
        found = build(connection, [patient(1, activated_at=at[0], cbt_started_at=at[1])], [], ("exposures",))["exposures"]
    assert sorted((r["from_d"], r["to_d"], r["state"]) for r in found) == expected, remark


def test_without_an_index_date_there_is_no_time_line():
    with connect() as connection:
        assert build(connection, [patient(1, index_at=None)], [], ("exposures",)) == {"exposures": []}
