# SPDX-License-Identifier: Apache-2.0
"""The SQL and a second, plain Python working-out agree on every row, over patients with everything that can be wrong with them."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from in_memory import build, connect
from outcome_witness import SCALES, judge_patient, time_patient, visits_reached
from window_parts import key, patient

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INDEX_US = 1_740_787_200_000_000
DAY_US = 86_400_000_000
COMPARED = (
    "outcome", "responded", "responded_locf", "responded_nri", "reason", "partial", "remitted", "baseline_band", "baseline", "follow_up",
    "share_of_time",
)  # fmt: skip
# edges of every window, the landmark, ties around a target, an ordinary grid; before the index date for negative follow-up
DAYS = st.sampled_from(
    [-400, -31, -30, -14, -3, 0, 1, 14, 45, 61, 80, 90, 91, 92, 121, 137, 182, 227, 228, 250, 274, 320, 364, 365, 366, 410, 500, 548,
     640, 1826]
)
NAMES = [*SCALES, ("DERS-36", "goals"), ("ORACLE-3", "total")]  # the last one nobody described


@st.composite
def values(draw, name):
    """A score, whole or prorated, of a small set so that exact shares of the baseline are common; None is unscorable."""
    if draw(st.integers(0, 9)) == 0:
        return None
    top = {"PHQ-9": 27, "GAD-7": 21, "DERS-36": 180, "WHO-5": 100, "ORACLE-3": 9, "CGI-I": 7}[name[0]]
    common = [*(Fraction(n) for n in (0, 2, 4, 5, 6, 7, 8, 9, 10, 12, 14, 20, 26, 95)), *(Fraction(9 * n, 7) for n in (2, 5, 10))]
    of_top = [Fraction(top * share, 20) for share in (20, 14, 12, 10, 8)]
    around_the_cuts = [Fraction(n) for n in (7, 9, 10)] if top > 9 else []
    return draw(st.sampled_from([v for v in common if v <= top]) | st.sampled_from(of_top + around_the_cuts))


@st.composite
def worlds(draw):
    """Patients and their scores: without an index date, a device, a disorder or a score; two responses at once; strangers."""
    people, scores, n = [], [], 0
    for number in range(1, 1 + draw(st.integers(1, 4))):
        activated = draw(st.sampled_from([None, None, -20, 0, 0, 3, 14, 90]))
        person = {
            "index_us": draw(st.sampled_from([INDEX_US] * 9 + [None])), "number": number,
            "activated_us": None if activated is None else INDEX_US + activated * DAY_US,
        }  # fmt: skip
        people.append(person)
        asked = draw(st.sampled_from([NAMES[:2], NAMES[:5]]) | st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
        for name in asked:
            start = draw(st.sampled_from([[], [-3], [-3, 91, 182], [-3, 91, 182, 274, 365]]))
            for day in start + draw(st.lists(DAYS, max_size=6)):
                n += 1
                shift = draw(st.sampled_from([0, 0, 0, 1, -1, 3_600_000_000]))
                scores.append({
                    "number": number, "instrument": name[0], "subscale": name[1], "response": (n * 7919) % 100_003,
                    "at_us": INDEX_US + day * DAY_US + shift, "score": draw(values(name)),
                })  # fmt: skip
    twice = draw(st.lists(st.sampled_from(scores), max_size=4)) if scores else []
    scores += [{**s, "response": 300_000 - 7 * i, "score": draw(values((s["instrument"], s["subscale"])))} for i, s in enumerate(twice)]
    scores += [{**s, "number": 99, "response": 200_000 + i} for i, s in enumerate(scores[:2])]  # of nobody we know
    return people, scores


def _at(us):
    return None if us is None else EPOCH + timedelta(microseconds=us)


def sql_rows(people, scores):
    with connect() as connection:
        connection.execute("delete from instruments where instrument = 'WHO-5'")
        connection.execute("""insert into instruments by name select 'WHO-5' as instrument, 'total' as subscale, false as higher_is_worse,
            true as is_primary, 10 as sd, 0.8 as reliability, 50 as cutoff, 10 as important_value, 'points' as important_unit""")
        connection.execute("delete from severity_bands where instrument in ('WHO-5', 'DERS-36')")
        known = [patient(p["number"], index_at=_at(p["index_us"]), activated_at=_at(p["activated_us"])) for p in people]
        told = [
            {"response_key": key(s["response"]), "patient_key": key(s["number"]), "completed_at": _at(s["at_us"]),
             "score": None if s["score"] is None else float(s["score"]), "instrument": s["instrument"], "subscale": s["subscale"]}
            for s in scores
        ]  # fmt: skip
        return build(connection, known, told, ("responders", "durability"))


def witness(people, scores, judge):
    """Rows of the witness by patient, instrument, subscale, visit (where there is one) and definition."""
    found = {}
    for person in people:
        for row in judge(person, [s for s in scores if s["number"] == person["number"]]):
            place = (key(person["number"]), row["instrument"], row["subscale"], row.get("visit"), row["definition"])
            assert place not in found
            found[place] = row
    return found


@settings(max_examples=30, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_the_sql_and_the_witness_agree(world):
    people, scores = world
    marts = sql_rows(people, scores)
    visits = visits_reached(people, scores)
    expected = witness(people, scores, lambda person, own: judge_patient(person, own, visits))
    found = {(r["patient_key"], r["instrument"], r["subscale"], r["visit"], r["definition"]): r for r in marts["responders"]}
    assert len(found) == len(marts["responders"])
    assert found.keys() == expected.keys()
    for place, row in expected.items():
        for column in COMPARED:
            wanted = float(row[column]) if isinstance(row[column], Fraction) else row[column]
            assert found[place][column] == (pytest.approx(wanted) if isinstance(wanted, float) else wanted), (place, column)
    times = witness(people, scores, time_patient)
    rows = {(r["patient_key"], r["instrument"], r["subscale"], None, r["definition"]): r for r in marts["durability"]}
    assert rows.keys() == times.keys()
    for place, row in times.items():
        for column in ("event", "reason", "before_landmark", "caution"):
            assert rows[place][column] == row[column], (place, column)
        for column in ("from", "time"):
            wanted, got = row[f"{column}_us"], rows[place][f"{column}_d"]
            assert got == (None if wanted is None else wanted / DAY_US), (place, column)


@pytest.mark.cluster  # long
def test_the_worlds_reach_every_class_and_every_reason():
    """A law over worlds that never had a recovery would say nothing about recoveries."""
    outcomes, reasons = set(), set()

    @settings(max_examples=350, deadline=None, phases=[Phase.generate], database=None, derandomize=True)
    @given(worlds())
    def collect(world):
        visits = visits_reached(*world)
        for row in witness(*world, lambda person, own: judge_patient(person, own, visits)).values():
            outcomes.add(row["outcome"])
            reasons.add(row["reason"])

    collect()
    assert outcomes == {
        "remission", "response", "partial", "none", "recovered", "improved", "unchanged", "deteriorated", "harmed", "retained", "lost",
        "never", "reliable_recovery", "recovery", "benefit", "undetermined",
    }  # fmt: skip
    assert reasons == {
        None, "no_index", "no_baseline", "baseline_after_activation", "baseline_zero", "not_a_case", "no_follow_up", "never_responded",
        "too_few_assessments",
    }  # fmt: skip
