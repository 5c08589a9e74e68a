# SPDX-License-Identifier: Apache-2.0
"""How the command ends, in this process: errors in one line, crashes kept, and what is printed where nobody watches."""

from pathlib import Path

import pytest

from flows import cli
from flows.commands import opened
from flows.terminal import Watch, text_of


def ends(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    return ended.value.code


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "vnsight.toml").write_text("[workspace]\nshards = 2\n")
    return tmp_path


def test_a_step_is_one_line_where_nobody_watches(capsys):
    shown = Watch(None)
    for done in (0, 1, 2, 3, 3):
        shown("stage", done, 3)
    shown("pull inbox", 5, 0)  # nobody knows how many there will be
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("derive shards: doses, scores, marts: 3 of 3 in ")


def test_cells_are_as_people_read_them():
    assert [text_of(v) for v in (None, True, 1234567, 0.123456, "a")] == ["", "yes", "1,234,567", "0.1235", "a"]


def test_a_crash_is_kept_in_the_workspace_and_told_in_two_lines(home, monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("an impossible thing\nwith details")

    monkeypatch.setattr("warehouse.hash.content_hash", broken)
    assert ends("hash", "--home", home) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: RuntimeError: an impossible thing"
    (report,) = (home / "reports").glob("crash-*.txt")
    assert str(report) in second
    assert "with details" in report.read_text()
    assert opened[-1].home == home


def test_an_error_with_brackets_and_a_long_path_stays_one_line(tmp_path, capsys):
    deep = tmp_path / ("x" * 120) / "[red]"
    assert ends("run", "--home", deep) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {deep} is not a folder; create a workspace with: vnsight init {deep}"


@pytest.mark.parametrize("out", ["missing/x.csv", "."])
def test_a_place_that_cannot_be_written_is_said_before_the_work(home, out, capsys):
    assert ends("sql", "select 1", "--home", home, "--out", home / out) == 2
    assert "--out" in capsys.readouterr().err


def test_refresh_before_anything_is_published_says_what_comes_first(home, capsys):
    assert ends("refresh", "--home", home) == 0
    assert "next: vnsight run" in capsys.readouterr().out


def test_stopping_by_hand_is_no_crash(home, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("warehouse.hash.content_hash", interrupted)
    assert ends("hash", "--home", home) == 1
    assert "run again to go on" in capsys.readouterr().err
    assert not (home / "reports").exists()


def test_a_step_too_quick_to_be_watched_is_told_too(capsys):
    Watch(None)("reference", 3, 3)
    assert capsys.readouterr().err == "read patients, devices, consents: 3 of 3 in 0.0 s\n"
