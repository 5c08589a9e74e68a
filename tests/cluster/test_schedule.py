# SPDX-License-Identifier: Apache-2.0
"""A real Prefect server, a worker and `prefect deploy --all`: a run that nobody but the schedule started publishes."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator import simulate
from tests.against_truth import ask
from tests.prefect_cluster import Cluster, started

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 420

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "study"
    home.mkdir()
    simulate(home, 30, 60, 1)
    (home / "vnsight.toml").write_text("[workspace]\nshards = 4\n")
    return home


@pytest.fixture
def cluster(tmp_path: Path, home: Path) -> Iterator[Cluster]:
    with started(tmp_path, home) as cluster:
        yield cluster


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
    deployment = next(d for d in cluster.post("/deployments/filter", {}) if d["name"] == "nightly")
    assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
