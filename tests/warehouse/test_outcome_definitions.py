# SPDX-License-Identifier: Apache-2.0
"""What each definition of an outcome says: a small course of scores, the day after the index date and the points, and the answer."""

from datetime import timedelta

import pytest
from in_memory import build, connect
from window_parts import INDEX, patient, score

from schemas.definition import load_definitions, load_visits, read_definitions, read_visits
from schemas.errors import UsageError
from schemas.instrument import load_instrument
from warehouse.definitions import cut_offs, used_reliable_change


@pytest.fixture(scope="module")
def database():
    with connect() as connection:
        yield connection


def rows(definition, courses, mart="responders", **person):
    """Rows of one definition for one patient; `courses` is (instrument) -> {day: points}, totals."""
    scores = [
        score(100 * i + n, 1, day, value, instrument=name)
        for i, (name, course) in enumerate(courses.items(), 1) for n, (day, value) in enumerate(sorted(course.items()))
    ]  # fmt: skip
    with connect() as connection:
        found = build(connection, [patient(1, **person)], scores, ("responders", "durability"))[mart]
    return {r.get("visit", r["instrument"]): r for r in found if r["definition"] == definition}


def three(row):
    return row["responded"], row["responded_locf"], row["responded_nri"]


def test_three_ways_to_treat_a_missing_visit():
    """A response at month 3, nothing later: observed says nothing of month 6, locf carries it, nri takes it for a non-response."""
    found = rows("drop_50", {"PHQ-9": {-3: 20, 91: 9}})
    assert three(found["m3"]) == (True, True, True)
    assert three(found["m6"]) == (None, True, False)
    assert found["m6"]["reason"] == "no_follow_up"
    assert three(rows("drop_50", {"PHQ-9": {91: 9}})["m3"]) == (None, None, None)  # without a baseline nobody can say
    assert three(rows("drop_50", {"PHQ-9": {-3: 20}})["m3"]) == (None, None, False)  # nothing to carry: a baseline is not carried


@pytest.mark.parametrize(
    ("baseline", "follow_up", "outcome", "remark"),
    [
        (20, 8, "recovered", "12 points, past 8.102 to the healthy side"),
        (20, 9, "improved", "11 points, but still above 8.102"),
        (20, 13.2, "improved", "6.8 is more than 6.763"),
        (20, 13.3, "unchanged", "6.7 is not"),
        (10, 16.7, "unchanged", "6.7 worse"),
        (10, 17, "deteriorated", "7 worse, ill before and after"),
        (8, 15, "harmed", "7 worse, from the healthy side to the other"),
        (8, 1, "improved", "healthy before: nothing to recover from"),
        (0, 20, "harmed", "a baseline of 0 is no obstacle here"),
    ],
)
def test_reliable_change_of_the_phq_9(baseline, follow_up, outcome, remark):
    row = rows("reliable_change", {"PHQ-9": {-3: baseline, 91: follow_up}})["m3"]
    assert row["outcome"] == outcome, remark
    assert row["responded"] == (outcome in ("recovered", "improved"))


@pytest.mark.parametrize(
    ("instrument", "points", "cutoff_c"),
    [("PHQ-9", 6.763, 8.102), ("GAD-7", 5.371, 7.764), ("DERS-36", 19.204, None)],
)
def test_the_inputs_of_reliable_change_are_the_published_ones(instrument, points, cutoff_c):
    """Worked from SD, reliability and norms as published; PHQ-9 and GAD-7 with the SDs of the cut-off's own samples."""
    total = load_instrument(instrument).subscales["total"]
    assert used_reliable_change(total).points == pytest.approx(points, abs=5e-4)
    assert cut_offs(total, True)[2] == (None if cutoff_c is None else pytest.approx(cutoff_c, abs=5e-4))


def test_cut_offs_a_and_b_lie_two_standard_deviations_off():
    phq = load_instrument("PHQ-9").subscales["total"]
    assert cut_offs(phq, True)[:2] == (pytest.approx(17.1 - 12.2), pytest.approx(2.91 + 7.04))
    assert cut_offs(phq, False)[:2] == (pytest.approx(17.1 + 12.2), pytest.approx(2.91 - 7.04))
    assert cut_offs(phq, None) == (None, None, None)


def test_without_a_clinical_norm_the_published_cut_off_is_used(database):
    found = database.execute("select instrument, cutoff, cutoff_method from instruments where cutoff is not null and subscale = 'total'")
    used = {name: (round(value, 3), method) for name, value, method in found.fetchall()}
    assert used["PHQ-9"] == (8.102, "c")
    assert used["DERS-36"] == (95, "published")


def test_remission_is_for_those_who_were_ill():
    assert rows("remission", {"PHQ-9": {-3: 6, 91: 4}})["m3"]["outcome"] == "remission"
    assert rows("remission", {"PHQ-9": {-3: 6, 91: 5}})["m3"]["outcome"] == "none"
    assert rows("remission", {"PHQ-9": {-3: 4, 91: 3}})["m3"]["reason"] == "not_a_case"
    assert rows("remission", {"DERS-36": {-3: 120, 91: 40}}) == {}  # no cut is published


def test_a_first_response_counts_ever_after_and_a_dropout_keeps_it():
    found = rows("first_response", {"PHQ-9": {-3: 20, 30: 10, 91: 15}})
    assert [found[v]["responded"] for v in ("m3", "m6", "m12")] == [True, True, True]
    found = rows("first_response", {"PHQ-9": {-3: 20, 30: 12}})
    assert [found[v]["responded"] for v in ("m3", "m12")] == [False, False]  # seen once, so it can be said


@pytest.mark.parametrize(
    ("course", "m6", "m12", "remark"),
    [
        ({91: 10, 182: 12, 365: 11}, "retained", "retained", "12 of 20 is a drop of exactly 40 %: kept"),
        ({91: 10, 182: 12.1, 365: 5}, "lost", "lost", "below 40 % once is lost, whatever follows"),
        ({91: 10, 150: 15, 182: 8, 365: 8}, "lost", "lost", "lost between the visits"),
        ({91: 11, 182: 10, 365: 13}, "retained", "lost", "responded at m6, lost by m12"),
        ({91: 11, 182: 11, 365: 11}, "never_responded", "never_responded", "45 % is no response"),
        ({91: 10}, "no_follow_up", "no_follow_up", "nobody looked"),
    ],
)
def test_a_response_is_retained_while_the_drop_is_at_least_40_percent(course, m6, m12, remark):
    found = rows("retained_40", {"PHQ-9": {-3: 20} | course})
    assert [found[v]["reason"] or found[v]["outcome"] for v in ("m6", "m12")] == [m6, m12], remark
    sustained = rows("sustained", {"PHQ-9": {-3: 20} | course})["m12"]
    assert sustained["responded"] == {"retained": True, "no_follow_up": None}.get(m12, False), remark


def test_the_share_of_time_in_response():
    """Months 3 to 12 are days 91 to 365; every assessment stands until the next one."""
    row = rows("percent_time", {"PHQ-9": {-3: 20, 100: 10, 200: 11, 250: 9, 300: 9}})["m3_12"]
    assert (row["share_of_time"], row["responded"]) == (pytest.approx((100 + 50) / 200), True)
    assert three(row) == (True, True, True)  # carried: 100 + 115 of 274 days; assessed 150 of 274 days
    row = rows("percent_time", {"PHQ-9": {-3: 20, 30: 9, 350: 9}})["m3_12"]
    assert (row["reason"], *three(row)) == ("too_few_assessments", None, True, False)
    assert rows("percent_time", {"PHQ-9": {-3: 20, 90: 9}})["m3_12"]["reason"] == "no_follow_up"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((18, 12), (9, 7), "reliable_recovery"),
        ((10, 3), (9, 3), "recovery"),  # below both, one point better
        ((18, 12), (12, 7), "improved"),
        ((9, 8), (3, 12), "deteriorated"),  # better on one, reliably worse on the other
        ((18, 12), (13, 9), "unchanged"),  # 5 and 3 points
        ((9, 7), (2, 2), "not_a_case"),
        ((9, 8), (3, 7), "reliable_recovery"),  # a case by anxiety alone
        ((3, 12), (9, 3), "recovery"),  # on neither any more, but reliably worse on one
    ],
)
def test_nhs_reliable_recovery(before, after, expected):
    courses = {name: {-3: b, 91: a} for name, b, a in zip(("PHQ-9", "GAD-7"), before, after, strict=True)}
    row = rows("nhs_recovery", courses)["m3"]
    assert (row["reason"] or row["outcome"]) == expected
    assert (row["instrument"], row["subscale"]) == ("PHQ-9+GAD-7", "total")


def test_a_benefit_in_two_of_three_domains():
    assert rows("tripartite", {"PHQ-9": {-3: 20, 91: 10}}) == {}  # one domain cannot be two
    found = rows("tripartite", {"PHQ-9": {-3: 20, 91: 10}, "DERS-36": {-3: 120, 91: 100}})
    assert (found["m3"]["outcome"], found["m6"]["reason"]) == ("benefit", "no_follow_up")
    assert rows("tripartite", {"PHQ-9": {-3: 20, 91: 11}, "DERS-36": {-3: 120, 91: 100}})["m3"]["outcome"] == "none"
    missed = rows("tripartite", {"PHQ-9": {-3: 20, 91: 11}, "DERS-36": {-3: 120}})["m3"]
    assert (missed["outcome"], missed["responded"]) == ("none", False)  # the unknown one could not make two


def test_the_index_date_belongs_to_the_baseline_alone():
    found = rows("drop_50", {"PHQ-9": {-3: 20, 0: 9}})
    assert (found["m3"]["baseline"], found["m3"]["responded_locf"]) == (9, None)
    assert rows("first_response", {"PHQ-9": {-3: 20, 0: 9}})["m3"]["reason"] == "no_follow_up"


@pytest.mark.parametrize("keys", [(1, 2), (2, 1)])
def test_of_two_responses_at_one_instant_the_worse_counts_whatever_the_keys(keys):
    scores = [score(8, 1, -3, 20), score(9, 1, 100, 9)] + [score(n, 1, 182, v) for n, v in zip(keys, (8, 15), strict=True)]
    with connect() as connection:
        found = build(connection, [patient(1)], scores, ("responders",))["responders"]
    assert [r["outcome"] for r in found if (r["definition"], r["visit"]) == ("retained_40", "m6")] == ["lost"]


def test_a_year_later_there_is_a_visit_once_somebody_was_assessed_in_it():
    course = {-3: 20, 182: 9, 457: 10}
    assert "m18" not in rows("drop_50", {"PHQ-9": course})
    found = rows("drop_50", {"PHQ-9": course | {458: 12}})
    assert (found["m18"]["follow_up"], found["m18"]["outcome"], "m24" in found) == (12, "partial", False)


@pytest.mark.parametrize(
    ("instrument", "scores", "outcome"),
    [
        ("PHQ-9", {-3: 20, 91: 16}, "improved"),
        ("PHQ-9", {-3: 20, 91: 16.1}, "unchanged"),
        ("PHQ-9", {-3: 20, 91: 24}, "deteriorated"),
        ("GAD-7", {-3: 10, 91: 6}, "improved"),
        ("GAD-7", {-3: 10, 91: 7}, "unchanged"),
        ("WHO-5", {-3: 30, 91: 40}, "improved"),
        ("WHO-5", {-3: 30, 91: 20}, "deteriorated"),
        ("PHQ-9", {-3: 0, 91: 5}, "undetermined"),
    ],
)
def test_important_change_is_what_the_file_of_the_instrument_says(instrument, scores, outcome):
    assert rows("important_change", {instrument: scores})["m3"]["outcome"] == outcome


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [(50, 32, "improved"), (50, 33, "unchanged"), (50, 28, "recovered"), (50, 29, "improved"), (28, 50, "harmed")],
)
def test_a_published_limit_stands_where_no_standard_deviation_gives_one(before, after, outcome):
    """PCL-5: reliable from 18 points on, healthy up to 28."""
    assert rows("reliable_change", {"PCL-5": {-3: before, 91: after}})["m3"]["outcome"] == outcome


@pytest.mark.parametrize(("before", "outcome"), [(96, "recovered"), (95, "recovered"), (94, "improved")])
def test_a_published_cut_off_is_ill_itself(before, outcome):
    """DERS-36: a suggested cut-off of at least 95."""
    assert rows("reliable_change", {"DERS-36": {-3: before, 91: 41}})["m3"]["outcome"] == outcome


@pytest.mark.parametrize(("rating", "responded"), [(1, True), (2, True), (3, False), (7, False)])
def test_a_rating_of_change_needs_no_baseline(rating, responded):
    row = rows("rated_response", {"CGI-I": {91: rating}})["m3"]
    assert (row["responded"], row["baseline"], row["change"], row["reason"]) == (responded, None, None, None)
    assert rows("rated_response", {"CGI-I": {91: rating}})["m6"]["reason"] == "no_follow_up"
    assert not rows("drop_50", {"CGI-I": {-3: 4, 91: rating}})


def test_a_score_under_stimulation_is_no_baseline():
    """Activated ten days before the registered index date: the score in between is a first follow-up, not a baseline."""
    earlier = INDEX - timedelta(days=10)
    assert rows("drop_50", {"PHQ-9": {-3: 20, 91: 9}}, activated_at=earlier)["m3"]["reason"] == "baseline_after_activation"
    assert rows("drop_50", {"PHQ-9": {-12: 22, -3: 20, 91: 9}}, activated_at=earlier)["m3"]["baseline"] == 22
    assert rows("drop_50", {"PHQ-9": {-3: 20, 91: 9}}, activated_at=None)["m3"]["baseline"] == 20


@pytest.mark.parametrize(("activated", "baseline"), [(0, 20), (9, 20), (10, 8), (14, 8), (90, 8), (91, 20), (None, 20)])
def test_before_stimulation_begins_nothing_is_follow_up(activated, baseline):
    """Implanted at the index date, off until it is activated: day 10 is before stimulation, and the last before it is the baseline."""
    at = None if activated is None else INDEX + timedelta(days=activated)
    courses = {"PHQ-9": {-5: 20, 10: 8, 91: 8}}
    row = rows("drop_50", courses, activated_at=at)["m3"]
    assert (row["baseline"], row["responded"]) == (baseline, baseline == 20)
    assert rows("first_response", courses, activated_at=at)["m3"]["responded"] == (baseline == 20)


def test_times_for_kaplan_meier():
    """First response on day 60, loss on day 200: one time from the index date, one from the response."""
    courses = {"PHQ-9": {-3: 20, 30: 12, 60: 10, 120: 12, 200: 13}}
    assert _times("first_response", courses) == (0, 60, True, True, "immortal time")
    assert _times("retained_40", courses) == (60, 140, True, False, "confounded by indication")
    kept = {"PHQ-9": {-3: 20, 100: 9, 300: 8}}
    assert _times("retained_40", kept) == (100, 200, False, False, "confounded by indication")
    assert rows("retained_40", {"PHQ-9": {-3: 20, 100: 15}}, "durability")["PHQ-9"]["reason"] == "never_responded"
    assert rows("first_response", {"PHQ-9": {-3: 20, -2: 9}}, "durability")["PHQ-9"]["reason"] == "no_follow_up"


def _times(definition, courses):
    row = rows(definition, courses, "durability")["PHQ-9"]
    return row["from_d"], row["time_d"], row["event"], row["before_landmark"], row["caution"]


def test_every_number_names_a_definition_that_is_told(database):
    told = {name for (name,) in database.execute("select definition from outcome_definitions").fetchall()}
    assert told == set(load_definitions().definitions)
    assert database.execute("select definition_parameter('retained_40', 'keep_percent')").fetchall() == [(40.0,)]


def test_a_definition_is_a_parameter():
    """With another cut in the table the same SQL answers another question."""
    scores = [score(1, 1, -3, 20), score(2, 1, 91, 11)]
    with connect() as connection:
        connection.execute("update outcome_definitions set parameters = map {'drop_percent': 45.0} where definition = 'drop_50'")
        found = build(connection, [patient(1)], scores, ("responders",))["responders"]
    assert [r["responded"] for r in found if (r["definition"], r["visit"]) == ("drop_50", "m3")] == [True]


def test_visits_and_landmark_are_read_with_their_sources():
    visits = load_visits()
    assert (visits.landmark.day, visits.visits["m3"].target_d, visits.baseline.from_d) == (90, 91, -30)
    assert all(w.source and w.confidence for w in visits.visits.values())


BENEFIT = "definitions: {{}}\ndomains: [{{domain: d, instrument: {}, subscale: {}, value: 1, unit: points, source: s, confidence: S}}]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("definitions: {x: {label: a, rule: b, scores: some, source: s, confidence: S}}", r"definitions\.x\.scores: expected one of"),
        ("definitions: {x: {label: a, rule: b, scores: all, confidence: S}}", r"definitions\.x: source is missing"),
        (BENEFIT.format("BDI", "total"), "no instrument is called BDI; there are: BDI-II"),
        (BENEFIT.format("ERQ", "total"), "ERQ has no subscale total; there are: reappraisal, suppression"),
    ],
)
def test_a_broken_definition_is_said_in_words(text, message):
    with pytest.raises(UsageError, match=message):
        read_definitions(text, "x.yaml")


@pytest.mark.parametrize(
    ("visit", "baseline_to", "message"),
    [
        ("{target_d: 91, from_d: 121, to_d: 61, source: s, confidence: S}", 0, "ends before it begins"),
        ("{target_d: 50, from_d: 61, to_d: 121, source: s, confidence: S}", 0, "day 50 is not inside"),
        ("{from_d: 61, to_d: 121, source: s, confidence: S}", 0, "visit m3: a visit has a target day"),
        ("{target_d: 91, from_d: 61, to_d: 121, source: s, confidence: S}", 2, "nothing after the index date is a baseline"),
    ],
)
def test_a_window_that_cannot_be_is_refused(visit, baseline_to, message):
    baseline = f"{{from_d: -30, to_d: {baseline_to}, source: s, confidence: S}}"
    text = f"baseline: {baseline}\nvisits: {{m3: {visit}}}\nperiods: {{}}\nlandmark: {{day: 90, source: s, confidence: S}}\n"
    with pytest.raises(UsageError, match=message):
        read_visits(text, "x.yaml")
