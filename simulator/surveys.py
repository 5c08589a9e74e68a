# SPDX-License-Identifier: Apache-2.0
"""What the survey tool sends: four instruments every two to four weeks, answers that follow the true course."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
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
DIFFICULTY_SD: Final = 0.05


@dataclass(frozen=True)
class Answers:
    """Responses of a block to one instrument, sorted by patient and number: row of the patient, running number (0: the baseline),
    UTC microseconds, and codes and points per response (rows) and item of the form (columns); points are reversed where keyed so."""

    patient: Array
    number: Array
    at_us: Array
    codes: Array
    points: Array


def _times(plan: Plan, people: People, every: int, share: float, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Patients, running numbers and instants: one baseline up to 25 days before the index date, then the rhythm."""
    n, most = len(people), plan.days // every + 2
    at = people.index_us[:, None] + days_us((np.arange(most) * every) + rng.normal(0, 1.2, (n, most)))
    at[:, 0] = people.index_us - days_us(rng.uniform(0.3, 25, n))
    done = (at < people.followed_us[:, None]) & (rng.random((n, most)) < 0.93) & (rng.random(n) < share)[:, None]
    done[:, 0] = rng.random(n) < share
    patient, number = np.nonzero(done)
    return patient, number, at[done]


def _difficulty(name: str, items: int) -> Array:
    """How far each item lies from the severity: a property of the instrument, the same for every patient, block and seed.

    Drawn anew for every block it moved all patients of the block together, and no interval for independent patients would hold.
    """
    return np.random.default_rng(zlib.crc32(name.encode())).normal(0, DIFFICULTY_SD, items)


def draw_answers(plan: Plan, people: People, gone: Array, which: int, rng: np.random.Generator) -> Answers:
    """Draw all responses to the instrument in row `which` of `SCHEDULE`: each item a binomial draw around the severity."""
    name, every, share = SCHEDULE[which]
    instrument = load_instrument(name)
    form = instrument.forms[FORM]
    reverse = [form.items.index(item) for item in instrument.reverse]
    low, high = form.coding.minimum, form.coding.maximum
    patient, number, at = _times(plan, people, every, share, rng)
    severity = people.severity[patient] * (1 - improvement_at(plan, gone, patient, at)) + rng.normal(0, 0.04, len(at))
    spread = np.clip(severity, 0.01, 0.99)[:, None] + _difficulty(name, len(form.items))
    points = low + rng.binomial(high - low, np.clip(spread, 0.01, 0.99))
    codes = points.copy()
    codes[:, reverse] = low + high - points[:, reverse]
    return Answers(patient, number, at, codes, points)


def _one(plan: Plan, people: People, gone: Array, which: int, rng: np.random.Generator) -> pl.DataFrame:
    name = SCHEDULE[which][0]
    drawn = draw_answers(plan, people, gone, which, rng)
    patient, number, at = drawn.patient, drawn.number, drawn.at_us
    uploaded = at + rng.integers(MINUTE_US // 60, 2 * DAY_US, len(at))
    return pl.DataFrame({
        "response_id": pl.select("R" + people.ids.gather(pl.Series(patient)).str.slice(1) + f"-{name}-"
                                 + pl.Series(number).cast(pl.String)).to_series(),
        "patient_id": people.ids.gather(pl.Series(patient)), "instrument": pl.Series([name]).gather(pl.Series(np.zeros(len(at), np.int64))),
        "form_version": pl.Series([FORM]).gather(pl.Series(np.zeros(len(at), np.int64))), "completed_at": instants(at),
        "time_zone": with_missing(pl.Series([z for _, z in SITES]).gather(pl.Series(people.site[patient])), rng.random(len(at)) < 0.5),
        "uploaded_at": instants(uploaded), "answers": pl.Series(drawn.codes).arr.to_list(),
        "source_score": with_missing(drawn.points.sum(axis=1).astype(float), rng.random(len(at)) < 0.4),
        "source_subscales": pl.Series([None], dtype=pl.List(pl.String)).new_from_index(0, len(at)),
        "source_subscale_scores": pl.Series([None], dtype=pl.List(pl.Float64)).new_from_index(0, len(at)),
        "_patient": patient, "_receipt": uploaded, "_zone": people.site[patient],
    })  # fmt: skip


def surveys_frame(plan: Plan, people: People, gone: Array, block: int) -> pl.DataFrame:
    """All responses of a block to all instruments."""
    rng = plan.rng(block, "surveys")
    return pl.concat([_one(plan, people, gone, which, rng) for which in range(len(SCHEDULE))])
