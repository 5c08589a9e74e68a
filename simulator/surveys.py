# SPDX-License-Identifier: Apache-2.0
"""What the survey tool sends: four instruments every two to four weeks, answers that follow the true course."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from schemas.instrument import load_instrument
from simulator.columns import days_us, instants, with_missing
from simulator.outcomes import improvement_at
from simulator.plan import DAY_US, MINUTE_US, Array, Plan
from simulator.population import SITES, People

# instrument, days between administrations, share of patients who get it
SCHEDULE: Final = (("PHQ-9", 14, 1.0), ("GAD-7", 14, 0.9), ("DERS-16", 28, 0.5), ("DERS-36", 28, 0.6))
FORM: Final = "standard"


def _times(plan: Plan, people: People, every: int, share: float, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Patients, running numbers and instants: one baseline up to 25 days before the index date, then the rhythm."""
    n, most = len(people), plan.days // every + 2
    at = people.index_us[:, None] + days_us((np.arange(most) * every) + rng.normal(0, 1.2, (n, most)))
    at[:, 0] = people.index_us - days_us(rng.uniform(0.3, 25, n))
    done = (at < people.followed_us[:, None]) & (rng.random((n, most)) < 0.93) & (rng.random(n) < share)[:, None]
    done[:, 0] = rng.random(n) < share
    patient, number = np.nonzero(done)
    return patient, number, at[done]


def _answers(severity: Array, items: int, low: int, high: int, reverse: list[int], rng: np.random.Generator) -> Array:
    """Codes per response (rows) and item (columns): each item a binomial draw around the severity, reversed where keyed so."""
    spread = np.clip(severity[:, None] + rng.normal(0, 0.05, (1, items)), 0.01, 0.99)
    keyed = low + rng.binomial(high - low, np.broadcast_to(spread, (len(severity), items)))
    keyed[:, reverse] = low + high - keyed[:, reverse]
    return keyed.astype(np.int64)


def _one(plan: Plan, people: People, gone: Array, which: int, rng: np.random.Generator) -> pl.DataFrame:
    name, every, share = SCHEDULE[which]
    instrument = load_instrument(name)
    form = instrument.forms[FORM]
    reverse = [form.items.index(item) for item in instrument.reverse]
    low, high, items = form.coding.minimum, form.coding.maximum, len(form.items)
    patient, number, at = _times(plan, people, every, share, rng)
    severity = people.severity[patient] * (1 - improvement_at(plan, gone, patient, at)) + rng.normal(0, 0.04, len(at))
    answers = _answers(np.clip(severity, 0.01, 0.99), items, low, high, reverse, rng)
    points = answers.copy()
    points[:, reverse] = low + high - points[:, reverse]
    uploaded = at + rng.integers(MINUTE_US // 60, 2 * DAY_US, len(at))
    return pl.DataFrame({
        "response_id": pl.select("R" + people.ids.gather(pl.Series(patient)).str.slice(1) + f"-{name}-"
                                 + pl.Series(number).cast(pl.String)).to_series(),
        "patient_id": people.ids.gather(pl.Series(patient)), "instrument": pl.Series([name]).gather(pl.Series(np.zeros(len(at), np.int64))),
        "form_version": pl.Series([FORM]).gather(pl.Series(np.zeros(len(at), np.int64))), "completed_at": instants(at),
        "time_zone": with_missing(pl.Series([z for _, z in SITES]).gather(pl.Series(people.site[patient])), rng.random(len(at)) < 0.5),
        "uploaded_at": instants(uploaded), "answers": pl.Series(answers).arr.to_list(),
        "source_score": with_missing(points.sum(axis=1).astype(float), rng.random(len(at)) < 0.4),
        "_patient": patient, "_receipt": uploaded, "_zone": people.site[patient],
    })  # fmt: skip


def surveys_frame(plan: Plan, people: People, gone: Array, block: int) -> pl.DataFrame:
    """All responses of a block to all instruments."""
    rng = plan.rng(block, "surveys")
    return pl.concat([_one(plan, people, gone, which, rng) for which in range(len(SCHEDULE))])
