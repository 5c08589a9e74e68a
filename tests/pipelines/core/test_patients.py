# SPDX-License-Identifier: Apache-2.0
"""Populations: one person, what is known of them, and where they are counted."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipelines.core.patients import describe_patients
from schemas.contract import load_contract
from schemas.frames import staged_schema

INDEX = datetime(2025, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class Facts:
    """Accepted facts of one or more patients: source -> rows, columns that are not given are null."""

    def __init__(self, **rows):
        self.rows = {"patients": [{}]} | rows

    def accepted(self, source):
        schema = staged_schema(load_contract(source))
        start = {"patient_key": 1, "_registers": False} | ({"index_at": INDEX, "birth_year": 1980} if source == "patients" else {})
        return pl.DataFrame([{c: (start | row).get(c) for c in schema} for row in self.rows.get(source, [])], schema=schema)


NO_SCORES = pl.DataFrame(
    schema={"patient_key": pl.Int64, "instrument": pl.String, "subscale": pl.String, "score": pl.Float64}
)


def one(scores=NO_SCORES, **rows):
    (row,) = describe_patients(Facts(**rows), scores).to_dicts()
    return row


def codes(*found, **more):
    return [{"code": code, **more} for code in found]


@pytest.mark.parametrize(
    ("found", "disorders", "polarity", "remark"),
    [
        ((), [], None, "in no disorder"),
        (("J45", "E11.9"), [], None, "diagnoses outside ours are none"),
        (("F33.1",), ["depression"], "unipolar", ""),
        (("F331", "F33.2"), ["depression"], "unipolar", "with and without the dot, twice the same"),
        (("F31.81",), ["bipolar"], "bipolar", ""),
        (("F33.1", "F31.4"), ["bipolar", "depression"], "bipolar", "any bipolar diagnosis decides"),
        (("F41.1", "F43.10"), ["anxiety", "ptsd"], None, "no mood disorder"),
        (("F33.1", "F41.1", "F43.12", "G40.219"), ["anxiety", "depression", "epilepsy", "ptsd"], "unipolar", "in four"),
    ],
)
def test_disorders(found, disorders, polarity, remark):
    row = one(conditions=codes(*found))
    assert (row["disorders"], row["n_disorders"], row["polarity"]) == (disorders, len(disorders), polarity), remark


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (("G40.219",), True), (("G40.919",), True), (("G40803",), True), (("G40.A19",), True), (("G40.209",), False),
        (("G40.909",), False), (("G40.501",), False), (("G40.209", "G40.219"), True), (("F33.1",), None), ((), None),
    ],
)  # fmt: skip
def test_epilepsy_is_intractable_by_its_code(found, expected):
    assert one(conditions=codes(*found))["epilepsy_intractable"] is expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (codes("F33.1", onset_at=datetime(2004, 6, 1, tzinfo=UTC)), "20-29"),
        (codes("F33.1", onset_at=datetime(1989, 1, 1, tzinfo=UTC)), "00-09"),
        (codes("F33.1", onset_at=datetime(1979, 12, 31, tzinfo=UTC)), None),  # before birth: impossible, so unknown
        (codes("F33.1"), None),
        (codes("J45", onset_at=datetime(1990, 1, 1, tzinfo=UTC)), None),  # another disease
        (codes("F41.1", onset_at=datetime(2000, 1, 1, tzinfo=UTC)) + codes("F33.1", onset_at=datetime(1995, 1, 1, tzinfo=UTC)), "10-19"),
    ],
)
def test_age_at_onset_is_that_of_the_earliest_of_our_disorders(found, expected):
    assert one(conditions=found)["age_at_onset_band"] == expected


def events(kind, n=1, **more):
    return [{"kind": kind, "happened_at": INDEX - DAY, **more}] * n


@pytest.mark.parametrize(("n", "resistant", "four"), [(0, False, False), (1, False, False), (2, True, False), (4, True, True)])
def test_treatment_resistance_is_counted_in_failed_trials(n, resistant, four):
    row = one(history_events=events("failed_trial", n))
    assert (row["failed_trials"], row["treatment_resistant"], row["failed_trials_4plus"]) == (n, resistant, four)


@pytest.mark.parametrize(
    ("found", "ect", "response"),
    [
        ([], False, None),
        (events("ect"), True, None),  # nobody asked
        (events("ect", responded=False), True, False),
        (events("ect", responded=False) + events("ect", responded=True), True, True),
        (events("ect", responded=True, happened_at=None), True, True),  # undated counts as before
        (events("ect", responded=True, happened_at=INDEX), False, None),  # not before the index date
        (events("tms", responded=True), False, None),
    ],
)
def test_a_past_treatment_and_whether_it_helped(found, ect, response):
    row = one(history_events=found)
    assert (row["ect"], row["ect_response"]) == (ect, response)
    assert row["tms_response"] is (True if found and found[0]["kind"] == "tms" else None)


LANDMARK = INDEX + 90 * DAY
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("activated", "cbt", "arm", "remark"),
    [
        (INDEX, LANDMARK, "vns_cbt", "the landmark itself is in"),
        (INDEX, LANDMARK + SECOND, "vns", "a second later is not: therapy that begins later does not reach back"),
        (LANDMARK, None, "vns", ""),
        (LANDMARK + SECOND, None, "neither", ""),
        (None, INDEX, "cbt", "a patient without a device"),
        (INDEX, INDEX - SECOND, "vns", "therapy from before the index date is history"),
    ],
)
def test_arms_are_decided_at_the_landmark(activated, cbt, arm, remark):
    devices = [] if activated is None else [{"device_key": 5, "modality": "implanted", "activated_at": activated}]
    sessions = [] if cbt is None else [{"therapy": "cbt", "started_at": cbt}]
    row = one(devices=devices, therapy_sessions=sessions)
    assert row["arm"] == arm, remark
    assert row["modality"] == (None if activated is None else "implanted")


@pytest.mark.parametrize(
    ("onset", "abated", "counts", "remark"),
    [
        (-400, None, True, "still there"),
        (None, None, True, "undated"),
        (0, None, True, "began on the index date"),
        (1, None, False, "began later: nobody was treated for it"),
        (-400, -1, False, "ended before"),
        (-400, 0, True, "ended on the index date"),
        (None, 30, True, "ended later"),
    ],
)
def test_a_disorder_is_one_of_the_index_date(onset, abated, counts, remark):
    dates = {n: None if d is None else INDEX + d * DAY for n, d in (("onset_at", onset), ("abated_at", abated))}
    assert one(conditions=codes("F33.1", **dates))["disorders"] == (["depression"] if counts else []), remark


def test_codes_of_no_disorder_are_counted():
    assert one(conditions=codes("F33.1", "J45", "F99", "J45"))["n_other_codes"] == 2
    assert one()["n_other_codes"] == 0


@pytest.mark.parametrize(
    ("subscale", "points", "flag"),
    [("sexual_abuse", 8, True), ("sexual_abuse", 7, False), ("emotional_neglect", 14, False), ("emotional_neglect", None, False)],
)
def test_a_case_on_any_scale_of_the_ctq_is_childhood_adversity(subscale, points, flag):
    scores = pl.DataFrame([
        {"patient_key": 1, "instrument": "CTQ-28", "subscale": "physical_abuse", "score": 5.0},
        {"patient_key": 1, "instrument": "CTQ-28", "subscale": subscale, "score": points},
        {"patient_key": 1, "instrument": "PHQ-9", "subscale": subscale, "score": 27.0},
        {"patient_key": 2, "instrument": "CTQ-28", "subscale": "sexual_abuse", "score": 25.0},
    ], schema=NO_SCORES.schema)  # fmt: skip
    assert one(scores)["childhood_adversity"] is flag
    assert one(scores, history_events=events("childhood_adversity"))["childhood_adversity"] is True


def test_devices_codes_and_events_of_nobody_make_no_patient():
    strange = {"patient_key": 77}
    found = describe_patients(Facts(
        devices=[{**strange, "device_key": 9, "modality": "implanted", "activated_at": INDEX}], conditions=codes("F33.1", **strange),
        history_events=events("ect", **strange), therapy_sessions=[{**strange, "therapy": "cbt", "started_at": INDEX}],
    ), NO_SCORES)  # fmt: skip
    assert found["patient_key"].to_list() == [1]
    assert found["disorders"].to_list() == [[]]
