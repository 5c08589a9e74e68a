# SPDX-License-Identifier: Apache-2.0
"""What the supervisor of a job learns of its topics: of a broker, and by arithmetic over the partitions."""

import pytest

from flows.engine.topics import NoTopicYet, TopicsSeen, must_have_some, see_topics
from flows.sources.kafka import Topics
from pipelines.kafka import Ends, Partition, Unreachable
from tests.mock_broker import Broker

A0, A1, B0 = Partition("vnsight.visits", 0), Partition("vnsight.visits", 1), Partition("vnsight.devices", 0)


def seen(ends: dict[Partition, Ends], *leaderless: Partition) -> TopicsSeen:
    return TopicsSeen(frozenset({"vnsight.visits", "vnsight.devices"}), frozenset({*ends, *leaderless}), ends)


def test_what_waits_begins_behind_the_last_receipt_or_where_the_broker_begins():
    here = seen({A0: Ends(0, 10), A1: Ends(4, 9), B0: Ends(0, 0)})
    assert here.lag({"vnsight.visits/0": 7, "vnsight.visits/1": 2}) == {"vnsight.visits": 3 + 5, "vnsight.devices": 0}


def test_a_topic_that_ends_before_what_was_read_waits_whole():
    here = seen({A0: Ends(1, 3)})
    assert here.lag({"vnsight.visits/0": 4}) == {"vnsight.visits": 2}
    assert here.lag({"vnsight.visits/0": 3}) == {"vnsight.visits": 0}
    assert list(here.made_anew({"vnsight.visits/0": 4})) == ["vnsight.visits"]
    assert here.made_anew({"vnsight.visits/0": 3}) == {}


def test_a_partition_without_a_leader_is_neither_new_nor_gone():
    here = seen({A0: Ends(0, 1)}, A1)
    assert here.new(["vnsight.visits/0"]) == []
    assert here.gone(["vnsight.visits/0", "vnsight.visits/1"]) == {}


def test_what_is_gone_is_a_topic_or_some_of_its_partitions_and_no_business_of_others():
    here = seen({A0: Ends(0, 1)})
    known = ["vnsight.visits/0", "vnsight.visits/1", "vnsight.devices/0", "vnsight.not_read_any_more/0"]
    assert here.gone(known) == {"vnsight.visits": "has no partition 1 any more", "vnsight.devices": "is gone"}


def test_a_broker_shows_the_topics_of_our_sources_as_they_come():
    broker = Broker()
    try:
        topics = Topics("stream", {"bootstrap.servers": broker.servers}, sources=("devices", "visits"))
        with pytest.raises(NoTopicYet, match="there is no topic"):
            must_have_some(see_topics(topics), topics)
        broker.send("visits", {}, {}, partition=2)
        broker.send("patients", {})
        before = see_topics(topics)
        assert before.places == [("vnsight.visits", n, 0) for n in range(4)]
        assert before.lag({}) == {"vnsight.visits": 2}
        broker.send("devices", {})
        assert see_topics(topics).new(before.new(())) == [f"vnsight.devices/{n}" for n in range(4)]
    finally:
        broker.stop()


def test_a_broker_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr("pipelines.kafka.ANSWER_S", 0.5)
    with pytest.raises(Unreachable):
        see_topics(Topics("stream", {"bootstrap.servers": "127.0.0.1:1"}))
