# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.lock import only_run
from flows.plan import drop_plan, read_plan, waiting_files, write_plan
from pipelines.landing import land, landed_files
from schemas.errors import VNSightError
from schemas.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    ws = Workspace(tmp_path)
    for name in ("a", "b", "c"):
        land(ws, ("patients", f"patients/{name}", "inbox"), [name.encode()], 1)
    return ws


def test_a_plan_pins_its_files(ws):
    files = landed_files(ws)
    assert read_plan(ws, 1) is None
    write_plan(ws, 1, files[:2])
    assert read_plan(ws, 1) == files[:2]


def test_files_wait_until_a_complete_load_took_them(ws):
    a, b, c = landed_files(ws)
    write_plan(ws, 1, [a])
    write_plan(ws, 2, [b])
    assert waiting_files(ws, 0) == [a, b, c]  # planned is not taken
    assert waiting_files(ws, 1) == [b, c]
    assert waiting_files(ws, 2) == [c]


def test_a_held_load_gives_its_files_back(ws):
    write_plan(ws, 1, landed_files(ws))
    drop_plan(ws, 1)
    assert read_plan(ws, 1) is None
    assert len(waiting_files(ws, 1)) == 3


def test_a_second_run_is_refused_and_told_who_is_at_work(ws):
    message = rf"another run is at work in this workspace \(process {os.getpid()}\)"
    with only_run(ws), pytest.raises(VNSightError, match=message), only_run(ws):
        pytest.fail("two runs at once")
    with only_run(ws):
        pass


def test_the_lock_dies_with_its_process(ws):
    code = f"""
import time; from pathlib import Path; from flows.lock import only_run; from schemas.workspace import Workspace
with only_run(Workspace(Path({str(ws.home)!r}))):
    print("held", flush=True); time.sleep(60)"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(VNSightError, match=f"process {holder.pid}"), only_run(ws):
            pass
        holder.kill()
        holder.wait()
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            with only_run(ws):
                return
        except VNSightError:
            time.sleep(0.05)
    pytest.fail("the lock outlived its process")
