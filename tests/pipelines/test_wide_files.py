# SPDX-License-Identifier: Apache-2.0
"""Real input through the main job: the public PHQ-9 file by its numbers, by its labels, and declared in a coding it does not have."""

import dataclasses
from pathlib import Path

import polars as pl
import pytest

from pipelines.load import stage_load
from schemas.workspace import Settings, Workspace
from tests.small_world import SECRET, land_bytes, read_table

MAPPING = {
    "instrument": "PHQ-9", "response_id": "ObservationID", "patient_id": "ObservationID", "source_score": "SumScore",
    "completed_at_constant": "2022-01-01T00:00:00Z", "register_patients": True,
}  # fmt: skip
LABELS = {"items": "Item{}", "coding": "labels"}


def load(home: Path, shared_data: Path, file: str = "irt-phq9/PHQ9_data.csv", mapping: dict[str, object] = MAPPING, **more: object):
    ws = Workspace(home, Settings(shards=2), ({"name": "clinic", "wide": mapping | more},))
    if not (shared_data / file).exists():
        pytest.skip(f"{file} is not there")
    data = (shared_data / file).read_bytes()
    landed = dataclasses.replace(land_bytes(ws, "survey_responses/PHQ9_data.csv", data, 1), origin="clinic")
    staged = stage_load(ws, [landed], 1, {}, SECRET)
    bins = dict(staged.ledger.select("bin", "rows").filter(pl.col("rows") > 0).iter_rows())
    return staged, bins, read_table(ws, [staged], "marts/scores"), ws


@pytest.mark.parametrize("more", [{"items": "Item{}_num"}, LABELS | {"labels": {"More than half": 2, "Almost every day": 3}}])
def test_numbers_and_mapped_labels_give_the_published_totals(tmp_path, shared_data, more):
    _, bins, scores, _ = load(tmp_path, shared_data, **more)
    assert bins == {"accepted": 2177}
    assert (scores["score"] == scores["source_score"]).sum() == 2177
    assert round(scores["score"].mean(), 6) == 13.286174
    assert round(scores["score"].std(), 6) == 5.828615
    bands = [((scores["score"] >= low) & (scores["score"] < high)).sum() for low, high in ((0, 5), (5, 10), (10, 15), (15, 20), (20, 28))]
    assert bands == [112, 523, 608, 584, 350]


def test_labels_the_map_does_not_know_are_reported_never_scored(tmp_path, shared_data):
    staged, bins, scores, ws = load(tmp_path, shared_data, **LABELS)
    assert bins == {"accepted": 274, "quarantined": 1903}
    assert scores.height == 274
    quarantine = pl.concat([pl.read_parquet(ws.home / p, hive_partitioning=False) for p in staged.files.appended["quarantine"]])
    assert quarantine["rules"].list.len().sum() == 9163
    assert quarantine["rules"].explode().str.ends_with(":label").all()
    assert "9,163 cells in 1,903 rows" in staged.notes[0]


def test_another_coding_refuses_the_whole_file(tmp_path, shared_data):
    staged, bins, scores, _ = load(tmp_path, shared_data, items="Item{}_num", declared={"minimum": 1, "maximum": 4})
    assert bins == {"quarantined": 2177}
    assert scores.height == 0
    assert "file:coding: declared 1-4, but codes 0 to 3 occur" in staged.notes[0]


GROUNDHOG = {
    "response_id": "user_id", "patient_id": "user_id", "completed_at_constant": "2020-01-01T00:00:00Z", "register_patients": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "declared", "rule", "right", "each"),
    [
        ("dass21_items.csv", {"instrument": "DASS-21", "items": "dass21_{}"}, "file:coding: declared 0-3", "one_based", 3),
        ("cerq_items.csv", {"instrument": "CERQ-36", "items": "cerq_{}"}, "file:item_order: declared in the item order of form standard",
         "blocked", 9),
    ],
)
def test_a_form_of_the_wrong_version_is_refused_and_in_its_own_scored(tmp_path, shared_data, file, declared, rule, right, each):
    mapping = GROUNDHOG | declared
    staged, bins, scores, _ = load(tmp_path / "wrong", shared_data, f"groundhog_day/{file}", mapping, form_version="standard")
    assert (bins, scores.height) == ({"quarantined": 241}, 0)
    assert rule in staged.notes[0]
    staged, bins, scores, _ = load(tmp_path / "right", shared_data, f"groundhog_day/{file}", mapping, form_version=right)
    assert (bins, scores.height, staged.notes) == ({"accepted": 241}, each * 241, ())
