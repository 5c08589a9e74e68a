# SPDX-License-Identifier: Apache-2.0
"""Harms per patient-time, and the autonomic measures: which facts count, and under which dose."""

from datetime import timedelta

import polars as pl
import pytest
from mart_world import rows_of, world
from scipy.stats import chi2
from window_parts import INDEX, dose_day, fact, key, patient, score

from schemas.contract import load_contract
from schemas.frames import staged_schema

LATER = INDEX + timedelta(days=500)
MARTS = ["strata", "autonomic", "safety"]


def staged(tmp_path, source, rows):
    """Write facts as a staged part: rows of (key, patient, day, columns)."""
    contract = load_contract(source)
    facts = [
        fact(source, n, INDEX) | {"_fingerprint": i, "patient_key": p, contract.happened: INDEX + timedelta(days=day)}
        | {contract.revision: INDEX + timedelta(days=400), **over} for i, (n, p, day, over) in enumerate(rows)
    ]  # fmt: skip
    path = tmp_path / f"{source}.parquet"
    pl.DataFrame(facts, schema=staged_schema(contract)).write_parquet(path)
    return {source: str(path).lstrip("/")}


def event(n, patient_n, day, **over):
    return n, patient_n, day, {"term": "cough", "serious": False, "related": None} | over


def build(tmp_path, people, events, consents=(), days=(), last=100):
    """Safety of everybody; each patient answers a survey at the index date and on day `last`."""
    given = staged(tmp_path, "adverse_events", events) | (staged(tmp_path, "consents", consents) if consents else {})
    seen = [score(2 * n + i, n, d, 9) for n in range(1, len(people) + 1) for i, d in enumerate((0, last))]
    with world(MARTS, given, patients=people, scores=seen, dose_daily=days) as connection:
        rows = rows_of(connection, "from safety where stratifier = 'all'")
    return {(r["term"], r["modality"], r["band"]): r for r in rows}


def days_of(n, first, last, charge):
    return [dose_day(n, n, (INDEX + timedelta(days=d)).date(), charge_pc=charge) for d in range(first, last)]


def test_rate_with_its_exact_interval(tmp_path):
    people = [patient(1, modality=None, activated_at=None, arm="neither"), patient(2, modality=None, activated_at=None, arm="neither")]
    rows = build(tmp_path, people, [event(1, 1, 10), event(2, 1, 20, serious=True), event(3, 2, 30, term="other", related="definite")])
    row, years = rows["cough", "none", "no_device"], 2 * 100 / 365.25
    assert (row["n"], row["k"], row["events"], row["serious"], row["related"]) == (2, 1, 2, 1, 0)
    assert row["patient_years"] == pytest.approx(years)
    exact = (200 / years, 100 * chi2.ppf(0.025, 4) / 2 / years, 100 * chi2.ppf(0.975, 6) / 2 / years)
    assert (row["rate"], row["low"], row["high"]) == pytest.approx(exact, rel=1e-6)
    assert rows["any", "none", "no_device"]["events"] == 3
    assert row["coverage"] is None


def test_time_counts_under_the_dose_of_the_period_before(tmp_path):
    """Activated on day 10: 10 days before it, 28 without a dose before, then one period under the dose of the first, and so on."""
    people = [patient(1, activated_at=INDEX + timedelta(days=10))]
    days = days_of(1, 10, 38, 10) + days_of(1, 38, 66, 0) + days_of(1, 66, 94, 30)
    rows = build(tmp_path, people, [event(1, 1, 5), event(2, 1, 11), event(3, 1, 40), event(4, 1, 66), event(5, 1, 95)], days=days)
    found = {band: (round(r["patient_years"] * 365.25, 6), r["events"]) for (t, _, band), r in rows.items() if t == "any"}
    assert found == {"before_activation": (10, 1), "first_28_days": (28, 1), "low": (28, 1), "off": (28, 1), "middle": (6, 1)}


@pytest.mark.parametrize(
    ("person", "day", "band"),
    [
        ({}, -3, "outside_follow_up"),  # before the index date
        ({"index_at": None, "activated_at": None}, 5, "outside_follow_up"),
        ({"activated_at": None}, 5, "before_activation"),  # a device that was never switched on
        ({}, 100, "unknown"),  # at the last contact itself: still followed; no day of dose is known
        ({"modality": None, "activated_at": None}, 5, "no_device"),
    ],
)
def test_every_event_has_a_place(tmp_path, person, day, band):
    rows = build(tmp_path, [patient(1, **person)], [event(1, 1, day)])
    places = [(r["band"], r["rate"] is None, r["reason"]) for (t, _, _), r in rows.items() if t == "any" and r["events"]]
    lost = band == "outside_follow_up"
    assert places == [(band, lost, "no_time_at_risk" if lost else None)]


def test_a_follow_up_that_ends_before_it_starts_is_no_time(tmp_path):
    rows = build(tmp_path, [patient(1, modality=None, activated_at=None)], [event(1, 1, -50)], last=-20,
                 consents=[(1, 1, -10, {"action": "withdrawn", "mode": "stop_collecting"})])  # fmt: skip
    assert {(b, r["patient_years"]) for (_, _, b), r in rows.items()} == {("outside_follow_up", 0)}


def test_withdrawal_ends_the_time_and_what_came_after_does_not_count(tmp_path):
    consents = [(1, 1, 50, {"action": "withdrawn", "mode": "stop_collecting"})]
    rows = build(tmp_path, [patient(1, modality=None, activated_at=None)], [event(1, 1, 20), event(2, 1, 60)], consents)
    assert {band for _, _, band in rows} == {"no_device"}  # what came after is not even outside of follow-up
    row = rows["any", "none", "no_device"]
    assert (row["events"], row["withdrawn"], row["patient_years"]) == (1, 1, pytest.approx(50 / 365.25))


def test_only_the_latest_revision_of_an_event_counts(tmp_path):
    revised = [event(1, 1, 20), event(1, 1, 21, term="other", recorded_at=LATER)]
    rows = build(tmp_path, [patient(1, modality=None, activated_at=None)], revised)
    assert {t: r["events"] for (t, _, _), r in rows.items()} == {"any": 1, "other": 1}


def measure(n, day, value, **over):
    return n, 1, day, {"kind": "resting_hr", "value": float(value), "measurement_key": n} | over


@pytest.mark.parametrize(
    ("measured", "expected", "remark"),
    [
        ([measure(1, -5, 70), measure(2, 91, 66)], (70, 66, -4, None), "plain"),
        ([measure(1, -31, 70), measure(2, 91, 66)], (None, 66, None, "no_baseline"), "too long before"),
        ([measure(1, 1, 70), measure(2, 91, 66)], (None, 66, None, "no_baseline"), "under stimulation is no baseline"),
        ([measure(1, -5, 70), measure(2, 122, 66)], (70, None, None, "no_follow_up"), "outside of the window"),
        ([measure(1, -5, 70), measure(2, 90, 66), measure(3, 92, 64)], (70, 64, -6, None), "equally near: the later"),
        ([measure(1, -5, 70), measure(2, 91, 66), measure(2, 91, 60, recorded_at=LATER)], (70, 60, -10, None), "revised"),
    ],
)
def test_autonomic(tmp_path, measured, expected, remark):
    given = staged(tmp_path, "physiology", measured)
    days = days_of(1, 0, 200, 10)
    with world(["strata", "autonomic"], given, patients=[patient(1)], dose_daily=days) as connection:
        (row,) = rows_of(connection, "from autonomic where visit = 'm3'")
    assert (row["baseline"], row["follow_up"], row["change"], row["reason"]) == expected, remark
    if row["follow_up"]:
        assert (row["charge_pc_28d"], row["on_ms_28d"], row["coverage_28d"], row["patient_key"]) == (280, 196, 1.0, key(1))
