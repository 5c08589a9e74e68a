# SPDX-License-Identifier: Apache-2.0
"""The exact integral of a stream of segments: whole numbers in, whole numbers out, one search per instant.

`C(t)` of a stream is the amount of all its whole segments before `t` (stored as `cum_*` at staging) plus the floored part of
the one segment that `t` cuts. The dose of `[a, b)` is `C(b) - C(a)`. See `docs/dose.md`, section 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

OPEN_END_MS: Final = 4_102_444_800_000  # 2100-01-01: "without end"
INT64_MAX: Final = 2**63 - 1
KEY_BITS: Final = 42  # 2**42 ms is the year 2109; leaves 2**21 streams in one shard
AMOUNTS: Final = ("charge_pc", "pulses_milli", "on_ms")
STREAM_COLUMNS: Final = ("patient_key", "device_key", "stream")


def muldiv(q: npt.ArrayLike, r: npt.ArrayLike, c: npt.ArrayLike) -> Ints:
    """Return `floor(q * r / c)` exactly, elementwise, even where `q * r` does not fit 64 bits.

    Shapes broadcast. All values are whole and at least 0, `0 < c < 2**61`, and the result itself must fit 64 bits.

    >>> muldiv([225_000_000, 10**17], [165_000, 10**11], [330_000, 10**11]).tolist()
    [112500000, 100000000000000000]
    """
    q, r, c = np.broadcast_arrays(*(np.asarray(x, dtype=np.int64) for x in (q, r, c)))
    if q.size == 0:
        return np.zeros(q.shape, dtype=np.int64)
    product: Ints = q * r
    out: Ints = product // c  # a product that wrapped around is mended below
    if int(q.max()) * int(r.max()) > INT64_MAX:
        wide = q.astype(np.float64) * r > 2.0**62  # half the limit: rounding cannot hide an overflow
        if wide.any():
            out[wide] = _muldiv_by_digits(q[wide], r[wide], c[wide])
    return out


def _muldiv_by_digits(q: Ints, r: Ints, c: Ints) -> Ints:
    """Schoolbook multiplication: `r` in digits so small that remainder * base + digit * q never leaves 63 bits."""
    whole, q = q // c, q % c
    bits = 62 - int(c.max()).bit_length()
    n_digits = -(-max(int(r.max()).bit_length(), 1) // bits)
    out, rest = np.zeros_like(q), np.zeros_like(q)
    for k in reversed(range(n_digits)):
        digit = (r >> (k * bits)) & ((1 << bits) - 1)
        step = (rest << bits) + q * digit
        out = (out << bits) + step // c
        rest = step % c
    result: Ints = out + whole * r
    return result


def amount_after(amount: Ints, elapsed_ms: Ints, cycle_ms: Ints) -> Ints:
    """Return `floor(amount * elapsed / cycle)`: what a cycle of that amount has delivered that long after its first start."""
    cycles = elapsed_ms // cycle_ms
    return _amount_of_cycles(amount, cycles, elapsed_ms - cycles * cycle_ms, cycle_ms)


def _amount_of_cycles(amount: Ints, cycles: Ints, rest_ms: Ints, cycle_ms: Ints) -> Ints:
    """The same where the whole cycles are counted already: three amounts share one division."""
    result: Ints = amount * cycles + muldiv(amount, rest_ms, cycle_ms)
    return result


@dataclass(frozen=True)
class Amounts:
    """Whole picocoulombs, thousandths of a pulse, milliseconds of stimulation, and sessions begun; one entry per instant."""

    charge_pc: Ints
    pulses_milli: Ints
    on_ms: Ints
    sessions: Ints

    def __sub__(self, earlier: Amounts) -> Amounts:
        return Amounts(
            self.charge_pc - earlier.charge_pc,
            self.pulses_milli - earlier.pulses_milli,
            self.on_ms - earlier.on_ms,
            self.sessions - earlier.sessions,
        )


@dataclass(frozen=True)
class Streams:
    """Segments of one shard as arrays, grouped into streams (patient, device, stream) numbered 0, 1, 2 and on.

    Stream `s` owns the rows `first_row[s] : first_row[s + 1]`; `key` is its number and the start of the row in one sortable
    whole number, so that one binary search finds the segment of any instant.
    """

    columns: dict[str, npt.NDArray[Any]]
    first_row: Ints
    patient_key: Ints
    device_key: Ints
    stream: Ints
    key: Ints

    @classmethod
    def of(cls, segments: pl.DataFrame) -> Streams:
        """Build from segments sorted by (patient_key, device_key, stream, start_ms); starts lie between 1970 and 2109."""
        columns = {c: segments.get_column(c).to_numpy() for c in segments.columns}
        begins = stream_begins(*(columns[c] for c in STREAM_COLUMNS))
        first = np.flatnonzero(begins)
        first_row = np.append(first, len(begins)).astype(np.int64)
        key = np.repeat(np.arange(len(first), dtype=np.int64) << KEY_BITS, np.diff(first_row))
        key += columns["start_ms"]
        patient, device, stream = (columns[c][first].astype(np.int64) for c in STREAM_COLUMNS)
        return cls(columns, first_row, patient, device, stream, key)

    def of_patients(self, patient_key: Ints) -> tuple[Ints, Ints]:
        """Return the first stream of each patient and the one after the last; equal where the patient has none."""
        return (
            np.searchsorted(self.patient_key, patient_key, side="left").astype(np.int64),
            np.searchsorted(self.patient_key, patient_key, side="right").astype(np.int64),
        )


def stream_begins(patient_key: npt.NDArray[Any], device_key: npt.NDArray[Any], stream: npt.NDArray[Any]) -> Flags:
    """Mark the rows at which the stream is another than in the row before; the first row always is."""
    begins = np.ones(len(stream), dtype=np.bool_)
    begins[1:] = stream[1:] != stream[:-1]
    begins[1:] |= device_key[1:] != device_key[:-1]
    begins[1:] |= patient_key[1:] != patient_key[:-1]
    return begins


def locate(streams: Streams, stream_idx: Ints, t_ms: Ints) -> Ints:
    """Return the row of the last segment of each stream that starts before `t`; the row before its first if there is none."""
    wanted = (stream_idx << KEY_BITS) + np.clip(t_ms, 0, (1 << KEY_BITS) - 1)
    return np.searchsorted(streams.key, wanted, side="left").astype(np.int64) - 1


def cumulative(streams: Streams, stream_idx: Ints, t_ms: Ints) -> Amounts:
    """Return `C(t)` of the numbered streams: everything delivered before `t`, a session counting from its start on.

    `stream_idx` and `t_ms` (ms since 1970, UTC) have one shape. An instant before the first segment has amounts 0.
    """
    return cumulative_at(streams, locate(streams, stream_idx, t_ms), stream_idx, t_ms)


def cumulative_at(streams: Streams, row: Ints, stream_idx: Ints, t_ms: Ints) -> Amounts:
    """Return `C(t)` where the rows of `locate` are known already."""
    if len(streams.key) == 0:
        return Amounts(*(np.zeros(len(row), dtype=np.int64) for _ in range(4)))
    begun = row >= streams.first_row[stream_idx]
    row = np.where(begun, row, 0)
    column = streams.columns
    start, cycle = column["start_ms"][row], column["cycle_ms"][row]
    elapsed = np.where(begun, np.minimum(t_ms, column["end_ms"][row]) - start, 0)
    cycles = elapsed // cycle
    rest = elapsed - cycles * cycle
    charge, pulses, on = (
        begun * (column[f"cum_{c}"][row] + _amount_of_cycles(column[c][row], cycles, rest, cycle)) for c in AMOUNTS
    )
    if "sessions" not in column:  # a reader that asked for amounts only
        return Amounts(charge, pulses, on, np.zeros_like(on))
    return Amounts(charge, pulses, on, begun * (column["cum_sessions"][row] + column["sessions"][row]))
