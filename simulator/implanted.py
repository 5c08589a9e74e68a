# SPDX-License-Identifier: Apache-2.0
"""What implanted devices send: programming records and interrogations, at visits, between them and at the end of the battery."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from simulator.columns import instants, labels, with_missing
from simulator.devices import CODE_MODELS, MODELS, Devices
from simulator.plan import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Array, Plan
from simulator.population import People
from simulator.programmes import OFF_MIN, Programmes, vector_at

_BATTERY = ("ok", "ifi", "n_eos", "eos")


@dataclass(frozen=True)
class _Readings:
    """Interrogations before they become a frame: rows of `Programmes`, instants, and what is read."""

    row: Array
    at: Array
    after_programming: Array
    empty: Array
    at_eos: Array

    def sorted(self) -> _Readings:
        order = np.lexsort((self.at, self.row))
        return _Readings(**{name: value[order] for name, value in vars(self).items()})


def settings_frame(devices: Devices, p: Programmes, rng: np.random.Generator) -> pl.DataFrame:
    """Every recorded change of the programme: by a clinician at a visit, or by the device's own schedule (model 1000)."""
    row, visit = np.nonzero(p.changes & p.recorded)
    mid_row, mid_visit = np.nonzero(p.has_mid & p.recorded)
    scheduled = np.r_[np.zeros(len(row), bool), np.ones(len(mid_row), bool)]
    row, visit = np.r_[row, mid_row], np.r_[visit, mid_visit]
    at = np.where(scheduled, p.mid_us[row, visit], p.changed_us[row, visit])
    level = np.where(scheduled, p.mid_level[row, visit], p.level[row, visit])
    n, device = len(row), p.device[row]
    recorded = at + np.where(scheduled, rng.integers(DAY_US, 20 * DAY_US, n), rng.integers(MINUTE_US, 4 * HOUR_US, n))
    no_magnet, no_autostim = ~p.magnet[row], ~p.autostim[row]
    return pl.DataFrame({
        "device_id": devices.ids.gather(pl.Series(device)), "model": labels(MODELS, devices.model[device]),
        "effective_at": instants(at), "current_ma": level, "pulse_width_us": p.pulse_width[row], "frequency_hz": p.frequency[row],
        "on_s": p.on[row], "off_min": OFF_MIN[p.off[row, visit]],
        "magnet_current_ma": with_missing(np.minimum(3.5, level // 0.25 * 0.25 + 0.25), no_magnet),
        "magnet_pulse_width_us": with_missing(np.full(n, 500), no_magnet), "magnet_on_s": with_missing(np.full(n, 60.0), no_magnet),
        "autostim_current_ma": with_missing(np.maximum(0.125, level), no_autostim),
        "autostim_pulse_width_us": with_missing(p.pulse_width[row], no_autostim),
        "autostim_on_s": with_missing(np.full(n, 60.0), no_autostim),
        "changed_by": labels(("clinician", "schedule"), scheduled.astype(int)), "recorded_at": instants(recorded),
        "_patient": devices.patient[device], "_receipt": recorded,
    })  # fmt: skip


def _readings(devices: Devices, p: Programmes, rng: np.random.Generator) -> _Readings:
    """Visits after the first, one visit in seven also by a second centre in between, and the end of the battery."""
    row, visit = np.nonzero(p.seen[:, 1:])
    visit = visit + 1
    between = rng.random(len(row)) < 0.15
    gap = p.visit_us[row, visit] - p.visit_us[row, visit - 1]
    extra_at = p.visit_us[row, visit - 1] + (0.4 * gap).astype(np.int64)
    eos_row = np.flatnonzero(p.eos_us < devices.followed_us[p.device])
    eos_row = eos_row[p.eos_us[eos_row] > p.visit_us[eos_row, 0]]
    again = eos_row[rng.random(len(eos_row)) < 0.4]
    at = np.concatenate([p.visit_us[row, visit], extra_at[between], p.eos_us[eos_row], p.eos_us[again] + 6 * DAY_US])
    late = np.arange(len(at)) >= len(at) - len(eos_row) - len(again)
    second = np.arange(len(at)) >= len(at) - len(again)
    at_once = p.changes[row, visit] & (p.changed_us[row, visit] == p.visit_us[row, visit])
    same = np.concatenate([at_once, np.zeros(len(at) - len(row), bool)])
    after = same & (rng.random(len(at)) < 0.5)
    empty = second | (late & (rng.random(len(at)) < 0.5)) | (~after & (rng.random(len(at)) < 0.08))
    return _Readings(np.concatenate([row, row[between], eos_row, again]), at, after, empty, late).sorted()


def _counts(p: Programmes, devices: Devices, people: People, r: _Readings, rng: np.random.Generator) -> tuple[Array, Array]:
    """Trains since the interrogation before: patients with epilepsy swipe the magnet often, the others hardly ever."""
    before = np.where(np.r_[True, r.row[1:] != r.row[:-1]], devices.activated_us[p.device[r.row]], np.r_[0, r.at[:-1]])
    days = (r.at - before) / DAY_US
    often = people.code[devices.patient[p.device]] % 2 == 0
    rate = np.where((people.disorder[devices.patient[p.device]] == 6) & often, 2.0, 0.03)
    return rng.poisson(rate[r.row] * days), rng.poisson(np.where(p.autostim, 9.0, 0.0)[r.row] * days)


def _battery(devices: Devices, p: Programmes, r: _Readings, rng: np.random.Generator) -> tuple[Array, Array]:
    fresh, fall = rng.uniform(40, 100, len(p.device)), rng.uniform(2, 12, len(p.device))
    years = (r.at - devices.activated_us[p.device[r.row]]) / (365 * DAY_US)
    left = np.round(np.where(r.at_eos, 0.0, np.clip(fresh[r.row] - fall[r.row] * years, 20.0, 100.0)))
    return left, np.where(r.at_eos, 3, np.where(left < 25, 1, 0))


def _vector(p: Programmes, r: _Readings) -> tuple[Array, Array]:
    level, off = vector_at(p, r.row, r.at)
    new_level, new_off = vector_at(p, r.row, r.at + 1)
    return np.where(r.after_programming, new_level, level), np.where(r.after_programming, new_off, off)


def interrogations_frame(devices: Devices, people: People, p: Programmes, rng: np.random.Generator) -> pl.DataFrame:
    """Every interrogation with what it read; the vector is empty where the wand lost contact."""
    r = _readings(devices, p, rng)
    n, device = len(r.row), p.device[r.row]
    (level, off), (magnet, autostim) = _vector(p, r), _counts(p, devices, people, r, rng)
    battery, status = _battery(devices, p, r, rng)
    code_model = np.isin(devices.model[device], CODE_MODELS)
    recorded = r.at + rng.integers(MINUTE_US, 3 * HOUR_US, n)
    clock = r.at + rng.integers(-90 * SECOND_US, 90 * SECOND_US, n)
    return pl.DataFrame({
        "device_id": devices.ids.gather(pl.Series(device)), "model": labels(MODELS, devices.model[device]),
        "interrogated_at": instants(r.at),
        "device_clock_at": instants(clock, rng.random(n) < 0.5), "current_ma": with_missing(level, r.empty),
        "pulse_width_us": with_missing(p.pulse_width[r.row], r.empty), "frequency_hz": with_missing(p.frequency[r.row], r.empty),
        "on_s": with_missing(p.on[r.row], r.empty), "off_min": with_missing(OFF_MIN[off], r.empty),
        "magnet_count": with_missing(magnet, r.empty), "autostim_count": with_missing(autostim, r.empty | ~p.autostim[r.row]),
        "battery_pct": with_missing(battery, code_model), "battery_status": labels(_BATTERY, status),
        "impedance_ohm": with_missing(rng.integers(1_000, 3_000, n), code_model | r.empty),
        "impedance_code": with_missing(rng.integers(1, 4, n), ~code_model | r.empty),
        "output_status": with_missing(labels(("ok", "limit"), (rng.random(n) < 0.02).astype(int)), r.empty),
        "recorded_at": instants(recorded), "_patient": devices.patient[device], "_receipt": recorded,
    })  # fmt: skip


def implanted_frames(plan: Plan, devices: Devices, people: People, p: Programmes, block: int) -> dict[str, pl.DataFrame]:
    """Return the two sources of implanted devices."""
    rng = plan.rng(block, "implanted")
    return {
        "device_settings": settings_frame(devices, p, rng),
        "interrogations": interrogations_frame(devices, people, p, rng),
    }
