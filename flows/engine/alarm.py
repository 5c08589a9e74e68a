# SPDX-License-Identifier: Apache-2.0
"""What the owner of the ledger is told of a streaming job, each trouble once until it is over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from quality.alerts import notify_owner
from schemas.contract import load_contract
from schemas.workspace import Stream, Workspace


@dataclass
class Alarm:
    """The troubles of one stream that its owner knows of."""

    ws: Workspace
    options: Stream
    told: set[str] = field(default_factory=set)
    gone: frozenset[str] = frozenset()  # topics that were not there at the last look

    def __post_init__(self) -> None:
        self.moved = (0, time.monotonic())  # watermark, when it last moved

    def tell(self, what: str, text: str) -> None:
        """Tell the owner, unless that was done and is not over."""
        if what not in self.told:
            self.told.add(what)
            owner = load_contract("mart.ledger")
            notify_owner(self.ws, owner.owner, owner.channel, f"[warning] VNSight stream of {self.ws.home.name}: {what}", text)

    def over(self, what: str) -> None:
        """When it comes again it is another trouble."""
        self.told.discard(what)

    def watch(self, watermark: int | None, lag: int) -> None:
        """Tell of a watermark that stands still while messages wait, and of too many of them."""
        now = time.monotonic()
        if (watermark or 0) > self.moved[0] or not lag:
            self.moved = (watermark or 0, now)
            self.over("stalled")
        elif now - self.moved[1] > self.options.stall_s:
            self.tell("stalled", f"the watermark has stood still for {now - self.moved[1]:.0f} s while {lag:,} messages wait")
        if lag > self.options.most_lag:
            self.tell("lag", f"{lag:,} messages wait at the broker, more than {self.options.most_lag:,}")
        else:
            self.over("lag")

    def topics(self, source: str, gone: Mapping[str, str], made_anew: Mapping[str, str]) -> str:
        """Tell of topics that went (at two looks in a row: a broker that starts shows none) or were made anew; all of them in a line."""
        notes = []
        for topic, why in made_anew.items():
            notes.append(
                f"topic {topic} {why}; it is not read any more. Give source {source} a new name in vnsight.toml, stop the stream and start "
                "it: it begins anew with what is staged, and reads the topics from their beginning (copies do not count twice)"
            )
            self.tell(f"topic {topic} was made anew", notes[-1])
        for topic, why in gone.items():
            if topic not in made_anew:
                notes.append(
                    f"topic {topic} {why}; what was read stays. If it is made again, give source {source} a new name in vnsight.toml"
                )
                if topic in self.gone:
                    self.tell(f"topic {topic} is gone", notes[-1])
        for topic in self.gone - set(gone):
            self.over(f"topic {topic} is gone")
        self.gone = frozenset(gone)
        return "; ".join(notes)
