# SPDX-License-Identifier: Apache-2.0
"""Kafka as a source: what is landed is the position, whatever broker, topics and messages do. Against librdkafka's mock broker."""

import json
import logging
import re
import time

import polars as pl
import pyarrow as pa
import pytest

from flows.sources import connectors
from flows.sources.connector import NotYet, pull
from flows.sources.kafka import Topics
from pipelines import kafka
from pipelines.core.messages import SCHEMA
from pipelines.ingest import IngestPlan, Piece, ingest_piece
from pipelines.landing import landed_files
from pipelines.launch import silent
from schemas.contract import load_contract
from schemas.errors import UsageError, VNSightError
from schemas.workspace import Workspace
from tests.mock_broker import Broker
from tests.small_world import SECRET, device, patient, response

NOW_MS = 1_750_000_000_000
DAY_MS = 86_400_000


@pytest.fixture
def broker():
    started = Broker()
    yield started
    started.stop()


@pytest.fixture
def ws(tmp_path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def open_topics():
    """Makes connectors and closes them."""
    made = []

    def make(broker, **options):
        made.append(Topics("stream", {"bootstrap.servers": broker.servers}, **options))
        return made[-1]

    yield make
    for topics in made:
        topics.close()


def land_all(ws, topics):
    """Pull; topic -> number of messages in each file that was landed."""
    counts = {}
    for landed in pull(ws, topics, silent):
        counts.setdefault(landed.file.split("/")[1], []).append(table_of(ws, landed).num_rows)
    return counts


def table_of(ws, landed):
    with pa.ipc.open_file(str(ws.landing / landed.path)) as file:
        return file.read_all()


def landed_offsets(ws):
    """(topic, partition, offset) of every landed message, as often as it was landed."""
    return sorted(
        (landed.file.split("/")[1], row["partition"], row["offset"])
        for landed in landed_files(ws)
        for row in table_of(ws, landed).select(["partition", "offset"]).to_pylist()
    )


def ingest(ws, landed):
    owners = ws.home / "owners.arrow"
    schema = {"device_key": pl.Int64, "patient_key": pl.Int64}
    pl.DataFrame(schema=schema).write_ipc(owners, compat_level=pl.CompatLevel.oldest())
    plan = IngestPlan(str(ws.home), 1, 4, SECRET, str(owners), str(ws.home / "spill"))
    (ws.home / "spill").mkdir(exist_ok=True)
    return ingest_piece(Piece(landed), plan)


def rules_of(ws, ingested):
    return pl.read_parquet(ws.home / ingested.quarantine, hive_partitioning=False).sort("line")["rules"].to_list()


def test_a_pull_lands_a_file_per_topic_and_the_next_one_goes_on(ws, broker, open_topics):
    broker.send("patients", patient(1), patient(2))
    broker.send("patients", patient(3), partition=3)
    broker.send("survey_responses", response(1, 3, 2))
    assert land_all(ws, open_topics(broker)) == {"vnsight.patients": [3], "vnsight.survey_responses": [1]}
    again = open_topics(broker)  # another process: nothing is known but what is landed
    assert land_all(ws, again) == {}
    broker.send("patients", patient(4), partition=2)  # a partition that was idle
    assert land_all(ws, again) == {"vnsight.patients": [1]}
    files = [f for f in landed_files(ws) if f.source == "patients"]
    assert [(f.file, f.origin) for f in files] == [(f"stream/vnsight.patients/{n:08d}.messages", "stream") for n in (1, 2)]
    table = table_of(ws, files[0])
    assert table.schema.equals(SCHEMA, check_metadata=False)
    assert table.select(["partition", "offset"]).to_pylist() == [{"partition": p, "offset": o} for p, o in ((0, 0), (0, 1), (3, 0))]


def test_a_night_lands_all_that_is_there_in_bounded_files(ws, broker, open_topics):
    broker.send("patients", *(patient(n % 9) for n in range(25)))
    assert land_all(ws, open_topics(broker, max_messages=10)) == {"vnsight.patients": [10, 10, 5]}


def test_a_stream_takes_a_budget_and_knows_what_it_left(ws, broker, open_topics):
    broker.send("patients", *(patient(n % 9) for n in range(25)))
    topics = open_topics(broker, budget=10)
    assert land_all(ws, topics) == {"vnsight.patients": [10]}
    assert (topics.heard.lag_messages["vnsight.patients"], topics.heard.full) == (15, True)
    assert topics.heard.lag_seconds == pytest.approx(time.time() - NOW_MS / 1000, abs=60)
    topics.budget = 1000
    assert land_all(ws, topics) == {"vnsight.patients": [15]}
    assert (topics.heard.lag_messages["vnsight.patients"], topics.heard.full, topics.heard.lag_seconds) == (0, False, 0.0)


def test_bytes_bound_a_file_too(ws, broker, open_topics):
    broker.send("patients", *(b"x" * 1000 for _ in range(500)))
    sizes = land_all(ws, open_topics(broker, max_bytes=10_000))["vnsight.patients"]
    assert sum(sizes) == 500
    assert max(sizes) <= 200  # what one call to the client brings


def test_the_same_messages_make_the_same_bytes(tmp_path, broker, open_topics):
    broker.send("patients", patient(1), b"\xff", None)
    hashes = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (landed,) = pull(Workspace(tmp_path / name), open_topics(broker), silent)
        hashes.add(landed.sha256)
    assert len(hashes) == 1


@pytest.mark.parametrize("crash", ["fetched", "listed"])
def test_a_crash_loses_and_doubles_nothing(ws, broker, open_topics, crash):
    broker.send("patients", patient(1), patient(2))
    broker.send("devices", b"{}")
    topics = open_topics(broker)
    for item in topics.list_new(ws):
        if crash == "listed":
            from pipelines.landing import land

            land(ws, (item.source, item.file, topics.name), topics.fetch(item), 1)
        break  # the process dies here, with the second topic fetched and not landed
    land_all(ws, open_topics(broker))
    assert landed_offsets(ws) == [("vnsight.devices", 0, 0), ("vnsight.patients", 0, 0), ("vnsight.patients", 0, 1)]


def test_a_stream_notices_that_the_night_has_pulled_meanwhile(ws, broker, open_topics):
    stream, night = open_topics(broker), open_topics(broker)
    for n in range(4):
        broker.send("patients", patient(n), patient(n))
        land_all(ws, (stream, night)[n % 2])
    assert landed_offsets(ws) == [("vnsight.patients", 0, n) for n in range(8)]


def test_poison_is_refused_alone_and_the_rest_is_read(ws, broker, open_topics):
    version = load_contract("patients").version
    broker.send("patients", patient(1), b"\xff\xfe poison", b"", None, b'{"patient_id":', patient(2))
    broker.send("patients", patient(3), headers=[("vnsight-schema", b"99.0")])
    broker.send("patients", patient(4), key=None, headers=[("vnsight-schema", version.encode())])  # no key is needed
    broker.send("patients", patient(5), timestamp_ms=1)
    broker.send("patients", patient(6), timestamp_ms=4_000_000_000_000)
    (landed,) = pull(ws, open_topics(broker), silent)
    ingested = ingest(ws, landed)
    assert (ingested.read, ingested.quarantined) == (10, 5)
    assert rules_of(ws, ingested) == [["line:utf8"], ["message:empty"], ["message:empty"], ["line:malformed"], ["message:schema"]]


def test_a_message_of_many_megabytes_becomes_one_refused_line(ws, broker, open_topics):
    broker.send("patients", b'{"patient_id": "' + b"x" * 50_000_000 + b'"}')
    broker.send("patients", patient(1), partition=1)
    landed = pull(ws, open_topics(broker), silent)
    ingested = [ingest(ws, file) for file in landed]
    assert sum(i.read for i in ingested) == 2
    assert [rules_of(ws, i) for i in ingested if i.quarantined] == [[["line:too_long"]]]
    assert sum((ws.home / i.quarantine).stat().st_size for i in ingested if i.quarantine) < 200_000


def test_an_end_and_markers_are_passed_over(ws, broker, open_topics):
    broker.send("patients", b"", headers=[("vnsight-end", b"1")])
    topics = open_topics(broker)
    assert land_all(ws, topics) == {}
    assert topics.heard.lag_messages == {"vnsight.patients": 0}
    broker.send("patients", patient(1))
    assert land_all(ws, topics) == {"vnsight.patients": [1]}


def test_late_messages_are_counted_and_the_future_makes_none_late(ws, broker, open_topics):
    topics = open_topics(broker)
    broker.send("patients", patient(1))
    broker.send("patients", patient(2), timestamp_ms=4_070_908_800_000)  # the year 2099
    land_all(ws, topics)
    broker.send("patients", patient(3), timestamp_ms=NOW_MS - DAY_MS)
    land_all(ws, topics)
    assert topics.heard.late == 0
    broker.send("patients", patient(4), patient(5), timestamp_ms=NOW_MS - DAY_MS - 1)
    broker.send("patients", patient(5), timestamp_ms=1)
    topics = open_topics(broker)  # after a restart: what was newest is landed too
    land_all(ws, topics)
    assert topics.heard.late == 3


def test_no_topic_is_no_news_and_said_once(ws, broker, open_topics, caplog):
    topics = open_topics(broker)
    assert land_all(ws, topics) == land_all(ws, topics) == {}
    assert [r.message for r in caplog.records] == ["source stream: there is no topic vnsight.<source> yet"]


def test_topics_that_carry_no_source_are_named_and_left_alone(ws, broker, open_topics, caplog):
    broker.producer.produce("vnsight.nonsense", b"{}")
    broker.producer.produce("others", b"{}")
    broker.send("patients", patient(1))
    broker.send("devices", b"{}")
    assert land_all(ws, open_topics(broker, sources=("patients",))) == {"vnsight.patients": [1]}
    said = sorted(r.message.partition(":")[0] for r in caplog.records)
    assert said == ["topic vnsight.devices", "topic vnsight.nonsense"]


def test_no_broker_is_not_yet(ws, monkeypatch):
    monkeypatch.setattr(kafka, "ANSWER_S", 0.5)
    topics = Topics("stream", {"bootstrap.servers": "127.0.0.1:1"})
    with pytest.raises(NotYet, match=r"source stream: Kafka at 127\.0\.0\.1:1 does not answer"):
        land_all(ws, topics)
    topics.close()


def test_a_broker_that_hangs_and_comes_back(ws, broker, open_topics, monkeypatch):
    monkeypatch.setattr(kafka, "ANSWER_S", 1.0)
    broker.send("patients", patient(1))
    topics = open_topics(broker)
    assert land_all(ws, topics) == {"vnsight.patients": [1]}
    broker.send("patients", patient(2))
    broker.freeze()
    with pytest.raises(NotYet, match="does not answer"):
        land_all(ws, topics)
    broker.thaw()
    until = time.monotonic() + 20
    while len(landed_offsets(ws)) < 2 and time.monotonic() < until:
        try:
            land_all(ws, topics)
        except NotYet:
            time.sleep(0.2)
    assert landed_offsets(ws) == [("vnsight.patients", 0, 0), ("vnsight.patients", 0, 1)]


def test_a_topic_made_anew_is_left_alone_the_others_are_read_and_a_new_name_reads_it(ws, broker, open_topics, caplog):
    broker.send("patients", patient(1), patient(2))
    land_all(ws, open_topics(broker))
    other = Broker()
    try:
        other.send("patients", patient(1))
        other.send("devices", device(1))
        topics = open_topics(other)
        assert land_all(ws, topics) == {"vnsight.devices": [1]}
        assert re.search(r"partition 0: ends at offset 1, but messages up to 2 were landed: .* new name", caplog.text)
        assert land_all(ws, topics) == {}
        assert ["patients" in note for note in topics.heard.notes] == [True]  # it is still said, for the status
        renamed = Topics("stream2", {"bootstrap.servers": other.servers})
        assert land_all(ws, renamed) == {"vnsight.devices": [1], "vnsight.patients": [1]}
        renamed.close()
    finally:
        other.stop()


def test_a_topic_made_anew_is_known_by_its_last_message(ws, broker, open_topics, caplog):
    """It is longer than what was landed, so that its end says nothing."""
    broker.send("patients", patient(1), patient(2))
    land_all(ws, open_topics(broker))
    other = Broker()
    try:
        other.send("patients", *(patient(n) for n in range(1, 7)), timestamp_ms=NOW_MS + 1)
        other.send("devices", device(1))
        assert land_all(ws, open_topics(other)) == {"vnsight.devices": [1]}
        assert re.search(r"partition 0: at offset 1 is another message .* new name", caplog.text)
    finally:
        other.stop()


def test_a_topic_that_is_gone_is_said(ws, broker, open_topics, caplog):
    broker.send("patients", patient(1))
    land_all(ws, open_topics(broker))
    other = Broker()
    try:
        assert land_all(ws, open_topics(other)) == {}
        assert "topic vnsight.patients: is not there any more; what was landed of it stays" in caplog.messages
    finally:
        other.stop()


def test_messages_that_the_broker_deleted_unread_are_counted_loudly(ws, broker, open_topics, caplog):
    broker.send("patients", patient(1))
    topics = open_topics(broker)
    land_all(ws, topics)
    broker.send("patients", *(b"x" * 500_000 for _ in range(20)))  # the mock keeps 5 MiB
    land_all(ws, topics)
    read = landed_offsets(ws)
    assert read[0][2] == 0
    lost = read[1][2] - 1
    assert lost > 5
    assert [offset for _, _, offset in read] == [0, *range(lost + 1, 21)]
    (said,) = caplog.messages
    assert said == topics.heard.notes[0]
    assert f"partition 0: {lost} messages were deleted by the broker before they were read" in said


def test_a_partition_that_is_added_is_read_from_its_beginning(ws, broker, open_topics, monkeypatch):
    whole = kafka.Reader.topics
    monkeypatch.setattr(kafka.Reader, "topics", lambda self: {t: ps[:2] for t, ps in whole(self).items()})
    broker.send("patients", patient(1))
    broker.send("patients", patient(2), patient(3), partition=3)
    topics = open_topics(broker)
    assert land_all(ws, topics) == {"vnsight.patients": [1]}
    monkeypatch.setattr(kafka.Reader, "topics", whole)
    assert land_all(ws, topics) == {"vnsight.patients": [2]}


def test_a_landed_file_that_was_damaged_stops_the_pull(ws, broker, open_topics):
    broker.send("patients", patient(1))
    (landed,) = pull(ws, open_topics(broker), silent)
    path = ws.landing / landed.path
    path.chmod(0o644)
    path.write_bytes(b"nothing")
    with pytest.raises(VNSightError, match=r"00000001\.messages: the landed file cannot be read, and with it where to go on"):
        land_all(ws, open_topics(broker))


def test_a_full_disk_at_landing_says_so_and_loses_nothing(ws, broker, open_topics, monkeypatch):
    broker.send("patients", patient(1))
    topics = open_topics(broker)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pipelines.landing.os.fsync", full)
        with pytest.raises(VNSightError, match=r"cannot be landed \(No space left on device\); make room"):
            land_all(ws, topics)
    assert land_all(ws, topics) == {"vnsight.patients": [1]}


def declare(ws, **table):
    return connectors(Workspace(ws.home, sources=({"name": "s", "connector": "kafka", "servers": "h:1", **table},)))


@pytest.mark.parametrize(("table", "message"), [
    ({"servers": ""}, "servers: is missing"), ({"prefix": 3}, "prefix"), ({"sources": ["nope"]}, "sources: nope is no source"),
    ({"max_messages": 0}, "max_messages: 0"), ({"max_messages": True}, "max_messages"), ({"topic": "x"}, "topic: is not known"),
    ({"config": {"enable.auto.commit": True}}, "enable.auto.commit: is set by VNSight"),
    ({"config": {"auto.offset.reset": "earliest"}}, "auto.offset.reset: is set by VNSight"),
    ({"config": {"bootstrap.servers": "x"}}, "with servers instead"), ({"config": {"sasl.password": "x"}}, "sasl_password_env"),
    ({"config": {"fetch.wait.max.ms": [1]}}, "neither text nor a number"), ({"config": 3}, "no table"),
    ({"sasl_password_env": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE"), ({"sasl_password_file": "nowhere"}, "nowhere"),
])  # fmt: skip
def test_a_wrong_declaration_is_named(ws, table, message):
    with pytest.raises(UsageError, match=message):
        declare(ws, **table)


def test_properties_reach_the_client_and_a_password_stays_out_of_sight(ws, monkeypatch):
    monkeypatch.setenv("KAFKA_WORD", "open sesame")
    (topics,) = declare(ws, sasl_password_env="KAFKA_WORD", config={"security.protocol": "sasl_ssl", "socket.keepalive.enable": True})
    assert topics.config == {
        "bootstrap.servers": "h:1", "security.protocol": "sasl_ssl", "socket.keepalive.enable": "true", "sasl.password": "open sesame",
    }  # fmt: skip
    assert "sesame" not in repr(topics)


def test_an_unknown_property_is_named(ws):
    (topics,) = declare(ws, config={"no.such.property": 1})
    with pytest.raises(UsageError, match=r"no\.such\.property"):
        land_all(ws, topics)


def test_what_is_landed_is_json_in_the_metadata(ws, broker, open_topics):
    """The position can be read by any Arrow library."""
    broker.send("patients", patient(1), partition=2)
    (landed,) = pull(ws, open_topics(broker), silent)
    said = json.loads(table_of(ws, landed).schema.metadata[b"vnsight-landed"])
    assert said == {"newest_ms": NOW_MS, "positions": {"0": 0, "1": 0, "2": 1, "3": 0}, "last": {"2": [0, NOW_MS]}}


@pytest.fixture(autouse=True)
def heard(caplog):
    caplog.set_level(logging.WARNING, "vnsight")
