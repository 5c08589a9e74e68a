# SPDX-License-Identifier: Apache-2.0
import dataclasses
from itertools import chain
from pathlib import Path

import pytest

from schemas.errors import UsageError
from schemas.instrument import Instrument, index_instruments, load_instrument, load_instruments, read_instrument
from schemas.instrument_parts import Sourced, Threshold
from schemas.typed import parse_yaml, read_typed

SMALL = """
id: TWO
title: Two items
source: a paper
confidence: K+
licence: {name: free, source: the paper, confidence: K+}
direction: higher_is_worse
items: {minimum: 0, maximum: 3}
reverse: [b]
forms:
  standard:
    {items: [a, b], coding: {minimum: 0, maximum: 3}, labels: {en: {Never: 0, Always: 3}}, source: the paper, confidence: K+}
  one_based: {items: [b, a], coding: {minimum: 1, maximum: 4}, source: the paper, confidence: K+}
  falling: {items: [a, b], coding: {minimum: 0, maximum: 9, codes: {9: 0, 2: 1, 1: 2, 0: 3}}, source: the paper, confidence: K+}
subscales:
  total:
    operation: sum
    items: [a, b]
    n: 2
    range: {minimum: 0, maximum: 6}
    missing: {rule: none, source: the paper, confidence: K+}
"""

BY = "source: the paper, confidence: K+}"
TOTALS_ONLY = {"BDI-II", "QOLIE-31"}


def test_the_shipped_instruments():
    assert " ".join(sorted(load_instruments())) == (
        "BDI-II CERQ-36 CERQ-short CGI-I CTQ-28 DASS-21 DERS-16 DERS-18 DERS-36 ERQ GAD-7 HAM-D-17 MADRS PCL-5 PHQ-9 PSS-10 "
        "QIDS-SR16 QOLIE-31 S-DERS WHO-5"
    )
    for name, one in load_instruments().items():
        assert ("standard" in one.forms) is (name not in TOTALS_ONLY)
        assert (set(one.forms) == {"totals"}) is (name in TOTALS_ONLY)


def test_every_item_on_a_form_is_scored_but_the_three_of_the_trauma_history():
    for one in load_instruments().values():
        printed = {item for form in one.forms.values() for item in form.items}
        spare = printed - {item for s in one.subscales.values() for item in s.items}
        assert spare == ({"10", "16", "22"} if one.id == "CTQ-28" else set())


def test_a_history_and_a_rating_of_change_are_no_outcomes():
    assert {i.id for i in load_instruments().values() if not i.is_outcome} == {"CTQ-28", "CGI-I"}


@pytest.mark.parametrize(
    ("form", "item", "points"),
    [
        ("standard", "a", {0: 0, 1: 1, 2: 2, 3: 3}),
        ("standard", "b", {0: 3, 1: 2, 2: 1, 3: 0}),  # reversed: minimum + maximum - code
        ("one_based", "a", {1: 0, 2: 1, 3: 2, 4: 3}),  # one less than on the form
        ("one_based", "b", {1: 3, 2: 2, 3: 1, 4: 0}),  # both at once
        ("falling", "a", {9: 0, 2: 1, 1: 2, 0: 3}),  # explicit codes, with a gap
    ],
)
def test_points_of_every_legal_code(form, item, points):
    assert read_instrument(SMALL, "two.yaml").points(form, item) == points


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n: 2", "n: 3", "instrument TWO, subscales.total: n is 3, but 2"),
        ("items: [a, b]\n    n: 2", "items: [a, c]\n    n: 2", "item c is not on form standard"),
        ("{minimum: 0, maximum: 6}", "{minimum: 0, maximum: 8}", "subscales.total.range: declared .*8.* reach .*6"),
        ("rule: none,", "rule: prorate,", "prorate needs a minimum"),
        ("rule: none,", "rule: prorate, minimum: 3,", "between 1 and 2"),
        ("rule: none,", "rule: impute,", "missing.rule: expected one of none, prorate, found str 'impute'"),
        ("reverse: [b]", "reverse: [z]", "reverse: item z is not on form"),
        ("minimum: 1, maximum: 4", "minimum: 1, maximum: 5", "one_based.coding: 1-5 is not as wide as the item range 0-3"),
        ("Always: 3", "Always: 4", "'Always' has code 4, outside 0-3"),
        ("Always: 3", "never: 3", "has another code in another wording"),
        (
            "{items: [a, b], coding: {minimum: 0, maximum: 3}",
            "{items: [a, a], coding: {minimum: 0, maximum: 3}",
            "an item is listed twice",
        ),
        ("subscales:", "criteria:\n- {name: c, present_from: 2, at_least: {other: 1}, source: the paper, confidence: K+}\nsubscales:",
         "criteria c: 1 items of subscale other cannot be present"),
        ("title: Two items", "title: 2", "two.yaml.title: expected text, found int 2"),
        ("title: Two items\n", "", "two.yaml: title is missing"),
        ("title:", "titel:", "two.yaml.titel: not a key it knows; there are: .*title"),
        ("confidence: K+\nlic", "confidence: sure\nlic", "confidence: expected one of S, C"),
        ("reverse: [b]", "reverse: b", "reverse: expected a list"),
        ("minimum: 0, maximum: 3}\nrev", "minimum: 0.5, maximum: 3}\nrev", "items.minimum: expected a whole number"),
        ("minimum: 0, maximum: 3}\nrev", "minimum: true, maximum: 3}\nrev", "expected a whole number, found bool"),
        ("{Never: 0,", "{No: 0,", "expected text, found bool False"),  # YAML reads No as false
        ("id: TWO", "id: TWO\nid: THREE", "line 3: key 'id' is written twice"),
        ("id: TWO", "id: [TWO", "two.yaml line"),
        (SMALL[SMALL.index("subscales:"):], "subscales: {}\n", "subscales: there is none"),
        (SMALL[SMALL.index("forms:"):SMALL.index("subscales:")], "forms: {}\n", "forms: there is none"),
        ("n: 2", "n: 2\n    bands: {ends: {low: 0, high: 5, middle: 3}, " + BY + "", "bands: lower ends have to rise"),
        ("n: 2", "n: 2\n    bands: {ends: {low: 1, high: 5}, " + BY + "", "bands: lower ends have to rise from 0"),
        ("n: 2", "n: 2\n    bands: {ends: {low: 0, high: 7}, " + BY + "", "stay within 6"),
        ("n: 2", "n: 2\n    remission: [{name: well, comparison: below, value: 7, " + BY + "]", "well: 7 lies outside"),
        ("n: 2", "n: 2\n    norms: [{population: all, mean: 1, sd: 0, " + BY + "]", "deviation has to be above 0"),
        ("n: 2", "n: 2\n    reliable_change: [{sd: 1, sd_source: all, reliability: 1.1, " + BY + "]", "between 0 and 1"),
        ("reverse:", "safety: [{item: a, at_least: 4, meaning: danger, " + BY + "]\nreverse:", "item a: at_least 4 is not"),
        ("reverse:", "safety: [{item: a, at_least: 0, meaning: danger, " + BY + "]\nreverse:", "item a: at_least 0 is not"),
        ("operation: sum", "operation: weighted\n    weights: {mood: 1}", "mood is in groups or weights"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(old, new, message):
    assert SMALL.count(old) >= 1
    with pytest.raises(UsageError, match=f"(?s){message}"):
        read_instrument(SMALL.replace(old, new, 1), "two.yaml")


def test_two_files_of_one_id_and_a_wrong_origin_are_refused():
    origin = "taken_from: {{instrument: TWO, items: {}, source: the paper, confidence: K+}}\n"
    two, part = read_instrument(SMALL, "two.yaml"), SMALL.replace("id: TWO", "id: PART")
    with pytest.raises(UsageError, match="instrument TWO: two files have this id"):
        index_instruments([two, two])
    with pytest.raises(UsageError, match="instrument PART, taken_from: 1 items are listed"):
        index_instruments([two, read_instrument(part + origin.format("[a]"), "part.yaml")])
    with pytest.raises(UsageError, match="instrument TWO, taken from by PART: item z is not on form standard"):
        index_instruments([two, read_instrument(part + origin.format("[a, z]"), "part.yaml")])
    assert set(index_instruments([two, read_instrument(part + origin.format("[b, a]"), "part.yaml")])) == {"TWO", "PART"}


def test_an_unknown_instrument_names_those_there_are():
    with pytest.raises(UsageError, match=r"no instrument is called BDI; there are: .*PHQ-9"):
        load_instrument("BDI")


def test_an_unknown_subscale_names_those_there_are():
    for ask in (load_instrument("ERQ").subscale, load_instrument("ERQ").direction_of):
        with pytest.raises(UsageError, match="ERQ has no subscale total; there are: reappraisal, suppression"):
            ask("total")


def test_every_number_has_a_source():
    def walk(value):
        if dataclasses.is_dataclass(value):
            yield value
            for one in dataclasses.fields(value):
                yield from walk(getattr(value, one.name))
        elif isinstance(value, dict | tuple):
            yield from chain.from_iterable(map(walk, value.values() if isinstance(value, dict) else value))

    sourced = [v for i in load_instruments().values() for v in walk(i) if isinstance(v, Sourced)]
    assert len(sourced) > 220
    assert all(len(v.source) > 4 for v in sourced)


# domain 3.2 and 3.3: standard deviation, reliability, published reliable change
@pytest.mark.parametrize(
    ("instrument", "row", "points"),
    [
        ("PHQ-9", 0, 6.43), ("PHQ-9", 1, 6.763), ("GAD-7", 0, 5.49), ("GAD-7", 1, 5.371),
        ("DERS-36", 0, 19.9), ("DERS-36", 1, 19.204), ("MADRS", 0, 6.435),
        ("ERQ.reappraisal", 0, 1.512), ("ERQ.suppression", 0, 1.775),
    ],
)  # fmt: skip
def test_reliable_change_reproduces_the_published_points(instrument, row, points):
    name, _, subscale = instrument.partition(".")
    decimals = len(str(points).split(".")[1])
    assert round(load_instrument(name).subscales[subscale or "total"].reliable_change[row].points, decimals) == points


@pytest.mark.parametrize(("instrument", "cut"), [("PHQ-9", 8.102), ("GAD-7", 7.764), ("MADRS", 17.186)])
def test_cutoff_c_reproduces_the_published_points(instrument, cut):
    assert round(load_instrument(instrument).subscales["total"].cutoff_c, 3) == cut


@pytest.mark.parametrize(("instrument", "subscale"), [("DERS-36", "total"), ("ERQ", "suppression"), ("PCL-5", "total")])
def test_without_a_clinical_norm_there_is_no_cutoff_c(instrument, subscale):
    assert load_instrument(instrument).subscales[subscale].cutoff_c is None


def test_a_state_measure_has_no_reliable_change():
    assert load_instrument("S-DERS").kind == "state"
    assert not any(s.reliable_change for s in load_instrument("S-DERS").subscales.values())


@pytest.mark.parametrize(
    ("instrument", "score", "band"),
    [
        ("PHQ-9", 4, "minimal"), ("PHQ-9", 5, "mild"), ("PHQ-9", 9.9, "mild"), ("PHQ-9", 10, "moderate"),
        ("PHQ-9", 15, "moderately_severe"), ("PHQ-9", 20, "severe"), ("PHQ-9", 27, "severe"),
        ("GAD-7", 4, "minimal"), ("GAD-7", 5, "mild"), ("GAD-7", 10, "moderate"), ("GAD-7", 15, "severe"),
        ("DERS-16", 50, None),  # no band is published
        ("PSS-10", 13, "low"), ("PSS-10", 14, "moderate"), ("PSS-10", 26, "moderate"), ("PSS-10", 27, "high"),
        ("MADRS", 6, "normal"), ("MADRS", 7, "mild"), ("MADRS", 20, "moderate"), ("MADRS", 35, "severe"),
        ("HAM-D-17", 7, "none"), ("HAM-D-17", 8, "mild"), ("HAM-D-17", 14, "moderate"), ("HAM-D-17", 19, "severe"),
        ("HAM-D-17", 23, "very_severe"),
        ("QIDS-SR16", 5, "none"), ("QIDS-SR16", 6, "mild"), ("QIDS-SR16", 11, "moderate"), ("QIDS-SR16", 16, "severe"),
        ("QIDS-SR16", 21, "very_severe"),
        ("BDI-II", 13, "minimal"), ("BDI-II", 14, "mild"), ("BDI-II", 20, "moderate"), ("BDI-II", 29, "severe"),
        ("DASS-21.depression", 8, "normal"), ("DASS-21.depression", 10, "mild"), ("DASS-21.depression", 14, "moderate"),
        ("DASS-21.depression", 21, "severe"), ("DASS-21.depression", 28, "extremely_severe"),
        ("DASS-21.anxiety", 8, "mild"), ("DASS-21.anxiety", 10, "moderate"), ("DASS-21.anxiety", 15, "severe"),
        ("DASS-21.anxiety", 20, "extremely_severe"),
        ("DASS-21.stress", 15, "mild"), ("DASS-21.stress", 19, "moderate"), ("DASS-21.stress", 26, "severe"),
        ("DASS-21.stress", 34, "extremely_severe"),
    ],
)  # fmt: skip
def test_bands_start_at_their_lower_end(instrument, score, band):
    name, _, subscale = instrument.partition(".")
    assert load_instrument(name).subscales[subscale or "total"].band(score) == band


@pytest.mark.parametrize(
    ("instrument", "list_of", "name", "met", "unmet"),
    [
        ("PHQ-9", "caseness", "major_depression", 10, 9),
        ("PHQ-9", "remission", "remission", 4.5, 5),  # below 5, not at most 5; a prorated 4.5 is below
        ("PHQ-9", "response", "response", 50, 49.9),  # exactly half counts
        ("PHQ-9", "change", "nhs_reliable", 6, 5),
        ("GAD-7", "caseness", "nhs_caseness", 8, 7),
        ("GAD-7", "caseness", "generalised_anxiety", 10, 9),
        ("GAD-7", "remission", "remission", 4, 5),
        ("GAD-7", "change", "nhs_reliable", 4, 3),
        ("DERS-36", "caseness", "suggested_cutoff", 95, 94),
        ("PCL-5", "caseness", "provisional_ptsd_low", 31, 30),
        ("PCL-5", "caseness", "provisional_ptsd_high", 33, 32),
        ("PCL-5", "response", "response", 50, 49.9),
        ("PCL-5", "functional", "clinically_significant", 28, 29),
        ("PCL-5", "change", "reliable_low", 15, 14),
        ("PCL-5", "change", "reliable", 18, 17),
        ("PCL-5", "change", "older_low", 5, 4),
        ("PCL-5", "change", "older_high", 10, 9),
        ("MADRS", "response", "response", 50, 49.9),
        ("MADRS", "response", "partial", 30, 29.9),
        ("MADRS", "remission", "remission", 9, 10),  # at most 9; others declare at most 10
        ("MADRS", "remission", "remission_10", 10, 11),
        ("MADRS", "change", "important_between_groups_low", 1.6, 1.5),
        ("HAM-D-17", "response", "response", 50, 49.9),
        ("HAM-D-17", "remission", "remission", 7, 8),
        ("QIDS-SR16", "response", "response", 50, 49.9),
        ("QIDS-SR16", "remission", "remission", 5, 6),
        ("BDI-II", "response", "response", 50, 49.9),
        ("BDI-II", "change", "minimal_important", 17.5, 17.4),
        ("BDI-II", "change", "minimal_important_treatment_resistant", 32, 31.9),
        ("WHO-5", "caseness", "poor_wellbeing", 50, 50.1),  # low is unwell
        ("WHO-5", "caseness", "likely_depression", 28, 28.1),
        ("WHO-5", "change", "minimal_important", 10, 9.9),
        ("CGI-I", "response", "response", 2, 3),  # the score itself, not a drop of it
        ("QOLIE-31", "change", "minimal_important", 5.2, 5.1),
        ("QOLIE-31", "change", "important_high", 11.8, 11.7),
        ("CTQ-28.emotional_abuse", "caseness", "moderate_to_severe", 13, 12),
        ("CTQ-28.physical_abuse", "caseness", "moderate_to_severe", 10, 9),
        ("CTQ-28.sexual_abuse", "caseness", "moderate_to_severe", 8, 7),
        ("CTQ-28.emotional_neglect", "caseness", "moderate_to_severe", 15, 14),
        ("CTQ-28.physical_neglect", "caseness", "moderate_to_severe", 10, 9),
    ],
)
def test_thresholds_at_their_boundary(instrument, list_of, name, met, unmet):
    id, _, subscale = instrument.partition(".")
    total = load_instrument(id).subscales[subscale or "total"]
    threshold = next(t for t in getattr(total, list_of) if t.name == name)
    assert threshold.is_met(met)
    assert not threshold.is_met(unmet)


@pytest.mark.parametrize(
    ("comparison", "truth"), [("below", (1, 0, 0)), ("at_most", (1, 1, 0)), ("at_least", (0, 1, 1)), ("above", (0, 0, 1))]
)
def test_a_threshold_compares_as_it_says(comparison, truth):
    threshold = Threshold(name="t", comparison=comparison, value=5, source="-", confidence="K+")
    assert tuple(threshold.is_met(x) for x in (4, 5, 6)) == truth


def test_loinc_codes_stand_where_they_were_confirmed():
    phq, gad = load_instrument("PHQ-9").loinc, load_instrument("GAD-7").loinc
    assert (phq.panel, phq.total, phq.unscored["difficulty"]) == ("44249-1", "44261-6", "69722-7")
    assert " ".join(phq.items.values()) == "44250-9 44255-8 44259-0 44254-1 44251-7 44258-2 44252-5 44253-3 44260-8"
    assert phq.answers == {0: "LA6568-5", 1: "LA6569-3", 2: "LA6570-1", 3: "LA6571-9"}
    assert " ".join(gad.items.values()) == "69725-0 68509-9 69733-4 69734-2 69735-9 69689-8 69736-7"
    assert (gad.panel, gad.total) == ("69737-5", "70274-6")
    assert {i.id for i in load_instruments().values() if i.loinc} == {"PHQ-9", "GAD-7"}  # no other confirmed, none guessed


def test_directions_may_differ_between_subscales():
    node = parse_yaml(SMALL, "two.yaml")
    node["subscales"]["skill"] = {**node["subscales"]["total"], "direction": "lower_is_worse"}
    instrument = read_typed(Instrument, node, "two.yaml")
    assert instrument.direction_of("skill") == "lower_is_worse"
    assert instrument.direction_of("total") == "higher_is_worse"


def test_the_page_of_instruments_lists_what_ships():
    page = (Path(__file__).resolve().parents[2] / "docs" / "instruments.md").read_text(encoding="utf-8")
    for one in load_instruments().values():
        items = max(len(form.items) for form in one.forms.values()) or "total only"
        direction = " and ".join(sorted({one.direction_of(s) for s in one.subscales})).replace("_", " ")
        row = (one.id, items, len(one.subscales), direction, one.licence.name, one.source, one.confidence)
        assert f"| {' | '.join(map(str, row))} |\n" in page
    assert page.count("\n| ") == len(load_instruments()) + page.split("## What ships")[0].count("\n| ") + 1  # and no other
