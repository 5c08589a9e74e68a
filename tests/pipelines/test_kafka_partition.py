# SPDX-License-Identifier: Apache-2.0
"""A partition as a job reads it: what moves its watermark and what must not, and brokers, topics and messages at their worst."""

import time
from types import SimpleNamespace

import polars as pl
import pyarrow as pa
import pytest
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.rows import KEPT_BYTES
from pipelines.messages import read_messages
from pipelines.transforms.kafka_source import AHEAD_MS, EventClock, KafkaOptions, ReadPartition
from schemas.contract import load_contract
from schemas.errors import VNSightError
from tests.mock_broker import Broker
from tests.small_world import SECRET, patient

NOW_S = 1_750_000_000.0
NOW, MINUTE = int(NOW_S * 1000), 60_000
Y1970, Y2099 = 0, 4_070_908_800_000
TOPIC = "vnsight.patients"


def heard(*timestamps: int, idle_s: float | None = 60.0) -> EventClock:
    clock = EventClock(KafkaOptions({}, idle_s=idle_s))
    clock.hear(list(timestamps), NOW_S)
    return clock


@pytest.mark.parametrize("wrong", [Y1970, Y2099, -1])
@pytest.mark.parametrize("place", range(6))
def test_two_wrong_timestamps_in_five_do_not_move_the_watermark(wrong, place):
    stamps = [NOW - (5 - n) * MINUTE for n in range(6)]
    for at in (place, (place + 3) % 6):
        stamps[at] = wrong
    right = sorted(s for s in stamps if s != wrong)
    assert right[0] <= heard(*stamps, *(NOW for _ in range(3))).watermark_ms <= NOW


def test_a_producer_that_lives_in_2099_moves_it_to_the_present_at_most():
    clock = heard(*(Y2099 for _ in range(50)))
    assert clock.watermark_ms == NOW + AHEAD_MS
    clock.hear([NOW + MINUTE for _ in range(5)], NOW_S + 60)
    assert clock.watermark_ms == NOW + MINUTE + AHEAD_MS
    clock.hear([NOW + 2 * MINUTE for _ in range(5)], NOW_S + 120)
    assert clock.watermark_ms == NOW + MINUTE + AHEAD_MS  # and it goes on when the present has come there
    clock.hear([NOW + 2 * AHEAD_MS for _ in range(5)], NOW_S + 2 * AHEAD_MS / 1000)
    assert clock.watermark_ms == NOW + 2 * AHEAD_MS


def test_a_producer_that_lives_in_1970_holds_nothing_back_for_long():
    clock = heard(*(Y1970 for _ in range(50)))
    assert clock.watermark_ms == Y1970
    clock.silent(NOW_S)
    clock.silent(NOW_S + 60)
    assert clock.watermark_ms == NOW + MINUTE


@settings(max_examples=200, deadline=None)
@given(stamps=st.lists(st.integers(-1, 2 * Y2099), max_size=30), steps=st.lists(st.floats(-100.0, 100.0), min_size=30, max_size=30))
def test_it_never_goes_back_nor_into_the_future_whatever_clocks_do(stamps, steps):
    clock, latest, before = EventClock(KafkaOptions({})), NOW_S, None
    now = NOW_S
    for stamp, step in zip(stamps, steps, strict=False):
        now += step  # the clock of this machine goes back, too
        latest = max(latest, now)
        clock.hear([stamp], now)
        if before is not None:
            assert clock.watermark_ms >= before
        before = clock.watermark_ms
        assert before is None or before <= latest * 1000 + AHEAD_MS


def test_a_silent_partition_holds_the_others_up_until_it_is_idle_and_for_ever_in_a_replay():
    clock, replay = heard(NOW, NOW, NOW), heard(NOW, NOW, NOW, idle_s=None)
    for seconds in (0, 59, 60):
        clock.silent(NOW_S + seconds)
        replay.silent(NOW_S + 10**6 + seconds)
        assert clock.watermark_ms == NOW + (MINUTE if seconds == 60 else 0)
    assert replay.watermark_ms == NOW
    clock.hear([NOW + MINUTE], NOW_S + 61)  # it speaks again: the pause begins anew
    clock.silent(NOW_S + 62)
    assert clock.watermark_ms == NOW + MINUTE


def test_a_partition_that_never_had_a_message_is_idle_like_any_other():
    clock = EventClock(KafkaOptions({}))
    clock.silent(NOW_S)
    assert clock.watermark_ms is None
    clock.silent(NOW_S + 60)
    assert clock.watermark_ms == NOW + MINUTE


@pytest.fixture
def broker():
    started = Broker()
    yield started
    started.stop()


class Bundle:
    """A runner that asks a partition for one bundle after another."""

    def __init__(self, servers: str, number: int = 0, **options: object) -> None:
        config = {"bootstrap.servers": servers, "reconnect.backoff.max.ms": 200}
        self.dofn = ReadPartition(KafkaOptions(config, bundle_s=0.3, wait_s=0.1, **options))
        self.number, self.at, self.low = number, 0, None
        self.watermark = SimpleNamespace(current_watermark=lambda: self.low, set_watermark=lambda at: setattr(self, "low", at))

    def claim(self, position: int) -> bool:
        self.at = position + 1
        return True

    def __call__(self) -> list:
        """(topic, event time, table) of a bundle."""
        begin = SimpleNamespace(start=self.at)
        tracker = SimpleNamespace(current_restriction=lambda: begin, try_claim=self.claim, defer_remainder=lambda _: None)
        found = list(self.dofn.process((TOPIC, self.number, 0), tracker, self.watermark))
        return [(v.value[0], v.value[1], pa.ipc.open_stream(v.value[2]).read_all(), v.timestamp) for v in found]

    def until(self, messages: int, seconds: float = 30) -> list:
        until, found = time.monotonic() + seconds, []
        while sum(table.num_rows for _, _, table, _ in found) < messages:
            assert time.monotonic() < until, "waited in vain"
            found += self()
        return found


@pytest.fixture
def bundle():
    made = []

    def make(*arguments, **options) -> Bundle:
        made.append(Bundle(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.dofn.teardown()


@pytest.mark.parametrize("stamp", [1, Y2099])
def test_a_first_message_with_a_wrong_timestamp_is_looked_at_today(broker, bundle, stamp):
    broker.send("patients", patient(1), timestamp_ms=stamp)
    ((_, time_ms, table, at),) = bundle(broker.servers).until(1)
    assert table["timestamp_ms"].to_pylist() == [stamp]
    assert time_ms <= time.time() * 1000 + AHEAD_MS  # the end of the interval in which it is looked at comes
    assert at <= Timestamp.of(time.time() + 1)


def test_an_end_ends_the_partition_and_nothing_else_does(broker, bundle):
    broker.send("patients", patient(1), patient(2))
    one = bundle(broker.servers)
    one.until(2)
    assert one.low is None or one.low < MAX_TIMESTAMP
    broker.send("patients", b"", headers=[("vnsight-end", b"1")])
    while one.low != MAX_TIMESTAMP:
        one()


def test_a_broker_that_hangs_in_the_middle_is_silence_and_nothing_is_lost(broker, bundle):
    broker.send("patients", patient(1))
    one = bundle(broker.servers, idle_s=None)
    one.until(1)
    broker.send("patients", patient(2))
    broker.freeze()
    assert sum(t.num_rows for _ in range(4) for _, _, t, _ in one()) <= 1  # fetched ahead, perhaps
    broker.thaw()
    broker.send("patients", patient(3), key=None)  # no key is needed
    while one.at < 3:
        one()


def test_no_broker_and_no_topic_are_silence(broker, bundle):
    broker.send("patients", patient(1))
    nobody, nothing = bundle("127.0.0.1:1"), bundle(broker.servers, 77)
    assert nobody() == nothing() == []
    assert bundle(broker.servers).until(1)


def test_messages_the_broker_deleted_unread_stop_the_job_and_are_not_jumped_over(broker, bundle):
    broker.send("patients", *(b"x" * 500_000 for _ in range(20)))  # the mock keeps 5 MiB
    with pytest.raises(VNSightError, match=r"vnsight\.patients/0, offset 0: .*[Oo]ffset"):
        bundle(broker.servers).until(1)


def test_a_message_of_fifty_megabytes_becomes_one_refused_line(broker, bundle):
    broker.send("patients", b'{"patient_id": "' + b"x" * 50_000_000 + b'"}')
    broker.send("patients", patient(1), partition=1)
    ((_, _, table, _),) = bundle(broker.servers).until(1)
    assert len(table["value"][0].as_py()) > 50_000_000
    read = read_messages(table, TOPIC, load_contract("patients"), SECRET, True, NOW * 1000)
    assert read.quarantine["rules"].to_list() == [["line:too_long"]]
    assert len(read.quarantine["raw"][0]) == KEPT_BYTES
    assert read.receipts.select("records", "quarantined").rows() == [(1, 1)]
    assert bundle(broker.servers, 1).until(1)


def test_a_range_the_runner_cut_is_read_again_by_its_rest(broker, bundle):
    broker.send("patients", patient(1), patient(2))
    one = bundle(broker.servers)
    one.claim, refused = lambda position: False, one.claim
    assert one() == [] and one() == []
    one.claim = refused
    offsets = pl.concat([pl.DataFrame(t.select(["offset"])) for _, _, t, _ in one.until(2)])
    assert offsets["offset"].to_list() == [0, 1]
