# SPDX-License-Identifier: Apache-2.0
"""`vnsight stream`: epochs that come out as one night would, wait for whom they must, and say how they stand. Against a mock broker."""

import itertools
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows import cli, nightly
from flows.lock import only_run, only_stream
from flows.sources.connector import Item, NotYet
from flows.stream import epochs as loop
from flows.stream import tidy as tidying
from flows.stream.epochs import Epochs, Options, Sources
from flows.stream.status import Status, one_line, read_status
from pipelines import kafka
from pipelines.launch import silent
from schemas.errors import VNSightError
from schemas.workspace import Workspace, open_workspace
from simulator import simulate
from simulator.live import Options as LiveOptions
from simulator.live import Replay, read_inbox, send
from tests.mock_broker import Broker
from tests.small_world import device, patient, response, session
from warehouse import publish
from warehouse.delta import last_complete, live_files
from warehouse.hash import content_hash
from warehouse.sql import query

pytestmark = pytest.mark.cluster  # long

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def broker():
    started = Broker()
    yield started
    started.stop()


def workspace(home: Path, broker: Broker, **options) -> Workspace:
    vnsight_code("init", home)
    lines = [f"{k} = {json.dumps(v)}" for k, v in ({"name": "live", "connector": "kafka", "servers": broker.servers} | options).items()]
    with (home / "vnsight.toml").open("a") as settings:
        settings.write("\n".join(["", "[[source]]", *lines, ""]))
    return open_workspace(home)


def vnsight_code(*arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    return ended.value.code


@pytest.fixture
def ws(tmp_path, broker) -> Workspace:
    return workspace(tmp_path / "home", broker)


@pytest.fixture
def unaudited(monkeypatch):
    """The audit takes most of an epoch and is not what is tried."""
    monkeypatch.setitem(nightly._STEPS, "audit", lambda ws, candidate: ())


def stream(ws, stop=None, **options):
    """Stream in this process until idle; return the epochs."""
    epochs = Epochs(ws, Options(**({"interval_s": 0.2, "until_idle": True} | options)), lambda status, ended: None)
    epochs.held = epochs.run(stop or threading.Event())
    return epochs


def test_a_stream_in_many_epochs_is_one_run_from_files(tmp_path, broker, capsys, unaudited):
    study = tmp_path / "study"
    simulate(study, 40, 90, 3, faults=2.0)
    nightly.run_steps(open_workspace(study), silent)
    ws = workspace(tmp_path / "home", broker, max_messages=400)
    (ws.home / "secret.key").write_bytes((study / "secret.key").read_bytes())
    with read_inbox(study) as spool:
        sent = send(Replay(spool, LiveOptions(batch=4)), broker.servers, partitions=None)
    assert vnsight_code("stream", "--home", ws.home, "--until-idle", "--epoch", "1") == 0
    assert content_hash(ws)["all"] == content_hash(open_workspace(study))["all"]
    said = read_status(ws)
    assert said["load"] >= 3
    assert said["rows_total"]["read"] == sent.rows == sum(n for b, n in said["rows_total"].items() if b != "read")
    assert query(ws, "select sum(rows)::int as n from ledger").to_pylist() == [{"n": sent.rows}]
    assert (said["state"], sum(said["lag_messages"].values()), said["waiting_files"]) == ("stopped", 0, 0)
    assert said["late"] > 0  # devices that were silent for weeks
    printed = capsys.readouterr()
    assert f"{ws.window} shows load {said['load']}" in printed.out
    first, *others = [line for line in printed.err.splitlines() if "epoch" in line]
    assert "the first epoch is under way" in first
    assert len(others) == said["load"]
    assert vnsight_code("status", "--home", ws.home) == 0
    assert "stream: stopped" in capsys.readouterr().out
    assert vnsight_code("run", "--home", ws.home, "--direct") == 0  # the night finds nothing left
    assert "nothing new to load" in capsys.readouterr().out


@pytest.mark.filterwarnings("default")  # Great Expectations warns about its own future
def test_the_audit_holds_back_what_changed_and_a_mended_source_goes_on(ws, broker, capsys):
    broker.send("patients", patient(1))
    broker.send("survey_responses", {"response_id": "R"})  # one bad row alone holds nothing
    assert vnsight_code("stream", "--home", ws.home, "--until-idle") == 0
    broker.send("patients", *(b"not json" for _ in range(25)))
    assert vnsight_code("stream", "--home", ws.home, "--until-idle") == 3
    assert "HELD BACK: load 2" in capsys.readouterr().out
    said = read_status(ws)
    assert (said["state"], said["load"], said["waiting_files"]) == ("held", 1, 1)
    assert query(ws, "select load from vnsight_meta").to_pylist() == [{"load": 1}]
    broker.send("patients", patient(2))
    assert vnsight_code("stream", "--home", ws.home, "--until-idle") == 0
    assert query(ws, "select count(*)::int as n from patients").to_pylist() == [{"n": 2}]


def test_a_storm_of_duplicates_counts_every_copy_and_changes_nothing(ws, broker, unaudited):
    rows = [patient(4), device(4), session(4, 1)]
    for source, row in zip(("patients", "devices", "stimulation_sessions"), rows, strict=True):
        broker.send(source, row)
    stream(ws)
    before = content_hash(ws)["all"]
    storm = [row for row in rows for _ in range(60)]
    random.Random(1).shuffle(storm)
    for row in storm:
        source = ("patients", "devices", "stimulation_sessions")[rows.index(row)]
        broker.send(source, row, partition=storm.index(row) % 4)
    after = stream(ws)
    assert after.status.rows == dict.fromkeys(after.status.rows, 0) | {"read": 180, "duplicate": 180}
    assert content_hash(ws)["all"] == before


def test_a_second_stream_is_refused_and_told_who_is_at_work(ws, capsys):
    with only_stream(ws):
        assert vnsight_code("stream", "--home", ws.home, "--until-idle") == 1
    assert f"a stream is at work in this workspace already (process {os.getpid()})" in capsys.readouterr().err


def in_background(ws, **options):
    stop, done = threading.Event(), []
    thread = threading.Thread(target=lambda: done.append(stream(ws, stop, **options)))
    thread.start()
    return thread, stop, done


def wait_until(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def test_an_epoch_waits_for_the_night_and_says_so(ws, broker, unaudited):
    broker.send("patients", patient(1))
    with only_run(ws):
        thread, _, done = in_background(ws)
        wait_until(lambda: (read_status(ws) or {}).get("state") == "waiting")
        assert f"another run is at work in this workspace (process {os.getpid()})" in read_status(ws)["message"]
        assert not ws.window.exists()
    thread.join(30)
    assert done[0].status.load == 1


def test_a_stream_that_waits_for_the_night_can_be_stopped(ws):
    with only_run(ws):
        thread, stop, _ = in_background(ws)
        wait_until(lambda: (read_status(ws) or {}).get("state") == "waiting")
        stop.set()
        thread.join(10)
    assert read_status(ws)["state"] == "stopped"


def test_a_broker_that_is_away_stops_neither_the_stream_nor_the_folders(ws, broker, unaudited, monkeypatch):
    monkeypatch.setattr(kafka, "ANSWER_S", 0.5)
    broker.freeze()
    (ws.inbox / "patients" / "a.ndjson").write_text(json.dumps(patient(1)) + "\n")
    thread, _, done = in_background(ws)
    wait_until(lambda: (read_status(ws) or {}).get("load") == 1)
    wait_until(lambda: read_status(ws)["state"] == "waiting")
    assert broker.servers in read_status(ws)["message"]
    broker.thaw()
    broker.send("patients", patient(2))
    wait_until(lambda: not thread.is_alive(), 60)
    assert (done[0].status.load, done[0].status.rows_total["read"], done[0].status.message) == (2, 2, "")


class Moody:
    """A source that does not answer for a while."""

    name = "moody"

    def __init__(self) -> None:
        self.asked, self.well = 0, False

    def list_new(self, ws):
        self.asked += 1
        if not self.well:
            raise NotYet("moody: away")
        yield Item("patients", "moody/a.ndjson", "")

    def fetch(self, item):
        return [b"{}\n"]

    def done(self, ws, item):
        pass


def test_a_source_that_does_not_answer_is_asked_less_and_less_often(ws, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
    moody = Moody()
    sources = Sources([moody])
    asked = []
    for _ in range(300):
        sources.pull(ws, silent)
        if not asked or moody.asked > len(asked):
            asked.append(now[0])
        now[0] += 1
    gaps = [b - a for a, b in itertools.pairwise(asked)]
    assert gaps[:6] == [1, 2, 4, 8, 16, 32]
    assert set(gaps[6:]) == {60}
    assert sources.trouble.startswith("moody: away; tried again after ")
    moody.well = True
    now[0] += 60
    assert len(sources.pull(ws, silent)) == 1
    assert sources.trouble == ""


@pytest.mark.parametrize(("full", "seconds", "price", "bound"), [
    (True, 11.0, 1.0, 5000), (True, 9.0, 1.0, 10_000), (False, 11.0, 1.0, 10_000),  # slow for another reason: nothing changes
    (True, 11.0, 3.0, 10_000), (True, 12.1, 3.0, 5000),  # what every epoch costs would be paid too often
    (True, 99.0, math.inf, 10_000),  # a backlog at the start goes fastest in full pulls
])  # fmt: skip
def test_a_pull_that_was_too_much_halves_the_next(ws, full, seconds, price, bound):
    epochs = Epochs(ws, Options(10.0, 10_000), lambda status, ended: None)
    epochs.price_s, epochs.sources.topics[0].heard.full, epochs.sources.landed = price, full, int(full)
    epochs._adapt(seconds)
    assert epochs.sources.bound == epochs.status.bound == bound


def test_a_bound_recovers_by_tenths_and_has_a_floor(ws):
    epochs = Epochs(ws, Options(10.0, 10_000), lambda status, ended: None)
    epochs.sources.topics[0].heard.full, epochs.price_s = True, 1.0
    for _ in range(20):
        epochs._adapt(99.0)
    assert epochs.status.bound == loop.LEAST
    epochs._adapt(1.0)
    assert epochs.status.bound == loop.LEAST + 1001
    for _ in range(20):
        epochs._adapt(1.0)
    assert epochs.status.bound == 10_000


def test_a_full_disk_stops_the_stream_with_its_message(ws, broker, unaudited, monkeypatch, capsys):
    broker.send("patients", patient(1))
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.landing.os.fsync", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        assert vnsight_code("stream", "--home", ws.home, "--until-idle") == 1
    assert "cannot be landed (No space left on device); make room" in capsys.readouterr().err
    said = read_status(ws)
    assert said["state"] == "stopped"
    assert "make room" in said["message"]
    assert stream(ws).status.rows_total["read"] == 1


def test_a_status_that_cannot_be_written_is_no_fault_of_ours(ws, monkeypatch):
    monkeypatch.setattr(Status, "save", lambda self, ws: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(VNSightError, match="status of the stream: the disk is full"):
        stream(ws)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--epoch", "0"), ("--epoch", "1e9"), ("--max-messages", "0"), ("--settle", "5"), ("--idle", "5"),
        ("--max-messages", "5", "--engine", "flink"),
    ],
)  # fmt: skip
def test_impossible_options_are_refused(ws, arguments):
    assert vnsight_code("stream", "--home", ws.home, *arguments) == 2


UNAUDITED = """
import sys
from flows import cli, nightly
nightly._STEPS["audit"] = lambda ws, candidate: ()
cli.main(sys.argv[1:])
"""


@pytest.fixture
def start(ws):
    """Starts `vnsight stream` in a process of its own, without the audit."""
    processes = []

    def begin():
        call = [sys.executable, "-c", UNAUDITED, "stream", "--home", str(ws.home), "--epoch", "1"]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        processes.append(subprocess.Popen(call, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_stream_after_its_epoch(ws, broker, start, number):
    broker.send("patients", patient(1))
    process = start()
    wait_until(lambda: (read_status(ws) or {}).get("epoch"))  # it is at work on it
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "stopping after this epoch" in err
    assert "shows load 1" in out
    assert read_status(ws)["state"] == "stopped"


def test_a_second_signal_ends_it_at_once_and_nothing_is_lost(ws, broker, start, unaudited):
    broker.send("patients", patient(1))
    process = start()
    wait_until(lambda: list(ws.landing.glob("manifest/*.json")))
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)  # two different ones: the same would count as one while it is pending
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert not ws.window.exists()
    stream(ws)
    assert query(ws, "select sum(rows)::int as n from ledger").to_pylist() == [{"n": 1}]


def test_a_killed_stream_is_told_from_one_at_work(ws, broker, start, capsys):
    broker.send("patients", patient(1))
    process = start()
    wait_until(lambda: (read_status(ws) or {}).get("load") == 1)
    assert vnsight_code("status", "--home", ws.home) == 0
    assert "stream: running" in capsys.readouterr().out
    process.kill()
    process.communicate()
    assert vnsight_code("status", "--home", ws.home) == 0
    assert "stream: ended without a word" in capsys.readouterr().out


def test_a_line_holds_what_matters():
    status = Status(10.0, 20_000, epoch=7, load=5, late=3, waiting_files=2, message="broker away")
    status.add_rows({"accepted": 1200, "quarantined": 1})
    status.lag_messages, status.lag_seconds = {"a": 1000, "b": 5}, 12.3
    status.epoch_seconds = {"pull": 0.1, "stage": 1.0, "all": 1.1}
    assert one_line(vars(status)) == (
        "epoch 7; load 5; 1,201 rows (1,200 accepted, 1 quarantined); lag 1,005 messages, 12 s; 3 late; 1.1 s (pull 0.1 + stage 1.0); "
        "2 files wait; broker away"
    )
    status.lag_messages, status.lag_seconds = {}, 0.0
    assert "; lag unknown; " in one_line(vars(status))
    status.message = ""
    assert "; lag 0 messages; " in one_line(vars(status))


def test_what_did_not_answer_is_said_after_the_stop_too(ws, monkeypatch):
    stop = threading.Event()
    epochs = Epochs(ws, Options(0.1), lambda status, ended: shown.append(status.message) or (ended and stop.set()))
    shown = []
    monkeypatch.setattr(Moody, "list_new", lambda *_: (_ for _ in ()).throw(NotYet("moody: away, run again to go on")))
    epochs.sources.all = [Moody()]
    assert epochs.run(stop) is None
    assert shown[0] == "streaming from moody; the first epoch is under way"
    assert shown[-2:] == ["moody: away; tried again after 1 s", "moody: away"]
    assert (read_status(ws)["state"], read_status(ws)["message"]) == ("stopped", "moody: away")


def test_rows_without_a_patient_are_of_no_harm(ws, broker, unaudited):
    """A stream may begin anywhere: responses come before the people they belong to."""
    broker.send("survey_responses", response(1, 3, 2))
    assert stream(ws).status.rows_total["pending"] == 1
    broker.send("patients", patient(1))
    stream(ws)
    assert query(ws, "select count(*)::int as n from scores").to_pylist()[0]["n"] > 0


def parts(ws):
    return {p for table in ("staged", "marts") for p in (ws.home / table).glob("*/_shard=*/*.parquet")}


def test_what_epochs_replaced_goes_once_nobody_can_read_it(ws, broker, unaudited, monkeypatch):
    for n in range(3):
        broker.send("patients", patient(4, recorded_at=f"2025-02-0{n + 1}T00:00:00Z"))
        stream(ws)
    versions = last_complete(ws).versions
    shown = {ws.home / path for table in versions for path in live_files(ws, table, versions[table])} & parts(ws)
    before, hashed = parts(ws), content_hash(ws)["all"]
    assert shown < before
    now = [5000.0]
    monkeypatch.setattr(tidying, "time", SimpleNamespace(monotonic=lambda: now[0]))
    tidy = tidying.Tidy(grace_s=900)
    assert tidy(ws) == 0
    now[0] += 899
    assert tidy(ws) == 0
    assert parts(ws) == before
    now[0] += 61
    assert tidy(ws) == len(before - shown)
    assert parts(ws) == shown
    assert [p.name for p in sorted(ws.loads.glob("0*[0-9]"))] == ["000003"]
    publish.refresh(ws, force=True)
    assert content_hash(ws)["all"] == hashed
    broker.send("patients", patient(5))
    assert stream(ws).status.load == 4


def test_what_a_held_load_shows_is_kept(ws, broker, unaudited):
    broker.send("patients", patient(4))
    stream(ws)
    orphan = ws.home / "marts" / "patients" / "_shard=0" / "of_the_candidate.parquet"
    orphan.write_bytes(b"")
    held = ws.home / "reports" / "held" / "load-2.duckdb"
    held.parent.mkdir()
    held.touch()
    tidy = tidying.Tidy(grace_s=0, every_s=0)
    assert tidy(ws) == 0
    held.unlink()
    assert tidy(ws) == 1
    assert not orphan.exists()
