# SPDX-License-Identifier: Apache-2.0
"""Where live messages go: topics of a Kafka (librdkafka's mock broker, in this process) and files in a folder; and the command."""

import json
import signal
import time
from collections import Counter, defaultdict

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from flows import cli
from schemas.contract import SOURCES
from schemas.envelope import END, source_of, topic_of
from schemas.errors import UsageError
from simulator.live import SMOOTH, Message, Options, Pace, Replay, create_topics, folder, kafka, partition_of, read_inbox, send, write_files

MOCK_PARTITIONS = 4  # of a topic that the mock broker makes when it is asked for


@pytest.fixture(scope="module")
def spool(world):
    with read_inbox(world.home) as opened:
        yield opened


@pytest.fixture
def servers():
    host = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "of the mock", "log_level": 2})
    yield ",".join(f"{b.host}:{b.port}" for b in host.list_topics(timeout=10).brokers.values())
    host.flush(1)


def consumed(servers, expected):
    """All messages of all topics, by topic and partition in their order."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test", "auto.offset.reset": "earliest", "log_level": 2})
    consumer.assign([TopicPartition(topic_of(s), p, 0) for s in SOURCES for p in range(MOCK_PARTITIONS)])
    found, count, until = defaultdict(list), 0, time.monotonic() + 30
    while count < expected and time.monotonic() < until:
        for m in consumer.consume(1000, 0.2):
            assert m.error() is None
            found[m.topic(), m.partition()].append((m.key(), m.value() or b"", m.timestamp()[1], tuple(m.headers())))
            count += 1
    assert not consumer.consume(1, 0.5)
    consumer.close()
    return found


@pytest.mark.parametrize("options", [Options(batch=20), Options(batch=200, arrow=True)], ids=["json", "arrow"])
def test_kafka_holds_what_was_sent_in_its_order_and_an_end(spool, servers, options):
    sent = send(Replay(spool, options), servers, partitions=None, end=True)
    expected = defaultdict(list)
    messages = list(Replay(spool, options))
    for m in messages:
        expected[m.topic, partition_of(m, MOCK_PARTITIONS)].append((m.key, m.value, m.timestamp_ms, m.headers))
    for source in SOURCES:
        for p in range(MOCK_PARTITIONS):
            expected[topic_of(source), p].append((None, b"", messages[-1].sent_ms, ((END, b"1"),)))
    assert consumed(servers, len(messages) + len(SOURCES) * MOCK_PARTITIONS) == expected
    assert (sent.messages, sent.records, sent.copies) == (len(messages), len(spool), sum(m.copy for m in messages))
    assert (sent.rows, sent.stopped, sent.unconfirmed) == (Replay(spool, options).rows, False, 0)


def stops_after(count):
    def progress(sent):
        if sent.messages >= count and not sent.stopped:
            signal.raise_signal(signal.SIGINT)

    return progress


def test_ctrl_c_stops_kafka_between_two_messages(spool, servers, monkeypatch):
    monkeypatch.setattr("simulator.live.pace._EVERY_S", 0)
    before = signal.getsignal(signal.SIGINT)
    sent = send(Replay(spool, Options()), servers, partitions=None, end=True, progress=stops_after(100))
    assert (sent.stopped, sent.messages, sent.unconfirmed) == (True, 100, 0)
    assert sum(len(found) for found in consumed(servers, 100).values()) == 100  # and no END
    assert signal.getsignal(signal.SIGINT) == before


def test_without_a_broker_it_says_so(spool, monkeypatch):
    monkeypatch.setattr(kafka, "_ANSWER_S", 0.5)
    for partitions in (2, None):
        with pytest.raises(UsageError, match=r"no Kafka broker answers at 127\.0\.0\.1:1 "):
            send(Replay(spool, Options()), "127.0.0.1:1", partitions=partitions)


def test_a_topic_needs_a_partition():
    with pytest.raises(UsageError, match="partitions"):
        create_topics("127.0.0.1:1", 0)


def lines_of(place):
    return {s: Counter(x for p in (place / s).iterdir() for x in p.read_bytes().split(b"\n")[:-1]) for s in SOURCES}


def test_a_folder_holds_every_message_on_its_line(spool, tmp_path):
    options = Options()
    sent = write_files(Replay(spool, options), tmp_path / "live")
    expected = {s: Counter() for s in SOURCES}
    for m in Replay(spool, options):
        expected[source_of(m.topic)][m.value] += 1
    assert lines_of(tmp_path / "live") == expected
    assert sent.files == len(SOURCES)
    assert sent.rows == Replay(spool, options).rows


def files_of(place):
    return {p.relative_to(place): p.read_bytes() for p in place.rglob("*") if p.is_file()}


def test_files_appear_window_by_window_and_are_the_same_every_time(spool, tmp_path, monkeypatch):
    """The study is 140 days or 1.2 s at this speed, a window 0.2 s."""
    monkeypatch.setattr(folder, "_WINDOW_S", 0.2)
    seen = []
    for name in ("a", "b"):
        began = time.monotonic()
        sent = write_files(Replay(spool, Options(batch=9)), tmp_path / name, speed=1e7, progress=lambda s: seen.append(s.files))
        assert 0.5 < time.monotonic() - began < 20
        assert sent.files > 3 * len(SOURCES)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert not list(tmp_path.rglob("*.part"))


def test_ctrl_c_leaves_whole_files(spool, tmp_path, monkeypatch):
    monkeypatch.setattr("simulator.live.pace._EVERY_S", 0)
    sent = write_files(Replay(spool, Options(road=SMOOTH)), tmp_path / "live", progress=stops_after(50))
    assert sent.stopped
    written = [x for data in files_of(tmp_path / "live").values() for x in data.split(b"\n")[:-1]]
    assert len(written) == sent.messages == 50
    assert all(json.loads(x) for x in written)


def test_large_buffers_are_written_early(spool, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_MOST_BYTES", 20_000)
    write_files(Replay(spool, Options()), tmp_path / "live")
    assert max(len(data) for data in files_of(tmp_path / "live").values()) < 22_000


def test_a_folder_in_use_is_refused(spool, tmp_path):
    (tmp_path / "patients").mkdir()
    (tmp_path / "patients" / "mine.ndjson").touch()
    with pytest.raises(UsageError, match="holds files already"):
        write_files(Replay(spool, Options()), tmp_path)


def test_a_folder_takes_no_arrow(spool, tmp_path):
    with pytest.raises(UsageError, match="Arrow messages are for Kafka"):
        write_files(Replay(spool, Options(batch=500, arrow=True)), tmp_path)


def test_the_clock_runs_at_its_speed():
    pace = Pace(1000)
    assert pace.seconds_until(1_000_000) == 0
    assert 9.9 < pace.seconds_until(11_000_000) <= 10
    assert Pace(0).seconds_until(1 << 50) == 0
    pace.sent.add(Message("vnsight.patients", None, b"{}", 0, (), 4_000_000, 3))
    assert (pace.sent.rows, pace.sent.records, pace.sent.delayed, pace.sent.through_ms) == (3, 3, 1, 4_000_000)


@pytest.mark.parametrize("speed", [-1, float("inf"), float("nan")])
def test_an_impossible_speed_is_refused(speed):
    with pytest.raises(UsageError, match="speed"):
        Pace(speed)


def ends(*arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    return ended.value.code


def test_the_command_simulates_and_replays(tmp_path, capsys):
    home = tmp_path / "study"
    common = ("simulate", home, "--patients", 15, "--days", 30, "--live", "--speed", "max")
    assert ends(*common) == 0
    first = files_of(home / "live")
    assert {p.parts[0] for p in first} == set(SOURCES) - {s for s in SOURCES if not list((home / "inbox" / s).iterdir())}
    assert "records" in capsys.readouterr().out
    assert ends(*common, "--to", tmp_path / "again") == 0  # takes the workspace that is there
    assert files_of(tmp_path / "again") == first
    assert ends(*common, "--to", tmp_path / "smooth", "--no-road-faults") == 0
    assert " 0 duplicates, 0 delayed" in " ".join(capsys.readouterr().out.split()).replace("(", " ")
    assert ends(*common) == 2
    assert "holds files already" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "message"), [
    (("--kafka", "h:1"), "without --live"), (("--live", "--serve"), "--serve"),
    (("--live", "--to", "x", "--kafka", "h:1"), "--to and --kafka"),
    (("--live", "--arrow"), "for Kafka"), (("--live", "--end"), "for Kafka"), (("--live", "--speed", "-1"), "--speed"),
    (("--live", "--batch", "0"), "--batch"), (("--live", "--kafka", "h:1", "--partitions", "0"), "--partitions"),
])  # fmt: skip
def test_options_that_do_not_go_together_are_refused_before_anything_is_made(tmp_path, capsys, options, message):
    assert ends("simulate", tmp_path / "study", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_a_stopped_replay_says_how_far_it_came(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("simulator.live.pace._EVERY_S", 0)
    monkeypatch.setattr("flows.commands.live._Shown.__call__", lambda shown, sent: stops_after(20)(sent))
    assert ends("simulate", tmp_path / "study", "--patients", 10, "--days", 20, "--live", "--speed", "max") == 1
    out = capsys.readouterr().out
    assert "stopped at the simulated time 20" in out
    assert "20 messages" in out
