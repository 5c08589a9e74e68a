# SPDX-License-Identifier: Apache-2.0
import doctest
import hashlib
import importlib
import pkgutil
from datetime import timedelta

import polars as pl
import pytest

import simulator
from schemas.contract import SOURCES
from schemas.errors import UsageError
from simulator import simulate
from simulator.block import draw_block
from simulator.plan import Plan


def digests(home):
    return {str(p.relative_to(home)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(home.rglob("*")) if p.is_file()}


def test_same_arguments_same_bytes_other_seed_other_bytes(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        simulate(tmp_path / name, 40, 50, seed)
    a, b, c = (digests(tmp_path / name) for name in "abc")
    assert a == b
    assert set(a.values()) & set(c.values()) == {a["truth/effects.parquet"]}


def test_every_source_and_every_format_is_there(world):
    files = [p for p in (world.home / "inbox").rglob("*") if p.is_file()]
    assert {p.parent.name for p in files} == set(SOURCES) == set(world.summary.rows)
    endings = {p.name.split(".", 1)[1] for p in files}
    assert endings == {"ndjson", "ndjson.gz", "ndjson.zst", "csv", "csv.gz", "parquet"}
    assert world.summary.files == len(files)


def test_parquet_only(tmp_path):
    summary = simulate(tmp_path, 60, 45, 2, format="parquet")
    assert all(p.suffix == ".parquet" for p in (tmp_path / "inbox").rglob("*") if p.is_file())
    assert summary.faults["dst_nonexistent"] > 0 and "malformed_line" not in summary.faults


def test_a_folder_in_use_is_refused(world):
    with pytest.raises(UsageError, match="not empty"):
        simulate(world.home, 1, 1, 1)


@pytest.mark.parametrize("wrong", [{"patients": 0}, {"days": 0}, {"seed": -1}, {"format": "xlsx"}])
def test_impossible_arguments_are_refused(tmp_path, wrong):
    arguments = {"patients": 1, "days": 1, "seed": 1} | wrong
    with pytest.raises(UsageError):
        simulate(tmp_path, arguments.pop("patients"), arguments.pop("days"), arguments.pop("seed"), **arguments)


@pytest.fixture(scope="module")
def year():
    return draw_block(Plan(1_500, 365, 3), 0)


def test_arms_and_modalities_have_their_shares(year):
    arms = year.truth.group_by("vns_at_landmark", "cbt_at_landmark").len()
    assert arms.height == 4 and arms["len"].min() > 150
    kinds = dict(year.truth.group_by("modality").len().iter_rows())
    assert all(kinds[m] > 150 for m in ("none", "implanted", "cervical", "auricular"))


def test_every_patient_has_a_baseline_of_phq9_in_the_month_before_the_index(year):
    phq = year.frames["survey_responses"].filter(pl.col("instrument") == "PHQ-9")
    both = phq.join(year.truth.select("patient_id", "index_at"), on="patient_id")
    before = both["index_at"] - both["completed_at"]
    assert both.filter((before >= timedelta()) & (before <= timedelta(days=30)))["patient_id"].n_unique() == len(year.people)


def test_scores_follow_the_true_improvement(year):
    phq = year.frames["survey_responses"].filter(pl.col("instrument") == "PHQ-9").sort("completed_at")
    total = pl.col("answers").list.sum()
    change = phq.group_by("patient_id").agg(first=total.first(), last=total.last()).join(year.truth, on="patient_id")
    gone = change.filter(pl.col("first") >= 10).select(measured=1 - pl.col("last") / pl.col("first"), true="improvement_at_end")
    assert gone.select(pl.corr("measured", "true")).item() > 0.6
    assert abs(gone["measured"].mean() - gone["true"].mean()) < 0.08


def test_the_true_synergy_is_more_than_both_alone(year):
    means = year.truth.group_by("vns_at_landmark", "cbt_at_landmark").agg(pl.col("improvement_at_end").mean())
    mean = {(v, c): m for v, c, m in means.iter_rows()}
    assert mean[True, True] - mean[True, False] > mean[False, True] - mean[False, False]


def test_doctests():
    for found in pkgutil.walk_packages(simulator.__path__, "simulator."):
        assert doctest.testmod(importlib.import_module(found.name)).failed == 0, found.name
