# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it: what it prints, which code it ends with, and that the numbers behind it are true."""

import csv
import json
import os
import re
import shutil
import sqlite3  # noqa: F401 - a stray file of another format must not be mistaken for ours
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.secret import read_secret
from schemas.workspace import open_workspace
from tests.against_truth import ask, unlabelled, wrong_bins, wrong_doses
from tests.flows.conftest import vnsight

COMMANDS = ("demo", "init", "simulate", "run", "status", "sql", "hash", "trace", "keys", "score", "dose", "report")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str):
    assert "Example" in vnsight(command, "--help")


def test_help_does_not_wait_for_heavy_libraries():
    heavy = ("apache_beam", "prefect", "great_expectations", "duckdb", "polars")
    code = f"import sys, flows.cli; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_fault_is_in_its_bin_and_every_dose_is_exact(study: Path):
    assert wrong_bins(study).rows() == []
    assert unlabelled(study).rows() == []
    compared, wrong = wrong_doses(study, read_secret(open_workspace(study)))
    assert compared > 1000
    assert wrong.rows() == []


def test_no_identifier_leaves_landing(study: Path):
    """Ids are in landing, the inbox and quarantined raw bytes, nowhere else."""
    ids = [line.split(",")[0].encode() for line in vnsight("keys", "patient", "--home", study).splitlines()[1:20]]
    assert ids
    for path in [
        study / "marts.duckdb",
        *study.glob("marts/**/*.parquet"),
        *study.glob("staged/**/*.parquet"),
        *study.glob("ledger/**/*.parquet"),
    ]:
        content = path.read_bytes()
        assert not any(i in content for i in ids), path


def test_sql_formats_and_errors(study: Path):
    count = "select count(*) as n from scores"
    n = ask(study, count)["n"][0]
    assert f"{n:,}" in vnsight("sql", count, "--home", study)
    assert vnsight("sql", count, "--home", study, "--format", "csv") == f"n\n{n}\n"
    assert json.loads(vnsight("sql", count, "--home", study, "--format", "json")) == [{"n": n}]
    assert "| n |" in vnsight("sql", count, "--home", study, "--format", "markdown")
    assert "scores" in vnsight("sql", "select * from score", "--home", study, code=2)  # names what there is
    assert "error:" in vnsight("sql", "drop table strata", "--home", study, code=2)


def test_report_is_one_page_and_says_where_it_is(study: Path, tmp_path: Path):
    out = tmp_path / "report.html"
    said = vnsight("report", "--out", out, "--home", study)
    assert f"{out}: " in said
    assert "MB" in said
    page = out.read_text()
    assert "On VNS" in page or "There is no answer yet" in page
    assert "its folder is not there" in vnsight("report", "--out", tmp_path / "no" / "r.html", "--home", study, code=2)
    before = (study / "marts.duckdb").read_bytes()
    assert "database that is read" in vnsight("report", "--out", study / "marts.duckdb", "--home", study, code=2)
    assert (study / "marts.duckdb").read_bytes() == before


def test_hash_names_every_mart_and_all(study: Path):
    lines = vnsight("hash", "--home", study).splitlines()
    assert [x.split()[1] for x in lines][-1] == "all"
    assert {"patients", "dose_daily", "scores", "dose_outcomes", "responders", "strata"} < {x.split()[1] for x in lines}
    assert vnsight("hash", "strata", "--home", study).split()[0] == next(x.split()[0] for x in lines if x.endswith(" strata"))


def test_trace_finds_a_quarantined_record_and_an_unknown_one(study: Path):
    import polars as pl

    faults = pl.read_parquet(study / "truth" / "faults.parquet")
    bad = faults.filter((pl.col("fault") == "item_out_of_range") & pl.col("record_id").is_not_null()).row(0, named=True)
    out = vnsight("trace", bad["record_id"], "--home", study)
    assert "quarantined" in out
    assert "answers:range" in out
    assert f"{bad['line']:,}" in out
    assert "no record" in vnsight("trace", "NOBODY-77", "--home", study, code=1)


def test_trace_says_what_a_pending_row_waits_for_and_finds_what_was_refused_of_a_patient(study: Path):
    import polars as pl

    pending = "from dispositions where bin = 'pending' and source = 'stimulation_sessions'"
    out = vnsight("trace", ask(study, f"select split_part(record_id, '/', 1) as key {pending}")["key"][0], "--home", study)
    assert out.count("device_id:unknown") >= 2  # at the row, and in the list of reasons
    assert "waits for a row in devices" in " ".join(out.split())

    refused = pl.read_parquet(study / "quarantine/*/*.parquet", hive_partitioning=False)
    patient = re.search(rb"P\d{6}", refused.filter(pl.col("rules").list.contains("answers:range"))["raw"][0])
    out = vnsight("trace", patient[0].decode(), "--home", study)
    assert "answers:range" in out
    assert "column answers is outside" in out


def test_keys_are_those_of_the_marts(study: Path):
    rows = list(csv.DictReader(vnsight("keys", "patient", "--home", study).splitlines()))
    assert set(ask(study, "select patient_key from patients")["patient_key"]) <= {r["key"] for r in rows}


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_nothing_new_is_said_and_changes_nothing(study: Path, tmp_path: Path):
    home = tmp_path / "copy"
    shutil.copytree(study, home)
    before = vnsight("hash", "--home", study)
    assert "nothing new to load" in vnsight("run", "--home", home, "--direct")
    file = next(p for p in sorted((home / "inbox" / "survey_responses").iterdir()) if p.suffix in (".ndjson", ".parquet"))
    shutil.copyfile(file, file.with_name("again-" + file.name))  # the same rows under another name
    out = vnsight("run", "--home", home, "--direct")
    assert "published load 2" in out
    assert vnsight("hash", "--home", home) == before


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_known_by_shows_the_past_and_the_next_run_today(study: Path, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    shutil.copyfile(study / "secret.key", home / "secret.key")  # or every key, and so every hash, would differ
    vnsight("init", home)
    files = sorted(p for p in (study / "inbox").rglob("*") if p.is_file())
    for half in (files[::2], files[1::2]):
        for file in half:
            shutil.copyfile(file, home / "inbox" / file.relative_to(study / "inbox"))
        vnsight("run", "--home", home, "--direct")
        if half is not files[1::2] and not (home / "then").exists():
            (home / "then").write_text(vnsight("hash", "--home", home))
            instant = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
            time.sleep(2)
    today = vnsight("hash", "--home", home)
    assert today == vnsight("hash", "--home", study)  # two loads, the same marts as in one
    vnsight("run", "--home", home, "--known-by", instant, "--out", tmp_path / "past.duckdb")
    assert vnsight("hash", "--home", home) == today
    vnsight("run", "--home", home, "--known-by", instant)
    assert vnsight("hash", "--home", home) == (home / "then").read_text() != today
    vnsight("run", "--home", home, "--direct")
    assert vnsight("hash", "--home", home) == today


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run",), "this folder is no workspace"),
        (("run", "--home", "missing"), "is not a folder"),
        (("run", "--known-by", "yesterday", "--home", "."), "is no instant"),
        (("sql", "select 1", "--home", "."), "error:"),
        (("nonsense",), ""),
        (("score", "missing.csv", "--instrument", "PHQ-9", "--out", "x.csv"), "missing.csv"),
        (("dose", "missing.csv", "--at", "2025-01-01", "--out", "x.csv"), "no such file"),
        (("hash", "--home", "."), "error:"),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_why(arguments, message, tmp_path: Path):
    assert message in vnsight(*arguments, cwd=tmp_path, code=2)


def test_two_runs_at_once(study: Path, tmp_path: Path):
    import fcntl

    home = tmp_path / "home"
    vnsight("init", home)
    with (home / ".lock").open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(str(os.getpid()))
        held.flush()
        assert "another run is at work" in vnsight("run", "--home", home, "--direct", code=1)


def test_dose_of_a_file_is_the_worked_example(tmp_path: Path):
    """Domain 2.4 A: 1.5 mA, 250 us, 20 Hz, 30 s / 5 min is 58.9091 mC a day."""
    row = {"device_id": "D1", "model": "106", "effective_at": "2025-01-01T00:00:00Z", "current_ma": 1.5, "pulse_width_us": 250,
           "frequency_hz": 20, "on_s": 30, "off_min": 5, "changed_by": "clinician", "recorded_at": "2025-01-01T00:00:00Z"}  # fmt: skip
    file, out = tmp_path / "settings.ndjson", tmp_path / "dose.csv"
    file.write_text(json.dumps(row) + "\n")
    vnsight("dose", file, "--at", "2025-01-02T00:00:00Z", "--windows", 1, "--out", out)
    assert next(csv.DictReader(out.read_text().splitlines()))["charge_pc"] == "58909090909"
    file.write_text(json.dumps(row | {"current_ma": 1500}) + "\n")
    message = vnsight("dose", file, "--at", "2025-01-02T00:00:00Z", "--out", out, code=1)
    assert "settings.ndjson line 1: column current_ma is outside 0 to 3.5 mA (is it in microamperes?)" in message
