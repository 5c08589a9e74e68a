# SPDX-License-Identifier: Apache-2.0
"""A savepoint holds one name for what is left of a partition, however long the job has paused and gone on: it can always be restored."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.cluster import Cluster, Ports
from flows.engine.flink import Flink
from flows.engine.job import Remembered
from flows.stream.status import read_status
from schemas.workspace import open_workspace
from simulator.live import Options, Replay, read_inbox, send
from tests.flows.conftest import vnsight

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture
def cluster(tmp_path: Path):
    here = Cluster(tmp_path / "flink", Ports.free(), jar_folder=ROOT / ".flink" / "jars")
    try:
        here.start()
        here.wait_ready()
        yield here
    finally:
        here.stop(kill=True)


def until(what, patience_s: float = 180) -> None:
    end = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.5)


def begin(home: Path, cluster: Cluster) -> subprocess.Popen:
    call = [sys.executable, "-m", "flows.cli", "stream", "--home", str(home), "--engine", "flink", "--cluster", str(cluster.folder)]
    with (home.parent / "stream.log").open("a") as log:
        return subprocess.Popen([*call, "--epoch", "2", "--settle", "5", "--idle", "5"], cwd=ROOT, stdout=log, stderr=log)


def drain(stream: subprocess.Popen, home: Path) -> Path:
    stream.send_signal(signal.SIGTERM)
    assert stream.wait(200) == 0, (home.parent / "stream.log").read_text()[-2000:]
    return Path(Remembered.read(open_workspace(home)).savepoint.removeprefix("file:"))


def test_names_do_not_grow_with_pauses_and_the_job_goes_on(cluster: Cluster, tmp_path: Path):
    home = tmp_path / "home"
    vnsight("simulate", home, "--patients", 20, "--days", 20, "--seed", 5, "--format", "ndjson")
    with (home / "vnsight.toml").open("a") as settings:
        settings.write(f'\n[[source]]\nname = "stream"\nconnector = "kafka"\nservers = "{cluster.kafka}"\n')
    with read_inbox(home) as spool:
        messages = list(Replay(spool, Options(batch=20)))
    os.rename(home / "inbox", tmp_path / "kept")
    send(iter(messages[::2]), cluster.kafka, partitions=1)
    ws, stream = open_workspace(home), begin(home, cluster)
    try:
        until(lambda: (read_status(ws) or {"load": 0})["load"] > 0)
        time.sleep(20)  # pauses of a silent source
        savepoint = drain(stream, home)
        names = {m for part in savepoint.iterdir() for m in re.findall(rb"sdf_checkpoint:[\w:]+", part.read_bytes())}
        assert len(names) == 1, sorted(names)[:5]

        send(iter(messages[1::2]), cluster.kafka, partitions=1)
        before, stream = read_status(ws)["updated_at"], begin(home, cluster)
        until(lambda: read_status(ws)["load"] > 0 and read_status(ws)["updated_at"] > before)
        until(lambda: not any(read_status(ws)["lag_messages"].values()))
        assert Flink(cluster.rest).find(Remembered.read(ws).name).state == "RUNNING"
        drain(stream, home)
    finally:
        if stream.poll() is None:
            stream.kill()
            stream.wait()
