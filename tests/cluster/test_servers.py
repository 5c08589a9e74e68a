# SPDX-License-Identifier: Apache-2.0
"""Kafka, Flink, job server and workers for real: a job with keyed state outlives kill -9 of every one of them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Consumer, Producer

from flows.cluster import NAMES, Cluster, Ports
from flows.cluster.processes import birth

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    """All servers on ports of their own; with the jars of `make flink` if they are there, else they are fetched there."""
    cluster = Cluster(tmp_path_factory.mktemp("flink"), Ports.free(), jar_folder=ROOT / ".flink" / "jars")
    try:
        cluster.start()
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.stop(kill=True)


class Job:
    """The counting job: submitted, watched through its lines, asked about over REST."""

    def __init__(self, cluster: Cluster, lines: Path):
        self.cluster, self.lines = cluster, lines

    def submit(self, resume: Path | None = None) -> None:
        call = [sys.executable, str(Path(__file__).with_name("counting_job.py")), str(self.lines)]
        call += self.cluster.beam_arguments(checkpoint_ms=1000, resume=resume)
        ran = subprocess.run(call, capture_output=True, text=True, timeout=120, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)})
        assert ran.returncode == 0, ran.stderr

    def counts(self) -> list[tuple[str, int]]:
        whole = self.lines.read_text().rpartition("\n")[0] if self.lines.exists() else ""
        return [(key, int(count)) for key, count in map(str.split, whole.splitlines())]

    def reached(self) -> int:
        return sum(max((c for k, c in self.counts() if k == key), default=0) for key in "01")

    def await_progress(self, steps: int = 8, seconds: float = 90) -> None:
        """Wait until it has counted further than ever before."""
        until, goal = time.monotonic() + seconds, self.reached() + steps
        while self.reached() < goal:
            assert time.monotonic() < until, f"stands still at {goal - steps}: {self.running()}"
            time.sleep(0.2)

    def await_checkpoint(self) -> None:
        until, before = time.monotonic() + 30, self.cluster.latest_checkpoint()
        while self.cluster.latest_checkpoint() == before:
            assert time.monotonic() < until, "no checkpoint was completed"
            time.sleep(0.2)

    def running(self) -> list[dict]:
        jobs = httpx.get(f"{self.cluster.rest}/jobs/overview", trust_env=False).json()["jobs"]
        return [j for j in jobs if j["state"] not in ("CANCELED", "FAILED", "FINISHED")]

    def cancel(self) -> None:
        for job in self.running():
            httpx.patch(f"{self.cluster.rest}/jobs/{job['jid']}?mode=cancel", trust_env=False)
        until = time.monotonic() + 30
        while self.running():
            assert time.monotonic() < until, "the job does not end"
            time.sleep(0.2)

    def assert_nothing_forgotten(self) -> None:
        """A key that lost its state would count from one again: a step forward is one, a step back is what a checkpoint takes."""
        for key in "01":
            counts = [c for k, c in self.counts() if k == key]
            assert set(counts) == set(range(1, max(counts) + 1))
            assert counts.count(1) == 1, "counted from one again"


@pytest.fixture(scope="module")
def job(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory):
    job = Job(cluster, tmp_path_factory.mktemp("lines") / "lines")
    job.submit()
    job.await_progress()
    return job


def test_the_broker_takes_and_gives(cluster: Cluster):
    producer = Producer({"bootstrap.servers": cluster.kafka})
    producer.produce("greetings", b"hello", timestamp=1_000)  # 1970: the usual retention would delete it
    assert producer.flush(20) == 0
    consumer = Consumer({"bootstrap.servers": cluster.kafka, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["greetings"])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.value() == b"hello"


def test_a_second_start_changes_nothing(cluster: Cluster):
    before = cluster.status()
    assert cluster.start() == []
    assert cluster.status() == before
    assert all(m.up for m in before)


def test_metrics_are_told_to_prometheus(cluster: Cluster, job: Job):
    for port in (cluster.ports.jobmanager_metrics, cluster.ports.taskmanager_metrics):
        told = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        assert "# TYPE flink_" in told
    assert "flink_taskmanager_job_task" in told


def listening(pids: set[int]) -> set[str]:
    """Local addresses, in the hex of the kernel, on which processes listen."""
    sockets = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                sockets.add(os.readlink(link))
            except OSError:
                continue  # closed meanwhile
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{os.getpid()}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].split(":")[0])
    return found


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="the kernel tells who listens where in /proc on Linux only")
def test_nobody_listens_beyond_this_machine_while_a_job_runs(cluster: Cluster, job: Job):
    pids = {m.process.pid for m in cluster.status()} | {pid for name in NAMES for pid in cluster.children(name)}
    assert listening(pids) <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.mark.parametrize("name", NAMES)
def test_a_job_outlives_kill_9_of(name: str, cluster: Cluster, job: Job):
    job.await_checkpoint()
    cluster.stop(name, kill=True)
    cluster.start(name)
    cluster.wait_ready(name)
    job.await_progress()
    assert len(job.running()) == 1
    job.assert_nothing_forgotten()


def test_a_job_outlives_kill_9_of_its_worker(cluster: Cluster, job: Job):
    job.await_checkpoint()
    killed = cluster.children("workers")
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    job.await_progress()
    assert not set(cluster.children("workers")) & set(killed)
    job.assert_nothing_forgotten()


def test_a_job_outlives_a_stop_of_everything(cluster: Cluster, job: Job):
    job.await_checkpoint()
    left = [pid for name in NAMES for pid in cluster.children(name)] + [m.process.pid for m in cluster.status()]
    cluster.stop()
    assert [pid for pid in left if birth(pid)] == []
    cluster.start()
    cluster.wait_ready()
    job.await_progress()
    job.assert_nothing_forgotten()


def test_a_cancelled_job_goes_on_from_its_last_checkpoint_even_if_the_job_manager_forgot_it(cluster: Cluster, job: Job):
    job.await_checkpoint()
    job.cancel()
    cluster.stop(("zookeeper", "jobmanager", "taskmanager", "jobserver"), kill=True)  # all who knew the ZooKeeper of before
    for place in ("zookeeper", "jobs"):
        (cluster.folder / "data" / place).rename(cluster.folder / "data" / f"{place}-lost")
    cluster.start()
    cluster.wait_ready()
    assert job.running() == []
    job.submit(resume=cluster.latest_checkpoint())
    job.await_progress()
    job.assert_nothing_forgotten()
