# SPDX-License-Identifier: Apache-2.0
"""The supervisor of a streaming job against a Flink that fails, is away, stands still and drains, on a clock of our own."""

import json
import threading
from pathlib import Path
from types import SimpleNamespace

import httpx
import polars as pl
import pytest

from flows.commands.stream import _Lines
from flows.engine import alarm, supervise
from flows.engine import flink as rest
from flows.engine.flink import END_MS
from flows.engine.job import Options
from flows.engine.supervise import Supervisor
from flows.engine.topics import TopicsSeen
from flows.lock import only_run
from flows.steps import Outcome
from flows.stream.status import Status, read_status
from pipelines.kafka import Ends, Partition, Unreachable
from pipelines.updates import note_positions, positions
from schemas.errors import UsageError, VNSightError
from schemas.workspace import open_workspace

NOT_NOW = """java.util.concurrent.CompletionException: org.apache.flink.CheckpointException: of the job
\tat org.apache.flink.Somewhere
Caused by: org.apache.flink.CheckpointException: a step is not running
\tat org.apache.flink.Elsewhere
"""
WANTED = frozenset({"vnsight.devices", "vnsight.visits"})


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.slept, self.on_sleep = 1000.0, [], lambda: None

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_750_000_000.0 + self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.on_sleep()


class Stop:
    """Nobody says stop; waiting for it takes time of the clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.after, self.waits = clock, 10**9, 0

    def wait(self, seconds: float) -> bool:
        self.waits += 1
        if self.waits > self.after:
            return True
        self.clock.sleep(seconds)
        return False


class FakeFlink:
    """What Flink's REST says; `away` hangs up, `spoilt` savepoints fail before one is made."""

    def __init__(self) -> None:
        self.jobs: list[dict] = []
        self.initialising = False
        self.away, self.spoilt, self.watermark, self.completed = False, 0, 1000, 5
        self.asked: list[str] = []
        self.submitted = 0

    def submit(self, name: str, *_: object) -> None:
        self.submitted += 1
        number = self.submitted
        self.jobs.append({"jid": f"job{number}", "name": name, "state": "RUNNING", "start-time": number})

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("nobody there")
        path = request.url.path
        self.asked.append(f"{request.method} {path}")
        if path == "/jobs/overview":
            return httpx.Response(200, json={"jobs": self.jobs})
        if self.initialising:
            return httpx.Response(404, json={"errors": ["Job could not be found"]})
        return httpx.Response(200, json=self._of_job(request.method, path))

    def _of_job(self, method: str, path: str) -> object:
        if path.endswith("/checkpoints"):
            last = {"state_size": 2000, "latest_ack_timestamp": 1_750_000_000_000}
            return {"counts": {"completed": self.completed, "failed": 1}, "latest": {"completed": last if self.completed else None}}
        if path.endswith("/exceptions"):
            return {"root-exception": "java.lang.Boom: it broke\n\tat Somewhere"}
        if path.endswith("/metrics"):
            return [{"id": "0.step.currentOutputWatermark", "value": str(self.watermark)}]
        if path.endswith("/savepoints"):
            return {"request-id": "r1"}
        if "/savepoints/" in path:
            if self.spoilt:
                self.spoilt -= 1
                return {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"stack-trace": NOT_NOW}}}
            self.jobs[-1]["state"] = "CANCELED"
            return {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/savepoints/s1"}}
        if method == "PATCH":
            self.jobs[-1]["state"] = "CANCELED"
        return {"vertices": [{"id": "v1"}]}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A workspace, its clock, its Flink, what the owner was told, and a way to make its supervisor."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "vnsight.toml").write_text('[[source]]\nname = "stream"\nconnector = "kafka"\nservers = "127.0.0.1:1"\n')
    ws, clock, fake = open_workspace(home), Clock(), FakeFlink()
    here = SimpleNamespace(ws=ws, clock=clock, flink=fake, told=[], resumed=[], behind={}, said=[], fallen=[])
    here.partitions = {Partition("vnsight.devices", 0)}
    here.topics = lambda: TopicsSeen(WANTED, frozenset(here.partitions), {p: Ends(0, here.behind.get(p.topic, 0)) for p in here.partitions})
    cluster = SimpleNamespace(rest="http://127.0.0.1:2", folder=tmp_path / "flink")
    cluster.raise_fallen = lambda: [here.fallen.pop()] if here.fallen else []
    cluster.latest_checkpoint = lambda job: f"/checkpoints/{job}/chk-9"
    cluster.beam_arguments = lambda checkpoint_ms, resume: here.resumed.append(resume) or []

    def make(**options: object) -> Supervisor:
        made = Supervisor(here.ws, cluster, Options(**options), lambda status, ended: here.said.append((status.state, status.message)))
        made.stop = Stop(clock)
        made.flink._client = httpx.Client(base_url=cluster.rest, transport=httpx.MockTransport(fake))
        return made

    here.make = make
    monkeypatch.setattr(supervise, "time", clock)
    monkeypatch.setattr(rest, "time", clock)
    monkeypatch.setattr(alarm, "time", clock)
    monkeypatch.setattr(supervise, "commit_updates", lambda ws, progress: None)
    monkeypatch.setattr(alarm, "notify_owner", lambda _ws, _to, _by, title, body: here.told.append((title.split(": ")[1], body)))
    monkeypatch.setattr(supervise, "see_topics", lambda topics: here.topics())
    monkeypatch.setattr("pipelines.transforms.submit.submit", fake.submit)
    return here


def receipts(topic: str, partition: int, last: int) -> pl.DataFrame:
    return pl.DataFrame({"topic": topic, "partition": partition, "offset": list(range(last + 1))})


def of(told: list[tuple[str, str]]) -> list[str]:
    return [what for what, _ in told]


def remembered(world) -> dict:
    return json.loads((world.ws.home / "stream" / "job.json").read_text())


def test_a_first_start_submits_and_remembers(world):
    made = world.make(cells=4)
    made.start()
    assert world.resumed == [None]
    assert remembered(world) | {"name": ""} == {
        "name": "", "job": "job1", "savepoint": "", "cells": 4, "starts": 1, "partitions": ["vnsight.devices/0"], "source": "stream",
        "made_anew": {},
    }  # fmt: skip


def test_a_job_that_runs_is_taken_over(world):
    world.make(cells=4).start()
    second = world.make(cells=16)
    second.start()
    assert len(world.flink.jobs) == 1
    assert second.options.cells == 4  # the keys of a state cannot be cut anew


def test_a_failed_job_goes_on_from_its_last_checkpoint_with_growing_pauses(world):
    made = world.make()
    made.start()
    for _ in range(8):
        world.flink.jobs[-1]["state"] = "FAILED"
        made._look()
    assert world.clock.slept == [1, 2, 4, 8, 16, 32, 60, 60]
    assert world.resumed == [None, *(f"/checkpoints/job{n}/chk-9" for n in range(1, 9))]
    assert of(world.told) == ["gone"]
    assert "it broke" in world.told[0][1]


def test_a_job_flink_has_forgotten_is_begun_from_its_checkpoint(world):
    made = world.make()
    made.start()
    world.flink.jobs.clear()
    made._look()
    assert world.resumed == [None, "/checkpoints/job1/chk-9"]


def test_pauses_grow_until_a_checkpoint_shows_that_the_job_works(world):
    made = world.make()
    made.start()
    world.flink.completed = 0
    for _ in range(3):  # it runs for a moment, and fails again
        world.flink.jobs[-1]["state"] = "FAILED"
        made._look()
        made._look()
    assert world.clock.slept == [1, 2, 4]
    assert of(world.told) == ["gone"]
    world.flink.completed = 1
    made._look()
    world.flink.jobs[-1]["state"] = "FAILED"
    made._look()
    assert world.clock.slept == [1, 2, 4, 1]
    assert of(world.told) == ["gone", "gone"]  # another trouble


def away() -> TopicsSeen:
    raise Unreachable("the broker is away")


def test_a_broker_that_is_away_while_the_job_is_brought_back_is_waited_for(world, monkeypatch):
    made = world.make()
    made.start()
    world.flink.jobs[-1]["state"] = "FAILED"
    with monkeypatch.context() as patch:
        patch.setattr(world, "topics", away)
        assert made._look() is False
        assert (made.status.state, made.status.message) == ("waiting", "the broker is away")
    made._look()
    assert len(world.flink.jobs) == 2


def test_a_flink_that_is_away_is_told_after_a_while_and_once(world):
    made = world.make(away_s=60)
    made.start()
    world.flink.away = True
    for seconds in (0, 30, 29):
        world.clock.now += seconds
        assert made._look() is False
    assert (made.status.state, world.told) == ("waiting", [])
    for _ in range(3):
        world.clock.now += 30
        made._look()
    assert of(world.told) == ["away"]
    world.flink.away = False
    made._look()
    assert made.status.state == "running"
    world.flink.away = True
    made._look()
    world.clock.now += 61
    made._look()
    assert of(world.told) == ["away", "away"]
    assert len(world.flink.jobs) == 1  # the job itself was never touched


def test_a_watermark_that_stands_still_is_told_once_and_again_after_it_moved(world):
    made = world.make(stall_s=600)
    made.start()
    world.behind = {"vnsight.devices": 3}
    for _ in range(5):
        made._look()
        world.clock.now += 400
    assert of(world.told) == ["stalled"]
    assert "while 3 messages wait" in world.told[0][1]
    world.flink.watermark = 2000
    made._look()
    assert of(world.told) == ["stalled"]
    world.clock.now += 601
    made._look()
    assert of(world.told) == ["stalled", "stalled"]


def test_a_watermark_stands_still_in_silence_when_nothing_waits(world):
    made = world.make(stall_s=600)
    made.start()
    for _ in range(5):
        made._look()
        world.clock.now += 400
    assert world.told == []


def test_too_many_waiting_messages_are_told_once_and_again_after_they_were_read(world):
    made = world.make(most_lag=10)
    made.start()
    for n in (10, 11, 12, 3, 11):
        world.behind = {"vnsight.devices": n}
        made._look()
    assert of(world.told) == ["lag", "lag"]


def test_a_drain_leaves_a_savepoint_that_the_next_start_uses_once(world):
    made = world.make()
    made.start()
    made.drain()
    assert remembered(world)["savepoint"] == "file:/savepoints/s1"
    assert read_status(world.ws)["state"] == "stopped"
    world.make().start()
    assert world.resumed == [None, "file:/savepoints/s1"]
    assert remembered(world)["savepoint"] == ""  # from here its own checkpoints are younger


def test_a_drain_waits_while_flink_is_away_and_tries_a_failed_savepoint_again(world):
    made = world.make(drain_s=180)
    made.start()
    world.flink.away, world.flink.spoilt = True, 2
    looks = iter(range(100))

    def come_back() -> None:
        world.flink.away = next(looks) < 5

    world.clock.on_sleep = come_back
    made.drain()
    assert remembered(world)["savepoint"] == "file:/savepoints/s1"
    assert any("the savepoint failed: a step is not running; " in message for _, message in world.said)


def test_a_server_that_ended_by_itself_is_started_again_and_the_owner_told_once(world):
    made = world.make()
    made.start()
    world.fallen = ["taskmanager", "taskmanager"]
    for _ in range(4):
        made._look()
    assert world.fallen == []
    assert sum("started again: taskmanager" in message for _, message in world.said) == 2
    assert of(world.told) == ["server ended", "server ended"]  # the job was at work between the two: another trouble
    world.fallen = ["taskmanager"]
    made.drain()
    assert world.fallen == []
    assert remembered(world)["savepoint"] == "file:/savepoints/s1"


def test_a_job_that_restarts_says_why(world):
    made = world.make()
    made.start()
    world.flink.jobs[-1]["state"] = "RESTARTING"
    assert not made._look()
    assert (made.status.state, made.status.message) == ("waiting", "Flink is restarting: java.lang.Boom: it broke")


def test_a_server_that_cannot_be_started_again_does_not_end_the_stream(world):
    made = world.make()
    made.start()

    def refuse() -> list[str]:
        raise UsageError("taskmanager: another program listens on port 1")

    made.cluster.raise_fallen = refuse
    assert not made._look()
    assert made.status.state == "waiting"
    assert "another program listens" in made.status.message


def test_a_drain_that_cannot_be_done_leaves_the_job_alone(world):
    made = world.make(drain_s=20)
    made.start()
    world.flink.away = True
    with pytest.raises(VNSightError, match="no savepoint could be made in 20 s; the job was left alone"):
        made.drain()
    assert world.flink.jobs[-1]["state"] == "RUNNING"
    assert remembered(world)["savepoint"] == ""


def test_a_drain_of_a_job_that_is_gone_says_where_the_next_start_goes_on(world):
    made = world.make()
    made.start()
    world.flink.jobs[-1]["state"] = "FAILED"
    made.drain()
    assert made.status.message == "drained; the next start goes on from its last checkpoint"


def test_told_to_stop_it_drains(world):
    stop = threading.Event()
    stop.set()
    assert world.make().run(stop) is None
    assert world.flink.jobs[-1]["state"] == "CANCELED"


def test_until_idle_it_ends_when_every_partition_has_ended(world):
    world.flink.watermark = END_MS
    assert world.make(until_idle=True).run(threading.Event()) is None
    assert "PATCH /jobs/job1" in world.flink.asked
    assert read_status(world.ws)["message"] == "all is read"


def test_a_commit_that_is_held_ends_the_supervision_and_not_the_job(world, monkeypatch):
    held = SimpleNamespace(load=3, state="held")
    monkeypatch.setattr(supervise, "commit_updates", lambda ws, progress: held)
    assert world.make().run(threading.Event()) is held
    assert read_status(world.ws)["state"] == "held"
    assert world.flink.jobs[-1]["state"] == "RUNNING"


def test_commits_are_counted_and_another_run_is_waited_for(world, monkeypatch):
    outcomes: list[Outcome | None] = [
        Outcome("published", 2, rows={"read": 5, "quarantined": 1}), Outcome("flagged", 3, rows={"read": 2}), None, None,
    ]  # fmt: skip
    monkeypatch.setattr(supervise, "commit_updates", lambda ws, progress: outcomes.pop(0))
    made = world.make()
    with only_run(world.ws):
        assert made._commit() is None
    assert made.status.state == "waiting"
    assert "another run is at work" in made.status.message
    assert made._commit() is None
    assert (made.status.epoch, made.status.load) == (2, 3)
    assert made.status.epoch_seconds == {"all": 0.0}
    assert (made.status.rows["read"], made.status.rows["quarantined"]) == (7, 1)
    made._commit()  # nothing waits: the last that brought something is shown
    assert (made.status.rows["read"], made.status.rows_total["read"]) == (7, 7)


def test_a_partition_that_is_added_begins_the_job_anew_with_what_is_staged(world):
    made = world.make()
    made.start()
    note_positions(world.ws.home, receipts("vnsight.devices", 0, 6))
    world.behind = {"vnsight.devices": 7}
    made._look()
    assert made.status.lag_messages == {"vnsight.devices": 0}
    world.partitions.add(Partition("vnsight.visits", 0))
    made._look()
    assert [j["state"] for j in world.flink.jobs] == ["CANCELED", "RUNNING"]
    assert world.resumed == [None, None]  # no state knows it
    assert any("vnsight.visits/0 was added" in message for _, message in world.said)
    assert remembered(world)["partitions"] == ["vnsight.devices/0", "vnsight.visits/0"]
    assert positions(world.ws.home) == {"vnsight.devices/0": 0, "vnsight.visits/0": 0}  # all is told again
    made._look()
    assert len(world.flink.jobs) == 2
    assert made.status.lag_messages == {"vnsight.devices": 7, "vnsight.visits": 0}


def test_a_partition_added_while_nothing_ran_is_read_after_the_next_start(world):
    made = world.make()
    made.start()
    made.drain()
    world.partitions.add(Partition("vnsight.devices", 1))
    world.make().start()
    assert world.resumed == [None, None]
    world.flink.jobs[-1]["state"] = "FAILED"
    world.make().start()
    assert world.resumed == [None, None, "/checkpoints/job2/chk-9"]


def test_a_job_of_an_older_version_reads_what_is_there_when_it_is_taken_over(world):
    world.make().start()
    file = world.ws.home / "stream" / "job.json"
    old = {k: v for k, v in json.loads(file.read_text()).items() if k not in ("partitions", "source")}
    file.write_text(json.dumps(old))
    made = world.make()
    made.start()
    made._look()
    world.partitions.add(Partition("vnsight.devices", 1))
    made._look()
    assert world.resumed == [None, None]


def test_a_source_of_another_name_is_another_one(world):
    world.make().start()
    toml = world.ws.home / "vnsight.toml"
    toml.write_text(toml.read_text().replace('name = "stream"', 'name = "stream-2"'))
    world.ws = open_workspace(world.ws.home)
    world.make().start()
    assert [j["state"] for j in world.flink.jobs] == ["CANCELED", "RUNNING"]
    assert (world.resumed, remembered(world)["source"]) == ([None, None], "stream-2")


def test_a_topic_that_was_made_anew_is_told_once_and_its_messages_wait(world):
    made = world.make()
    made.start()
    note_positions(world.ws.home, receipts("vnsight.devices", 0, 6))
    world.behind = {"vnsight.devices": 2}
    for _ in range(3):
        made._look()
    assert of(world.told) == ["topic vnsight.devices was made anew"]
    assert "partition 0 ends at offset 2, and 7 were read" in world.told[0][1]
    assert "Give source stream a new name in vnsight.toml" in made.status.message
    assert made.status.lag_messages == {"vnsight.devices": 2}
    world.behind = {"vnsight.devices": 9}  # it outgrows what was read of the old one
    made._look()
    assert "made anew" in made.status.message
    again = world.make()  # and whoever supervises next knows
    again._look()
    assert "made anew" in again.status.message


def test_a_new_name_reads_a_topic_made_anew_from_its_beginning(world):
    made = world.make()
    made.start()
    note_positions(world.ws.home, receipts("vnsight.devices", 0, 6))
    world.behind = {"vnsight.devices": 2}
    made._look()
    made.drain()
    toml = world.ws.home / "vnsight.toml"
    toml.write_text(toml.read_text().replace('name = "stream"', 'name = "stream-2"'))
    world.ws = open_workspace(world.ws.home)
    made = world.make()
    made.start()
    made._look()
    assert world.resumed == [None, None]
    assert (made.status.message, made.status.lag_messages) == ("", {"vnsight.devices": 2})


def test_a_topic_that_is_gone_is_told_at_the_second_look_and_again_when_it_goes_again(world):
    world.partitions.add(Partition("vnsight.visits", 0))
    made = world.make()
    made.start()
    for there in (False, True, False, False, False, True, False, False):
        (world.partitions.add if there else world.partitions.discard)(Partition("vnsight.visits", 0))
        made._look()
        assert ("topic vnsight.visits is gone" in made.status.message) is not there
    assert of(world.told) == ["topic vnsight.visits is gone"] * 2
    assert len(world.flink.jobs) == 1


def test_a_job_that_was_just_submitted_is_starting_and_not_away(world):
    made = world.make()
    made.start()
    world.flink.initialising = True
    made._look()
    assert (made.status.state, made.status.message) == ("waiting", "the job is starting")
    world.flink.initialising = False
    made._look()
    assert (made.status.state, made.status.message) == ("running", "")
    world.flink.initialising = True
    world.clock.now += 90
    made._look()
    assert "answers 404 to GET /jobs/job1" in made.status.message


def test_the_load_of_a_status_begins_at_the_last_complete_one(world, monkeypatch):
    monkeypatch.setattr(supervise, "last_complete", lambda ws: SimpleNamespace(load=15))
    assert world.make().status.load == 15


def test_the_terminal_tells_of_loads_rows_and_of_recovery(capsys):
    status, show = Status(1.0, 0, engine="flink", load=15), _Lines()
    show(status, True)
    status.state, status.message = "waiting", "the broker is away"
    show(status, False)
    show(status, True)
    status.state, status.message = "running", ""
    show(status, False)
    status.load = 16
    show(status, False)
    show(status, True)
    status.add_rows({"read": 3, "quarantined": 1})
    show(status, True)
    show(status, True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["waiting", "running", "running", "running"]
    assert "load 15" in lines[1] and "load 16" in lines[2] and "3 rows (1 quarantined)" in lines[3]


def test_until_idle_it_says_what_it_waits_for(world):
    made = world.make(until_idle=True, idle_s=60)
    made.start()
    assert made._look() is False
    assert (made.status.state, made.status.message) == ("running", "all is read; waiting up to 60 s for silent partitions")
    world.behind = {"vnsight.devices": 2}
    assert made._look() is False
    assert made.status.message == ""
    world.behind, world.flink.watermark = {}, int(world.clock.time() * 1000)
    assert made._look() is True
    assert made.status.message == ""


def test_a_broker_that_is_down_at_the_start_is_waited_for_with_growing_pauses(world, monkeypatch):
    made, stop, there = world.make(), Stop(world.clock), world.topics
    world.clock.on_sleep = lambda: len(world.clock.slept) == 8 and setattr(world, "topics", there)
    stop.after = 9
    monkeypatch.setattr(world, "topics", away)
    assert made.run(stop) is None
    assert world.clock.slept[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert ("waiting", "the broker is away; tried again in 4 s") in world.said
    assert made.status.message.startswith("drained")


def test_told_to_stop_while_the_broker_is_down_nothing_is_begun(world, monkeypatch):
    made, stop = world.make(), Stop(world.clock)
    stop.after = 3
    monkeypatch.setattr(world, "topics", away)
    assert made.run(stop) is None
    assert (read_status(world.ws)["state"], world.flink.jobs) == ("stopped", [])


def test_no_topic_yet_is_waited_for_unless_it_is_to_end_when_idle(world):
    world.partitions.clear()
    made, stop = world.make(), Stop(world.clock)
    stop.after = 2
    world.clock.on_sleep = lambda: world.partitions.add(Partition("vnsight.devices", 0))
    made.run(stop)
    assert "there is no topic vnsight.<source> at 127.0.0.1:1 yet; tried again in 1 s" in world.said[0][1]
    assert len(world.flink.jobs) == 1
    world.partitions.clear()
    world.clock.on_sleep = lambda: None
    made = world.make(until_idle=True)
    assert made.run(Stop(world.clock)) is None
    assert (made.status.state, len(world.flink.jobs)) == ("stopped", 1)


def test_told_to_stop_during_the_pause_before_a_job_is_brought_back_it_is_not(world):
    made = world.make()
    made.start()
    world.flink.jobs[-1]["state"] = "FAILED"
    made.stop.after = 0
    assert made._look() is False
    assert (len(world.flink.jobs), world.clock.slept) == (1, [])
