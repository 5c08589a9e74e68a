# SPDX-License-Identifier: Apache-2.0
"""One block of patients, from the draw to the clean frames of all twelve sources and the truth about each patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from schemas.code_lists import history_flags
from simulator import registry
from simulator.columns import instants, labels
from simulator.devices import Devices, devices_frame, draw_devices
from simulator.effects import DISORDERS, DisorderEffect
from simulator.implanted import implanted_frames
from simulator.outcomes import improvement, improvement_at, is_implanted, weekly_dose
from simulator.plan import DAY_US, NEVER_US, Array, Plan
from simulator.population import MODALITIES, WITHDRAWALS, People, draw_people
from simulator.programmes import draw_programmes
from simulator.surveys import surveys_frame
from simulator.telemetry import adherence, sessions_frame


@dataclass(frozen=True)
class Block:
    """Clean records of one block: source -> frame. Columns that start with `_` are not sent:

    `_patient` (row in `people`), `_receipt` (UTC microseconds, decides the file), and in some sources `_device`, `_zone`,
    `_replaces`.
    """

    number: int
    people: People
    devices: Devices
    frames: Mapping[str, pl.DataFrame]
    truth: pl.DataFrame


def _truth(plan: Plan, people: People, gone: Array) -> pl.DataFrame:
    landmark = people.index_us + 90 * DAY_US
    last = np.minimum(people.followed_us, plan.end_us)
    never = people.cbt_us == NEVER_US
    final = improvement_at(plan, gone, np.arange(len(people)), last)
    flags = {f.name: sum((people.history[k] for k in f.kinds), np.zeros(len(people), np.int64)) >= f.at_least for f in history_flags()}
    return pl.DataFrame({
        "patient_id": people.ids, "disorder": labels([d.name for d in DISORDERS], people.disorder),
        "modality": labels(MODALITIES, people.modality), "index_at": instants(people.index_us),
        "followed_until": instants(people.followed_us), "cbt_started_at": instants(np.where(never, 0, people.cbt_us), never),
        "vns_at_landmark": people.activated_us <= landmark, "cbt_at_landmark": people.cbt_us <= landmark,
        "withdrawal": labels(WITHDRAWALS, people.withdrawal), **flags, "severity": people.severity,
        "vns_effect": people.vns_effect, "cbt_effect": people.cbt_effect, "synergy": people.synergy, "own_effect": people.own_effect,
        "improvement_at_end": final, "is_responder": final >= 0.5,
    })  # fmt: skip


def draw_block(plan: Plan, number: int, disorders: Sequence[DisorderEffect] = DISORDERS, worn: bool = True) -> Block:
    """Draw one block of patients with everything that happens to them; no faults yet. `disorders` as in `draw_people`.

    Without `worn` no session of a worn device is sent, which are nine records of ten; all else stays the same.
    """
    people = draw_people(plan, number, disorders)
    devices = draw_devices(plan, people, number)
    programmes = draw_programmes(plan, devices, is_implanted(devices), plan.rng(number, "programmes"))
    used = adherence(plan, devices, number)
    gone = improvement(plan, people, devices, weekly_dose(plan, devices, programmes, used))
    rng = plan.rng(number, "registry")
    frames = {
        "patients": registry.patients(plan, people, rng), "devices": devices_frame(devices, people, rng),
        "consents": registry.consents(plan, people, rng), "conditions": registry.conditions(plan, people, rng),
        "history_events": registry.history_events(plan, people, rng),
        "therapy_sessions": registry.therapy_sessions(plan, people, rng),
        **implanted_frames(plan, devices, people, programmes, number),
        "stimulation_sessions": sessions_frame(plan, devices, used, number, sent=worn),
        "survey_responses": surveys_frame(plan, people, gone, number),
        "physiology": registry.physiology(plan, people, rng), "adverse_events": registry.adverse_events(plan, people, rng),
    }  # fmt: skip
    return Block(number, people, devices, frames, _truth(plan, people, gone))
