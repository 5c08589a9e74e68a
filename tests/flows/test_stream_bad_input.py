# SPDX-License-Identifier: Apache-2.0
"""Bad input to a streaming job, from the message to what readers see and on to the night. The partition: test_kafka_partition.py."""

import errno
import json
import threading

import pytest

from flows.committer import commit_updates
from flows.lock import Busy, only_run
from pipelines import updates
from pipelines.launch import silent
from pipelines.updates import begin_books, waiting_updates
from schemas.errors import VNSightError
from tests.flows.stream_home import StreamHome, begun_home
from tests.small_world import device, patient, response, session
from tests.stream_world import by_source, lines_of
from warehouse.delta import last_complete
from warehouse.hash import content_hash
from warehouse.sql import query
from warehouse.stream_books import stream_books

pytestmark = pytest.mark.cluster  # needs no server, but three minutes

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def home(tmp_path, monkeypatch) -> StreamHome:
    return begun_home(tmp_path, monkeypatch)


def send_all(home: StreamHome, world: int = 0) -> None:
    for source, lines in by_source(lines_of(world)).items():
        home.send(source, *lines)


def land_all(home: StreamHome, world: int = 0) -> None:
    for source, lines in by_source(lines_of(world)).items():
        land(home, source, *lines)


def assert_night_agrees(home: StreamHome) -> None:
    """A nightly run over the same records as files changes nothing that is shown."""
    by_stream = shown(home)
    land_all(home)
    home.night()
    assert shown(home) == by_stream


def land(home: StreamHome, source: str, *lines: bytes, name: str = "a") -> None:
    folder = home.ws.home / "inbox" / source
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.ndjson").write_bytes(b"\n".join(lines) + b"\n")


def shown(home: StreamHome) -> str:
    return content_hash(home.ws)["all"]


def books(home: StreamHome, *bins: str) -> dict[str, int]:
    return {b: sum(found[b] for found in stream_books(home.ws).values()) for b in bins}


def test_poison_of_every_kind_is_refused_alone_and_nothing_else_is_lost(home):
    send_all(home)
    home.send("patients", b"\xff\xfe", b"", b'{"patient_id":', b"null", b'{"a":' * 100_000, b'{"patient_id":"' + b"x" * 50_000_000 + b'"}')
    home.send("patients", patient(1), schema="99.0")
    home.send("patients", patient(1), content_type="text/csv")
    home.send("patients", b"no arrow", content_type="application/vnd.apache.arrow.stream")
    home.look()
    home.commit()
    land_all(home)
    rules = query(home.ws, f"select rules from '{home.ws.home}/streamed/quarantine/**/*.parquet' where source = 'patients'").to_pylist()
    assert sorted(r["rules"][0] for r in rules) == [
        "line:malformed", "line:not_object", "line:too_deep", "line:too_long", "line:utf8", "message:arrow", "message:content_type",
        "message:empty", "message:schema",
    ]  # fmt: skip
    assert sum(p.stat().st_size for p in (home.ws.home / "streamed").rglob("*.parquet")) < 2_000_000
    by_stream = shown(home)
    home.night()
    assert shown(home) == by_stream


@pytest.mark.parametrize("stamp_ms", [0, -1, 4_070_908_800_000], ids=["1970", "none", "2099"])
@pytest.mark.parametrize("stamped_by", ["producer", "broker"])
def test_the_timestamps_of_messages_change_no_answer(home, stamp_ms, stamped_by):
    for source, lines in by_source(lines_of(0)).items():
        home.send(source, *lines, timestamp_ms=stamp_ms, appended=stamped_by == "broker")
    home.look()
    home.commit()
    assert_night_agrees(home)


def test_a_correction_of_a_fact_that_was_let_go_is_left_to_the_night_which_has_it_right(home):
    """The facts are of June 2025 and remembered for a day; the correction comes today."""
    short = StreamHome(home.ws, remember_days=1)
    old = [("patients", patient(1)), ("survey_responses", response(1, -3, 3)), ("survey_responses", response(1, 30, 2))]
    for source, row in old:
        short.send(source, row)
    short.look()
    short.commit()
    before, told = shown(short), score_of(short)
    correction = response(1, 30, 0, uploaded_at="2025-06-01T00:00:00Z")
    short.send("survey_responses", correction)
    short.look()
    short.commit()
    assert shown(short) == before and score_of(short) == told == 18  # readers keep what they had
    assert books(short, "held", "let_go", "read") == {"held": 0, "let_go": 4, "read": 4}  # counted, not lost
    for n, (source, row) in enumerate([*old, ("survey_responses", correction)]):
        land(short, source, json.dumps(row).encode(), name=str(n))
    short.night()
    assert score_of(short) == 0
    found = query(short.ws, "select sum(mismatched + missing + extra)::int as wrong, max(behind)::int as behind from stream_agreement")
    assert found.to_pylist() == [{"wrong": 0, "behind": 1}]


def score_of(home: StreamHome) -> int:
    (row,) = query(home.ws, "select score::int as n from scores where subscale = 'total' and completed_at > '2025-01-15'").to_pylist()
    return int(row["n"])


def test_a_storm_of_copies_across_commits_changes_nothing_and_every_copy_is_counted(home):
    rows = [("patients", patient(4)), ("devices", device(4)), ("stimulation_sessions", session(4, 1))]
    for source, row in rows:
        home.send(source, row)
    home.look()
    home.commit()
    before = shown(home)
    for _ in range(3):
        for source, row in rows:
            home.send(source, *(row for _ in range(50)))
        home.look()
        home.commit()
    assert shown(home) == before
    assert books(home, "read", "held", "duplicate") == {"read": 453, "held": 3, "duplicate": 450}


def test_a_clock_of_this_machine_that_goes_back_changes_no_answer_and_no_count(home, monkeypatch):
    parts = [by_source(lines_of(0)[n::3]) for n in range(3)]
    for n, part in enumerate(parts):
        monkeypatch.setattr(updates.time, "time_ns", lambda n=n: (2_000_000_000 - n * 86_400) * 10**9)
        if n == 1:
            begin_books(home.ws.home, [])  # what waits now is of an older state, though its names say it comes last
            home.keys.clear()
            for source, lines in parts[0].items():
                home.send(source, *lines)
        for source, lines in part.items():
            home.send(source, *lines)
        home.look()
    home.commit()
    assert books(home, "read") == {"read": sum(len(lines) for part in parts for lines in part.values())}
    found = books(home, "quarantined", "held", "duplicate", "let_go")
    assert sum(found.values()) == books(home, "read")["read"]
    assert_night_agrees(home)


def test_a_full_disk_at_an_update_leaves_nothing_and_the_bundle_comes_again(home, monkeypatch):
    send_all(home)
    before = len(waiting_updates(home.ws.home))
    with monkeypatch.context() as patched:
        patched.setattr(updates.os, "fsync", lambda *_: (_ for _ in ()).throw(FULL))
        home.checkpoint()
        with pytest.raises(OSError, match="No space"):
            home.look()
    assert len(list((home.ws.home / "stream" / "updates").iterdir())) == before  # nor a half-written one
    home.crash()
    home.told, home.held = 0, []
    home.written.clear()
    home.look()
    home.commit()
    assert_night_agrees(home)


def test_a_full_disk_at_a_commit_is_said_and_its_updates_wait(home, monkeypatch):
    send_all(home)
    home.look()
    waiting = waiting_updates(home.ws.home)
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.spill.os.fsync", lambda *_: (_ for _ in ()).throw(FULL))
        with pytest.raises(VNSightError, match="the disk is full"):
            home.commit()
    assert waiting_updates(home.ws.home) == waiting
    assert last_complete(home.ws).load == 0
    assert home.commit().state == "published"
    assert waiting_updates(home.ws.home) == []


def test_two_committers_take_turns_and_count_every_message_once(home):
    parts, barrier, loads = [by_source(lines_of(w)) for w in range(3)], threading.Barrier(2), []

    def commit_all() -> None:
        barrier.wait()
        for _ in range(1000):
            try:
                with only_run(home.ws):
                    outcome = commit_updates(home.ws, silent)
            except Busy:
                barrier_free.wait(0.05)
                continue
            if outcome is None:
                return
            loads.append(outcome.load)

    barrier_free = threading.Event()
    for part in parts:
        for source, lines in part.items():
            home.send(source, *lines)
        home.look()
    committers = [threading.Thread(target=commit_all) for _ in range(2)]
    for one in committers:
        one.start()
    for one in committers:
        one.join(120)
    assert loads == sorted(set(loads)) and len(loads) == last_complete(home.ws).load
    assert books(home, "read") == {"read": sum(len(lines) for part in parts for lines in part.values())}
    assert waiting_updates(home.ws.home) == []
