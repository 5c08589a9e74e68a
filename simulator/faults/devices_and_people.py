# SPDX-License-Identifier: Apache-2.0
"""Faults of a whole device or patient: clocks that are off, replaced devices, withdrawn consent."""

from __future__ import annotations

import numpy as np
import polars as pl

from schemas.contract import Contract
from simulator.columns import pick
from simulator.devices import Devices
from simulator.faults.labels import label, shift
from simulator.plan import DAY_US, HOUR_US, MINUTE_US, Array, Plan
from simulator.population import ERASES, STAYS, STOPS, People

# standard time of the sites; the handset bought for London was set up in Paris
_LOCAL_US = np.array([HOUR_US, -5 * HOUR_US, 11 * HOUR_US, HOUR_US, 5 * HOUR_US + 30 * MINUTE_US])


def label_withdrawn(frame: pl.DataFrame, contract: Contract, people: People) -> pl.DataFrame:
    """Label every row that a withdrawal takes out: all of them after an erasure, those that happened since otherwise.

    When a session happened is its start by the device; the clocks of these patients' devices are right within 90 seconds.
    """
    if contract.name == "consents":
        return frame
    happened = "device_started_at" if contract.name == "stimulation_sessions" else contract.happened or "recorded_at"
    mode, at = people.withdrawal[frame["_patient"].to_numpy()], people.withdrawn_us[frame["_patient"].to_numpy()]
    since = frame[happened].cast(pl.Int64).to_numpy() >= at
    return label(frame, (mode == ERASES) | ((mode == STOPS) & since), "withdrawn_consent", "withdrawn", "consent:withdrawn")


def label_replaced(frame: pl.DataFrame) -> pl.DataFrame:
    """Label the rows of devices that took the place of another one."""
    return label(frame, frame["_replaces"] & frame["_free"], "device_replaced", "accepted", "")


def _choose(plan: Plan, devices: Devices, people: People, present: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Devices with a clock in local time and with a drifting one; the first block has one of each if it can."""
    able = (people.withdrawal[devices.patient] == STAYS) & present
    draw, local, drift = rng.random(len(devices)), plan.rates["clock_local_time"], plan.rates["clock_drift"]
    is_local, is_drift = able & (draw < local), able & (draw >= local) & (draw < local + drift)
    spare = np.flatnonzero(able & ~is_local & ~is_drift)
    if people.first == 0 and len(spare) > 1:
        is_local[spare[0]] |= local > 0 and not is_local.any()
        is_drift[spare[-1]] |= drift > 0 and not is_drift.any()
    return is_local, is_drift


def _drift(devices: Devices, frame: pl.DataFrame, rng: np.random.Generator) -> tuple[Array, Array]:
    """Offset of the device's clock at every upload, and how much earlier its sessions seem.

    A clock that is set between the sessions and their upload leaves them at the wrong time even after the repair: the sessions
    of one batch in four move up to thirty hours back, over those of the batch before.
    """
    batch, device = frame["_batch"].to_numpy(), frame["_device"].to_numpy()
    size = int(batch.max(initial=0)) + 1
    away = rng.integers(3 * MINUTE_US, 5 * HOUR_US, size) * rng.choice([-1, 1], size)
    away = np.where(pick(rng, [0.95, 0.05], size) == 1, -rng.integers(9_000, 9_100, size) * DAY_US, away)
    earlier = np.where(rng.random(size) < 0.25, rng.integers(20 * MINUTE_US, 30 * HOUR_US, size), 0)
    first = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(first, batch, frame["device_started_at"].cast(pl.Int64).to_numpy())
    known = devices.activated_us[device] + 2 * DAY_US < first[batch]
    return away[batch], np.where(known, earlier[batch], 0)


def break_clocks(plan: Plan, devices: Devices, people: People, frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Move the device's clock of the chosen devices and label all their sessions: accepted, with the clock repaired."""
    device = frame["_device"].to_numpy()
    present = np.isin(np.arange(len(devices)), device)
    is_local, is_drift = _choose(plan, devices, people, present, rng)
    away, earlier = _drift(devices, frame, rng)
    site = people.site[devices.patient[device]]
    ahead = np.where(is_local[device], _LOCAL_US[site], np.where(is_drift[device], away, 0))
    frame = frame.with_columns(shift("device_started_at", ahead - np.where(is_drift[device], earlier, 0)), shift("device_clock_at", ahead))
    frame = label(frame, is_local[device], "clock_local_time", "accepted", "")
    return label(frame, is_drift[device], "clock_drift", "accepted", "")
