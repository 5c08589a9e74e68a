# SPDX-License-Identifier: Apache-2.0
import stat
from pathlib import Path

import pytest

from pipelines.secret import create_secret, read_secret
from schemas.errors import UsageError
from schemas.workspace import Settings, Workspace


@pytest.fixture
def ws(tmp_path: Path, monkeypatch) -> Workspace:
    monkeypatch.delenv("VNSIGHT_SECRET", raising=False)
    return Workspace(tmp_path)


def test_a_secret_is_made_once_long_random_and_for_its_owner_only(ws, tmp_path):
    assert create_secret(ws)
    first = read_secret(ws)
    assert len(first) == 64
    assert stat.S_IMODE(ws.secret_path.stat().st_mode) == 0o600
    assert not create_secret(ws)
    assert read_secret(ws) == first
    other = Workspace(tmp_path / "other")
    other.home.mkdir()
    create_secret(other)
    assert read_secret(other) != first


def test_the_environment_wins_and_no_file_is_made(ws, monkeypatch):
    create_secret(ws)
    monkeypatch.setenv("VNSIGHT_SECRET", "from the environment")
    assert read_secret(ws) == b"from the environment"
    ws.secret_path.unlink()
    assert not create_secret(ws)
    assert not ws.secret_path.exists()


def test_a_lost_secret_is_never_replaced_once_data_are_staged(ws):
    """A new one would give every patient a second key."""
    (ws.staged / "patients").mkdir(parents=True)
    with pytest.raises(UsageError, match="would give every patient a second key"):
        create_secret(ws)
    with pytest.raises(UsageError, match=r"VNSIGHT_SECRET is not set and secret.key is not in the workspace.*restore the file"):
        read_secret(ws)


def test_it_may_lie_outside_the_workspace(ws, tmp_path):
    (tmp_path / "vault").write_text("a secret kept elsewhere\n")
    assert read_secret(Workspace(ws.home, Settings(secret_file=str(tmp_path / "vault")))) == b"a secret kept elsewhere"


def test_a_short_one_is_refused(ws):
    ws.secret_path.write_text("short")
    with pytest.raises(UsageError, match="shorter than 16"):
        read_secret(ws)
