# SPDX-License-Identifier: Apache-2.0
"""Who takes part: arms, disorders, history, sites, follow-up, dropout and withdrawal, one block of patients at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from simulator.columns import days_us, identifiers, pick
from simulator.effects import DISORDERS, HISTORIES, RESPONSE_SD, DisorderEffect
from simulator.plan import DAY_US, NEVER_US, START_US, Array, Plan

MODALITIES: Final = ("none", "implanted", "cervical", "auricular")
NO_DEVICE, IMPLANTED, CERVICAL, AURICULAR = range(4)
SITES: Final = (
    ("Berlin", "Europe/Berlin"), ("New York", "America/New_York"), ("Sydney", "Australia/Sydney"),
    ("London", "Europe/London"), ("Bengaluru", "Asia/Kolkata"),
)  # fmt: skip
STAYS, STOPS, ERASES = range(3)
WITHDRAWALS: Final = ("none", "stop_collecting", "erase")
CBT_SHARE: Final = 0.5
EARLY_CBT_SHARE: Final = 5 / 6
EARLY_CBT_DAYS: Final = (1, 60)
LATE_CBT_DAYS: Final = (100, 200)  # after the landmark of 90 days


@dataclass(frozen=True)
class People:
    """One block of patients as arrays of equal length; instants are UTC microseconds, `NEVER_US` means never.

    `followed_us` is the end of follow-up: the end of the study, or earlier for a dropout. `history` maps a kind to its number
    of events. `vns_effect`, `cbt_effect` and `synergy` are the true shares of severity removed at full dose.
    """

    first: int
    ids: pl.Series
    index_us: Array
    followed_us: Array
    activated_us: Array
    cbt_us: Array
    modality: Array
    disorder: Array
    code: Array
    site: Array
    sex: Array
    birth_year: Array
    severity: Array
    withdrawal: Array
    withdrawn_us: Array
    vns_effect: Array
    cbt_effect: Array
    synergy: Array
    own_effect: Array
    history: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.index_us)


def _effects(disorders: Sequence[DisorderEffect], disorder: Array, history: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    vns, cbt, synergy = (np.array([getattr(d, name) for d in disorders])[disorder] for name in ("vns", "cbt", "synergy"))
    for effect in HISTORIES:
        has = history[effect.kind] >= effect.flag_from
        vns = np.where(has, vns * effect.vns_factor, vns)
        cbt = np.where(has, cbt * effect.cbt_factor, cbt)
    return vns, cbt, synergy


def _history(rng: np.random.Generator, n: int) -> dict[str, Array]:
    return {
        e.kind: np.where(rng.random(n) < e.share, rng.integers(e.events[0], e.events[1] + 1, n), 0) for e in HISTORIES
    }  # fmt: skip


def chance_of_stimulation(severity: Array) -> Array:
    """Sicker patients are stimulated more often: confounding by indication, as in the registries."""
    return 0.52 + 0.5 * (severity - 0.6)


def draw_kind(rng: np.random.Generator, severity: Array) -> Array:
    """How the stimulated are stimulated; sicker patients are implanted more often."""
    n = len(severity)
    return np.where(rng.random(n) < 0.40 + 0.5 * (severity - 0.6), IMPLANTED, np.where(rng.random(n) < 0.4, CERVICAL, AURICULAR))


def _modality(rng: np.random.Generator, severity: Array) -> Array:
    stimulated = rng.random(len(severity)) < chance_of_stimulation(severity)
    return np.where(stimulated, draw_kind(rng, severity), NO_DEVICE)


def draw_activation(rng: np.random.Generator, index_us: Array, modality: Array) -> Array:
    """Midnight (UTC) of the day of activation, within two weeks of the index date; never without a device."""
    n = len(index_us)
    wait = np.where(modality == IMPLANTED, rng.uniform(0, 14, n), rng.uniform(0, 3, n))
    return np.where(modality == NO_DEVICE, NEVER_US, index_us + days_us(wait) // DAY_US * DAY_US)


def _followed(rng: np.random.Generator, index_us: Array, end_us: int) -> Array:
    """One patient in eight leaves, after an exponential time; nobody is followed beyond the end of the study."""
    leaves = rng.random(len(index_us)) < 0.125
    left = index_us + days_us(20 + rng.exponential(120, len(index_us)))
    return np.where(leaves, np.minimum(left, end_us), end_us)


def _cbt(rng: np.random.Generator, index_us: Array) -> Array:
    """Half have psychotherapy; most begin within two months, one in six only after the landmark of 90 days."""
    n = len(index_us)
    delay = np.where(rng.random(n) < EARLY_CBT_SHARE, rng.uniform(*EARLY_CBT_DAYS, n), rng.uniform(*LATE_CBT_DAYS, n))
    return np.where(rng.random(n) < CBT_SHARE, index_us + days_us(delay), NEVER_US)


def _withdrawal(rng: np.random.Generator, plan: Plan, block: int, index_us: Array) -> tuple[Array, Array]:
    """Who withdraws, how and when; the first block of ten patients or more always has one withdrawal of each mode."""
    n = len(index_us)
    chosen = rng.random(n) < plan.rates["withdrawn_consent"]
    if block == 0 and n >= 10 and plan.rates["withdrawn_consent"] > 0:
        chosen[[3, 6]] = True
    mode = np.where(chosen, 1 + (np.arange(n) % 2), STAYS)
    at = index_us + days_us(rng.uniform(0.2, 0.8, n) * plan.days * 0.6)
    return mode, np.where(chosen, at, NEVER_US)


def draw_people(plan: Plan, block: int, disorders: Sequence[DisorderEffect] = DISORDERS) -> People:
    """Draw the patients of one block. Index dates spread over the first quarter of the study, 60 days at most.

    `disorders` may hold other effects than `DISORDERS`, such as none: nothing else that is drawn depends on them.
    """
    rng = plan.rng(block, "population")
    first = block * plan.block_size
    n = min(plan.block_size, plan.patients - first)
    index_us = START_US + days_us(rng.uniform(0, min(60.0, plan.days / 4), n))
    severity = np.clip(rng.normal(0.62, 0.13, n), 0.25, 0.95)
    modality, history = _modality(rng, severity), _history(rng, n)
    disorder = pick(rng, [d.share for d in disorders], n)
    vns, cbt, synergy = _effects(disorders, disorder, history)
    mode, withdrawn_us = _withdrawal(rng, plan, block, index_us)
    activated_us = draw_activation(rng, index_us, modality)
    return People(
        first=first, ids=identifiers("P", np.arange(first, first + n), 6),
        index_us=index_us, followed_us=_followed(rng, index_us, plan.end_us),
        activated_us=activated_us,
        cbt_us=_cbt(rng, index_us), modality=modality, disorder=disorder, code=rng.integers(0, 12, n),
        site=rng.integers(0, len(SITES), n), sex=pick(rng, [0.62, 0.36, 0.01, 0.01], n),
        birth_year=rng.integers(1945, 2007, n), severity=severity, withdrawal=mode, withdrawn_us=withdrawn_us,
        vns_effect=vns, cbt_effect=cbt, synergy=synergy, own_effect=rng.normal(0, RESPONSE_SD, n), history=history,
    )  # fmt: skip
