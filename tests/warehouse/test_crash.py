# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every step of publication: the next run ends where an undisturbed one would, and readers never notice."""

import multiprocessing
import os
import shutil
import signal
import threading
from pathlib import Path

import duckdb
import pytest
from crash_run import run_load
from window_parts import small_load, workspace

from warehouse import publish as steps
from warehouse.delta import last_complete
from warehouse.hash import content_hash

pytestmark = pytest.mark.cluster  # long

POINTS = (
    "commit:ledger/dispositions", "commit:marts/dose_daily", "commit:marts/dose_outcomes", "commit:marts/patients",
    "commit:marts/scores", "commit:staged/devices", "commit:ledger", "swap", "swapped",
)  # fmt: skip

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["crash_run"])


@pytest.fixture(scope="module", autouse=True)
def server():
    """Start the server with this folder on its path: it imports once and forks in milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])]))
        child = FORKS.Process(target=len, args=("",))
        child.start()
        child.join()


def run(home: Path, load: int, kill_at: str = "") -> int:
    """Publish a load in a process of its own and return its exit code."""
    child = FORKS.Process(target=run_load, args=(home, load, kill_at))
    child.start()
    child.join()
    return child.exitcode


class Reader(threading.Thread):
    """Opens the published file over and over as any client would, and keeps every world it saw."""

    def __init__(self, window: Path) -> None:
        super().__init__()
        self.window, self.seen, self.errors, self.done = window, set(), [], threading.Event()

    def run(self) -> None:
        sql = """select (select max(load) from ledger), (select load from vnsight_meta), (select min(score) from scores),
            (select count(*) from dose_daily)"""
        while not self.done.is_set():
            try:
                with duckdb.connect() as connection:  # attached under a fresh connection: DuckDB shares open files by path
                    connection.execute(f"attach '{self.window}' as w (read_only)")
                    connection.execute("use w")
                    connection.execute("set threads = 1")
                    self.seen.add(connection.execute(sql).fetchall()[0])
            except duckdb.Error as error:
                self.errors.append(str(error))
            self.done.wait(0.1)


def test_kill_at_every_step(tmp_path):
    undisturbed = tmp_path / "undisturbed"
    assert run(undisturbed, 1) == run(undisturbed, 2) == 0
    expected = content_hash(workspace(undisturbed))
    assert run(tmp_path / "start", 1) == 0
    for point in POINTS:
        home = tmp_path / point.replace("/", "-").replace(":", "-")
        ws = workspace(shutil.copytree(tmp_path / "start", home))
        steps.refresh(ws, force=True)  # the copy lies elsewhere
        reader = Reader(ws.window)
        reader.start()
        try:
            assert run(ws.home, 2, point) == -signal.SIGKILL, point
            assert steps.published_load(ws) == (2 if point == "swapped" else 1), point
            assert run(ws.home, 2) == 0, point
        finally:
            reader.done.set()
            reader.join()
        assert content_hash(ws) == expected, point
        assert last_complete(ws).load == 2
        assert not reader.errors, point
        # scores fall from 18 to 16 with load 2: a mixture would pair them otherwise
        assert reader.seen <= {(1, 1, 18.0, 30), (2, 2, 16.0, 30)}, point


@pytest.mark.parametrize("shard", [0, 5])
def test_a_crashed_load_that_is_done_again_with_more_files_ends_as_if_done_once(tmp_path, shard):
    crashed, straight = workspace(tmp_path / "crashed"), workspace(tmp_path / "straight")
    for ws in (crashed, straight):
        steps.publish(ws, steps.candidate(ws, files := small_load(ws, 1), last_complete(ws)), steps.commit(ws, files, last_complete(ws)))
    assert run(crashed.home, 2, "commit:ledger") == -signal.SIGKILL
    for ws in (crashed, straight):
        base, files = steps.refresh(ws), small_load(ws, 2, shard=shard, n=4)
        steps.publish(ws, steps.candidate(ws, files, base), steps.commit(ws, files, base))
    assert content_hash(crashed) == content_hash(straight)
    assert content_hash(crashed, "ledger") == content_hash(straight, "ledger")
