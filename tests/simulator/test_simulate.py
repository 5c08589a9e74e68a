# SPDX-License-Identifier: Apache-2.0
import doctest
import hashlib
import importlib
import os
import pkgutil
import subprocess
import sys
from datetime import timedelta

import polars as pl
import pytest

import simulator
from schemas.contract import SOURCES
from schemas.errors import UsageError
from simulator import simulate
from simulator.block import draw_block
from simulator.faults.inject import canonical, inject
from simulator.plan import Plan


def digests(home):
    return {str(p.relative_to(home)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(home.rglob("*")) if p.is_file()}


def test_same_arguments_same_bytes_other_seed_other_bytes(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        simulate(tmp_path / name, 40, 50, seed)
    a, b, c = (digests(tmp_path / name) for name in "abc")
    assert a == b
    assert set(a.values()) & set(c.values()) == {a["truth/effects.parquet"]}


def test_another_process_writes_the_same_bytes(tmp_path):
    simulate(tmp_path / "here", 12, 40, 5)
    call = "import pathlib, sys, simulator; simulator.simulate(pathlib.Path(sys.argv[1]), 12, 40, 5)"
    environment = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", call, str(tmp_path / "there")], check=True, env=environment)
    assert digests(tmp_path / "here") == digests(tmp_path / "there")


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
    return draw_block(Plan(800, 365, 3), 0)


def test_arms_and_modalities_have_their_shares(year):
    arms = year.truth.group_by("vns_at_landmark", "cbt_at_landmark").len()
    assert arms.height == 4 and arms["len"].min() > 80
    kinds = dict(year.truth.group_by("modality").len().iter_rows())
    assert all(kinds[m] > 80 for m in ("none", "implanted", "cervical", "auricular"))


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


def test_a_year_has_every_situation_the_rules_of_dose_are_about(year):
    devices, settings, readings, sessions = (
        year.frames[s] for s in ("devices", "device_settings", "interrogations", "stimulation_sessions")
    )
    assert set(devices["end_reason"].drop_nulls()) == {"explant", "replaced", "end_of_service", "returned"}
    assert set(settings["changed_by"]) == {"clinician", "schedule"}
    assert set(readings["battery_status"]) >= {"ok", "eos"} and readings["current_ma"].null_count() > 0
    assert readings["magnet_count"].max() > 50 and readings["autostim_count"].max() > 50
    quiet = settings.sort("device_id", "effective_at").select((pl.col("effective_at").diff().over("device_id")).max())
    assert quiet.item() > timedelta(days=180)  # longer than settings are carried
    following = pl.col("session_no").diff().over("device_id")
    assert {-1, 1, 2} <= set(sessions.select(following.clip(-1, 2).drop_nulls())["session_no"])  # restarted, next, one lost
    assert sessions["gap_offsets_ms"].null_count() < sessions.height


def test_clocks_that_cannot_be_repaired_make_sessions_overlap(year):
    rows = canonical(inject(Plan(800, 365, 3), year)["stimulation_sessions"])
    offset = pl.col("uploaded_at") - pl.col("device_clock_at")
    moved = pl.when(offset.abs() > timedelta(seconds=120)).then(offset).otherwise(timedelta())
    placed = rows.select("device_id", "duration_ms", start=pl.col("device_started_at") + moved).sort("device_id", "start")
    after = pl.col("start").shift(-1).over("device_id") - pl.col("start")
    assert placed.filter(after < pl.duration(milliseconds="duration_ms")).height > 0
