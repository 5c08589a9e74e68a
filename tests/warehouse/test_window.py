# SPDX-License-Identifier: Apache-2.0
import dataclasses
import errno
import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import duckdb
import pytest
from window_parts import INDEX, small_load

from quality.results import CheckResult
from schemas.contract import load_contracts
from schemas.errors import UsageError, VNSightError
from schemas.load import CompleteLoad, LoadFiles
from schemas.workspace import Settings
from warehouse import publish as steps
from warehouse import swap as swapping
from warehouse.delta import last_complete
from warehouse.hash import content_hash
from warehouse.sql import query

NONE = CompleteLoad(0, {})
MARTS = [
    "dispositions", "dose_daily", "dose_outcomes", "durability", "exposures", "ledger", "patients", "responders", "scores", "strata",
    "dose_response", "synergy", "autonomic", "safety",
]  # fmt: skip


def run(ws, files: LoadFiles, results=()) -> CompleteLoad:
    base = last_complete(ws)
    path = steps.candidate(ws, files, base)
    steps.record(ws, path, files, results)
    complete = steps.commit(ws, files, base)
    steps.publish(ws, path, complete)
    return complete


def rows(ws, sql: str):
    return query(ws, sql).to_pylist()


def test_a_window_over_nothing_has_every_table_with_its_columns(ws):
    path = steps.candidate(ws, LoadFiles(1), NONE)
    with duckdb.connect(str(path), read_only=True) as connection:
        for name in MARTS:
            contract = load_contracts()[f"mart.{name}"]
            found = {c: t for c, t, *_ in connection.execute(f"describe {name}").fetchall()}
            assert connection.execute(f"select count(*) from {name}").fetchall() == [(0,)]
            assert len(found) >= len(contract.columns)
            assert not [c for c in found if c.startswith("_")]
        assert connection.execute("select count(*), count(last_known_at) from freshness").fetchall() == [(12, 0)]


def test_a_published_load_is_seen_by_any_client_from_anywhere(ws, tmp_path):
    run(ws, small_load(ws, 1))
    code = f"import duckdb; print(duckdb.connect({str(ws.window)!r}, read_only=True).execute('select count(*) from scores').fetchall())"
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[(6,)]"


def test_a_moved_folder_needs_one_statement_or_a_refresh(ws, tmp_path):
    run(ws, small_load(ws, 1))
    moved = dataclasses.replace(ws, home=tmp_path / "moved [1]* here")
    ws.home.rename(moved.home)
    with pytest.raises(VNSightError, match="Was the folder moved"):
        query(moved, "from scores")
    with duckdb.connect(str(moved.window), read_only=True) as connection:
        connection.execute("set variable vnsight_home = $home", {"home": str(moved.home)})
        assert connection.execute("select count(*) from scores").fetchall() == [(6,)]
    steps.refresh(moved, force=True)
    assert rows(moved, "select count(*) as n from scores") == [{"n": 6}]


def test_meta_ledger_dispositions_and_freshness(ws):
    complete = run(ws, small_load(ws, 1, known_at=INDEX))
    complete = run(ws, small_load(ws, 2, shard=1, known_at=INDEX + timedelta(days=1)))
    (meta,) = rows(ws, "from vnsight_meta")
    assert (meta["load"], meta["known_by"], meta["flags"]) == (2, None, [])
    assert json.loads(meta["versions"]) == complete.versions
    assert datetime.now(UTC) - meta["published_at"] < timedelta(minutes=5)
    assert rows(ws, "select load, sum(rows)::int as n from ledger group by 1 order by 1") == [{"load": 1, "n": 4}, {"load": 2, "n": 4}]
    assert [r["file"] for r in rows(ws, "from dispositions order by load")] == ["devices/1.csv", "devices/2.csv"]
    (fresh,) = rows(ws, "from freshness where source = 'devices'")
    assert (fresh["rows"], fresh["last_known_at"], fresh["late"]) == (6, INDEX + timedelta(days=1), True)


def test_comments_come_from_the_contracts_with_units(ws):
    run(ws, small_load(ws, 1))
    comments = rows(ws, "select table_name || '.' || column_name as c, comment from duckdb_columns() where not internal")
    found = {row["c"]: row["comment"] for row in comments}
    assert found["dose_daily.charge_pc"] == "Charge known to have been delivered; null where the device cannot tell it. [pC]"
    assert found["dose_outcomes.charge_pc_28d"].endswith("[pC]")
    assert not [name for name, comment in found.items() if name.split(".")[0] in MARTS and not comment]


def test_nothing_in_the_file_is_without_a_comment(ws):
    run(ws, small_load(ws, 1))
    silent = """select table_name || '.' || column_name as what from duckdb_columns() where not internal and coalesce(comment, '') = ''
        union all select table_name from duckdb_tables() where not internal and coalesce(comment, '') = ''
        union all select view_name from duckdb_views() where not internal and coalesce(comment, '') = ''
        union all select function_name from duckdb_functions() where not internal and coalesce(comment, '') = ''"""
    assert rows(ws, silent) == []
    assert len(rows(ws, "from duckdb_views() where not internal")) > 3  # marts of files are views


def test_the_published_file_is_read_only_and_alone(ws):
    run(ws, small_load(ws, 1))
    assert stat.S_IMODE(ws.window.stat().st_mode) == 0o444
    leftovers = [p.name for p in ws.home.iterdir() if p.is_file()]
    assert leftovers == ["marts.duckdb"]


def test_a_stray_log_of_a_writing_client_is_not_replayed_onto_the_next_load(ws):
    run(ws, small_load(ws, 1))
    ws.window.chmod(0o644)
    code = f"import duckdb, os; c = duckdb.connect({str(ws.window)!r}); c.execute('create table phantom as select 1'); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert ws.window.with_name("marts.duckdb.wal").exists()
    run(ws, small_load(ws, 2))
    assert not ws.window.with_name("marts.duckdb.wal").exists()
    with pytest.raises(UsageError, match="no table phantom"):
        query(ws, "from phantom")


def test_leftover_candidates_are_cleared_away(ws):
    stale = ws.home / ".candidate-9.duckdb"
    stale.write_text("half a file")
    run(ws, small_load(ws, 1))
    assert not stale.exists()


def test_a_candidate_half_written_by_a_killed_run_is_built_anew(ws):
    (ws.home / ".candidate-1.duckdb").write_text("half a file")
    (ws.home / ".candidate-1.duckdb.wal").write_text("half a log")
    run(ws, small_load(ws, 1))
    assert rows(ws, "select count(*) as n from patients") == [{"n": 3}]


def test_a_full_disk_at_publish_leaves_the_published_file(ws, monkeypatch):
    run(ws, small_load(ws, 1))
    before = content_hash(ws)

    def full(source, target):
        if target == ws.window:
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(source, target)

    rename = os.rename
    monkeypatch.setattr(swapping.os, "replace", full)
    with pytest.raises(VNSightError, match="the disk is full: free space"):
        run(ws, small_load(ws, 2, drop=0.1))
    monkeypatch.undo()
    assert content_hash(ws) == before
    assert steps.refresh(ws).load == 2  # the load was committed; the next run publishes it
    assert content_hash(ws) != before


def test_a_disk_that_fails_while_building_is_said_in_words(ws, monkeypatch):
    files = small_load(ws, 1)
    monkeypatch.setattr(steps, "candidate_path", lambda *_: ws.home / "no such folder" / "x.duckdb")
    with pytest.raises(VNSightError, match=r"build of x\.duckdb: .* The published marts stay as they were"):
        steps.candidate(ws, files, NONE)


def test_refresh_publishes_what_a_crash_left_unpublished(ws):
    run(ws, small_load(ws, 1))
    files = small_load(ws, 2, drop=0.1)
    check = CheckResult(
        "scores", "score:range", "warning", False, 1, 6, "why", "surveys", "surveys-data", ("response_key=1",), "from scores"
    )
    path = steps.candidate(ws, files, last_complete(ws))
    steps.record(ws, path, files, [check])
    steps.commit(ws, files, last_complete(ws))
    steps.discard(path)  # the swap never came
    assert steps.published_load(ws) == 1
    assert steps.refresh(ws).load == 2
    assert rows(ws, "select load, flags from vnsight_meta") == [{"load": 2, "flags": ["scores: score:range"]}]
    assert rows(ws, 'select rule, sample, "table" from quality_results') == [
        {"rule": "score:range", "sample": ["response_key=1"], "table": "scores"}
    ]
    published = ws.window.stat().st_mtime_ns
    steps.refresh(ws)
    assert ws.window.stat().st_mtime_ns == published  # nothing to do


def test_refresh_replaces_a_damaged_window(ws):
    run(ws, small_load(ws, 1))
    expected = content_hash(ws)
    ws.window.chmod(0o644)
    ws.window.write_bytes(b"not a database")
    steps.refresh(ws)
    assert content_hash(ws) == expected


def test_refresh_before_the_first_load_does_nothing(ws):
    assert steps.refresh(ws) == NONE
    assert not ws.window.exists()


def test_a_rebuild_of_past_knowledge_shows_only_the_rebuilt_marts(ws, tmp_path):
    base = run(ws, small_load(ws, 1, shard=0))
    past = small_load(ws, 1, shard=3)
    known_by = int((INDEX + timedelta(days=3)).timestamp() * 1e6) + 7
    files = LoadFiles(base.load, past.replaced, {}, known_by_us=known_by)
    path = steps.candidate(ws, files, base, tmp_path / "past.duckdb")
    steps.record(ws, path, files, [])
    steps.stamp_window(path, steps.WindowMeta(base.load, base.versions, known_by))
    assert query(path, "select min(patient_key) as k from patients").to_pylist() == [{"k": f"{3001:016x}"}]
    assert query(path, "select epoch_us(known_by) as t from vnsight_meta").to_pylist() == [{"t": known_by}]
    assert rows(ws, "select min(patient_key) as k from patients") == [{"k": f"{1:016x}"}]


def test_without_the_window_of_28_days_responders_have_no_dose(ws):
    narrow = dataclasses.replace(ws, settings=Settings(windows_days=(7,)))
    run(narrow, small_load(narrow, 1))
    assert rows(narrow, "select distinct charge_pc_28d, coverage_28d from responders") == [{"charge_pc_28d": None, "coverage_28d": None}]


def test_the_file_is_written_for_older_readers(ws):
    run(ws, small_load(ws, 1))
    with duckdb.connect() as connection:
        connection.execute(f"attach '{str(ws.window).replace(chr(39), chr(39) * 2)}' as w (read_only)")
        tags = connection.execute("select tags from duckdb_databases() where database_name = 'w'").fetchall()[0][0]
    assert "v1.2.0" in str(tags)


def test_a_held_candidate_is_kept_for_looking(ws):
    path = steps.candidate(ws, small_load(ws, 1), NONE)
    place = steps.hold(ws, path, 1)
    assert not path.exists()
    assert query(place, "select count(*) as n from patients").to_pylist() == [{"n": 3}]
