# SPDX-License-Identifier: Apache-2.0
"""2,177 real PHQ-9 responses with known right answers (README of the public data folder, section 2.1), line by line."""

import statistics

import polars as pl
import pytest

from pipelines.core.score import score_responses, source_disagreements
from pipelines.core.score_file import score_file
from pipelines.core.wide import map_wide
from pipelines.core.wide_mapping import read_mapping
from schemas.errors import VNSightError
from schemas.instrument import load_instrument, load_instruments

CODES = {
    "instrument": "PHQ-9", "response_id": "ObservationID", "patient_id": "ObservationID", "items": "Item{}_num",
    "completed_at_constant": "2020-01-01T00:00:00Z", "source_score": "SumScore",
}  # fmt: skip
LABELS = {**CODES, "items": "Item{}", "coding": "labels"}
FURTHER = {"More than half": 2, "Almost every day": 3}


@pytest.fixture(scope="module")
def file(shared_data):
    path = shared_data / "irt-phq9" / "PHQ9_data.csv"
    if not path.exists():
        pytest.skip("the PHQ-9 file is not there")
    return path


@pytest.fixture(scope="module")
def table(file):
    return pl.read_csv(file, infer_schema=False)


def map_table(table, mapping):
    return map_wide(table, read_mapping(mapping), load_instruments())


def score(responses):
    keyed = responses.with_columns(pl.col("response_id").cast(pl.Int64).alias("response_key"), pl.lit(0).alias("patient_key"))
    return score_responses(keyed, load_instruments())


@pytest.fixture(scope="module")
def scores(table):
    return score(map_table(table, CODES).responses)


def test_rows_ids_and_missing_cells(scores):
    assert scores.height == 2177
    assert scores["response_key"].to_list() == list(range(1, 2178))
    assert scores["status"].unique().to_list() == ["complete"]
    assert scores["n_answered"].unique().to_list() == [9]


def test_the_item_sum_equals_the_source_score_in_all_rows(scores):
    assert (scores["score"] == scores["source_score"]).sum() == 2177
    assert source_disagreements(scores).is_empty()


def test_bands(scores):
    total = load_instrument("PHQ-9").subscales["total"]
    bands = [total.band(x) for x in scores["score"]]
    assert [bands.count(b) for b in total.bands.ends] == [112, 523, 608, 584, 350]


def test_caseness(scores):
    assert sum(load_instrument("PHQ-9").subscales["total"].caseness[0].is_met(x) for x in scores["score"]) == 1542


def test_mean_spread_and_ends(scores):
    values = scores["score"].to_list()
    assert round(statistics.mean(values), 6) == 13.286174
    assert round(statistics.stdev(values), 6) == 5.828615
    assert (min(values), max(values)) == (0, 27)


def test_self_harm_alerts(table, scores):
    alert = load_instrument("PHQ-9").safety[0]
    item_9 = map_table(table, CODES).responses["answers"].list.get(int(alert.item) - 1)
    totals = scores["score"].filter(item_9 >= alert.at_least)
    assert (len(totals), (totals < 10).sum(), (totals < 5).sum()) == (679, 62, 1)
    assert [(item_9 == code).sum() for code in range(4)] == [1498, 464, 155, 60]


def test_the_usual_labels_alone_leave_9163_cells_in_1903_rows_unknown(table):
    result = map_table(table, LABELS)
    assert result.unknown_labels == {"More than half": 5003, "Almost every day": 4160}
    assert sum(result.unknown_labels.values()) == result.bad["reasons"].list.len().sum() == 9163
    assert (result.bad.height, result.responses.height) == (1903, 274)
    assert result.bad["reasons"][0].to_list() == ["Item4:label"]  # never 0, never missing
    assert result.responses["answers"].list.len().unique().to_list() == [9]


def test_with_both_labels_mapped_every_cell_agrees_with_its_code(table):
    by_label, by_code = map_table(table, {**LABELS, "labels": FURTHER}), map_table(table, CODES)
    agree = by_label.responses["answers"].explode(empty_as_null=False) == by_code.responses["answers"].explode(
        empty_as_null=False
    )
    assert (agree.sum(), len(agree)) == (19593, 19593)
    assert score(by_label.responses).equals(score(by_code.responses))


def test_same_answer_on_all_nine_items(table):
    answers = map_table(table, CODES).responses["answers"]
    straight = answers.filter(answers.list.n_unique() == 1).list.first()
    assert [(straight == code).sum() for code in range(4)] == [8, 12, 21, 11]


def test_equal_answers_of_different_people_all_stay(table):
    responses = map_table(table, CODES).responses
    assert (responses["answers"].n_unique(), responses.height) == (1601, 2177)


def test_declared_one_to_four_the_whole_file_is_refused(table):
    refused = map_table(table, {**CODES, "declared": {"minimum": 1, "maximum": 4}}).refused
    assert refused.rule == "file:coding"
    for part in ("declared 1-4", "codes 0 to 3 occur", "0 in 3,992 of 19,593 cells", "4 in none", "looks like 0-3"):
        assert part in refused.message


def test_declared_as_it_is_the_file_passes(table):
    assert map_table(table, CODES).refused is None
    assert map_table(table, {**CODES, "declared": {"minimum": 0, "maximum": 3}}).refused is None


def test_the_score_command_on_codes_and_on_labels(file):
    by_code = score_file(file, "PHQ-9", "Item{}_num", "ObservationID")
    assert by_code.columns == ["id", "instrument", "subscale", "score", "status", "n_answered", "band", "reason"]
    assert by_code["score"].sum() == 28924
    assert score_file(file, "PHQ-9", "Item{}", "ObservationID", labels=FURTHER).equals(by_code)
    with pytest.raises(VNSightError, match=r"PHQ9_data.csv line 2, Item4, label: .* 9,163 such cells in 1,903 of 2,177 rows"):
        score_file(file, "PHQ-9", "Item{}")
