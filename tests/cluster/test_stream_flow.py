# SPDX-License-Identifier: Apache-2.0
"""The stream as a Prefect deployment: a real server and worker, runs that are cancelled, killed and begun again."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.lock import stream_at_work
from flows.stream.status import read_status
from schemas.workspace import open_workspace
from tests.flows.conftest import vnsight
from tests.mock_broker import Broker
from tests.prefect_cluster import ROOT, Cluster, started
from tests.small_world import device, patient, response, session
from warehouse.sql import query

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
def broker() -> Iterator[Broker]:
    here = Broker()
    yield here
    here.stop()


@pytest.fixture
def home(tmp_path: Path, broker: Broker) -> Path:
    home = tmp_path / "study"
    vnsight("init", home)
    with (home / "vnsight.toml").open("a") as settings:
        settings.write(f'\n[[source]]\nname = "live"\nconnector = "kafka"\nservers = "{broker.servers}"\n')
    return home


@pytest.fixture
def cluster(tmp_path: Path, home: Path) -> Iterator[Cluster]:
    with started(tmp_path, home) as cluster:
        (cluster.folder / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text())
        cluster.call("work-pool", "create", "local", "--type", "process")
        cluster.call("--no-prompt", "deploy", "--all")
        cluster.start("worker", "worker", "start", "--pool", "local")
        yield cluster


def begin(cluster: Cluster, **parameters: object) -> str:
    (deployment,) = cluster.post("/deployments/filter", {"deployments": {"name": {"any_": ["stream"]}}})
    assert deployment["schedules"][0]["active"] is False
    run = cluster.post(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": {"epoch_s": 1.0} | parameters})
    return str(run["id"])


def run_of(cluster: Cluster, run: str) -> dict:
    return cluster.post("/flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})[0]


def until(cluster: Cluster, what: Callable[[], bool], patience_s: float = 180) -> None:
    end = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < end, (cluster.folder / "worker.log").read_text()[-5000:]
        time.sleep(0.5)


def published(home: Path) -> int:
    window = home / "marts.duckdb"
    return query(window, "select count(*) as n from dose_outcomes").column("n")[0].as_py() if window.exists() else 0


def test_a_stream_is_begun_cancelled_killed_and_goes_on(cluster: Cluster, home: Path, broker: Broker):
    ws = open_workspace(home)
    broker.send("patients", patient(4))
    broker.send("devices", device(4))
    broker.send("stimulation_sessions", session(4, 1))
    broker.send("survey_responses", response(4, 10, 2))

    first = begin(cluster)
    until(cluster, lambda: published(home) > 0)
    before = published(home)
    cluster.post(f"/flow_runs/{first}/set_state", {"state": {"type": "CANCELLING"}})
    until(cluster, lambda: run_of(cluster, first)["state_type"] == "CANCELLED")
    assert not stream_at_work(ws)
    assert read_status(ws)["state"] == "stopped"  # ended by itself, not by a SIGKILL
    artifacts = {a["key"]: a for a in cluster.post("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [first]}}})}
    assert artifacts["stream-progress"]["data"] == 100.0
    table = artifacts["stream-status"]["data"]
    rows = {row["what"]: row["value"] for row in (json.loads(table) if isinstance(table, str) else table)}
    assert (rows["state"], rows["engine"], rows["rows accepted"]) == ("stopped", "epochs", "4")

    broker.send("survey_responses", response(4, 20, 1))
    second = begin(cluster)
    until(cluster, lambda: published(home) > before)
    os.kill(read_status(ws)["pid"], signal.SIGKILL)
    until(cluster, lambda: run_of(cluster, second)["state_type"] in ("CRASHED", "FAILED"))
    assert not stream_at_work(ws)

    between = published(home)
    broker.send("survey_responses", response(4, 30, 1))
    third = begin(cluster, until_idle=True)
    until(cluster, lambda: run_of(cluster, third)["state_type"] == "COMPLETED")
    assert published(home) > between
