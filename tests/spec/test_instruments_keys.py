# SPDX-License-Identifier: Apache-2.0
"""The published scoring keys, written out a second time: which item counts where, which way round, in what range.

Every key is tried by hand: from the lowest answers everywhere, each item alone is raised to its highest code, and exactly its own scores
move, by exactly as much and in the direction printed (r: reversed).
"""

import polars as pl
import pytest

from pipelines.core.score import score_responses
from schemas.instrument import load_instrument, load_instruments

# instrument: lowest and highest code, then per score its items, range and how much one item raised from lowest to highest moves it
KEYS = {
    "DERS-36": (1, 5, {
        "nonacceptance": ("11 12 21 23 25 29", 6, 30, 4), "goals": ("13 18 20r 26 33", 5, 25, 4),
        "impulse": ("3 14 19 24r 27 32", 6, 30, 4), "awareness": ("2r 6r 8r 10r 17r 34r", 6, 30, 4),
        "strategies": ("15 16 22r 28 30 31 35 36", 8, 40, 4), "clarity": ("1r 4 5 7r 9", 5, 25, 4),
    }),
    "DERS-16": (1, 5, {
        "clarity": ("1 2", 2, 10, 4), "goals": ("3 7 15", 3, 15, 4), "impulse": ("4 8 11", 3, 15, 4),
        "strategies": ("5 6 12 14 16", 5, 25, 4), "nonacceptance": ("9 10 13", 3, 15, 4),
    }),
    "DERS-18": (1, 5, {
        "awareness": ("1r 4r 6r", 3, 15, 4), "clarity": ("2 3 5", 3, 15, 4), "goals": ("8 12 15", 3, 15, 4),
        "impulse": ("9 16 18", 3, 15, 4), "nonacceptance": ("7 13 14", 3, 15, 4), "strategies": ("10 11 17", 3, 15, 4),
    }),
    "S-DERS": (1, 5, {
        "nonacceptance": ("1 4 5 8 12 18 20", 7, 35, 4), "modulate": ("3 9 10 13 15 17 21", 7, 35, 4),
        "awareness": ("2r 6r 11r 16r 19r", 5, 25, 4), "clarity": ("7 14", 2, 10, 4),
    }),
    "ERQ": (1, 7, {"reappraisal": ("1 3 5 7 8 10", 1, 7, 1), "suppression": ("2 4 6 9", 1, 7, 1.5)}),
    "CERQ-36": (1, 5, {
        "self_blame": ("1 10 19 28", 4, 20, 4), "acceptance": ("2 11 20 29", 4, 20, 4), "rumination": ("3 12 21 30", 4, 20, 4),
        "positive_refocusing": ("4 13 22 31", 4, 20, 4), "planning": ("5 14 23 32", 4, 20, 4),
        "positive_reappraisal": ("6 15 24 33", 4, 20, 4), "perspective": ("7 16 25 34", 4, 20, 4),
        "catastrophizing": ("8 17 26 35", 4, 20, 4), "other_blame": ("9 18 27 36", 4, 20, 4),
    }),
    "CERQ-short": (1, 5, {
        "self_blame": ("4 14", 2, 10, 4), "acceptance": ("1 5", 2, 10, 4), "rumination": ("2 6", 2, 10, 4),
        "positive_refocusing": ("7 11", 2, 10, 4), "planning": ("12 15", 2, 10, 4), "positive_reappraisal": ("3 8", 2, 10, 4),
        "perspective": ("13 16", 2, 10, 4), "catastrophizing": ("9 17", 2, 10, 4), "other_blame": ("10 18", 2, 10, 4),
    }),
    "PCL-5": (0, 4, {
        "cluster_b": ("1 2 3 4 5", 0, 20, 4), "cluster_c": ("6 7", 0, 8, 4), "cluster_d": ("8 9 10 11 12 13 14", 0, 28, 4),
        "cluster_e": ("15 16 17 18 19 20", 0, 24, 4),
    }),
    "PSS-10": (0, 4, {"total": ("1 2 3 4r 5r 6 7r 8r 9 10", 0, 40, 4)}),
    "DASS-21": (0, 3, {
        "depression": ("3 5 10 13 16 17 21", 0, 42, 6), "anxiety": ("2 4 7 9 15 19 20", 0, 42, 6),
        "stress": ("1 6 8 11 12 14 18", 0, 42, 6),
    }),
    "PHQ-9": (0, 3, {"total": ("1 2 3 4 5 6 7 8 9", 0, 27, 3)}),
    "GAD-7": (0, 3, {"total": ("1 2 3 4 5 6 7", 0, 21, 3)}),
    "MADRS": (0, 6, {"total": ("1 2 3 4 5 6 7 8 9 10", 0, 60, 6)}),
    "WHO-5": (0, 5, {"total": ("1 2 3 4 5", 0, 100, 20)}),
    "CGI-I": (1, 7, {"total": ("1", 1, 7, 6)}),
    "CTQ-28": (1, 5, {
        "emotional_abuse": ("3 8 14 18 25", 5, 25, 4), "physical_abuse": ("9 11 12 15 17", 5, 25, 4),
        "sexual_abuse": ("20 21 23 24 27", 5, 25, 4), "emotional_neglect": ("5r 7r 13r 19r 28r", 5, 25, 4),
        "physical_neglect": ("1 2r 4 6 26r", 5, 25, 4),
    }),
}  # fmt: skip
TOTALS = {"DERS-36": (36, 180), "DERS-16": (16, 80), "DERS-18": (18, 90), "S-DERS": (21, 105), "PCL-5": (0, 80)}
NO_TOTAL = {"ERQ", "CERQ-36", "CERQ-short", "DASS-21", "CTQ-28"}


def scores_of(instrument, rows):
    """Per subscale the scores of the rows, in their order."""
    n = len(rows)
    frame = pl.DataFrame(
        {"response_key": range(n), "patient_key": [0] * n, "instrument": [instrument] * n, "form_version": ["standard"] * n,
         "completed_at": [0] * n, "answers": rows, "source_score": [None] * n},
        schema_overrides={"answers": pl.List(pl.Int64), "source_score": pl.Float64},
    )  # fmt: skip
    scored = score_responses(frame, load_instruments())
    return {name: scored.filter(subscale=name)["score"].to_list() for name in load_instrument(instrument).subscales}


@pytest.mark.parametrize("instrument", KEYS)
def test_each_item_moves_its_own_scores_only_in_the_direction_printed(instrument):
    low, high, key = KEYS[instrument]
    items = load_instrument(instrument).forms["standard"].items
    rows = [[low] * len(items), *([high if raised == item else low for item in items] for raised in items)]
    found = scores_of(instrument, rows)
    for name, (printed, *_, step) in key.items():
        ways = {item.rstrip("r"): -step if item.endswith("r") else step for item in printed.split()}
        assert [value - found[name][0] for value in found[name][1:]] == pytest.approx([ways.get(item, 0) for item in items]), name


@pytest.mark.parametrize("instrument", KEYS)
def test_the_ends_of_every_range_are_reached(instrument):
    low, high, key = KEYS[instrument]
    reverse = {item[:-1] for printed, *_ in key.values() for item in printed.split() if item.endswith("r")}
    items = load_instrument(instrument).forms["standard"].items
    least = [high if item in reverse else low for item in items]
    found = scores_of(instrument, [least, [low + high - code for code in least]])
    ends = {name: [bottom, top] for name, (_, bottom, top, _) in key.items()}
    if instrument in TOTALS:
        ends["total"] = list(TOTALS[instrument])
    if instrument == "DERS-36":
        ends["total_30"] = [30, 150]  # without awareness
    assert found == ends
    assert ("total" in found) is (instrument not in NO_TOTAL)


def test_every_instrument_with_items_has_its_key_here_or_in_groups_below():
    with_items = {name for name, one in load_instruments().items() if "standard" in one.forms}
    assert with_items == set(KEYS) | {"QIDS-SR16", "HAM-D-17"}


# --- QIDS-SR16: max(1-4) + 5 + max(6-9) + 10 + 11 + 12 + 13 + 14 + max(15, 16) ------------------------------------------


@pytest.mark.parametrize(("answered", "total"), [
    ({}, 0), ({1: 3, 2: 2, 3: 1, 4: 3}, 3), ({4: 2}, 2), ({5: 3}, 3), ({6: 1, 7: 2, 8: 3, 9: 0}, 3), ({9: 3}, 3),
    ({10: 1, 11: 1, 12: 1, 13: 1, 14: 1}, 5), ({15: 1, 16: 2}, 2), ({15: 3, 16: 2}, 3), (dict.fromkeys(range(1, 17), 3), 27),
])  # fmt: skip
def test_qids_counts_the_greatest_answer_of_a_domain(answered, total):
    assert scores_of("QIDS-SR16", [[answered.get(i, 0) for i in range(1, 17)]])["total"] == [total]


def test_hamilton_at_its_highest_is_52():
    ends = [2 if i in (4, 5, 6, 12, 13, 14) else 4 for i in range(1, 16)] + [2, 2]
    assert scores_of("HAM-D-17", [[0] * 17, ends])["total"] == [0, 52]


# --- which way is worse ------------------------------------------------------------------------------------------------


def test_directions():
    low_is_worse = {(i.id, s) for i in load_instruments().values() for s in i.subscales if i.direction_of(s) == "lower_is_worse"}
    assert low_is_worse == {("ERQ", "reappraisal"), ("WHO-5", "total"), ("QOLIE-31", "total")}


# --- brief forms in the numbering of the 36 items ----------------------------------------------------------------------


@pytest.mark.parametrize("brief", ["DERS-16", "DERS-18"])
def test_brief_forms_take_their_subscales_from_those_of_the_36_items_and_turn_the_same_ones(brief):
    short, full = load_instrument(brief), load_instrument("DERS-36")
    origin = dict(zip(short.forms["standard"].items, short.taken_from.items, strict=True))
    for name in set(short.subscales) - {"total"}:
        assert {origin[item] for item in short.subscales[name].items} <= set(full.subscales[name].items), name
    assert {origin[item] for item in short.reverse} == set(origin.values()) & set(full.reverse)


# --- norms and reliabilities as printed --------------------------------------------------------------------------------


@pytest.mark.parametrize(("instrument", "population", "mean", "sd"), [
    ("DERS-36.total", "women", 77.99, 20.72), ("DERS-36.total", "men", 80.66, 18.79), ("DERS-36.total", "functional", 79, 20),
    ("ERQ.reappraisal", "functional", 4.6, 0.98), ("ERQ.suppression", "functional", 3.4, 1.15),
    ("ERQ.suppression", "men", 3.64, 1.11), ("ERQ.suppression", "women", 3.14, 1.18),
    ("PHQ-9.total", "clinical", 17.1, 6.1), ("PHQ-9.total", "functional", 2.91, 3.52),
    ("GAD-7.total", "clinical", 14.4, 4.7), ("GAD-7.total", "functional", 2.95, 3.41),
    ("MADRS.total", "clinical", 33.1, 7.0), ("MADRS.total", "functional", 4.0, 5.8),
])  # fmt: skip
def test_norms(instrument, population, mean, sd):
    id, name = instrument.split(".")
    norm = next(n for n in load_instrument(id).subscales[name].norms if n.population == population)
    assert (norm.mean, norm.sd) == (mean, sd)


@pytest.mark.parametrize(("instrument", "kind", "value"), [
    ("DERS-36.total", "alpha", 0.93), ("DERS-16.total", "retest", 0.85), ("ERQ.reappraisal", "alpha", 0.79),
    ("ERQ.suppression", "alpha", 0.73), ("PSS-10.total", "retest", 0.85), ("QIDS-SR16.total", "alpha", 0.86),
])  # fmt: skip
def test_reliabilities_without_a_standard_deviation(instrument, kind, value):
    id, name = instrument.split(".")
    assert [(r.kind, r.value) for r in load_instrument(id).subscales[name].reliability] == [(kind, value)]


@pytest.mark.parametrize(("present", "expected"), [
    ({1: 2, 6: 2, 8: 2, 9: 2, 15: 2, 16: 2}, True),
    ({1: 1, 6: 2, 8: 2, 9: 2, 15: 2, 16: 2}, False),  # present is an answer of at least 2
    ({1: 2, 8: 2, 9: 2, 15: 2, 16: 2}, False),
    ({1: 2, 6: 2, 8: 2, 15: 2, 16: 2}, False),  # two of D
    ({1: 2, 6: 2, 8: 2, 9: 2, 15: 4}, False),  # two of E
    ({1: 2, 6: 2, 8: 2, 9: 2, 15: 2, 16: None}, None),  # the missing answer could still decide
    ({1: 1, 2: None, 8: 2, 9: 2, 15: 2, 16: 2, 6: 0, 7: 0}, False),  # or could not
])  # fmt: skip
def test_provisional_diagnosis_of_the_pcl_5(present, expected):
    checklist = load_instrument("PCL-5")
    answers = {str(i): present.get(i, 0) for i in range(1, 21)}
    points = {item: float(code) for item, code in answers.items() if code is not None}
    assert checklist.meets(checklist.criteria[0], points) is expected
