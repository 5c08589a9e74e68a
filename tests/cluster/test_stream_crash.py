# SPDX-License-Identifier: Apache-2.0
"""kill -9 of `vnsight stream`, fifty times within one study: at every milestone an epoch passes, and at moments nobody chose.

A real Kafka is fed between the kills with the uploads of a simulated study: shuffled, repeated, held back for weeks. In the end the
marts are those of one run from the files, every record is in the ledger once, and every message was landed once. A reader never stops
reading meanwhile.
"""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka import Producer

from flows import cli, nightly
from flows.cluster import Cluster, Ports
from pipelines.kafka import Reader
from pipelines.landing import landed_files
from pipelines.launch import silent
from schemas.workspace import open_workspace
from simulator import simulate
from simulator.live import Options, Replay, create_topics, partition_of, read_inbox
from tests.cluster import test_crash_matrix as matrix
from tests.flows.conftest import vnsight
from warehouse.hash import content_hash
from warehouse.sql import query

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
ROOT = Path(__file__).resolve().parents[2]
KILLS = 50
# Processes are forked from one that has imported everything: the half second of work is killed, not the seconds before it.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__, "flows.stream.epochs", "flows.commands.runs", "confluent_kafka"])


def milestones() -> list[str]:
    return [*matrix.milestones(), "kafka:landed", "epoch:pulled", "epoch:published"]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    here = Cluster(tmp_path_factory.mktemp("kafka"), Ports.free(), jar_folder=ROOT / ".flink" / "jars")
    try:
        here.start("kafka")
        here.wait_ready("kafka")
        yield here.kafka
    finally:
        here.stop(kill=True)


class Feed:
    """The messages of a study, sent in portions."""

    def __init__(self, study: Path, servers: str, portions: int) -> None:
        with read_inbox(study) as spool:
            self.messages = list(Replay(spool, Options(batch=3)))
        self.records = sum(m.records for m in self.messages)
        self.size = -(-len(self.messages) // portions)
        self.producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "log_level": 2})
        create_topics(servers, 2)

    def send(self, everything: bool = False) -> int:
        """Send the next portion; return what is left."""
        portion = self.messages if everything else self.messages[: self.size]
        self.messages = self.messages[len(portion) :]
        for m in portion:
            self.producer.produce(m.topic, m.value, m.key, partition_of(m, 2), timestamp=m.timestamp_ms, headers=list(m.headers))
        assert self.producer.flush(30) == 0
        return len(self.messages)


def _child(home: str, kill_at: str) -> None:
    os.environ["VNSIGHT_KILL_AT"] = kill_at
    # the audit changes nothing on disk but the candidate and takes most of the time; the last stream has it
    nightly._STEPS["audit"] = lambda ws, candidate: ()
    cli.main(["stream", "--home", home, "--until-idle", "--epoch", "0.1"])


def stream(home: Path, kill_at: str = "", kill_after: float | None = None) -> int:
    """Stream until idle, or until killed at a milestone or that many seconds after the start; return the exit code."""
    process = FORKS.Process(target=_child, args=(str(home), kill_at))
    process.start()
    process.join(120 if kill_after is None else kill_after)
    if kill_after is not None:
        process.kill()
    process.join(5)
    code = process.exitcode
    process.kill()  # in vain, unless it hangs
    assert code in (0, -signal.SIGKILL), f"exit {code}"
    return code


def landed_messages(ws) -> Counter:
    """(topic, partition, offset) -> how often it was landed."""
    found = Counter()
    for landed in landed_files(ws):
        with pa.ipc.open_file(str(ws.landing / landed.path)) as file:
            for row in file.read_all().select(["partition", "offset"]).to_pylist():
                found[landed.file.split("/")[1], row["partition"], row["offset"]] += 1
    return found


@pytest.fixture
def world(kafka, tmp_path):
    """A study published from its files, undisturbed, and an empty workspace that reads the same study from Kafka."""
    study, home = tmp_path / "study", tmp_path / "home"
    simulate(study, 30, 60, 17, faults=2.0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(nightly._STEPS, "audit", lambda ws, candidate: ())
        nightly.run_steps(open_workspace(study), silent)
    vnsight("init", home)
    (home / "secret.key").write_bytes((study / "secret.key").read_bytes())
    settings = home / "vnsight.toml"
    fewer = settings.read_text().replace("shards = 16", "shards = 3")  # fewer parts to write; the answer does not depend on it
    settings.write_text(fewer + f'\n[[source]]\nname = "live"\nconnector = "kafka"\nservers = "{kafka}"\n')
    return content_hash(open_workspace(study))["all"], open_workspace(home), Feed(study, kafka, portions=2 * KILLS + 20)


def kill_again_and_again(home: Path, feed: Feed) -> Counter:
    """Kill at every milestone that was not passed yet, then at random; return how often each one killed.

    Now and then nobody kills, so that there is something published for the next one to spoil.
    """
    rng, waiting, killed, longest = random.Random(50), milestones(), Counter(), 0.0
    while killed.total() < KILLS:
        feed.send()
        began = time.monotonic()
        if killed.total() % 7 == 6 or not longest:
            assert stream(home) == 0
            longest = time.monotonic() - began
        name = waiting.pop(0) if waiting else "at random"
        feed.send()
        code = stream(home, name) if name != "at random" else stream(home, kill_after=rng.uniform(0, longest))
        killed[name] += code != 0
        if code == 0 and name != "at random":
            waiting.append(name)  # this portion brought nothing to that table
        print(f"{killed.total():3} {name:36} {'killed' if code else 'ended'} after {time.monotonic() - began:.1f} s", flush=True)
    return +killed


def test_fifty_kills_lose_and_double_nothing(kafka, world):
    expected, ws, feed = world
    total = len(feed.messages)
    feed.send()
    assert stream(ws.home) == 0
    watcher = matrix.Reader(ws.window)
    began = time.monotonic()
    try:
        killed = kill_again_and_again(ws.home, feed)
        print(f"{killed.total()} kills in {time.monotonic() - began:.0f} s: {dict(killed)}")
        feed.send(everything=True)
        vnsight("stream", "--home", ws.home, "--until-idle")
    finally:
        seen, errors, reads = watcher.stop()

    assert content_hash(ws)["all"] == expected
    assert set(milestones()) <= set(killed)
    assert errors == []
    assert len(seen) > 5  # loads were published between the kills
    assert query(ws, "select sum(rows)::int as n from ledger").to_pylist() == [{"n": feed.records}]
    landed = landed_messages(ws)
    assert set(landed.values()) == {1}
    assert landed.total() == total
    with Reader({"bootstrap.servers": kafka}) as reader:
        ends = reader.ends(p for ps in reader.topics().values() for p in ps)
    assert sum(end.high for end in ends.values()) == total
    print(f"{total:,} messages, {feed.records:,} records, {len(seen)} states seen in {reads} reads without error")
