# SPDX-License-Identifier: Apache-2.0
"""What the broker has for a streaming job, beside what the job reads: what waits, which partitions are new, which topics were made anew."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from flows.sources.kafka import Topics
from pipelines.kafka import Ends, Partition, Reader, Unreachable
from schemas.envelope import topic_of


class NoTopicYet(Unreachable):
    """The broker answers, and none of the topics we read is there; later one may be."""


@dataclass(frozen=True)
class TopicsSeen:
    """The topics of a source at one look. `there`: all their partitions; `ends`: of those whose leader answers.

    Partitions that are known from before are named `topic/number`; `read` gives the offset behind the last receipt of each.
    """

    wanted: frozenset[str]
    there: frozenset[Partition]
    ends: Mapping[Partition, Ends]

    @property
    def places(self) -> list[tuple[str, int, int]]:
        """(topic, partition, first offset) of everything that can be read."""
        return [(p.topic, p.number, low) for p, (low, _) in sorted(self.ends.items())]

    def lag(self, read: Mapping[str, int]) -> dict[str, int]:
        """Topic -> messages that no commit has a receipt for; all of them where we read beyond the end, for the topic is another one."""
        lag: dict[str, int] = {}
        for partition, (low, high) in self.ends.items():
            at = max(low, read.get(name_of(partition), 0))
            lag[partition.topic] = lag.get(partition.topic, 0) + high - (at if at <= high else low)
        return lag

    def new(self, known: Collection[str]) -> list[str]:
        """Partitions that are not among the known ones."""
        return sorted(name_of(p) for p in self.ends if name_of(p) not in known)

    def gone(self, known: Collection[str]) -> dict[str, str]:
        """Topic -> what of its known partitions is not there (any more, or just now)."""
        found: dict[str, list[str]] = {}
        for name in known:
            topic, _, number = name.rpartition("/")
            if topic in self.wanted and Partition(topic, int(number)) not in self.there:
                found.setdefault(topic, []).append(number)
        topics = {p.topic for p in self.there}
        return {t: f"has no partition {', '.join(sorted(n))} any more" if t in topics else "is gone" for t, n in sorted(found.items())}

    def made_anew(self, read: Mapping[str, int]) -> dict[str, str]:
        """Topic -> by what we know that it is another one under an old name."""
        found = {}
        for partition, (_, high) in sorted(self.ends.items()):
            at = read.get(name_of(partition), 0)
            if at > high:
                found[partition.topic] = f"was made anew: partition {partition.number} ends at offset {high:,}, and {at:,} were read"
        return found


def name_of(partition: Partition) -> str:
    """`topic/number`."""
    return f"{partition.topic}/{partition.number}"


def see_topics(topics: Topics) -> TopicsSeen:
    """Ask the broker; `Unreachable` when it does not answer."""
    wanted = frozenset(topic_of(source, topics.prefix) for source in topics.sources)
    with Reader(topics.config) as reader:
        there = [p for topic, found in reader.topics().items() if topic in wanted for p in found]
        return TopicsSeen(wanted, frozenset(there), reader.ends(there))


def must_have_some(seen: TopicsSeen, topics: Topics) -> TopicsSeen:
    """The same, unless there is nothing to read."""
    if not seen.ends:
        where = topics.config["bootstrap.servers"]
        raise NoTopicYet(f"source {topics.name}: there is no topic {topics.prefix}<source> at {where} yet")
    return seen
