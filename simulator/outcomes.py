# SPDX-License-Identifier: Apache-2.0
"""How patients truly fare: dose week by week as a share of the target, and the share of severity that is gone."""

from __future__ import annotations

import numpy as np

from simulator.devices import Devices
from simulator.effects import CBT_WEEKS, DOSE_WEEKS, PLACEBO, PLACEBO_WEEKS, saturate
from simulator.plan import DAY_US, NEVER_US, START_US, Array, Plan
from simulator.population import IMPLANTED, People
from simulator.programmes import OFF_MIN, Programmes

WEEK_US = 7 * DAY_US
_TARGET_DUTY_MA = 1.5 * 30 / 330  # 1.5 mA at 30 s on and 5 min off counts as the full dose of an implanted device
_MOST = 1.5


def weeks(plan: Plan) -> Array:
    """Instants of the weekly grid, from the start to past the end of the study."""
    return START_US + np.arange(plan.days // 7 + 2) * WEEK_US


def _implanted_dose(plan: Plan, devices: Devices, p: Programmes) -> Array:
    at = weeks(plan)
    dose = np.zeros((len(p.device), len(at)))
    for visit in range(p.visit_us.shape[1]):
        duty = p.on / (p.on + 60 * OFF_MIN[p.off[:, visit]])
        now = (p.changed_us[:, visit, None] <= at) & p.changes[:, visit, None]
        dose = np.where(now, (p.level[:, visit] * duty / _TARGET_DUTY_MA)[:, None], dose)
    return dose


def weekly_dose(plan: Plan, devices: Devices, p: Programmes, used: Array) -> Array:
    """Return the dose of every device (rows) in every week (columns) as a share of the target, at most 1.5."""
    at = weeks(plan)
    dose = np.repeat((used / 0.75)[:, None], len(at), axis=1)
    dose[p.device] = _implanted_dose(plan, devices, p)
    worn = (at >= devices.activated_us[:, None]) & (at < np.minimum(devices.followed_us, devices.ended_us)[:, None])
    return np.clip(np.where(worn, dose, 0.0), 0.0, _MOST)


def _lagged(dose: Array) -> Array:
    """The body follows the dose: an exponential average with a lag of `DOSE_WEEKS`."""
    keep, felt = np.exp(-1 / DOSE_WEEKS), np.zeros_like(dose)
    for week in range(1, dose.shape[1]):
        felt[:, week] = keep * felt[:, week - 1] + (1 - keep) * dose[:, week - 1]
    return felt


def improvement(plan: Plan, people: People, devices: Devices, dose: Array) -> Array:
    """Return the true share of severity gone per patient (rows) and week (columns): 0.5 is half as ill, below 0 is worse."""
    total = np.zeros((len(people), dose.shape[1]))
    np.add.at(total, devices.patient, dose)
    felt = saturate(_lagged(np.minimum(total, _MOST)))
    at = weeks(plan)
    since_index = np.maximum(0.0, (at - people.index_us[:, None]) / WEEK_US)
    cbt_start = np.where(people.cbt_us == NEVER_US, plan.end_us + 99 * WEEK_US, people.cbt_us)
    therapy = 1 - np.exp(-np.maximum(0.0, (at - cbt_start[:, None]) / WEEK_US) / CBT_WEEKS)
    settled = 1 - np.exp(-since_index / PLACEBO_WEEKS)
    gone = (PLACEBO + people.own_effect)[:, None] * settled + people.vns_effect[:, None] * felt
    gone += people.cbt_effect[:, None] * therapy + people.synergy[:, None] * felt * therapy
    return np.asarray(np.clip(gone, -0.4, 0.97))


def improvement_at(plan: Plan, gone: Array, patient: Array, at: Array) -> Array:
    """Return the improvement of `patient` at instants `at`, linear between the weeks; before the start it is 0."""
    place = np.clip((at - START_US) / WEEK_US, 0, gone.shape[1] - 1.001)
    week = place.astype(np.int64)
    part = place - week
    return gone[patient, week] * (1 - part) + gone[patient, week + 1] * part


def is_implanted(devices: Devices) -> Array:
    """Rows of the implanted devices."""
    return devices.of(IMPLANTED)
