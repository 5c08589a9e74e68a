# SPDX-License-Identifier: Apache-2.0
"""Records to messages: neighbours of one source share a message, what a silent device held travels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.live.spool import Spool
from simulator.plan import DAY_US, Array

MOST_BYTES: Final = 700_000  # a broker takes 1 MB a message unless it is told otherwise
_SPAN_US: Final = DAY_US  # records that were ready further apart are no neighbours


@dataclass(frozen=True)
class Uploads:
    """Messages before their journey; message m holds the records `members[first[m] : first[m + 1]]`.

    `stamp_us` is the latest receipt in it, `ready_us` when it can leave; `key` indexes the spool's keys, -1 for none or several.
    """

    members: Array
    first: Array
    source: Array
    key: Array
    stamp_us: Array
    ready_us: Array

    def __len__(self) -> int:
        return len(self.source)

    def records(self, message: int) -> Array:
        """Return the numbers of the records of a message."""
        return self.members[self.first[message] : self.first[message + 1]]


def _number(spool: Spool, order: Array, lane: Array, ready_us: Array, most: int) -> Array:
    """The message of each record of `order`: the open one of its lane while it has room, else a new one."""
    opened: dict[int, list[int]] = {}  # lane -> message, records and bytes in it, when it began
    number, count = np.empty(len(order), np.int64), 0
    columns = (lane[order].tolist(), spool.length[order].tolist(), ready_us[order].tolist())
    for i, (way, length, at) in enumerate(zip(*columns, strict=True)):
        mine = opened.get(way)
        if mine is None or mine[1] >= most or mine[2] + length > MOST_BYTES or at - mine[3] > _SPAN_US:
            mine = opened[way] = [count, 0, 0, at]
            count += 1
        mine[1] += 1
        mine[2] += length + 1
        number[i] = mine[0]
    return number


def pack(spool: Spool, ready_us: Array, held: Array, most: int) -> Uploads:
    """Put up to `most` neighbouring records of a source into a message, in the order in which they are ready."""
    order = np.argsort(ready_us, kind="stable")
    lane = spool.source.astype(np.int64) + 128 * np.where(held, spool.key.astype(np.int64) + 1, 0)
    number = _number(spool, order, lane, ready_us, most)
    members = order[np.argsort(number, kind="stable")]
    starts = np.searchsorted(np.sort(number), np.arange(int(number.max()) + 1))
    key = spool.key[members]
    lowest, highest = np.minimum.reduceat(key, starts), np.maximum.reduceat(key, starts)
    return Uploads(
        members, np.append(starts, len(members)), spool.source[members[starts]], np.where(lowest == highest, lowest, -1),
        np.maximum.reduceat(spool.at_us[members], starts), np.maximum.reduceat(ready_us[members], starts),
    )  # fmt: skip
