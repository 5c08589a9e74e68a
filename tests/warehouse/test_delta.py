# SPDX-License-Identifier: Apache-2.0
import dataclasses

import polars as pl
import pytest
from deltalake import DeltaTable
from window_parts import INDEX, ledger_row, load_files, patient, small_load, workspace, write_part

from schemas.errors import UsageError, VNSightError
from schemas.load import CompleteLoad, LoadFiles
from schemas.workspace import Settings, Workspace
from warehouse import delta
from warehouse.delta import commit_load, last_complete, live_files, live_shards

NONE = CompleteLoad(0, {})


def everything(ws: Workspace, complete: CompleteLoad) -> dict[str, list[str]]:
    return {table: live_files(ws, table, version) for table, version in complete.versions.items()}


def test_nothing_is_load_zero(ws):
    assert last_complete(ws) == NONE
    assert live_files(ws, "marts/scores", None) == []
    assert live_shards(ws, "marts/scores", None) == {}


def test_a_load_replaces_its_shards_and_appends_its_ledger(ws):
    first = small_load(ws, 1, shard=0)
    one = commit_load(ws, first, NONE)
    other_shard = small_load(ws, 2, shard=1)
    two = commit_load(ws, other_shard, one)
    again = small_load(ws, 3, shard=0, drop=0.25)
    three = commit_load(ws, again, two)
    assert last_complete(ws) == three
    assert live_shards(ws, "marts/scores", three.versions["marts/scores"]) == {
        0: again.replaced["marts/scores"][0],
        1: other_shard.replaced["marts/scores"][1],
    }
    assert len(live_files(ws, "ledger/ledger", three.versions["ledger/ledger"])) == 3
    # time travel: the second load is still what it was
    assert live_shards(ws, "marts/scores", two.versions["marts/scores"])[0] == first.replaced["marts/scores"][0]


def test_a_table_that_a_load_does_not_touch_keeps_its_version(ws):
    one = commit_load(ws, small_load(ws, 1), NONE)
    two = commit_load(ws, load_files(ws, 2, {"patients": {0: [patient(1)]}}, [ledger_row(2, "f", 0)]), one)
    assert two.versions["marts/scores"] == one.versions["marts/scores"]
    assert two.versions["marts/patients"] == one.versions["marts/patients"] + 1


def test_a_load_without_a_ledger_row_is_complete_all_the_same(ws):
    one = commit_load(ws, LoadFiles(1, {}, {}), NONE)
    assert last_complete(ws) == one == CompleteLoad(1, {"ledger/ledger": 0})
    two = commit_load(ws, LoadFiles(2, {}, {}), one)
    assert last_complete(ws) == two == CompleteLoad(2, {"ledger/ledger": 1})


def test_the_same_load_twice_is_once(ws):
    files = small_load(ws, 1)
    one = commit_load(ws, files, NONE)
    assert commit_load(ws, files, one) == one
    assert last_complete(ws) == one


class Crash(Exception):
    pass


def crash_at(monkeypatch, name):
    def milestone(here):
        if here == name:
            raise Crash

    monkeypatch.setattr(delta, "milestone", milestone)


@pytest.mark.parametrize("point", ["commit:ledger/dispositions", "commit:marts/scores", "commit:staged/devices", "commit:ledger"])
def test_after_a_crash_the_load_is_done_again(ws, monkeypatch, point):
    base = commit_load(ws, small_load(ws, 1), NONE)
    files = small_load(ws, 2, drop=0.1)
    with monkeypatch.context() as crash, pytest.raises(Crash):
        crash_at(crash, point)
        commit_load(ws, files, base)
    assert last_complete(ws) == base
    assert everything(ws, base) == everything(ws, last_complete(ws))
    done = commit_load(ws, files, last_complete(ws))
    assert live_shards(ws, "marts/scores", done.versions["marts/scores"]) == files.replaced["marts/scores"]
    assert len(live_files(ws, "ledger/dispositions", done.versions["ledger/dispositions"])) == 2


def test_a_crashed_load_done_again_with_other_files_leaves_nothing_of_the_first_try(ws, monkeypatch):
    """New files may have arrived since: the plan of a load is made anew unless it was written down."""
    base = commit_load(ws, small_load(ws, 1), NONE)
    with monkeypatch.context() as crash, pytest.raises(Crash):
        crash_at(crash, "commit:ledger")
        commit_load(ws, small_load(ws, 2, shard=7), base)
    files = small_load(ws, 2, shard=0, drop=0.1)
    done = commit_load(ws, files, last_complete(ws))
    assert live_shards(ws, "marts/scores", done.versions["marts/scores"]) == files.replaced["marts/scores"]
    assert len(live_files(ws, "ledger/dispositions", done.versions["ledger/dispositions"])) == 2


def test_leftovers_in_a_table_the_next_try_does_not_touch_are_never_read(ws, monkeypatch):
    base = commit_load(ws, small_load(ws, 1), NONE)
    with monkeypatch.context() as crash, pytest.raises(Crash):
        crash_at(crash, "commit:ledger")
        commit_load(ws, small_load(ws, 2, shard=7), base)
    two = commit_load(ws, LoadFiles(2, {}, {}), last_complete(ws))
    assert set(live_shards(ws, "marts/scores", two.versions["marts/scores"])) == {0}
    three = commit_load(ws, small_load(ws, 3, shard=1), two)
    assert set(live_shards(ws, "marts/scores", three.versions["marts/scores"])) == {0, 1}


@pytest.mark.parametrize("name", ["with space", "it's", "[1]*", "umläut"])
def test_folders_have_all_sorts_of_names(tmp_path, name):
    ws = workspace(tmp_path / name)
    done = commit_load(ws, small_load(ws, 2, drop=0.1), commit_load(ws, small_load(ws, 1), NONE))
    assert last_complete(ws) == done
    assert live_shards(ws, "marts/scores", done.versions["marts/scores"]).keys() == {0}


@pytest.mark.parametrize("name", ["q?x", "per%20cent", "ha#sh"])
def test_a_folder_name_that_deltalake_misreads_is_refused(tmp_path, name):
    ws = workspace(tmp_path / name)
    with pytest.raises(UsageError, match="move or rename it"):
        last_complete(ws)


def test_other_readers_of_delta_see_the_same_rows(tmp_path):
    ws = workspace(tmp_path / "plain")  # polars itself cannot read a Delta table in a folder with a space in its name
    one = commit_load(ws, small_load(ws, 1), NONE)
    two = commit_load(ws, small_load(ws, 2, drop=0.1), one)
    rows = pl.scan_delta(str(ws.home / "marts/scores"), version=two.versions["marts/scores"]).collect()
    assert sorted(rows["score"].to_list()) == [18, 18, 18, 20, 20, 20]
    assert DeltaTable(str(ws.home / "marts/scores")).protocol().min_reader_version == 1


def test_checkpoints_keep_every_version_readable(ws, monkeypatch):
    monkeypatch.setattr(delta, "CHECKPOINT_EVERY", 2)
    complete, seen = NONE, []
    for load in range(1, 7):
        complete = commit_load(ws, small_load(ws, load, shard=load % 2, drop=load / 10), complete)
        seen.append((complete, everything(ws, complete)))
    assert list((ws.home / "marts/scores/_delta_log").glob("*.checkpoint.parquet"))
    for past, files in seen:
        assert everything(ws, past) == files
    assert last_complete(ws) == complete


def test_new_columns_need_all_shards(ws):
    one = commit_load(ws, small_load(ws, 1, shard=0), NONE)
    wider = dataclasses.replace(ws, settings=Settings(windows_days=(7, 28, 90, 180)))
    one = commit_load(ws, small_load(ws, 2, shard=1), one)
    with pytest.raises(VNSightError, match=r"marts/dose_outcomes: the columns changed, but only some shards"):
        commit_load(wider, small_load(wider, 3, shard=0), one)
    assert last_complete(ws) == one
    both = [small_load(wider, 3, shard=n) for n in (0, 1)]
    files = LoadFiles(3, {t: {**both[0].replaced[t], **both[1].replaced[t]} for t in both[0].replaced}, both[0].appended)
    three = commit_load(wider, files, one)
    assert set(live_shards(ws, "marts/dose_outcomes", three.versions["marts/dose_outcomes"])) == {0, 1}
    names = [f.name for f in DeltaTable(str(ws.home / "marts/dose_outcomes")).schema().fields]
    assert "charge_pc_180d" in names


@pytest.mark.parametrize(
    ("files", "message"),
    [(LoadFiles(3), "load 3 cannot follow load 0"), (LoadFiles(1, known_by_us=5), "past knowledge is never committed")],
)
def test_what_is_never_committed(ws, files, message):
    with pytest.raises(VNSightError, match=message):
        commit_load(ws, files, NONE)


def test_two_live_files_of_one_shard_are_refused(ws):
    one = write_part(ws, "marts/patients", "_shard=0", [patient(1)])
    two = write_part(ws, "marts/patients", "_shard=0", [patient(2)])
    done = commit_load(ws, LoadFiles(1, {}, {"marts/patients": (one, two)}), NONE)
    with pytest.raises(VNSightError, match="two live files"):
        live_shards(ws, "marts/patients", done.versions["marts/patients"])


def test_known_at_of_parts_is_kept(ws):
    done = commit_load(ws, small_load(ws, 1), NONE)
    (path,) = live_shards(ws, "staged/devices", done.versions["staged/devices"]).values()
    assert pl.read_parquet(ws.home / path, hive_partitioning=False)["_known_at"].unique().to_list() == [INDEX]
