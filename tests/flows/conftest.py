# SPDX-License-Identifier: Apache-2.0
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest


def vnsight(*arguments: object, cwd: Path | None = None, code: int = 0, env: dict[str, str] | None = None, timeout: float = 200) -> str:
    """Run the command as a user does; return what it printed, both streams."""
    call = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])} | (env or {})
    done = subprocess.run(call, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated study with all faults, published once by the command line for all processes of the tests, who only read it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home, done = shared / "study" / "home", shared / "study-is-published"
    with (shared / "study.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            home.parent.mkdir()
            vnsight("simulate", home, "--patients", 80, "--days", 150, "--seed", 3)
            out = vnsight("run", "--home", home, "--direct")
            assert "balanced" in out
            assert "published load 1" in out
            done.touch()
    return home
