# SPDX-License-Identifier: Apache-2.0
"""How implanted devices are programmed over time: visits, titration, schedules, and changes that nobody records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.columns import days_us
from simulator.devices import AUTOSTIM_MODELS, END_OF_SERVICE, SCHEDULED_MODEL, Devices
from simulator.plan import DAY_US, MINUTE_US, Array, Plan

OFF_MIN: Final = np.array([10.0, 5.0, 3.0, 1.8, 1.1, 0.5])
FASTEST_OFF: Final = 4  # titration stops at 1.1 min; 0.5 min occurs as a start of rapid cycling only
MID_DELAY_US: Final = 7 * DAY_US + 2 * 3_600_000_000  # a scheduled step, at night, a week after the visit


@dataclass(frozen=True)
class Programmes:
    """Programmes of implanted devices (rows of `device`) at visits (columns).

    `seen` marks visits that take place; `changes` those that programme; `recorded` whether the change was sent. A change is in
    force from `changed_us`. `level` (mA) and `off` (index of `OFF_MIN`) hold from then on, `mid_level` from `mid_us` on when
    `has_mid`. Constant per device: pulse width (us), frequency (Hz), on time (s), and the trains of magnet and AutoStim.
    """

    device: Array
    visit_us: Array
    seen: Array
    changes: Array
    recorded: Array
    changed_us: Array
    level: Array
    off: Array
    mid_us: Array
    mid_level: Array
    has_mid: Array
    pulse_width: Array
    frequency: Array
    on: Array
    magnet: Array
    autostim: Array
    eos_us: Array


def _visits(plan: Plan, devices: Devices, rng: np.random.Generator) -> tuple[Array, Array]:
    """Instants of visits: every second week while titrating, every 60 to 100 days later; some stay away after titration."""
    n = len(devices)
    columns = 7 + plan.days // 60
    titration = rng.integers(4, 7, n)[:, None]
    number = np.arange(columns)
    gap = np.where(number <= titration, rng.uniform(10, 18, (n, columns)), rng.uniform(60, 100, (n, columns)))
    gap[:, 0] = np.where(rng.random(n) < 0.9, 0.0, 1.0)  # one in ten is switched on without a record, then seen a day later
    at = devices.activated_us[:, None] + (np.cumsum(days_us(gap) // MINUTE_US, axis=1) * MINUTE_US)
    at[:, 1:] += rng.integers(0, 60_000_000, (n, columns - 1))  # visits have seconds and microseconds
    stays_away = (rng.random(n) < 0.1)[:, None] & (number > titration)
    last = np.minimum(devices.followed_us, devices.ended_us - 14 * DAY_US)[:, None]
    return at, (at < last) & ~stays_away


def _levels(devices: Devices, rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Current (mA) and OFF index per visit: a quarter of a milliampere per visit up to a target, then shorter OFF times."""
    n, columns = shape
    target = rng.choice([1.0, 1.5, 1.75, 2.0, 2.25], n, p=[0.15, 0.3, 0.25, 0.2, 0.1])[:, None]
    start = np.where(devices.is_second, target[:, 0], 0.25)[:, None]
    visit = np.arange(columns)
    level = np.minimum(target, start + 0.25 * visit)
    level = np.where(rng.random(shape) < 0.04, np.maximum(0.0, level - 0.25), level)  # a step back for side effects
    level = np.where(rng.random(shape) < 0.01, 0.0, level)  # switched off for a while, for surgery or imaging
    reached = np.cumsum(level >= target, axis=1)
    first_off, shortens = rng.random((n, 1)) >= 0.05, rng.random((n, 1)) < 0.6
    off = np.minimum(FASTEST_OFF, first_off + np.where(shortens, reached // 3, 0))
    rapid = (rng.random(n) < 0.03)[:, None]
    return level, np.where(rapid, len(OFF_MIN) - 1, off)


def _trains(devices: Devices, rng: np.random.Generator) -> tuple[Array, Array]:
    """Whether magnet and AutoStim trains are programmed. Older models have no AutoStim; some sites leave the magnet columns out."""
    return rng.random(len(devices)) < 0.85, np.isin(devices.model, AUTOSTIM_MODELS) & (rng.random(len(devices)) < 0.9)


def _subset(devices: Devices, rows: Array) -> Devices:
    values = {name: value[rows] for name, value in vars(devices).items() if isinstance(value, np.ndarray)}
    return Devices(ids=devices.ids.gather(rows), **values)


def draw_programmes(plan: Plan, devices: Devices, rows: Array, rng: np.random.Generator) -> Programmes:
    """Draw the programming of the implanted devices in `rows`."""
    mine = _subset(devices, rows)
    at, seen = _visits(plan, mine, rng)
    level, off = _levels(mine, rng, at.shape)
    differs = np.ones(at.shape, bool)
    differs[:, 1:] = (level[:, 1:] != level[:, :-1]) | (off[:, 1:] != off[:, :-1])
    changes = seen & differs
    level, off = _in_force(changes, level), _in_force(changes, off)
    same_instant = rng.random(at.shape) < 0.4
    recorded = rng.random(at.shape) >= 0.03
    recorded[:, 0] = True
    has_mid = (mine.model == SCHEDULED_MODEL)[:, None] & changes & (level > 0) & (level + 0.125 <= 2.0)
    has_mid[:, :-1] &= at[:, 1:] > (at + MID_DELAY_US)[:, :-1] + DAY_US
    mid_us = at + MID_DELAY_US
    has_mid &= (mid_us < np.minimum(mine.followed_us, mine.ended_us - 14 * DAY_US)[:, None]) & (np.arange(at.shape[1]) < 5)
    width = rng.choice([130, 250, 500], len(rows), p=[0.1, 0.7, 0.2])
    frequency = rng.choice([10.0, 20.0, 25.0, 30.0, 5.0], len(rows), p=[0.05, 0.55, 0.1, 0.27, 0.03])
    on = np.where(off[:, 0] == len(OFF_MIN) - 1, 7.0, rng.choice([30.0, 60.0, 21.0], len(rows), p=[0.8, 0.15, 0.05]))
    magnet, autostim = _trains(mine, rng)
    eos_us = np.where(mine.reason == END_OF_SERVICE, mine.ended_us - 12 * DAY_US, np.int64(1) << 61)
    return Programmes(rows, at, seen, changes, recorded, np.where(same_instant, at, at + 10 * MINUTE_US), level, off, mid_us,
                      level + 0.125, has_mid, width, frequency, on, magnet, autostim, eos_us)  # fmt: skip


def _in_force(changes: Array, value: Array) -> Array:
    """Carry the value of the last change forward over the visits without one (the first column always counts)."""
    column = np.where(changes, np.arange(changes.shape[1]), 0)
    return np.take_along_axis(value, np.maximum.accumulate(column, axis=1), axis=1)


def vector_at(p: Programmes, row: Array, at: Array) -> tuple[Array, Array]:
    """Return the true current (mA) and OFF index of rows of `p` just before the instants `at` (change at `at` not counted)."""
    changed = p.changes[row] & (p.changed_us[row] < at[:, None])
    last = np.where(changed, np.arange(p.changes.shape[1]), -1).max(axis=1)
    k = np.maximum(0, last)
    mid = p.has_mid[row, k] & (p.mid_us[row, k] < at)
    return np.where(mid, p.mid_level[row, k], p.level[row, k]), p.off[row, k]
