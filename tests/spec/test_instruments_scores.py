# SPDX-License-Identifier: Apache-2.0
"""How DERS-36, DERS-16, PHQ-9 and GAD-7 are scored. Each row: the answers, and what comes out. All keys: test_instruments_keys."""

import polars as pl
import pytest

from pipelines.core.score import score_responses
from schemas.instrument import load_instrument, load_instruments


def score(instrument, answers, source_score=None):
    responses = pl.DataFrame(
        {"response_key": 1, "patient_key": 1, "instrument": instrument, "form_version": "standard", "completed_at": 0,
         "answers": [answers], "source_score": [source_score]},
        schema_overrides={"answers": pl.List(pl.Int64), "source_score": pl.Float64},
    )  # fmt: skip
    return {row["subscale"]: row for row in score_responses(responses, load_instruments()).iter_rows(named=True)}


def points(instrument, answers):
    return {name: row["score"] for name, row in score(instrument, answers).items()}


# --- DERS-36: reversed 1 2 6 7 8 10 17 20 22 24 34 ---------------------------------------------------------------------


def test_ders_36_all_lowest_answers_raise_the_reversed_items():
    assert points("DERS-36", [1] * 36) == {
        "nonacceptance": 6, "goals": 4 + 5, "impulse": 5 + 5, "awareness": 30, "strategies": 7 + 5, "clarity": 3 + 10,
        "total": 25 + 55, "total_30": 80 - 30,
    }  # fmt: skip


def test_ders_36_middle_answers_are_the_same_reversed():
    assert points("DERS-36", [3] * 36) == {
        "nonacceptance": 18, "goals": 15, "impulse": 18, "awareness": 18, "strategies": 24, "clarity": 15,
        "total": 108, "total_30": 90,
    }  # fmt: skip


REVERSED = {1, 2, 6, 7, 8, 10, 17, 20, 22, 24, 34}


@pytest.mark.parametrize(("healthy", "expected"), [
    (True, (6, 5, 6, 6, 8, 5, 36, 30)),  # least difficulty everywhere: the lower end of every range
    (False, (30, 25, 30, 30, 40, 25, 180, 150)),  # most difficulty: the upper end
])  # fmt: skip
def test_ders_36_ends_of_the_ranges(healthy, expected):
    answers = [5 if (item in REVERSED) is healthy else 1 for item in range(1, 37)]
    assert tuple(points("DERS-36", answers).values()) == expected


@pytest.mark.parametrize(("item", "moves"), [
    (11, {"nonacceptance": 4, "total": 4, "total_30": 4}),
    (20, {"goals": -4, "total": -4, "total_30": -4}),  # reversed
    (24, {"impulse": -4, "total": -4, "total_30": -4}),
    (34, {"awareness": -4, "total": -4}),  # awareness is not in the 30-item total
    (22, {"strategies": -4, "total": -4, "total_30": -4}),
    (9, {"clarity": 4, "total": 4, "total_30": 4}),
])  # fmt: skip
def test_ders_36_one_item_moves_its_own_scores_only(item, moves):
    low, high = points("DERS-36", [1] * 36), points("DERS-36", [5 if i == item else 1 for i in range(1, 37)])
    assert {name: high[name] - low[name] for name in low if high[name] != low[name]} == moves


def test_ders_36_total_is_the_sum_of_its_subscales():
    got = points("DERS-36", [1 + (7 * i + i * i) % 5 for i in range(36)])
    subscales = sum(got[s] for s in ("nonacceptance", "goals", "impulse", "awareness", "strategies", "clarity"))
    assert got["total"] == subscales
    assert got["total_30"] == subscales - got["awareness"]


def test_ders_36_a_missing_answer_leaves_its_subscale_and_the_totals_unscorable():
    got = score("DERS-36", [None] + [3] * 35)  # item 1 belongs to clarity
    assert {n for n, row in got.items() if row["status"] == "unscorable"} == {"clarity", "total", "total_30"}
    assert got["clarity"]["reason"] == "answered 4 of 5, needs 5"
    assert (got["clarity"]["score"], got["goals"]["score"]) == (None, 15)


# --- DERS-16: no reversed items, no awareness --------------------------------------------------------------------------


def test_ders_16_subscales_by_position():
    assert points("DERS-16", [1] * 16) == {
        "nonacceptance": 3, "goals": 3, "impulse": 3, "strategies": 5, "clarity": 2, "total": 16,
    }  # fmt: skip
    assert points("DERS-16", [5] * 16)["total"] == 80


@pytest.mark.parametrize(("subscale", "items"), [
    ("clarity", (1, 2)), ("goals", (3, 7, 15)), ("impulse", (4, 8, 11)), ("strategies", (5, 6, 12, 14, 16)),
    ("nonacceptance", (9, 10, 13)),
])  # fmt: skip
def test_ders_16_every_item_counts_once(subscale, items):
    got = points("DERS-16", [5 if i in items else 1 for i in range(1, 17)])
    assert got[subscale] == 5 * len(items)
    assert got["total"] == 16 + 4 * len(items)
    assert sum(value for name, value in got.items() if name != "total") == got["total"]


def test_ders_16_comes_from_the_same_subscales_of_ders_36():
    brief, full = load_instrument("DERS-16"), load_instrument("DERS-36")
    for name in ("clarity", "goals", "impulse", "strategies", "nonacceptance"):
        originals = {brief.taken_from.items[int(item) - 1] for item in brief.subscales[name].items}
        assert originals <= set(full.subscales[name].items), name
    assert not set(brief.taken_from.items) & set(full.reverse)


# --- PHQ-9 and GAD-7: sums of 0-3, at most two missing -----------------------------------------------------------------


@pytest.mark.parametrize(("instrument", "answers", "expected"), [
    ("PHQ-9", [0] * 9, (0, "complete", 9)),
    ("PHQ-9", [3] * 9, (27, "complete", 9)),
    ("PHQ-9", [2, 2, 2, 2, 1, 1, 2, 0, 0], (12, "complete", 9)),  # the US Core example: 12
    ("PHQ-9", [1, 2, 3, 0, 1, 2, 3, None, None], (12 * 9 / 7, "prorated", 7)),  # seven answers are enough
    ("PHQ-9", [2, 2, 2, 2, 2, 2, 2, 2, None], (18, "prorated", 8)),
    ("PHQ-9", [3, 3, 3, 3, 3, 3, None, None, None], (None, "unscorable", 6)),  # six are not
    ("PHQ-9", [None] * 9, (None, "unscorable", 0)),
    ("GAD-7", [3] * 7, (21, "complete", 7)),
    ("GAD-7", [1, 2, 3, 0, 1, None, None], (7 * 7 / 5, "prorated", 5)),
    ("GAD-7", [1, 2, 3, 0, None, None, None], (None, "unscorable", 4)),
])  # fmt: skip
def test_phq_9_and_gad_7(instrument, answers, expected):
    total = score(instrument, answers)["total"]
    assert (total["score"], total["status"], total["n_answered"]) == expected


def test_an_unscorable_response_says_how_many_answers_it_needs():
    assert score("PHQ-9", [1, 1, 1, 1, 1, None, None, None, None])["total"]["reason"] == "answered 5 of 9, needs 7"
    assert score("GAD-7", [1, 1, 1, 1, None, None, None])["total"]["reason"] == "answered 4 of 7, needs 5"
    assert score("PHQ-9", [1] * 9)["total"]["reason"] is None


@pytest.mark.parametrize(
    ("instrument", "n", "bounds"),
    [("DERS-36", 36, (1, 5)), ("DERS-16", 16, (1, 5)), ("PHQ-9", 9, (0, 3)), ("GAD-7", 7, (0, 3))],
)
def test_the_forms(instrument, n, bounds):
    form = load_instrument(instrument).forms["standard"]
    assert form.items == tuple(str(i) for i in range(1, n + 1))
    assert (form.coding.minimum, form.coding.maximum) == bounds
    assert set(form.label_codes.values()) == set(range(bounds[0], bounds[1] + 1))


def test_any_thought_of_self_harm_is_an_alert_whatever_the_total():
    (alert,) = load_instrument("PHQ-9").safety
    assert (alert.item, alert.at_least) == ("9", 1)
