# SPDX-License-Identifier: Apache-2.0
"""A sample of the arrival orders on a real Kafka and Flink: shuffled, twice, delayed, beyond any allowance, over three partitions, with a
dead worker and a drain between; the marts end as those of the nightly batch."""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.envelope import CONTENT_TYPE, JSON, topic_of
from simulator.live import Message, send
from tests.cluster.test_savepoint import cluster  # noqa: F401 - a fixture
from tests.cluster.test_stream_faults import Stream, kill_worker
from tests.flows.conftest import vnsight
from tests.pipelines.test_stream_beam import STEP_S, STEPS, arriving
from tests.stream_world import by_source, lines_of
from warehouse.hash import content_hash
from warehouse.sql import query

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
WORLDS, SLICES = 100, 8
PREFIX = "orders."
BEGIN_S = 1_735_689_600  # 2025-01-01
LEAP_S = 100 * STEP_S  # the last steps are stamped so far on that whatever is late then is later than allowed


def messages_of(due: list, step: int, rng: random.Random) -> Iterator[Message]:
    """One message a line, to any partition, stamped with the step it claims."""
    leap = LEAP_S if step >= STEPS - 2 else 0
    for claimed, (source, line) in due:
        stamp = (BEGIN_S + claimed * STEP_S + (leap if claimed >= STEPS - 2 else 0)) * 1000
        yield Message(topic_of(source, PREFIX), rng.randbytes(4), line, stamp, ((CONTENT_TYPE, JSON.encode()),), stamp)


@pytest.fixture
def streamed(cluster, tmp_path: Path) -> Path:  # noqa: F811
    """A home whose marts came by the stream alone."""
    home, rng = tmp_path / "home", random.Random("flink")
    vnsight("init", home)
    with (home / "vnsight.toml").open("a") as settings:
        settings.write(f'\n[[source]]\nname = "stream"\nconnector = "kafka"\nservers = "{cluster.kafka}"\nprefix = "{PREFIX}"\n')
    stream = Stream(home, cluster, settle_s=STEP_S, idle_s=5)  # a source without any message steps aside, one that trickles does not
    try:
        for step, due in enumerate(arriving(WORLDS, "flink")):
            for part in range(SLICES):
                last = step == STEPS - 1 and part == SLICES - 1
                send(messages_of(due[part::SLICES], step, rng), cluster.kafka, partitions=3, end=last, prefix=PREFIX)
                time.sleep(1 if step else 0)
            if step == 0:
                stream.start()
                stream.until(lambda s: s["load"] > 0)
            elif step == 1:
                kill_worker(cluster)
            elif step == 2:
                loads = stream.status()["load"]
                stream.until(lambda s, before=loads: s["load"] > before)
                os.kill(stream.process.pid, signal.SIGTERM)
                assert stream.wait(300) == 0, stream.said()
        stream.start("--until-idle")
        assert stream.wait(600) == 0, stream.said()
    finally:
        stream.end()
    return home


def test_a_sample_of_orders_ends_in_the_marts_of_the_batch(streamed: Path):
    marts = streamed / "marts.duckdb"
    by_stream = content_hash(marts)
    assert query(marts, "select count(*) as n from dose_response").column("n")[0].as_py() > 0
    for source, lines in by_source(line for w in range(WORLDS) for line in lines_of(w)).items():
        (streamed / "inbox" / source / "all.ndjson").write_bytes(b"\n".join(lines))
    vnsight("run", "--home", streamed, "--direct", timeout=600)
    assert content_hash(marts) == by_stream
    rows = query(marts, "select * from stream_agreement").to_pylist()
    assert len(rows) == 5
    assert all(r["mismatched"] == r["missing"] == r["extra"] == r["ahead"] == r["behind"] == 0 < r["patients"] for r in rows)
