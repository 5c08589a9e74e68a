# SPDX-License-Identifier: Apache-2.0
"""Real Kafka and Flink: 10,000 patients over 90 days, every server and the committer killed with -9 at three moments each, a drain and
a resume; the marts end as those of the nightly batch."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.cluster import Cluster, Ports
from flows.engine.flink import Flink
from simulator.live import Options, Replay, read_inbox, send
from tests.flows.conftest import vnsight
from warehouse.hash import content_hash
from warehouse.sql import query

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

PATIENTS, DAYS = int(os.environ.get("VNSIGHT_STREAM_PATIENTS", "10000")), 90
ROOT = Path(__file__).resolve().parents[2]
PREFIX = "faults."
COMMITTER_DIES_AT = ("stream:merged", "publish:committed", "stream:committed")
PARTS = 14


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    here = Cluster(tmp_path_factory.mktemp("flink"), Ports.free(), jar_folder=ROOT / ".flink" / "jars")
    try:
        here.start()
        here.wait_ready()
        yield here
    finally:
        here.stop(kill=True)


class Stream:
    """`vnsight stream --engine flink` as a process of its own: the supervisor and committer."""

    def __init__(self, home: Path, cluster: Cluster, settle_s: int = 604_800, idle_s: int = -1):
        self.home, self.cluster, self.process = home, cluster, None
        self.patience = ("--settle", str(settle_s), "--idle", str(idle_s))

    def start(self, *more: str, kill_at: str = "") -> None:
        call = [
            sys.executable, "-m", "flows.cli", "stream", "--home", str(self.home), "--engine", "flink",
            "--cluster", str(self.cluster.folder), "--epoch", "4", *self.patience, *more,
        ]  # fmt: skip
        with (self.home.parent / "stream.log").open("a") as log:
            self.process = subprocess.Popen(call, cwd=ROOT, env=os.environ | {"VNSIGHT_KILL_AT": kill_at}, stdout=log, stderr=log)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wait(self, timeout: float) -> int:
        return self.process.wait(timeout)

    def status(self) -> dict:
        path = self.home / "reports" / "stream.json"
        return json.loads(path.read_text()) if path.exists() else {"load": 0, "job_state": "", "checkpoint_bytes": 0}

    def said(self, last: int = 3000) -> str:
        return (self.home.parent / "stream.log").read_text()[-last:]

    def until(self, what, timeout: float = 240) -> None:
        end = time.monotonic() + timeout
        while not what(self.status()):
            code = self.process.poll()
            assert code is None, f"the stream ended with {code}:\n{self.said()}"
            assert time.monotonic() < end, f"not reached in {timeout} s: {self.status()}"
            time.sleep(0.5)


def kill_worker(cluster: Cluster) -> None:
    for pid in cluster.children("workers"):
        os.kill(pid, signal.SIGKILL)


def kill_server(name: str):
    """Nobody but the supervisor brings it back."""

    def kill(cluster: Cluster) -> None:
        (process,) = (m.process for m in cluster.status() if m.name == name)
        os.kill(process.pid, signal.SIGKILL)

    return kill


FAULTS = [("workers", kill_worker), ("taskmanager", kill_server("taskmanager")), ("jobmanager", kill_server("jobmanager"))]


@pytest.fixture(scope="module")
def streamed(cluster, tmp_path_factory):
    """The study streamed through all the faults: its home, and what was done to it."""
    home = tmp_path_factory.mktemp("faults") / "home"
    vnsight("simulate", home, "--patients", PATIENTS, "--days", DAYS, "--seed", 11, "--format", "ndjson", timeout=900)
    toml = home / "vnsight.toml"
    before = toml.read_text()
    toml.write_text(f'{before}\n[[source]]\nname = "stream"\nconnector = "kafka"\nservers = "{cluster.kafka}"\nprefix = "{PREFIX}"\n')
    stream = Stream(home, cluster)
    with read_inbox(home) as spool:
        (home / "inbox").rename(home / "kept")  # the stream is to know nothing of the files
        (home / "inbox").mkdir()
        try:
            done = stream_with_faults(stream, list(Replay(spool, Options(batch=50, prefix=PREFIX))))
        finally:
            stream.end()
    (home / "inbox").rmdir()
    (home / "kept").rename(home / "inbox")
    toml.write_text(before)
    return home, done


@pytest.fixture(scope="module")
def reconciled(streamed):
    """The same home after the night, and the content hash the stream had left."""
    home, _ = streamed
    by_stream, facts = content_hash(home / "marts.duckdb"), query(home / "marts.duckdb", "select count(*) as n from streamed")
    assert facts.column("n")[0].as_py() >= PATIENTS
    vnsight("run", "--home", home, "--direct", timeout=1200)
    return home, by_stream


def stream_with_faults(stream: Stream, messages: list) -> list[str]:
    """Send the messages in parts, and do something bad after each."""
    parts, done, cluster = iter(range(PARTS)), [], stream.cluster

    def more() -> None:
        part = next(parts)
        send(iter(messages[part::PARTS]), cluster.kafka, partitions=1, end=part == PARTS - 1, prefix=PREFIX)

    more()
    stream.start()
    stream.until(lambda s: s["checkpoint_bytes"] > 0)
    for moment in range(3):
        for name, kill in FAULTS:
            more()
            time.sleep(1.5 + 2 * moment)
            kill(cluster)
            done.append(f"{name} {moment}")
            killed = datetime.now(UTC) + timedelta(seconds=6)  # until then Flink may not have noticed
            stream.until(lambda s, at=killed: s["state"] == "running" and datetime.fromisoformat(s["updated_at"]) > at)
    os.kill(stream.process.pid, signal.SIGTERM)  # drain: savepoint, cancel, last commit
    assert stream.wait(300) == 0, stream.said()
    assert stream.said(1 << 20).count("is started again: ") >= 6  # both servers, three times each
    assert json.loads((stream.home / "stream" / "job.json").read_text())["savepoint"].startswith("file:")
    done.append("drained")
    for place in COMMITTER_DIES_AT:
        more()
        stream.start(kill_at=place)
        assert stream.wait(300) == -signal.SIGKILL, stream.said()
        done.append(f"committer at {place}")
    more()
    stream.start("--until-idle")
    assert stream.wait(1200) == 0, stream.said()
    return done


def test_after_nine_kills_a_drain_three_dead_committers_and_a_resume_the_marts_are_those_of_the_batch(streamed, reconciled):
    home, by_stream = reconciled
    assert len(streamed[1]) == 13
    assert content_hash(home / "marts.duckdb") == by_stream


def test_the_night_finds_nothing_to_correct(reconciled):
    rows = query(reconciled[0] / "marts.duckdb", "select * from stream_agreement").to_pylist()
    assert len(rows) == 5
    assert all(r["mismatched"] == r["missing"] == r["extra"] == r["ahead"] == r["behind"] == 0 for r in rows)
    assert all(r["patients"] >= PATIENTS for r in rows)


def test_what_flink_says_of_a_job_nobody_knows(cluster):
    assert Flink(cluster.rest).find("no such job") is None
