# SPDX-License-Identifier: Apache-2.0
import builtins
import os
from pathlib import Path

import pytest

from flows.sources import connectors
from flows.sources.connector import NotYet, pull
from flows.sources.folder import Folder, inbox
from pipelines.landing import landed_files
from pipelines.launch import silent
from schemas.errors import UsageError, VNSightError
from schemas.workspace import Workspace


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    (tmp_path / "inbox" / "patients").mkdir(parents=True)
    return Workspace(tmp_path)


def drop(ws: Workspace, name: str, content: str = "x\n") -> Path:
    path = ws.inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def pulled(ws: Workspace, connector=None) -> list[str]:
    return [f.file for f in pull(ws, connector or inbox(ws), silent)]


def test_every_file_is_pulled_once_and_in_order(ws):
    for name in ("patients/b.ndjson", "patients/2025/a.csv", "devices/c.parquet"):
        drop(ws, name)
    assert pulled(ws) == ["devices/c.parquet", "patients/2025/a.csv", "patients/b.ndjson"]
    assert pulled(ws) == []


def test_an_unchanged_file_is_not_read_again(ws, monkeypatch):
    drop(ws, "patients/a.csv")
    pulled(ws)

    def forbidden(*_):
        raise AssertionError("it was read")

    monkeypatch.setattr(Folder, "fetch", forbidden)
    assert pulled(ws) == []


def test_a_touched_file_is_read_once_more_and_then_left_alone(ws, monkeypatch):
    path = drop(ws, "patients/a.csv")
    pulled(ws)
    os.utime(path, ns=(1, 1))
    assert pulled(ws) == []
    monkeypatch.setattr(Folder, "fetch", lambda *_: pytest.fail("it was read"))
    assert pulled(ws) == []


def test_a_changed_file_is_landed_beside_the_old_one(ws):
    drop(ws, "patients/a.csv", "one")
    pulled(ws)
    drop(ws, "patients/a.csv", "other")
    assert pulled(ws) == ["patients/a.csv"]
    assert len(landed_files(ws)) == 2


@pytest.mark.parametrize(
    "name", ["patients/.hidden.csv", "patients/a.csv.tmp", "patients/a.csv.part", "patients/A.CSV.TMP", "patients/.sync/a.csv"]
)
def test_hidden_and_unfinished_files_are_left_alone(ws, name):
    drop(ws, name)
    assert pulled(ws) == []


@pytest.mark.parametrize("name", ["patient/a.csv", "a.csv"])
def test_a_file_in_no_source_is_named_and_does_not_stop_the_rest(ws, name, caplog):
    drop(ws, "adverse_events/fine.csv")
    drop(ws, name)
    pulled(ws)
    assert [f.file for f in landed_files(ws)] == ["adverse_events/fine.csv"]
    assert f"inbox/{name}: was not pulled" in caplog.text
    assert "put files in a folder named after their source: adverse_events" in caplog.text


def denied(path):
    raise PermissionError(13, "Permission denied", str(path))


def test_an_unreadable_file_is_named_and_nothing_of_it_landed(ws, monkeypatch):
    drop(ws, "patients/a.csv")
    secret = drop(ws, "patients/b.csv")
    real = builtins.open
    monkeypatch.setattr(builtins, "open", lambda p, *a, **k: denied(p) if str(p) == str(secret) else real(p, *a, **k))
    with pytest.raises(VNSightError, match=r"inbox/patients/b.csv: cannot be read \(Permission denied\).*Give this user the right"):
        pulled(ws)
    assert [f.file for f in landed_files(ws)] == ["patients/a.csv"]


def test_an_unreadable_folder_is_no_empty_folder(ws, monkeypatch):
    drop(ws, "patients/2025/a.csv")
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda p: denied(p) if str(p).endswith("2025") else real(p))
    with pytest.raises(VNSightError, match=r"inbox/patients/2025: cannot be read \(Permission denied\)"):
        pulled(ws)


def test_a_file_that_vanishes_in_between_is_worth_another_try(ws):
    drop(ws, "patients/a.csv")
    vanishing = drop(ws, "patients/b.csv")
    source = inbox(ws)
    items = list(source.list_new(ws))
    vanishing.unlink()
    with pytest.raises(NotYet, match=r"inbox/patients/b.csv: cannot be read \(No such file or directory\)"):
        b"".join(source.fetch(items[1]))


def test_a_file_that_grows_while_it_is_read_is_not_landed(ws, monkeypatch):
    path = drop(ws, "patients/a.csv", "a" * 100)
    monkeypatch.setattr("flows.sources.folder.BLOCK", 10)
    items = list(inbox(ws).list_new(ws))
    blocks = iter(inbox(ws).fetch(items[0]))
    next(blocks)
    with path.open("a") as writer:
        writer.write("more")
    with pytest.raises(NotYet, match="changed while it was read"):
        list(blocks)


def test_a_pipe_is_refused_instead_of_waited_for(ws):
    os.mkfifo(ws.inbox / "patients" / "pipe.csv")
    with pytest.raises(VNSightError, match="is no plain file"):
        pulled(ws)


def test_a_link_to_a_folder_above_is_walked_once(ws):
    drop(ws, "patients/a.csv")
    (ws.inbox / "patients" / "round").symlink_to(ws.inbox / "patients")
    assert pulled(ws) == ["patients/a.csv"]


def declared(ws: Workspace, **table) -> list[str]:
    source = connectors(Workspace(ws.home, sources=({"name": "clinic", "connector": "folder", **table},)))[-1]
    return [(f.source, f.file, f.origin) for f in pull(ws, source, silent)]


def test_a_declared_folder_has_a_contract_a_pattern_and_a_prefix(ws):
    drop(ws, "../exports/2025/march.csv")
    drop(ws, "../exports/readme.txt")
    assert declared(ws, path="exports", pattern="*.csv", contract="survey_responses") == [
        ("survey_responses", "clinic/2025/march.csv", "clinic")
    ]


def test_a_wide_table_is_a_survey(ws):
    drop(ws, "../exports/phq.csv")
    wide = {
        "instrument": "PHQ-9",
        "response_id": "id",
        "patient_id": "pid",
        "items": "q{}",
        "completed_at": "at",
        "register_patients": True,
    }
    assert declared(ws, path="exports", wide=wide) == [("survey_responses", "clinic/phq.csv", "clinic")]
    with pytest.raises(UsageError, match="PHQ-99"):
        declared(ws, path="exports", wide=wide | {"instrument": "PHQ-99"})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"path": "nowhere"}, "source clinic, path: nowhere is not a folder"),
        ({}, r"source clinic, path: \(missing\) is not a folder"),
        ({"path": ".", "contract": "patient"}, "contract: patient is no source; there are: adverse_events"),
        ({"path": ".", "patern": "*.csv"}, "source clinic, patern: is not known; a folder has: contract, path, pattern, wide"),
        ({"path": ".", "connector": "ftp"}, "connector: ftp is not known; there are: folder, device_cloud"),
        ({"path": ".", "name": "a b"}, "every source needs a name"),
        ({"path": ".", "name": "patients"}, "name: is taken by the inbox"),
    ],
)
def test_a_wrong_declaration_says_where_and_what_is_right(ws, table, message):
    with pytest.raises(UsageError, match=message):
        declared(ws, **table)


def test_two_sources_of_one_name_are_refused(ws):
    table = {"name": "clinic", "path": "."}
    with pytest.raises(UsageError, match="two sources have this name"):
        connectors(Workspace(ws.home, sources=(table, table)))


def test_a_workspace_without_anything_to_pull_is_refused(tmp_path):
    with pytest.raises(UsageError, match="make the workspace complete with: vnsight init"):
        connectors(Workspace(tmp_path))
