# SPDX-License-Identifier: Apache-2.0
"""A real Prefect server, a worker and `prefect deploy --all`: a run that nobody but the schedule started publishes."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from simulator import simulate
from tests.against_truth import ask

ROOT = Path(__file__).resolve().parents[2]
PREFECT = [sys.executable, "-m", "prefect"]
PATIENCE_S = 420

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@dataclass
class Cluster:
    """A server and a worker below one folder, ended by their own process ids."""

    folder: Path
    env: dict[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str, *arguments: str) -> None:
        log = (self.folder / f"{name}.log").open("wb")
        # from Popen and not from a shell's &, or a worker would ignore SIGTERM
        self.running.append(subprocess.Popen([*PREFECT, *arguments], cwd=self.folder, env=self.env, stdout=log, stderr=log))
        log.close()

    def call(self, *arguments: str) -> str:
        call = [*PREFECT, *arguments]
        done = subprocess.run(call, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def post(self, path: str, body: dict[str, object]) -> list[dict[str, object]]:
        return httpx.post(f"{self.env['PREFECT_API_URL']}{path}", json=body, timeout=30, trust_env=False).raise_for_status().json()

    def await_health(self) -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                if httpx.get(f"{self.env['PREFECT_API_URL']}/health", timeout=5, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.5)
        pytest.fail((self.folder / "server.log").read_text())

    def stop(self) -> None:
        for process in reversed(self.running):
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "study"
    home.mkdir()
    simulate(home, 30, 60, 1)
    (home / "vnsight.toml").write_text("[workspace]\nshards = 4\n")
    return home


@pytest.fixture
def cluster(tmp_path: Path, home: Path) -> Iterator[Cluster]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    env = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | {
        "PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "NO_PROXY": "127.0.0.1",
        "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_WORKER_QUERY_SECONDS": "2",
        "VNSIGHT_HOME": str(home), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    cluster = Cluster(tmp_path, env)
    try:
        cluster.start("server", "server", "start", "--host", "127.0.0.1", "--port", port)
        cluster.await_health()
        yield cluster
    finally:
        cluster.stop()


def scheduled_runs(cluster: Cluster) -> list[dict[str, object]]:
    runs = cluster.post("/flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC", "limit": 20})
    return [run for run in runs if run["auto_scheduled"]]


def test_a_scheduled_run_pulls_and_publishes(cluster: Cluster, home: Path):
    declared = (ROOT / "prefect.yaml").read_text()
    assert declared.count('cron: "15 2 * * *"') == 1
    (cluster.folder / "prefect.yaml").write_text(declared.replace("15 2 * * *", "* * * * *"))  # every minute, to see it today
    cluster.call("work-pool", "create", "local", "--type", "process")
    cluster.call("--no-prompt", "deploy", "--all")
    cluster.start("worker", "worker", "start", "--pool", "local")

    until, done = time.monotonic() + PATIENCE_S, []
    while not done and time.monotonic() < until:
        time.sleep(2)
        done = [run for run in scheduled_runs(cluster) if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED")]
    assert done, (cluster.folder / "worker.log").read_text()[-5000:]
    run = done[0]
    assert (run["state_type"], run["created_by"]["type"], run["parameters"]) == ("COMPLETED", "SCHEDULE", {"home": str(home)}), (
        cluster.folder / "worker.log"
    ).read_text()[-5000:]
    assert ask(home, "select load from vnsight_meta")["load"].to_list() == [1]
    assert ask(home, "select count(*) as n from dose_outcomes")["n"][0] > 0

    artifacts = {a["key"]: a for a in cluster.post("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})}
    assert {"ledger", "strata", "nightly-outcome", "nightly-progress"} <= set(artifacts)
    assert artifacts["nightly-progress"]["data"] == 100.0
    assert "published" in artifacts["nightly-outcome"]["data"] or "flagged" in artifacts["nightly-outcome"]["data"]
    (deployment,) = cluster.post("/deployments/filter", {})
    assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
