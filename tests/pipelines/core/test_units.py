# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.units import duty_cycle, to_ms, to_whole, with_cycle


def cycle(current=1500, width=250, mhz=20_000, on=30_000, *, convention="on_only"):
    off = 300_000
    row = {"current_ua": current, "width_us": width, "frequency_mhz": mhz, "on_ms": on, "off_ms": off}
    return with_cycle(pl.DataFrame([row]), convention).row(0, named=True)


@pytest.mark.parametrize(("value", "factor", "whole"), [
    (0.125, 1000, 125),  # the finest current step
    (0.3, 60_000, 18_000),  # 0.3 min is 17,999.999... in binary
    (1.1, 60_000, 66_000),
    (2.3, 1000, 2300),
    (None, 1000, None),
])  # fmt: skip
def test_decimals_become_whole_numbers_of_a_small_unit(value, factor, whole):
    frame = pl.DataFrame({"x": [value]}, schema={"x": pl.Float64})
    assert frame.select(to_whole("x", factor)).item() == whole


def test_microseconds_are_floored_before_1970_too():
    at = pl.Series("t", [-1, 999, 1000, None]).cast(pl.Datetime("us", "UTC"))
    assert pl.DataFrame(at).select(to_ms("t"))["t"].to_list() == [-1, 0, 1, None]


def test_one_cycle_of_the_design_page():
    assert {c: v for c, v in cycle().items() if c in ("cycle_ms", "charge_pc", "pulses_milli", "on_ms")} == {
        "cycle_ms": 330_000, "charge_pc": 225_000_000, "pulses_milli": 600_000, "on_ms": 30_000,
    }  # fmt: skip


def test_pulses_and_charge_floor_the_same_milliseconds_apart():
    row = cycle(current=1, width=1, mhz=999, on=999)
    assert (row["pulses_milli"], row["charge_pc"]) == (998, 0)  # 998.001 and 0.998


@pytest.mark.parametrize(("convention", "ramps"), [("on_only", 0), ("ramp_trapezoid", 1), ("ramp_full", 2)])
@pytest.mark.parametrize(("mhz", "ramp_ms"), [(9_999, 0), (10_000, 2_000)])
def test_ramps_begin_at_ten_hertz_and_never_add_pulses(convention, ramps, mhz, ramp_ms):
    row = cycle(mhz=mhz, convention=convention)
    assert row["charge_pc"] == 1500 * 250 * mhz * (30_000 + ramps * ramp_ms) // 1_000_000
    assert (row["on_ms"], row["pulses_milli"]) == (30_000, mhz * 30)


@given(st.integers(0, 40_000), st.integers(50, 1000), st.integers(500, 100_000), st.integers(1000, 3_600_000))
def test_charge_is_exact_up_to_the_limits_of_every_contract(current, width, mhz, on):
    assert cycle(current, width, mhz, on)["charge_pc"] == current * width * mhz * on // 1_000_000


def test_duty_is_a_fraction_so_that_nobody_rounds_it():
    assert duty_cycle(14_000, 66_000, 20_000) == Fraction(225, 1000)  # 22.5 %: half up says 23, half to even says 22
