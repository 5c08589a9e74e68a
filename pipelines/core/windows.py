# SPDX-License-Identifier: Apache-2.0
"""The dose every survey response had behind it: one search per window edge, differences of stored sums, no loop over rows.

What each column means: `docs/dose.md`, section 5. A response looks at all streams of all devices of its patient, so a window is
asked once per (response, stream) pair and the pairs are added up per response.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.core.implanted import UNKNOWN_STREAM
from pipelines.core.kernel import AMOUNTS, Amounts, Ints, Streams, cumulative, cumulative_at, locate
from pipelines.core.units import DAY_MS

WINDOWS_DAYS: Final = (7, 28, 90)
DOSE_COLUMNS: Final = (
    "charge_pc", "charge_pc_low", "charge_pc_high", "pulses_milli", "on_ms", "on_ms_high",
    "sessions", "coverage", "charge_reason",
)  # fmt: skip


@dataclass(frozen=True)
class Pairs:
    """Every asked window beside every stream of its owner: pair `p` asks window `window[p]` of stream `stream[p]`.

    The pairs of window `i` are `begin[i] : begin[i + 1]`.
    """

    window: Ints
    stream: Ints
    begin: Ints
    known: npt.NDArray[np.bool_]  # False: the stream of unknown time

    @classmethod
    def of(cls, streams: Streams, first: Ints, last: Ints) -> Pairs:
        """Pair window `i` with the streams `first[i] : last[i]`."""
        count = last - first
        begin = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        window = np.repeat(np.arange(len(count), dtype=np.int64), count)
        stream = np.arange(begin[-1], dtype=np.int64) - np.repeat(begin[:-1] - first, count)
        return cls(window, stream, begin, streams.stream[stream] != UNKNOWN_STREAM)

    def only_known(self) -> Pairs:
        """Leave out the streams of unknown time."""
        kept = np.concatenate([[0], np.cumsum(self.known)])
        return Pairs(self.window[self.known], self.stream[self.known], kept[self.begin], self.known[self.known])

    def total(self, of_pair: Ints) -> Ints:
        """Add up the pairs of each window; a running sum that wraps around cancels in the difference."""
        running = np.concatenate([[0], np.cumsum(of_pair, dtype=np.int64)])
        result: Ints = running[self.begin[1:]] - running[self.begin[:-1]]
        return result


@dataclass(frozen=True)
class Edge:
    """One edge of every pair: the segment it falls in or after, and all that happened in the stream before it."""

    row: Ints
    still_open: npt.NDArray[np.bool_]  # the segment at `row` goes on beyond the edge
    amounts: Amounts
    segment_ms: Ints  # time inside segments before the edge

    def of(self, pairs: npt.NDArray[np.bool_]) -> Edge:
        """Keep the marked pairs only."""
        a = self.amounts
        kept = Amounts(a.charge_pc[pairs], a.pulses_milli[pairs], a.on_ms[pairs], a.sessions[pairs])
        return Edge(self.row[pairs], self.still_open[pairs], kept, self.segment_ms[pairs])


def edge_at(streams: Streams, pairs: Pairs, t_ms: Ints) -> Edge:
    """Look up one instant per window (ms since 1970, UTC) in all the streams it is paired with."""
    t = t_ms[pairs.window]
    row = locate(streams, pairs.stream, t)
    if not len(streams.key):
        return Edge(row, np.zeros(len(row), np.bool_), cumulative_at(streams, row, pairs.stream, t), row + 1)
    first = streams.first_row[pairs.stream]
    begun, at = row >= first, np.maximum(row, 0)
    start, end = streams.columns["start_ms"], streams.columns["end_ms"]
    before = np.concatenate([[0], np.cumsum(end - start)])
    inside = before[at] - before[first] + np.minimum(t, end[at]) - start[at]
    return Edge(row, begun & (end[at] > t), cumulative_at(streams, row, pairs.stream, t), np.where(begun, inside, 0))


def dose_between(streams: Streams, pairs: Pairs, begin: Edge, end: Edge, length_ms: Ints) -> pl.DataFrame:
    """Return `DOSE_COLUMNS` of the windows between two edges, one row per window.

    A window of length 0 has dose 0 and coverage 1. charge is null where the charge of a device cannot be known (charge_reason
    says so); the `_high` columns are null where unknown time without a rate touches the window.
    """
    delta = end.amounts - begin.amounts
    delivered = (*AMOUNTS, "sessions")
    known = {c: pairs.total(np.where(pairs.known, getattr(delta, c), 0)) for c in delivered}
    high = {c: pairs.total(getattr(delta, c)) for c in ("charge_pc", "on_ms")}
    unknown_ms = pairs.total(np.where(pairs.known, 0, end.segment_ms - begin.segment_ms))
    limited = _touched(streams, pairs, begin, end, "charge_known")
    unrated = _touched(streams, pairs, begin, end, "rate_known")
    charge_known, high_known = pl.Series(~limited), pl.Series(~unrated)
    return pl.DataFrame({**known, "_high": high["charge_pc"], "on_ms_high": high["on_ms"]}).select(
        pl.when(charge_known).then("charge_pc"),
        pl.when(charge_known).then("charge_pc").alias("charge_pc_low"),
        pl.when(charge_known & high_known).then("_high").alias("charge_pc_high"),
        "pulses_milli",
        "on_ms",
        pl.when(high_known).then("on_ms_high"),
        "sessions",
        pl.Series("coverage", np.maximum(0.0, 1.0 - unknown_ms / np.maximum(length_ms, 1))),
        pl.when(~charge_known).then(pl.lit("voltage_limited")).alias("charge_reason"),
    )


def _touched(streams: Streams, pairs: Pairs, begin: Edge, end: Edge, flag: str) -> npt.NDArray[np.bool_]:
    """Mark windows that meet a segment whose flag is false: it starts before the end and ends after the beginning."""
    unset = np.flatnonzero(~streams.columns[flag])
    first = begin.row + ~begin.still_open
    touching = np.searchsorted(unset, end.row, side="right") - np.searchsorted(unset, first, side="left")
    return pairs.total(np.maximum(touching, 0)) > 0


def dose_in_windows(
    segments: pl.DataFrame, responses: pl.DataFrame, activated: pl.DataFrame, windows: Sequence[int] = WINDOWS_DAYS
) -> pl.DataFrame:
    """Return the dose in the look-back windows of each response, in the order of `responses`.

    `segments` is one shard, sorted; `responses` has patient_key and completed_ms; `activated` has patient_key (unique) and
    activated_ms, the earliest activation. Columns are `DOSE_COLUMNS` with the suffix `_{w}d` for each window of `w` days
    `[completed - w days, completed)`, then `_since_activation`. A patient without a device has dose 0 and coverage 1.
    """
    streams = Streams.of(segments)
    patient = responses["patient_key"].to_numpy().astype(np.int64)
    completed = responses["completed_ms"].to_numpy().astype(np.int64)
    pairs = Pairs.of(streams, *streams.of_patients(patient))
    end = edge_at(streams, pairs, completed)
    begins = {f"_{w}d": completed - w * DAY_MS for w in windows}
    begins["_since_activation"] = np.minimum(_activation(responses, activated), completed)
    doses = [
        dose_between(streams, pairs, edge_at(streams, pairs, begin), end, completed - begin).select(
            pl.col(c).alias(c + suffix) for c in DOSE_COLUMNS
        )
        for suffix, begin in begins.items()
    ]
    return pl.concat(doses, how="horizontal")


def _activation(responses: pl.DataFrame, activated: pl.DataFrame) -> Ints:
    """First activation per response; without a device, the completion itself, which makes the window empty."""
    found = responses.join(activated.select("patient_key", "activated_ms"), on="patient_key", how="left", maintain_order="left")
    return found.select(pl.coalesce("activated_ms", "completed_ms").cast(pl.Int64)).to_series().to_numpy()


def known_amounts(
    segments: pl.DataFrame, patient_key: Ints, completed_ms: Ints, windows: Sequence[int] = WINDOWS_DAYS
) -> dict[str, Ints]:
    """Return only charge_pc, pulses_milli and on_ms known to be delivered, as `{amount}_{w}d`: the join at its leanest.

    Segments need the columns of the streams, start_ms, end_ms, cycle_ms, the amounts and their sums, nothing else.
    """
    streams = Streams.of(segments)
    pairs = Pairs.of(streams, *streams.of_patients(patient_key)).only_known()
    backs = np.array([0, *windows], dtype=np.int64)
    edges = completed_ms[pairs.window] - backs[:, None] * DAY_MS
    before = cumulative(streams, np.tile(pairs.stream, len(backs)), edges.ravel())
    doses: dict[str, Ints] = {}
    for name in AMOUNTS:
        end, *begins = getattr(before, name).reshape(edges.shape)
        doses |= {f"{name}_{days}d": pairs.total(end - begin) for days, begin in zip(windows, begins, strict=True)}
    return doses
