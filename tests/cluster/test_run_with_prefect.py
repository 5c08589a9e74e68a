# SPDX-License-Identifier: Apache-2.0
"""`vnsight run` with the Prefect server it starts for itself: the same marts, the same exit codes, nothing left behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator import simulate
from tests.flows.conftest import vnsight

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("simulated")
    simulate(home, 25, 60, 2)
    return home / "inbox"


@pytest.fixture(scope="module")
def direct(inbox: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    home = workspace(tmp_path_factory.mktemp("direct"), inbox)
    vnsight("run", "--home", home, "--direct")
    return vnsight("hash", "--home", home)


def workspace(home: Path, inbox: Path) -> Path:
    shutil.copytree(inbox, home / "inbox")
    (home / "vnsight.toml").write_text("[workspace]\nshards = 2\n")
    (home / "secret.key").write_text("a secret only for tests, 32 byte")
    return home


def servers(home: Path) -> list[int]:
    """Processes of Prefect servers that belong to a workspace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"flows.prefect_server" in (process / "cmdline").read_bytes() and str(home).encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_a_run_with_prefect_publishes_what_a_direct_one_does_and_is_quiet(tmp_path: Path, inbox: Path, direct: str):
    home = workspace(tmp_path, inbox)
    out = vnsight("run", "--home", home)
    assert "published load 1" in out
    assert not [word for word in ("Traceback", "prefect.", "Error logging", "CancelledError", "WARNING") if word in out], out
    assert vnsight("hash", "--home", home) == direct
    assert servers(home) == []
    assert "nothing new to load" in vnsight("run", "--home", home)


def test_a_killed_run_leaves_no_server_and_the_next_one_ends_right(tmp_path: Path, inbox: Path, direct: str):
    home = workspace(tmp_path, inbox)
    call = [sys.executable, "-m", "flows.cli", "run", "--home", str(home)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "VNSIGHT_KILL_AT": "publish:committed"}
    killed = subprocess.run(call, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    until = time.monotonic() + 15
    while servers(home) and time.monotonic() < until:
        time.sleep(0.5)
    assert servers(home) == []
    vnsight("run", "--home", home)
    assert vnsight("hash", "--home", home) == direct


def test_a_held_load_ends_with_3_and_a_failed_one_with_1(tmp_path: Path):
    home = tmp_path / "home"
    (home / "inbox" / "patients").mkdir(parents=True)
    (home / "vnsight.toml").write_text("[workspace]\nshards = 2\n")
    (home / "inbox" / "patients" / "a.ndjson").write_text("not JSON\n" * 20)
    out = vnsight("run", "--home", home, code=3)
    assert "HELD BACK" in out
    assert "Traceback" not in out
    os.mkfifo(home / "inbox" / "patients" / "b.ndjson")
    out = vnsight("run", "--home", home, code=1)
    assert "error: inbox/patients/b.ndjson: is no plain file" in out
    assert "Traceback" not in out
