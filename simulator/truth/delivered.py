# SPDX-License-Identifier: Apache-2.0
"""The charge that truly reached the nerve, from the state of the devices and not from what was recorded of them.

Coarse on purpose (an implanted device is looked at four times a day) and in floating point: it tells in which third of the doses a
patient is, while `expected` tells what a mart must say to the picocoulomb.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from simulator.devices import Devices
from simulator.effects import DISORDERS
from simulator.plan import DAY_US, Array
from simulator.population import People
from simulator.programmes import OFF_MIN, Programmes, vector_at

LOOK_BACK_DAYS: Final = 28
_LOOKS: Final = 4 * LOOK_BACK_DAYS
_DAY_S: Final = 86_400
_EPILEPSY: Final = [d.name for d in DISORDERS].index("epilepsy")


def _millicoulomb(current_ma: Array, width_us: Array | float, frequency_hz: Array, seconds: Array | float) -> Array:
    return current_ma * width_us * frequency_hz * seconds * 1e-6


def _trains_a_day(people: People, devices: Devices, p: Programmes) -> tuple[Array, Array]:
    """Trains of the magnet and of AutoStim: patients with epilepsy swipe the magnet often, half of them."""
    owner = devices.patient[p.device]
    often = (people.disorder[owner] == _EPILEPSY) & (people.code[owner] % 2 == 0)
    return np.where(p.magnet, np.where(often, 2.0, 0.03), 0.0), np.where(p.autostim, 9.0, 0.0)


def implanted_charge(people: People, devices: Devices, p: Programmes, before_us: Array) -> Array:
    """Return the mean charge [mC a day] of the implanted devices (rows of `p`) in the 28 days before `before_us` (same rows)."""
    rows, total = np.arange(len(p.device)), np.zeros(len(p.device))
    magnet, autostim = _trains_a_day(people, devices, p)
    for k in range(_LOOKS):
        at = before_us - LOOK_BACK_DAYS * DAY_US + (2 * k + 1) * DAY_US // 8
        level, off = vector_at(p, rows, at)
        duty = p.on / (p.on + 60 * OFF_MIN[off])
        a_day = _millicoulomb(level, p.pulse_width, p.frequency, duty * _DAY_S)
        a_day = a_day + autostim * _millicoulomb(np.maximum(0.125, level), p.pulse_width, p.frequency, 60.0)
        a_day = a_day + magnet * _millicoulomb(np.minimum(3.5, level // 0.25 * 0.25 + 0.25), 500.0, p.frequency, 60.0)
        worn = (at >= devices.activated_us[p.device]) & (at < np.minimum(devices.ended_us[p.device], p.eos_us))
        total += np.where(worn, a_day, 0.0)
    return total / _LOOKS


def _padded(lists: pl.Series, width: int, fill: float) -> Array:
    """Lists as rows of a matrix, filled up on the right."""
    count = lists.list.len().fill_null(0).to_numpy()
    padded = np.full((len(count), width), fill)
    padded[np.arange(width) < count[:, None]] = lists.drop_nulls().explode().to_numpy()
    return padded


def session_charge(sessions: pl.DataFrame) -> Array:
    """Return the charge [mC] of each session (rows as the simulator sends them): steps of intensity, less the losses of contact."""
    length = sessions["duration_ms"].to_numpy().astype(float)
    starts = np.minimum(_padded(sessions["step_offsets_ms"], 4, np.inf), length[:, None])
    levels = _padded(sessions["step_intensities"], 4, 0.0)
    ends = np.concatenate([starts[:, 1:], length[:, None]], axis=1)
    flowing = np.maximum(0.0, ends - starts)
    gaps, lost = _padded(sessions["gap_offsets_ms"], 2, np.inf), _padded(sessions["gap_durations_ms"], 2, 0.0)
    for gap in range(2):
        begin = gaps[:, gap, None]
        flowing -= np.maximum(0.0, np.minimum(ends, begin + lost[:, gap, None]) - np.maximum(starts, begin))
    on, off = sessions["on_s"].fill_null(1.0).to_numpy(), sessions["off_s"].fill_null(0.0).to_numpy()
    ma_s = (np.maximum(0.0, flowing) * levels).sum(axis=1) / 1_000 * on / (on + off)
    return _millicoulomb(ma_s, sessions["pulse_width_us"].to_numpy(), sessions["frequency_hz"].to_numpy(), np.ones(len(ma_s)))


def worn_charge(sessions: pl.DataFrame, patient: Array, before_us: Array) -> Array:
    """Return the mean charge [mC a day] of `patient` in the 28 days before `before_us`, from their sessions that arrived."""
    start = sessions["device_started_at"].cast(pl.Int64).to_numpy()
    owner = sessions["_patient"].to_numpy()
    order = np.lexsort((start, owner))
    span = int(max(start.max(initial=0), before_us.max(initial=0))) + 1  # patients follow one another on one axis
    axis = owner[order].astype(float) * span + start[order]
    sums = np.concatenate([[0.0], np.cumsum(session_charge(sessions)[order])])
    until, since = (np.searchsorted(axis, patient.astype(float) * span + at) for at in (before_us, before_us - LOOK_BACK_DAYS * DAY_US))
    return np.asarray(sums[until] - sums[since]) / LOOK_BACK_DAYS
