# SPDX-License-Identifier: Apache-2.0
"""Segments of stimulation and the amount delivered until an instant, in whole numbers (`docs/dose.md`, sections 1 and 2)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from fractions import Fraction
from functools import cache
from itertools import accumulate
from typing import Final, NamedTuple

OPEN_END_MS: Final = 4_102_444_800_000  # 2100-01-01: a device that is still in use


class Amounts(NamedTuple):
    """What one cycle, or one session, delivers: picocoulombs, thousandths of a pulse, milliseconds of stimulation."""

    charge_pc: int
    pulses_milli: int
    on_ms: int


NOTHING: Final = Amounts(0, 0, 0)


class Segment(NamedTuple):
    """One cycle repeating over `[start_ms, end_ms)`. `begins_session` marks the first segment of a session."""

    start_ms: int
    end_ms: int
    cycle_ms: int
    per_cycle: Amounts
    begins_session: bool = False
    rate_known: bool = True

    def until(self, at_ms: int) -> Amounts:
        """Return the amounts delivered from the start to `at_ms`, which lies within the segment."""
        time, a = at_ms - self.start_ms, self.per_cycle
        return Amounts(a.charge_pc * time // self.cycle_ms, a.pulses_milli * time // self.cycle_ms, a.on_ms * time // self.cycle_ms)

    @property
    def whole(self) -> Amounts:
        """The amounts of the whole segment."""
        return self.until(self.end_ms)


@cache
def thousandths(value: float) -> int:
    """Return `round(1000 * value)` of the decimal that is written, not of its binary neighbour.

    >>> thousandths(1.1), thousandths(0.125)
    (1100, 125)
    """
    return round(Fraction(repr(float(value))) * 1000)


@cache
def per_cycle(current_ua: int, width_us: int, frequency_mhz: int, on_ms: int) -> Amounts:
    """Return the amounts of one cycle, charge counted while on only; nothing at zero current.

    >>> per_cycle(1_500, 250, 20_000, 30_000)
    Amounts(charge_pc=225000000, pulses_milli=600000, on_ms=30000)
    """
    if current_ua == 0:
        return NOTHING
    # uA * us is a picocoulomb; mHz * ms is a thousandth of a thousandth of a pulse
    charge = Fraction(current_ua * width_us) * Fraction(frequency_mhz * on_ms, 1_000_000)
    return Amounts(charge.numerator // charge.denominator, frequency_mhz * on_ms // 1_000, on_ms)


def clipped(segment: Segment, begin_ms: int, end_ms: int) -> Segment | None:
    """Return the part within `[begin_ms, end_ms)`, its cycle starting anew at its own start; None if nothing is left."""
    start, end = max(segment.start_ms, begin_ms), min(segment.end_ms, end_ms)
    if start >= end:
        return None
    if start == segment.start_ms and end == segment.end_ms:
        return segment
    return segment._replace(start_ms=start, end_ms=end)


class Stream:
    """Segments of one stream of one device, which never overlap, ready for questions about instants."""

    def __init__(self, segments: list[Segment]) -> None:
        self.segments = sorted(segments, key=lambda s: s.start_ms)
        self.starts = [s.start_ms for s in self.segments]
        whole = [s.whole for s in self.segments]
        self.charge = [0, *accumulate(a.charge_pc for a in whole)]
        self.pulses = [0, *accumulate(a.pulses_milli for a in whole)]
        self.on = [0, *accumulate(a.on_ms for a in whole)]
        self.length = [0, *accumulate(s.end_ms - s.start_ms for s in self.segments)]
        self.session_starts = [s.start_ms for s in self.segments if s.begins_session]
        self.rateless = [s for s in self.segments if not s.rate_known]

    def until(self, at_ms: int) -> tuple[Amounts, int]:
        """Return everything delivered before `at_ms`, and the milliseconds covered by segments before it."""
        i = bisect_right(self.starts, at_ms) - 1
        if i < 0:
            return NOTHING, 0
        last = self.segments[i]
        part = last.until(min(at_ms, last.end_ms))
        amounts = Amounts(self.charge[i] + part.charge_pc, self.pulses[i] + part.pulses_milli, self.on[i] + part.on_ms)
        return amounts, self.length[i] + min(at_ms, last.end_ms) - last.start_ms

    def sessions(self, begin_ms: int, end_ms: int) -> int:
        """Return how many sessions begin in `[begin_ms, end_ms)`."""
        return bisect_left(self.session_starts, end_ms) - bisect_left(self.session_starts, begin_ms)

    def touches(self, begin_ms: int, end_ms: int) -> bool:
        """Whether a segment meets `[begin_ms, end_ms)`."""
        i = bisect_left(self.starts, end_ms) - 1
        return i >= 0 and self.segments[i].end_ms > begin_ms

    def rateless_touches(self, begin_ms: int, end_ms: int) -> bool:
        """Whether a segment without a rate meets `[begin_ms, end_ms)`."""
        return any(s.start_ms < end_ms and s.end_ms > begin_ms for s in self.rateless)
