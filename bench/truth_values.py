# SPDX-License-Identifier: Apache-2.0
"""True values of what the marts of comparison estimate, in numpy, from patients who were followed through all four arms.

Two targets stand side by side. `effect` is the causal one: the same patients under each arm. `compared` is what a comparison of
observed arms tends to: the patients of an arm are those whom the simulated clinics put there, and sicker patients are stimulated more
often and respond a little less. Both condition on being seen at the baseline and at the visit, as the marts do; who leaves, who is late
and who is not asked does not depend on how they fare, so this moves neither. Dose bands have only the second target: a
band is no treatment that was chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from simulator.effects import DISORDERS, DisorderEffect
from simulator.plan import Array, Plan, fault_rates
from simulator.population import AURICULAR, CBT_SHARE, EARLY_CBT_SHARE, IMPLANTED, MODALITIES
from simulator.truth.potential import ARMS, VISITS, Potential, draw_potential

DAYS = 365
SEED = 1_000_003  # of the population that gives the truth; samples have smaller seeds
THERAPY = CBT_SHARE * EARLY_CBT_SHARE  # share of patients with therapy by the landmark
D21_CUTS = (12.37, 44.18)  # mC a day, as the header of the mart dose_response says
BANDS = ("low", "middle", "high")
Row = tuple[str, str, str, str, float, float]
SCHEMA = {"family": pl.String, "item": pl.String, "visit": pl.String, "target": pl.String, "true": pl.Float64, "error": pl.Float64}


def population(patients: int, disorders: Sequence[DisorderEffect], worn_every: int) -> Potential:
    """Draw many patients; the sessions of auricular devices in every `worn_every`th block only (0: nowhere)."""
    plan = Plan(patients, DAYS, SEED, rates=fault_rates(0))
    parts = []
    for block in plan.blocks:
        parts.append(draw_potential(plan, block, disorders, worn=worn_every > 0 and block % worn_every == 0))
        if block % 10 == 9:
            print(f"  truth: {(block + 1) * plan.block_size:,} of {patients:,} patients", flush=True)
    whole = {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Potential) if f.name != "responded"}
    return Potential(responded={arm: np.concatenate([p.responded[arm] for p in parts]) for arm in ARMS}, **whole)


@dataclass(frozen=True)
class Share:
    """A share and the influence of each patient on it, by which errors of sums and differences follow."""

    value: float
    influence: Array

    @classmethod
    def of(cls, answers: Array, weight: Array) -> Share:
        """Weighted share of 1 among the answers that are not NaN."""
        seen = np.where(np.isnan(answers), 0.0, weight)
        value = float((seen * np.nan_to_num(answers)).sum() / seen.sum())
        return cls(value, seen * (np.nan_to_num(answers) - value) / seen.sum())


def combined(signs: Sequence[int], shares: Sequence[Share]) -> tuple[float, float]:
    """Signed sum of shares and its standard error; the arms share their patients, so their influences add before they are squared."""
    value = sum(s * one.value for s, one in zip(signs, shares, strict=True))
    influence = sum((s * one.influence for s, one in zip(signs, shares, strict=True)), np.zeros(len(shares[0].influence)))
    return value, float(np.sqrt((influence**2).sum()))


def _comparisons(drawn: Potential, chosen: Array, stratum: str) -> Iterator[Row]:
    chance = drawn.chance[chosen]
    for target in ("effect", "compared"):
        weight = {arm: (chance if vns else 1 - chance) if target == "compared" else np.ones(len(chance)) for arm, (vns, _) in ARMS.items()}
        for column, visit in enumerate(VISITS):
            share = {arm: Share.of(drawn.responded[arm][chosen, column], weight[arm]) for arm in ARMS}
            for arm, other in (("vns", "neither"), ("vns_cbt", "cbt")):
                yield "effects", f"{stratum}: {arm}", visit, target, *combined((1, -1), (share[arm], share[other]))
            four = [share[arm] for arm in ("vns_cbt", "vns", "cbt", "neither")]
            yield "synergy", stratum, visit, target, *combined((1, -1, -1, 1), four)


def _weighted_quantile(values: Array, weight: Array, at: Sequence[float]) -> Array:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order]) / weight.sum()
    return values[order][np.searchsorted(reached, at)]


def _bands(drawn: Potential, modality: int) -> Iterator[Row]:
    name = MODALITIES[modality]
    for column, visit in enumerate(VISITS):
        chosen = (drawn.modality == modality) & (drawn.charge[:, column] > 0) & ~np.isnan(drawn.responded["vns"][:, column])
        charge, chance = np.round(drawn.charge[chosen, column], 6), drawn.chance[chosen]
        if not len(charge):
            continue
        thirds = _weighted_quantile(charge, chance, (1 / 3, 2 / 3))
        bandings = {"tertile": (thirds, "left")} | ({"d21": (np.array(D21_CUTS), "right")} if modality == IMPLANTED else {})
        answers = np.concatenate([drawn.responded[arm][chosen, column] for arm in ("vns", "vns_cbt")])
        weight = np.concatenate([chance * (1 - THERAPY), chance * THERAPY])
        for banding, (cuts, side) in bandings.items():
            band = np.tile(np.searchsorted(cuts, charge, side=side), 2)
            for k, label in enumerate(BANDS):
                share = Share.of(np.where(band == k, answers, np.nan), weight)
                both = share.influence.reshape(2, -1).sum(axis=0)
                yield "dose", f"{name}, {banding}: {label}", visit, "compared", share.value, float(np.sqrt((both**2).sum()))


def true_values(patients: int, disorders: Sequence[DisorderEffect] = DISORDERS, worn_every: int = 4) -> pl.DataFrame:
    """Every true value with its Monte Carlo error: family (effects, synergy, dose), item, visit, target, true, error."""
    drawn = population(patients, disorders, worn_every)
    rows = list(_comparisons(drawn, np.ones(len(drawn.chance), bool), "all"))
    for column, disorder in enumerate(DISORDERS):
        rows += _comparisons(drawn, drawn.recorded[:, column], disorder.name)
    for modality in (IMPLANTED, AURICULAR):
        rows += _bands(drawn, modality)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
