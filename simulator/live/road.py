# SPDX-License-Identifier: Apache-2.0
"""What happens to uploads on their way: silence for weeks, delay, disorder, copies. Nothing is lost and nothing changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from schemas.errors import UsageError
from simulator.plan import DAY_US, HOUR_US, SECOND_US, Array


@dataclass(frozen=True)
class Road:
    """How bad the road is. Rates are shares: of devices and participants (`offline`), of messages (`delayed`, `duplicated`).

    `disorder_s` is the window within which messages overtake one another, `delay_h` the mean of a delay, `offline_days` the shortest
    and longest silence. Half of the copies follow within the hour, the others up to 30 days later.
    """

    disorder_s: float = 600.0
    delayed: float = 0.02
    delay_h: float = 12.0
    duplicated: float = 0.01
    offline: float = 0.03
    offline_days: tuple[float, float] = (7.0, 21.0)

    def __post_init__(self) -> None:
        for name in ("delayed", "duplicated", "offline"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"road, {name}: {getattr(self, name)} is not a share between 0 and 1")
        if self.disorder_s < 0 or self.delay_h < 0 or not 0 <= self.offline_days[0] <= self.offline_days[1]:
            raise UsageError("road: times must not be negative, and offline_days rise")


ROUGH: Final = Road()
SMOOTH: Final = Road(disorder_s=0, delayed=0, duplicated=0, offline=0)


class Departures(NamedTuple):
    """When messages leave, in that order: which one, at which instant (UTC microseconds), and whether it is a copy of an earlier one."""

    message: Array
    sent_us: Array
    copy: Array


def hold_offline(road: Road, rng: np.random.Generator, at_us: Array, key: Array, keys: int) -> tuple[Array, Array]:
    """Return when each record can leave, and which were held: some keys are silent for weeks, then everything they held leaves at once."""
    chosen = rng.permutation(keys)[: int(np.ceil(keys * road.offline))]
    low, high = np.full(keys + 1, np.iinfo(np.int64).max), np.full(keys + 1, np.iinfo(np.int64).min)
    np.minimum.at(low, key, at_us)  # key -1, nobody's, is the last place
    np.maximum.at(high, key, at_us)
    begin, end = np.zeros(keys + 1, np.int64), np.zeros(keys + 1, np.int64)
    begin[chosen] = low[chosen] + ((high - low)[chosen] * rng.random(len(chosen))).astype(np.int64)
    end[chosen] = begin[chosen] + (rng.uniform(*road.offline_days, len(chosen)) * DAY_US).astype(np.int64)
    held = (at_us >= begin[key]) & (at_us < end[key])
    return np.where(held, end[key], at_us), held


def depart(road: Road, rng: np.random.Generator, ready_us: Array) -> Departures:
    """Return the departures of messages that are ready at `ready_us`; each leaves once, some twice."""
    n = len(ready_us)
    late = np.where(rng.random(n) < road.delayed, rng.exponential(road.delay_h * HOUR_US, n), 0.0)
    sent = ready_us + (late + rng.random(n) * road.disorder_s * SECOND_US).astype(np.int64)
    again = np.flatnonzero(rng.random(n) < road.duplicated)
    soon = rng.random(len(again)) < 0.5
    after = np.where(soon, rng.random(len(again)) * HOUR_US, rng.random(len(again)) * 30 * DAY_US).astype(np.int64)
    message = np.concatenate([np.arange(n), again])
    sent = np.concatenate([sent, sent[again] + after])
    copy = np.arange(len(message)) >= n
    order = np.argsort(sent, kind="stable")
    return Departures(message[order], sent[order], copy[order])
