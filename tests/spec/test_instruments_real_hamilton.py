# SPDX-License-Identifier: Apache-2.0
"""142 real HAM-D ratings with published totals (README of the public data folder, section 2.3), line by line."""

import polars as pl
import pytest

from pipelines.core.score import score_responses, source_disagreements
from pipelines.core.wide import map_wide
from pipelines.core.wide_mapping import read_mapping
from schemas.instrument import load_instrument, load_instruments

ITEMS = [*(f"hamilton{i}" for i in range(1, 16)), "hamilton16a", "hamilton17"]
DIFFER = {
    "sub-50014": (11, 9), "sub-50035": (23, 21), "sub-50053": (7, 6), "sub-60037": (17, 16), "sub-60077": (18, 17), "sub-60080": (32, 30),
}  # fmt: skip
INCOMPLETE = {"sub-50047", "sub-50049", "sub-50051", "sub-60076"}


@pytest.fixture(scope="module")
def rated(shared_data):
    path = shared_data / "ds000030" / "phenotype" / "hamilton.tsv"
    if not path.exists():
        pytest.skip("the HAM-D file is not there")
    return pl.read_csv(path, separator="\t", infer_schema=False).filter(pl.col("hamd_17") != "n/a").with_row_index("n")


@pytest.fixture(scope="module")
def scores(rated):
    mapping = {"instrument": "HAM-D-17", "items": ITEMS, "response_id": "n", "patient_id": "participant_id", "source_score": "hamd_17",
               "completed_at_constant": "2020-01-01T00:00:00Z", "missing": ["n/a", "-9999"]}  # fmt: skip
    table = map_wide(rated.with_columns(pl.col("n").cast(pl.String)), read_mapping(mapping), load_instruments())
    assert table.bad.is_empty()
    keyed = table.responses.with_columns(pl.col("response_id").cast(pl.Int64).alias("response_key"), pl.lit(0).alias("patient_key"))
    found = score_responses(keyed, load_instruments())
    return found.join(rated.select(pl.col("n").cast(pl.Int64).alias("response_key"), "participant_id"), on="response_key")


def test_what_is_complete_equals_the_published_total_but_for_six(scores):
    complete = scores.filter(pl.col("status") == "complete")
    assert (scores.height, complete.height) == (142, 138)
    assert (complete["score"] == complete["source_score"]).sum() == 132
    person = dict(scores.select("response_key", "participant_id").iter_rows())
    found = {person[k]: (s, o) for k, s, o in source_disagreements(scores).select("response_key", "source_score", "score").rows()}
    assert found == DIFFER | {p: (found[p][0], None) for p in INCOMPLETE}  # a total where we have none is told, too


def test_what_lacks_an_item_is_not_silently_totalled(scores):
    lacking = scores.filter(pl.col("score").is_null())
    assert set(lacking["participant_id"]) == INCOMPLETE
    assert lacking["source_score"].null_count() == 0  # the source counted the gap as 0; its total stays beside ours


@pytest.fixture(scope="module")
def totals(rated, shared_data):
    """participant, diagnosis, published total, and two sums of the items with gaps as 0: of our 17, and with both ratings of weight."""
    people = pl.read_csv(shared_data / "ds000030" / "participants.tsv", separator="\t", infer_schema=False)
    points = [pl.col(name).replace(["n/a", "-9999"], "0").cast(pl.Int64) for name in (*ITEMS, "hamilton16b")]
    sums = rated.select(
        "participant_id", pl.col("hamd_17").cast(pl.Int64).alias("published"), pl.sum_horizontal(points[:-1]).alias("own"),
        pl.sum_horizontal(points).alias("both"),
    )  # fmt: skip
    return sums.join(people.select("participant_id", "diagnosis"), on="participant_id")


def test_what_the_published_total_is_made_of(totals):
    assert (totals["published"] == totals["own"]).sum() == 136
    assert (totals["published"] == totals["both"]).sum() == 142  # they added both ratings of weight, and gaps as 0
    assert (totals["published"].sum(), totals["own"].sum()) == (1401, 1392)


@pytest.mark.parametrize(("group", "n", "published", "own"), [
    ("SCHZ", 50, (9.3600, 7.4608), (9.2600, 7.3950)), ("BIPOLAR", 49, (12.0204, 8.4026), (11.9388, 8.2825)),
    ("ADHD", 43, (8.0000, 5.0048), (8.0000, 5.0048)),
])  # fmt: skip
def test_means_by_diagnosis(totals, group, n, published, own):
    rows = totals.filter(diagnosis=group)
    assert rows.height == n
    assert (rows["published"].mean(), rows["published"].std()) == pytest.approx(published, abs=5e-5)
    assert (rows["own"].mean(), rows["own"].std()) == pytest.approx(own, abs=5e-5)


@pytest.mark.parametrize(("column", "counts"), [("published", [65, 38, 24, 4, 11]), ("own", [65, 38, 24, 5, 10])])
def test_bands(totals, column, counts):
    total = load_instrument("HAM-D-17").subscales["total"]
    named = [total.band(value) for value in totals[column]]
    assert [named.count(name) for name in total.bands.ends] == counts


def test_our_scores_are_those_sums_where_nothing_is_missing(scores, totals):
    complete = scores.drop_nulls("score").join(totals, on="participant_id")
    assert complete.height == 138
    assert (complete["score"] == complete["own"]).all()


def test_both_ratings_of_weight_on_one_form_count_once(rated, scores):
    mapping = {"instrument": "HAM-D-17", "form_version": "weight_both", "items": [*ITEMS[:-1], "hamilton16b", "hamilton17"],
               "response_id": "n", "patient_id": "participant_id", "completed_at_constant": "2020-01-01T00:00:00Z",
               "missing": ["n/a", "-9999"]}  # fmt: skip
    table = map_wide(rated.with_columns(pl.col("n").cast(pl.String)), read_mapping(mapping), load_instruments())
    keyed = table.responses.with_columns(pl.col("response_id").cast(pl.Int64).alias("response_key"), pl.lit(0).alias("patient_key"))
    assert score_responses(keyed, load_instruments())["score"].equals(scores.sort("response_key")["score"])


def test_rows_with_a_sentinel_that_is_not_declared_are_refused(rated):
    mapping = {"instrument": "HAM-D-17", "form_version": "weight_measured", "items": [*ITEMS[:-2], "hamilton16b", "hamilton17"],
               "response_id": "n", "patient_id": "participant_id", "completed_at_constant": "2020-01-01T00:00:00Z",
               "missing": ["n/a"]}  # fmt: skip
    table = map_wide(rated.with_columns(pl.col("n").cast(pl.String)), read_mapping(mapping), load_instruments())
    assert table.bad["reasons"].to_list() == [["hamilton16b:range"]] * 27
    assert table.responses.height == 115


def test_thoughts_of_suicide(rated):
    alert = next(s for s in load_instrument("HAM-D-17").safety if s.item == "3")
    assert (rated["hamilton3"].cast(pl.Int64, strict=False) >= alert.at_least).sum() == 21


def test_sentinels_are_missing_and_not_scored(rated):
    assert (rated["hamilton16b"] == "-9999").sum() == 27
