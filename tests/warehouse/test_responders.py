# SPDX-License-Identifier: Apache-2.0
"""Who responded: one row per boundary, and a real trial."""

import csv
from pathlib import Path

import pytest
from window_parts import dose_outcome, key, load_files, patient, score

from schemas.frames import window_names
from schemas.load import CompleteLoad
from schemas.workspace import Workspace
from warehouse.connection import dbapi
from warehouse.definitions import fill_definitions
from warehouse.publish import candidate
from warehouse.sql import query
from warehouse.window import mart_steps

SECOND = 1 / 86_400


def classed(ws: Workspace, people, scores, where: str = "true", definition: str = "drop_50") -> list[dict]:
    windows = window_names(ws.settings.windows_days)
    dose = [dose_outcome(s, windows, charge_pc_28d=int(s["response_key"], 16), on_ms_28d=7 * int(s["response_key"], 16)) for s in scores]
    files = load_files(ws, 1, {"patients": {0: people}, "scores": {0: scores}, "dose_outcomes": {0: dose}}, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warehouse.window.SQL_MARTS", ("exposures", "responders"))  # the others are not asked here
        path = candidate(ws, files, CompleteLoad(0, {}))
    return query(path, f"from responders where definition = '{definition}' and {where} order by all").to_pylist()


def one(ws: Workspace, scores, visit: str = "m3", **person) -> dict:
    (row,) = classed(ws, [patient(1, **person)], scores, f"visit = '{visit}'")
    return row


@pytest.mark.parametrize(
    ("baseline", "follow_up", "outcome", "remark"),
    [
        (20, 10, "response", "exactly half counts"),
        (20, 10.01, "partial", "just above half does not"),
        (20, 14, "partial", "exactly 30 % counts"),
        (20, 14.01, "none", "just less does not"),
        (20, 26, "none", "worse"),
        (20, 4, "remission", "below 5 and halved"),
        (20, 5, "response", "5 is not below 5"),
        (6, 4, "partial", "remitted, but not halved: remission needs a response too"),
        (3, 3, "none", "remitted all along"),
        (27, 13.5, "response", "half of an odd number"),
        (9, 4.5, "remission", "a prorated score between whole points"),
    ],
)
def test_classes(ws, baseline, follow_up, outcome, remark):
    row = one(ws, [score(1, 1, 0, baseline), score(2, 1, 91, follow_up)])
    assert row["outcome"] == outcome, remark
    assert row["responded"] == (2 * (baseline - follow_up) >= baseline)
    assert row["partial"] == (baseline - follow_up >= 0.3 * baseline)
    assert row["remitted"] == (follow_up < 5)
    assert (row["baseline"], row["follow_up"], row["change"]) == (baseline, follow_up, follow_up - baseline)
    assert row["relative_drop"] == pytest.approx((baseline - follow_up) / baseline)
    assert (row["reason"], row["arm"], row["modality"], row["definition"]) == (None, "vns", "implanted", "drop_50")


@pytest.mark.parametrize(
    ("scores", "person", "reason", "remitted"),
    [
        ([score(1, 1, 0, 20), score(2, 1, 91, 4)], {"index_at": None}, "no_index", None),
        ([score(2, 1, 91, 4)], {}, "no_baseline", True),
        ([score(1, 1, 0, None), score(2, 1, 91, 4)], {}, "no_baseline", True),
        ([score(1, 1, 0, 0), score(2, 1, 91, 0)], {}, "baseline_zero", True),
        ([score(1, 1, 0, 0)], {}, "baseline_zero", None),
        ([score(1, 1, 0, 20)], {}, "no_follow_up", None),
        ([score(1, 1, 0, 20), score(2, 1, 91, None)], {}, "no_follow_up", None),
        ([score(2, 1, 200, 9)], {}, "no_baseline", None),
    ],
)
def test_undetermined_always_says_why(ws, scores, person, reason, remitted):
    row = one(ws, scores, **person)
    assert (row["outcome"], row["reason"], row["remitted"]) == ("undetermined", reason, remitted)
    assert row["responded"] is row["partial"] is None


@pytest.mark.parametrize(
    ("responses", "expected", "remark"),
    [
        ([(-30, 18)], 18, "30 days before is in"),
        ([(-30 - SECOND, 18)], None, "a second earlier is not"),
        ([(0, 18)], 18, "the index itself is in"),
        ([(SECOND, 18)], None, "a second later is not"),
        ([(-20, 18), (-3, 16)], 16, "the last one counts"),
        ([(-20, 18), (-3, None)], 18, "the last scorable one"),
        ([(-3, 18), (-3, 16)], 18, "same instant: the worse, whatever the keys"),
    ],
)
def test_baseline(ws, responses, expected, remark):
    row = one(ws, [score(n, 1, d, v) for n, (d, v) in enumerate(responses, 1)])
    assert row["baseline"] == expected, remark


@pytest.mark.parametrize(
    ("visit", "responses", "expected", "remark"),
    [
        ("m3", [(61, 9)], 9, "91 - 30 is in"),
        ("m3", [(61 - SECOND, 9)], None, "a second earlier is not"),
        ("m3", [(121, 9)], 9, "91 + 30 is in"),
        ("m3", [(121 + SECOND, 9)], None, "a second later is not"),
        ("m6", [(137, 9)], 9, "182 - 45"),
        ("m6", [(227, 9)], 9, "182 + 45"),
        ("m9", [(229, 9)], 9, "274 - 45"),
        ("m9", [(228, 9)], None, "a gap between the windows"),
        ("m12", [(410, 9)], 9, "365 + 45"),
        ("m12", [(320 - SECOND, 9)], None, "365 - 45 less a second"),
        ("m3", [(80, 8), (95, 9)], 9, "nearest to the target"),
        ("m3", [(90, 8), (92, 9)], 9, "equally near: the later"),
        ("m3", [(92, 8), (92, 9)], 9, "same instant: the worse"),
        ("m3", [(91, None), (70, 9)], 9, "nearest scorable"),
    ],
)
def test_follow_up(ws, visit, responses, expected, remark):
    row = one(ws, [score(100, 1, 0, 20), *(score(n, 1, d, v) for n, (d, v) in enumerate(responses, 1))], visit)
    assert row["follow_up"] == expected, remark


def test_the_dose_is_that_of_the_follow_up_chosen(ws):
    row = one(ws, [score(1, 1, 0, 20), score(2, 1, 80, 8), score(3, 1, 92, 9)])
    assert (row["charge_pc_28d"], row["on_ms_28d"], row["coverage_28d"]) == (3, 21, 1.0)


def test_every_score_asked_for_has_a_row_per_visit_and_none_else(ws):
    people = [patient(1), patient(2), patient(3)]
    scores = [score(1, 1, 0, 20), score(2, 1, 0, 9, instrument="GAD-7"), score(3, 2, 500, None)]
    rows = classed(ws, people, scores)
    found = [(r["patient_key"], r["instrument"], r["visit"]) for r in rows]
    assert found == [(key(p), i, v) for p, i in ((1, "GAD-7"), (1, "PHQ-9"), (2, "PHQ-9")) for v in ("m12", "m3", "m6", "m9")]


def test_a_scale_without_a_cut_has_no_remission_and_every_subscale_its_rows(ws):
    scores = [score(n, 1, d, v, instrument="DERS-36", subscale=s) for n, d, v, s in
              ((1, 0, 120, "total"), (1, 0, 20, "goals"), (2, 91, 60, "total"), (2, 91, 15, "goals"))]  # fmt: skip
    rows = classed(ws, [patient(1)], scores, "visit = 'm3'")
    assert [(r["subscale"], r["outcome"], r["remitted"]) for r in rows] == [("goals", "none", None), ("total", "response", None)]


@pytest.fixture
def trial(shared_data: Path) -> list[dict[str, str]]:
    with (shared_data / "rbmi" / "antidepressant_data.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# README of the data, section 2.8: visit, therapy -> n, response, partial, remission (HAM-D-17 at most 7)
COUNTS = {
    (4, "DRUG"): (84, 7, 20, 6), (4, "PLACEBO"): (88, 5, 15, 7), (5, "DRUG"): (77, 20, 35, 16), (5, "PLACEBO"): (81, 17, 22, 16),
    (6, "DRUG"): (73, 25, 42, 24), (6, "PLACEBO"): (76, 20, 30, 22), (7, "DRUG"): (64, 29, 45, 20), (7, "PLACEBO"): (65, 20, 31, 18),
}  # fmt: skip


def test_a_real_trial_has_the_published_counts_in_every_arm_and_visit(ws, trial, monkeypatch):
    """172 patients of an antidepressant trial; its visits 4 to 7 stand in for m3 to m12, HAM-D-17 for the instrument."""
    people = {r["PATIENT"]: patient(int(r["PATIENT"]), arm="vns" if r["THERAPY"] == "DRUG" else "neither") for r in trial}
    hamd = {"instrument": "HAM-D-17"}
    baselines = {r["PATIENT"]: score(int(r["PATIENT"]), int(r["PATIENT"]), 0, float(r["BASVAL"]), **hamd) for r in trial}
    days = {"4": 91, "5": 182, "6": 274, "7": 365}
    follow_ups = [
        score(10_000 * int(r["VISIT"]) + int(r["PATIENT"]), int(r["PATIENT"]), days[r["VISIT"]], float(r["HAMDTL17"]), **hamd)
        for r in trial
    ]
    def with_hamd(connection):
        fill_definitions(connection)
        connection.execute("delete from instruments where instrument = 'HAM-D-17'")
        connection.execute("""insert into instruments by name select 'HAM-D-17' as instrument, 'total' as subscale, true as higher_is_worse,
            true as is_primary, 'at_most' as remission_comparison, 7 as remission_value""")

    monkeypatch.setattr("warehouse.window.fill_definitions", with_hamd)
    rows = classed(ws, list(people.values()), [*baselines.values(), *follow_ups])
    visit, arm = {"m3": 4, "m6": 5, "m9": 6, "m12": 7}, {"vns": "DRUG", "neither": "PLACEBO"}
    found = dict.fromkeys(COUNTS, (0, 0, 0, 0))
    for row in rows:
        if row["reason"] is None:
            cell = (visit[row["visit"]], arm[row["arm"]])
            more = (1, row["responded"], row["partial"], row["remitted"])
            found[cell] = tuple(a + b for a, b in zip(found[cell], more, strict=True))
    assert found == COUNTS
    half = {int(r["patient_key"], 16) for r in rows if r["visit"] == "m12" and r["relative_drop"] == 0.5}
    assert half == {3302, 3312, 4505, 4602, 4907}
    both = [(r["arm"], r["remitted"] and not r["responded"]) for r in rows if r["visit"] == "m12" and r["reason"] is None]
    assert (both.count(("vns", True)), both.count(("neither", True))) == (1, 2)
    lost = [r["arm"] for r in rows if r["visit"] == "m12" and r["reason"] == "no_follow_up"]
    assert (lost.count("vns"), lost.count("neither")) == (20, 23)


def test_a_session_in_another_zone_counts_the_same(ws):
    """March 2025 has a change of clocks in New York: 61 calendar days of that zone would be an hour off."""
    scores = [score(1, 1, 0, 20), score(2, 1, 61, 9)]
    files = load_files(ws, 1, {"patients": {0: [patient(1)]}, "scores": {0: scores}}, [])
    path = candidate(ws, files, CompleteLoad(0, {}))
    sql = (Path(__file__).parents[2] / "warehouse/marts/responders/query.sql").read_text(encoding="utf-8")
    with dbapi().connect(str(path), read_only=True) as connection:
        connection.execute("set TimeZone = 'America/New_York'")
        dose = "response_key, subscale, charge_pc_28d, on_ms_28d, coverage_28d"
        connection.execute(f"create temp view dose_28d as select {dose} from dose_outcomes")
        for step in mart_steps("responders"):
            connection.execute(step)
        found = connection.execute(f"select follow_up from ({sql}) where visit = 'm3' and definition = 'drop_50'").fetchall()
    assert found == [(9,)]
