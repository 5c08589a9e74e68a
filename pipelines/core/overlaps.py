# SPDX-License-Identifier: Apache-2.0
"""Sessions of one device that claim the same time: who keeps it (`docs/dose.md`, section 4, rule 4).

Only a clock that could not be repaired makes sessions overlap, so the plain walk below runs for the few devices that have any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import pairwise
from typing import NamedTuple

import polars as pl

LOST_SCHEMA = {"session": pl.Int64, "from_ms": pl.Int64, "to_ms": pl.Int64}


class Claim(NamedTuple):
    """A session's claim to `[start_ms, stop_ms)`; the largest rank (later upload, then larger hash) keeps the time."""

    session: int
    start_ms: int
    stop_ms: int
    rank: tuple[int, ...]


def lost_time(sessions: pl.DataFrame) -> pl.DataFrame:
    """Return the parts (session, from_ms, to_ms) that sessions lose to another session of the same device.

    Reads session (number), device_key, start_ms, stop_ms, uploaded_at and _fingerprint, sorted by device_key and start_ms.
    """
    reach = pl.col("stop_ms").cum_max().shift(1).over("device_key")
    crowded = sessions.filter((reach > pl.col("start_ms")).any().over("device_key"))
    columns = ("session", "start_ms", "stop_ms", "uploaded_us", "_fingerprint")
    lost: list[tuple[int, int, int]] = []
    for device in crowded.with_columns(uploaded_us=pl.col("uploaded_at").dt.epoch("us")).partition_by("device_key"):
        claims = [Claim(s, a, b, (up, mark, s)) for s, a, b, up, mark in device.select(columns).iter_rows()]
        lost.extend(_losses(claims))
    return pl.DataFrame(lost, schema=LOST_SCHEMA, orient="row")


def owned_time(claims: Sequence[Claim]) -> Iterator[tuple[int, int, int]]:
    """Yield (session, from_ms, to_ms) of the owner of every stretch between two edges, in time order.

    One pass with a heap: `n log n` even when a day of sessions lies on one instant.
    """
    waiting = sorted(claims, key=lambda c: c.start_ms)
    edges = sorted({edge for c in claims for edge in (c.start_ms, c.stop_ms)})
    running: list[tuple[tuple[int, ...], Claim]] = []
    begun = 0
    for edge, following in pairwise(edges):
        while begun < len(waiting) and waiting[begun].start_ms <= edge:
            heappush(running, (tuple(-r for r in waiting[begun].rank), waiting[begun]))
            begun += 1
        while running and running[0][1].stop_ms <= edge:
            heappop(running)
        if running:
            yield running[0][1].session, edge, following


def _losses(claims: Sequence[Claim]) -> Iterator[tuple[int, int, int]]:
    """Yield what is left of each claim when its own stretches are taken out of it."""
    reached = {c.session: c.start_ms for c in claims}
    for session, begin, end in owned_time(claims):
        if begin > reached[session]:
            yield session, reached[session], begin
        reached[session] = end
    for claim in claims:
        if claim.stop_ms > reached[claim.session]:
            yield claim.session, reached[claim.session], claim.stop_ms
