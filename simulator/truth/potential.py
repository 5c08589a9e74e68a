# SPDX-License-Identifier: Apache-2.0
"""What would become of the same patients in each of the four arms: the truth that a comparison of arms estimates.

Patients, their disorders, histories and wishes to leave are drawn as ever; the arm is then set instead of drawn, and their course and
answers follow from the model. Who is seen, and when, is part of the model too: a patient counts where the baseline and the visit
have a score, as in any analysis of those who were observed. Nothing here reads a mart or runs SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from schemas.code_lists import disorder_of
from schemas.definition import load_definitions, load_visits
from simulator.columns import days_us
from simulator.devices import Devices, draw_devices
from simulator.effects import DISORDERS, DisorderEffect
from simulator.outcomes import improvement, is_implanted, weekly_dose
from simulator.plan import DAY_US, NEVER_US, Array, Plan
from simulator.population import (
    AURICULAR,
    CBT_SHARE,
    EARLY_CBT_DAYS,
    EARLY_CBT_SHARE,
    LATE_CBT_DAYS,
    NO_DEVICE,
    People,
    chance_of_stimulation,
    draw_activation,
    draw_kind,
    draw_people,
)
from simulator.programmes import Programmes, draw_programmes
from simulator.registry import conditions
from simulator.surveys import Answers, draw_answers
from simulator.telemetry import adherence, sessions_frame
from simulator.truth.delivered import implanted_charge, worn_charge

ARMS: Final = {"neither": (False, False), "vns": (True, False), "cbt": (False, True), "vns_cbt": (True, True)}
VISITS: Final = ("m3", "m6", "m9", "m12")
_PHQ_9: Final = 0  # row of the schedule of surveys


@dataclass(frozen=True)
class Course:
    """One block under one arm: its devices, how they are programmed and used, and the answers of its patients."""

    people: People
    devices: Devices
    programmes: Programmes
    used: Array
    answers: Answers


@dataclass(frozen=True)
class Seen:
    """Scores by which patients (rows) are judged at the visits (columns), NaN where there is none, and when (UTC microseconds)."""

    baseline: Array
    follow_up: Array
    at_us: Array

    @property
    def responded(self) -> Array:
        """1 for a drop of at least 50 %, 0 for less, NaN without a baseline above 0 or without a follow-up."""
        least = load_definitions().definitions["drop_50"].parameters["drop_percent"]
        before = self.baseline[:, None]
        unknown = np.isnan(self.follow_up) | ~(before > 0)
        return np.where(unknown, np.nan, 100 * (before - self.follow_up) >= least * before)


def put_into_arm(people: People, vns: bool, cbt: bool, rng: np.random.Generator) -> People:
    """The same people with the arm of day 90 set: therapy that begins later stays as frequent as among those without it by then."""
    n = len(people)
    kind = draw_kind(rng, people.severity)
    modality = kind if vns else np.full(n, NO_DEVICE)
    late_share = CBT_SHARE * (1 - EARLY_CBT_SHARE) / (1 - CBT_SHARE * EARLY_CBT_SHARE)
    late = np.where(rng.random(n) < late_share, people.index_us + days_us(rng.uniform(*LATE_CBT_DAYS, n)), NEVER_US)
    early = people.index_us + days_us(rng.uniform(*EARLY_CBT_DAYS, n))
    return replace(
        people, modality=modality, activated_us=draw_activation(rng, people.index_us, modality), cbt_us=early if cbt else late
    )


def follow(plan: Plan, people: People, block: int) -> Course:
    """Give the people of a block their devices, their course and their PHQ-9."""
    devices = draw_devices(plan, people, block)
    programmes = draw_programmes(plan, devices, is_implanted(devices), plan.rng(block, "programmes"))
    used = adherence(plan, devices, block)
    gone = improvement(plan, people, devices, weekly_dose(plan, devices, programmes, used))
    return Course(people, devices, programmes, used, draw_answers(plan, people, gone, _PHQ_9, plan.rng(block, "surveys")))


def look(people: People, answers: Answers) -> Seen:
    """Find the baseline (the last from its window up to the activation, else the index date) and the follow-up nearest to each target."""
    score = answers.points.sum(axis=1).astype(float)
    index = people.index_us[answers.patient]
    after = answers.at_us - index
    window = load_visits().baseline
    activated = people.activated_us[answers.patient] - index
    until = np.where(activated <= load_visits().landmark.day * DAY_US, activated, window.to_d * DAY_US)
    before = np.flatnonzero((after >= window.from_d * DAY_US) & (after <= until))
    baseline = np.full(len(people), np.nan)
    before = before[np.argsort(after[before])]
    baseline[answers.patient[before]] = score[before]
    follow_up, at = np.full((len(people), len(VISITS)), np.nan), np.zeros((len(people), len(VISITS)), np.int64)
    for column, visit in enumerate(load_visits().visits[name] for name in VISITS):
        rows = np.flatnonzero((after >= visit.from_d * DAY_US) & (after <= visit.to_d * DAY_US))
        far = np.abs(after[rows] - (visit.target_d or 0) * DAY_US)
        rows = rows[np.argsort(-far, kind="stable")]  # the nearest is written last and stays
        follow_up[answers.patient[rows], column] = score[rows]
        at[answers.patient[rows], column] = answers.at_us[rows]
    return Seen(baseline, follow_up, at)


@dataclass(frozen=True)
class Potential:
    """Patients (rows) with everything that would become of them.

    `recorded`: disorders by diagnosis, the second one too (columns as `DISORDERS`); `chance`: probability of being stimulated, from
    the severity; `responded`: arm -> response at the visits (columns; NaN: not seen). `modality` and `charge` [mC a day in the 28 days
    before the visit, NaN where the device cannot tell or nobody was seen] are those of the arms with VNS.
    """

    recorded: Array
    chance: Array
    responded: dict[str, Array]
    modality: Array
    charge: Array


def _recorded(plan: Plan, people: People, block: int) -> Array:
    frame = conditions(plan, people, plan.rng(block, "registry"))
    names = [d.name for d in DISORDERS]
    found = np.zeros((len(people), len(names)), bool)
    for owner, code in frame.select("_patient", "code").iter_rows():
        if (disorder := disorder_of(code)) is not None:
            found[owner, names.index(disorder)] = True
    return found


def _charge(plan: Plan, block: int, course: Course, seen: Seen, worn: bool) -> Array:
    """Charge before every follow-up (patients x visits); of the auricular devices too if `worn`, whose sessions are many."""
    charge = np.full(seen.follow_up.shape, np.nan)
    devices, people = course.devices, course.people
    owner = devices.patient[course.programmes.device]
    for visit in range(len(VISITS)):
        charge[owner, visit] = implanted_charge(people, devices, course.programmes, seen.at_us[owner, visit])
    if worn:
        sessions = sessions_frame(plan, devices, course.used, block)
        wearer = devices.patient[devices.of(AURICULAR)]
        sessions = sessions.filter(pl.col("_patient").is_in(wearer.tolist()))
        for visit in range(len(VISITS)):
            charge[wearer, visit] = worn_charge(sessions, wearer, seen.at_us[wearer, visit])
    return np.where(np.isnan(seen.follow_up), np.nan, charge)


def draw_potential(plan: Plan, block: int, disorders: Sequence[DisorderEffect] = DISORDERS, worn: bool = False) -> Potential:
    """Draw one block and follow it through all four arms. `worn` also adds up the sessions of auricular devices, which takes long."""
    people = draw_people(plan, block, disorders)
    courses = {
        arm: follow(plan, put_into_arm(people, vns, cbt, plan.rng(block, "arms")), block) for arm, (vns, cbt) in ARMS.items()
    }
    seen = {arm: look(course.people, course.answers) for arm, course in courses.items()}
    with_vns = courses["vns"]  # devices, their use and the days of the visits are the same with and without therapy
    return Potential(
        _recorded(plan, people, block), chance_of_stimulation(people.severity), {arm: s.responded for arm, s in seen.items()},
        with_vns.people.modality, _charge(plan, block, with_vns, seen["vns"], worn),
    )  # fmt: skip
