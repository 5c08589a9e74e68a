# SPDX-License-Identifier: Apache-2.0
"""A partition that is added while a job runs is read: the job begins anew with what is staged, and every message is counted."""

import os
import signal
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions

from flows.engine.flink import Flink
from flows.engine.job import Remembered
from flows.stream.status import read_status
from pipelines.updates import positions
from schemas.workspace import open_workspace
from simulator.live import Options, Replay, read_inbox, send
from tests.cluster.test_savepoint import begin, cluster, until  # noqa: F401 - a fixture
from tests.flows.conftest import vnsight

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
TOPIC = "vnsight.survey_responses"


def test_a_partition_added_to_a_running_job_is_read(cluster, tmp_path: Path):  # noqa: F811
    home = tmp_path / "home"
    vnsight("simulate", home, "--patients", 10, "--days", 10, "--seed", 5, "--format", "ndjson")
    with (home / "vnsight.toml").open("a") as settings:
        settings.write(f'\n[[source]]\nname = "stream"\nconnector = "kafka"\nservers = "{cluster.kafka}"\n')
    with read_inbox(home) as spool:
        messages = list(Replay(spool, Options(batch=20)))
    os.rename(home / "inbox", tmp_path / "kept")
    send(iter(messages), cluster.kafka, partitions=1)
    ws, stream = open_workspace(home), begin(home, cluster)
    try:
        until(lambda: (read_status(ws) or {"load": 0})["load"] > 0)
        first = Remembered.read(ws).job
        admin = AdminClient({"bootstrap.servers": cluster.kafka})
        admin.create_partitions([NewPartitions(TOPIC, 2)])[TOPIC].result(20)
        producer = Producer({"bootstrap.servers": cluster.kafka})
        producer.produce(TOPIC, b"{}", partition=1, timestamp=int(time.time() * 1000))
        assert producer.flush(20) == 0
        until(lambda: positions(home).get(f"{TOPIC}/1") == 1)
        until(lambda: not any(read_status(ws)["lag_messages"].values()))
        memory = Remembered.read(ws)
        assert memory.job != first and f"{TOPIC}/1" in memory.partitions
        assert Flink(cluster.rest).find(memory.name).state == "RUNNING"
        stream.send_signal(signal.SIGTERM)
        assert stream.wait(200) == 0
        log = (tmp_path / "stream.log").read_text()
        assert f"begins anew, for {TOPIC}/1 was added" in log
        assert "does not answer" not in log
    finally:
        if stream.poll() is None:
            stream.kill()
            stream.wait()
        print((tmp_path / "stream.log").read_text()[-6000:])
