# SPDX-License-Identifier: Apache-2.0
"""What the registry sends: patients, consents, diagnoses, history, therapy sessions, heart-rate measures and adverse events."""

from __future__ import annotations

import numpy as np
import polars as pl

from simulator.columns import days_us, identifiers, instants, labels, number_within, with_missing
from simulator.effects import DISORDERS, HISTORIES
from simulator.plan import DAY_US, HOUR_US, MINUTE_US, NEVER_US, START_US, Array, Plan
from simulator.population import IMPLANTED, NO_DEVICE, SITES, STAYS, WITHDRAWALS, People

_IMPLANT_HARMS = ("hoarseness", "cough", "dyspnea", "neck_pain", "dysphagia", "paresthesia", "headache", "infection")
_SKIN_HARMS = ("skin_irritation", "ear_pain", "dizziness", "tinnitus", "headache")
_OTHER_HARMS = ("headache", "suicidality", "other")


def _numbered(people: People, owner: Array) -> pl.Series:
    """Identifiers unique over all blocks, `<patient>-<number>`; `owner` must be sorted."""
    return pl.select(people.ids.gather(pl.Series(owner)) + "-" + pl.Series(number_within(owner)).cast(pl.String)).to_series()


def patients(plan: Plan, people: People, rng: np.random.Generator) -> pl.DataFrame:
    """One row per patient, recorded on the day of the index date."""
    n = len(people)
    recorded = people.index_us + rng.integers(MINUTE_US, 6 * HOUR_US, n)
    return pl.DataFrame({
        "patient_id": people.ids, "birth_year": with_missing(people.birth_year, rng.random(n) < 0.01),
        "sex": labels(("female", "male", "other", "unknown"), people.sex), "site": labels([s for s, _ in SITES], people.site),
        "index_at": instants(people.index_us), "time_zone": labels([z for _, z in SITES], people.site),
        "recorded_at": instants(recorded), "_patient": np.arange(n), "_receipt": recorded,
    })  # fmt: skip


def consents(plan: Plan, people: People, rng: np.random.Generator) -> pl.DataFrame:
    """Consent given 40 days before the index date, and a second row for who withdraws."""
    leavers = np.flatnonzero(people.withdrawal != STAYS)
    owner = np.concatenate([np.arange(len(people)), leavers])
    effective = np.concatenate([people.index_us - 40 * DAY_US, people.withdrawn_us[leavers]])
    withdrawn = np.arange(len(owner)) >= len(people)
    recorded = effective + rng.integers(MINUTE_US, 2 * DAY_US, len(owner))
    suffix = pl.Series(np.where(withdrawn, "-W", "-G"))
    return pl.DataFrame({
        "consent_id": pl.select(people.ids.gather(pl.Series(owner)) + suffix).to_series(),
        "patient_id": people.ids.gather(pl.Series(owner)), "action": labels(("granted", "withdrawn"), withdrawn.astype(int)),
        "mode": with_missing(labels(WITHDRAWALS, people.withdrawal[owner]), ~withdrawn),
        "effective_at": instants(effective), "recorded_at": instants(recorded), "_patient": owner, "_receipt": recorded,
    })  # fmt: skip


def conditions(plan: Plan, people: People, rng: np.random.Generator) -> pl.DataFrame:
    """The disorder of every patient, and a second diagnosis (anxiety, or one outside the strata) for a quarter of them."""
    n = len(people)
    codes = [d.codes[k % len(d.codes)] for d, k in zip([DISORDERS[i] for i in people.disorder], people.code, strict=True)]
    second = np.flatnonzero(rng.random(n) < 0.25)
    extra = labels(("F41.9", "E11.9", "I10", "F41.1"), rng.integers(0, 4, len(second)))
    owner = np.concatenate([np.arange(n), second])
    order = np.argsort(owner, kind="stable")
    owner, code = owner[order], pl.concat([pl.Series(codes, dtype=pl.String), extra]).gather(pl.Series(order))
    plain = pl.select(pl.when(pl.Series(rng.random(len(owner)) < 0.2)).then(code.str.replace_all(".", "", literal=True)).otherwise(code))
    onset = people.index_us[owner] - days_us(rng.uniform(200, 9_000, len(owner)))
    recorded = people.index_us[owner] - rng.integers(HOUR_US, 20 * DAY_US, len(owner))
    return pl.DataFrame({
        "condition_id": pl.select("C" + _numbered(people, owner)).to_series(), "patient_id": people.ids.gather(pl.Series(owner)),
        "code": plain.to_series(), "onset_at": instants(onset, rng.random(len(owner)) < 0.2),
        "abated_at": instants(onset, np.ones(len(owner), bool)), "recorded_at": instants(recorded),
        "_patient": owner, "_receipt": recorded,
    })  # fmt: skip


def history_events(plan: Plan, people: People, rng: np.random.Generator) -> pl.DataFrame:
    """One row per event before the index date; one in ten has no date."""
    counts = np.stack([people.history[e.kind] for e in HISTORIES], axis=1).ravel()
    owner = np.repeat(np.repeat(np.arange(len(people)), len(HISTORIES)), counts)
    kind = np.repeat(np.tile(np.arange(len(HISTORIES)), len(people)), counts)
    n = len(owner)
    happened = people.index_us[owner] - days_us(rng.uniform(30, 4_000, n))
    recorded = people.index_us[owner] - rng.integers(HOUR_US, 20 * DAY_US, n)
    return pl.DataFrame({
        "event_id": pl.select("H" + _numbered(people, owner)).to_series(), "patient_id": people.ids.gather(pl.Series(owner)),
        "kind": labels([e.kind for e in HISTORIES], kind), "happened_at": instants(happened, rng.random(n) < 0.1),
        "responded": with_missing(rng.random(n) < 0.3, rng.random(n) < 0.4), "recorded_at": instants(recorded),
        "_patient": owner, "_receipt": recorded,
    })  # fmt: skip


def _series(people: People, start: Array, step: Array, most: int) -> tuple[Array, Array]:
    """Owners and instants of events every `step` from `start` on, at most `most`, within follow-up."""
    at = start[:, None] + step[:, None] * np.arange(most)
    owner, _ = np.nonzero(at < people.followed_us[:, None])
    return owner, at[at < people.followed_us[:, None]]


def therapy_sessions(plan: Plan, people: People, rng: np.random.Generator) -> pl.DataFrame:
    """Weekly sessions of cognitive behavioural therapy, up to 18; supportive sessions for some of the others."""
    n = len(people)
    has_cbt = people.cbt_us != NEVER_US
    supported = ~has_cbt & (rng.random(n) < 0.2)
    start = np.where(has_cbt, people.cbt_us, np.where(supported, people.index_us + 5 * DAY_US, NEVER_US >> 1))
    owner, at = _series(people, start, days_us(np.full(n, 7.0)), 18)
    recorded = at + rng.integers(HOUR_US, 3 * DAY_US, len(at))
    return pl.DataFrame({
        "session_id": pl.select("T" + _numbered(people, owner)).to_series(), "patient_id": people.ids.gather(pl.Series(owner)),
        "therapy": labels(("supportive", "cbt"), has_cbt[owner].astype(int)), "started_at": instants(at),
        "duration_min": with_missing(labels_int((45, 50, 60), rng.integers(0, 3, len(at))), rng.random(len(at)) < 0.03),
        "recorded_at": instants(recorded), "_patient": owner, "_receipt": recorded,
    })  # fmt: skip


def labels_int(values: tuple[int, ...], index: Array) -> pl.Series:
    """Return `values[index]` as whole numbers."""
    return pl.Series(np.array(values, np.int64)[index])


def physiology(plan: Plan, people: People, rng: np.random.Generator) -> pl.DataFrame:
    """Resting heart rate and RMSSD about once a month; vagal tone is a little higher in stimulated patients."""
    n = len(people)
    owner, at = _series(people, people.index_us - 5 * DAY_US, days_us(rng.uniform(25, 35, n)), plan.days // 25 + 2)
    owner, at = np.repeat(owner, 2), np.repeat(at, 2)
    kind = np.arange(len(owner)) % 2
    gain = np.where(people.modality[owner] == NO_DEVICE, 0.0, np.minimum(1.0, (at - START_US) / (120 * DAY_US)))
    value = np.where(kind == 0, rng.normal(72, 8, len(owner)) - 2 * gain, np.exp(rng.normal(3.4, 0.35, len(owner)) + 0.1 * gain))
    recorded = at + rng.integers(MINUTE_US, DAY_US, len(at))
    return pl.DataFrame({
        "measurement_id": pl.select("M" + _numbered(people, owner)).to_series(),
        "patient_id": people.ids.gather(pl.Series(owner)), "measured_at": instants(at), "kind": labels(("resting_hr", "rmssd"), kind),
        "value": np.round(np.clip(value, 5, 200), 1), "recorded_at": instants(recorded), "_patient": owner, "_receipt": recorded,
    })  # fmt: skip


def _term(rng: np.random.Generator, modality: Array) -> pl.Series:
    names = _IMPLANT_HARMS + _SKIN_HARMS + _OTHER_HARMS
    n, skin, other = len(modality), len(_IMPLANT_HARMS), len(_IMPLANT_HARMS) + len(_SKIN_HARMS)
    index = np.where(
        modality == IMPLANTED, rng.integers(0, skin, n),
        np.where(modality == NO_DEVICE, rng.integers(other, len(names), n), rng.integers(skin, other, n)),
    )  # fmt: skip
    return labels(names, index)


def adverse_events(plan: Plan, people: People, rng: np.random.Generator) -> pl.DataFrame:
    """About one event per stimulated patient and four months, a third of that without stimulation; half have ended."""
    n = len(people)
    years = np.maximum(0, people.followed_us - people.index_us) / (365 * DAY_US)
    owner = np.repeat(np.arange(n), rng.poisson(np.where(people.modality == NO_DEVICE, 1.0, 3.0) * years))
    m = len(owner)
    at = people.index_us[owner] + (rng.random(m) * (people.followed_us - people.index_us)[owner]).astype(np.int64)
    recorded = at + rng.integers(HOUR_US, 10 * DAY_US, m)
    return pl.DataFrame({
        "event_id": pl.select("A" + identifiers("", np.arange(m), 1) + "-" + _numbered(people, owner)).to_series(),
        "patient_id": people.ids.gather(pl.Series(owner)), "term": _term(rng, people.modality[owner]), "started_at": instants(at),
        "ended_at": instants(at + days_us(rng.uniform(1, 30, m)), rng.random(m) < 0.5), "serious": rng.random(m) < 0.04,
        "severity": labels(("mild", "moderate", "severe"), rng.integers(0, 3, m)),
        "related": labels(("none", "possible", "probable", "definite"), rng.integers(0, 4, m)),
        "recorded_at": instants(recorded), "_patient": owner, "_receipt": recorded,
    })  # fmt: skip
