# SPDX-License-Identifier: Apache-2.0
"""From programmed settings to whole numbers per cycle: microamperes, millihertz, milliseconds, picocoulombs.

Formulas: `docs/dose.md`, section 2. Rounding happens once, where a decimal setting becomes a whole number of a small unit.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final, Literal

import polars as pl

from pipelines.core.kernel import muldiv

Convention = Literal["on_only", "ramp_trapezoid", "ramp_full"]

RAMP_MS: Final = 2_000  # up, and again down; [S: manufacturer's duty-cycle table, all 45 cells]
RAMP_FROM_MHZ: Final = 10_000  # below 10 Hz the current is switched without a ramp
RAMPS_IN_CHARGE: Final[dict[Convention, int]] = {"on_only": 0, "ramp_trapezoid": 1, "ramp_full": 2}
CONTINUOUS_MS: Final = 1_000  # the cycle of a device that never pauses
DAY_MS: Final = 86_400_000


def to_whole(column: str, factor: int) -> pl.Expr:
    """Return `round(column * factor)` as a whole number: mA to uA, Hz to mHz, s to ms (1000), min to ms (60000)."""
    return (pl.col(column) * factor).round().cast(pl.Int64)


def to_ms(column: str) -> pl.Expr:
    """Return an instant as whole milliseconds of UTC since 1970; microseconds are floored, null stays null."""
    return pl.col(column).dt.epoch("us") // 1_000


def with_cycle(frame: pl.DataFrame, convention: Convention = "on_only") -> pl.DataFrame:
    """Add `cycle_ms` and the amounts per cycle `charge_pc`, `pulses_milli`, `on_ms`.

    Reads the whole numbers current_ua, width_us, frequency_mhz, on_ms and off_ms, none of them null. A current of 0 has all
    three amounts 0. The convention says how much of the ramps counts as charge; pulses and on time never include them.
    """
    ramp = pl.when(pl.col("frequency_mhz") >= RAMP_FROM_MHZ).then(RAMP_MS * RAMPS_IN_CHARGE[convention]).otherwise(0)
    frame = frame.with_columns(cycle_ms=pl.col("on_ms") + pl.col("off_ms"), _charge_on_ms=pl.col("on_ms") + ramp)
    per_second = frame.select(pl.col("current_ua") * pl.col("width_us") * pl.col("frequency_mhz")).to_series()
    charge = muldiv(per_second.to_numpy(), frame["_charge_on_ms"].to_numpy(), 1_000_000)  # uA * us = pC
    flows = pl.col("current_ua") > 0
    return frame.with_columns(
        charge_pc=pl.Series(charge, dtype=pl.Int64),
        pulses_milli=pl.when(flows).then(pl.col("frequency_mhz") * pl.col("on_ms") // 1_000).otherwise(0),
        on_ms=pl.when(flows).then("on_ms").otherwise(0),
    ).drop("_charge_on_ms")


def duty_cycle(on_ms: int, off_ms: int, frequency_mhz: int, *, ramped: bool = True) -> Fraction:
    """Return the share of a cycle in which current flows, exactly; the ramps of 10 Hz and more lie inside the off time.

    A fraction and not a percentage: 14 s on and 1.1 min off is 22.5 %, which one rounding makes 22 and another 23.
    Source: the manufacturer's 45-cell table; 60 s and 1.1 min are 51 % (AES 2007, abstract 1.017).

    >>> duty_cycle(14_000, 66_000, 20_000)
    Fraction(9, 40)
    >>> duty_cycle(14_000, 66_000, 20_000, ramped=False)
    Fraction(7, 40)
    """
    ramps = 2 * RAMP_MS if ramped and frequency_mhz >= RAMP_FROM_MHZ else 0
    return Fraction(on_ms + ramps, on_ms + off_ms)
