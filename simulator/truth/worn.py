# SPDX-License-Identifier: Apache-2.0
"""Segments of a patient-driven device from its sessions (`docs/dose.md`, sections 4 and 6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import Final

from simulator.truth.programmed import Device
from simulator.truth.segments import NOTHING, Amounts, Segment, clipped, per_cycle

DAY_MS: Final = 86_400_000
TOLERANCE_US: Final = 120_000_000
CONTINUOUS_MS: Final = 1_000


@dataclass(frozen=True)
class Session:
    """A session as its accepted record says: instants in us of the device's and the host's clock, lengths in ms, frequency in mHz.

    `on_ms` is None when stimulation is continuous. Intensities are thousandths of a milliampere or of a level.
    """

    number: int
    device_started_us: int
    device_clock_us: int
    uploaded_us: int
    duration_ms: int
    width_us: int
    frequency_mhz: int
    on_ms: int | None
    off_ms: int | None
    steps: list[tuple[int, int]]
    gaps: list[tuple[int, int]]

    @cached_property
    def start_ms(self) -> int:
        """Start by the host's clock: as the device says when its clock is at most 120 s off, moved by the offset otherwise."""
        offset = self.uploaded_us - self.device_clock_us
        return (self.device_started_us + (0 if abs(offset) <= TOLERANCE_US else offset)) // 1_000

    @property
    def end_ms(self) -> int:
        """Planned or early end, before anything is clipped."""
        return self.start_ms + self.duration_ms


@dataclass(frozen=True)
class WornStreams:
    """The two streams of a patient-driven device."""

    normal: list[Segment]
    unknown: list[Segment]


@dataclass
class _Placed:
    """A session with what is left of it."""

    session: Session
    start_ms: int
    end_ms: int
    segments: list[Segment]

    @property
    def totals(self) -> Amounts:
        whole = [s.whole for s in self.segments]
        return Amounts(sum(a.charge_pc for a in whole), sum(a.pulses_milli for a in whole), sum(a.on_ms for a in whole))


def _without(segment: Segment, start_ms: int, end_ms: int) -> list[Segment]:
    """Return what is left of a segment when `[start_ms, end_ms)` is taken out."""
    if end_ms <= segment.start_ms or start_ms >= segment.end_ms:
        return [segment]
    sides = clipped(segment, segment.start_ms, start_ms), clipped(segment, end_ms, segment.end_ms)
    return [side for side in sides if side is not None]


def _on_off(session: Session) -> tuple[int, int]:
    if session.on_ms is None or session.off_ms is None:
        return CONTINUOUS_MS, 0
    return session.on_ms, session.off_ms


@cache
def _amounts(intensity: int, width_us: int, frequency_mhz: int, on_ms: int, charge_known: bool) -> Amounts:
    amounts = per_cycle(intensity, width_us, frequency_mhz, on_ms)
    return amounts if charge_known else amounts._replace(charge_pc=0)


def _segments(session: Session, device: Device, charge_known: bool) -> list[Segment]:
    """One segment per stretch of constant intensity above zero, without the losses of contact."""
    start, (on, off), found = session.start_ms, _on_off(session), []
    ends = [o for o, _ in session.steps[1:]] + [session.duration_ms]
    for (offset, intensity), end in zip(session.steps, ends, strict=True):
        if intensity > 0:
            amounts = _amounts(intensity, session.width_us, session.frequency_mhz, on, charge_known)
            pieces = [Segment(start + offset, start + min(end, session.duration_ms), on + off, amounts)]
            for gap, length in session.gaps:
                pieces = [rest for p in pieces for rest in _without(p, start + gap, start + gap + length)]
            found += pieces
    inside = (clipped(s, device.activated_ms, device.ended_ms) for s in found)
    return [s for s in inside if s is not None and s.start_ms < s.end_ms]


def _settle_overlaps(placed: list[_Placed]) -> None:
    """Where two sessions overlap, the one uploaded later keeps the time and the other loses that part of its segments."""
    for i, one in enumerate(placed):
        for other in placed[i + 1 :]:
            if other.start_ms >= one.end_ms:
                break
            winner, loser = sorted((one, other), key=lambda p: p.session.uploaded_us, reverse=True)
            loser.segments = [rest for s in loser.segments for rest in _without(s, winner.start_ms, winner.end_ms)]


def _unknown(device: Device, start: int, end: int, cycle: int, amounts: Amounts, rate_known: bool = True) -> Iterator[Segment]:
    segment = clipped(Segment(start, end, cycle, amounts, rate_known=rate_known), device.activated_ms, device.ended_ms)
    if segment is not None:
        yield segment


def _missing(device: Device, start: int, end: int, count: int, like: _Placed) -> Iterator[Segment]:
    """`count` sessions nobody uploaded, taken to be `like` this one and spread evenly."""
    if count >= 1:
        yield from _unknown(device, start, end, max(1, (end - start) // count), like.totals)


def _silences(placed: list[_Placed], device: Device) -> Iterator[Segment]:
    """Time in which sessions are missing: between two numbers that are not neighbours, before the first, after the last upload."""
    first, last = placed[0], placed[-1]
    yield from _missing(device, device.activated_ms, first.start_ms, first.session.number - 1, first)
    for one, following in pairwise(placed):
        missed = following.session.number - one.session.number - 1
        yield from _missing(device, one.end_ms, following.start_ms, missed, one)
    uploaded = max(p.session.uploaded_us for p in placed) // 1_000
    rhythm = last.start_ms - placed[-2].start_ms if len(placed) > 1 else DAY_MS
    cycle = min(DAY_MS, max(last.session.duration_ms, rhythm))
    yield from _unknown(device, max(uploaded, last.end_ms), device.ended_ms, cycle, last.totals)


def worn_streams(sessions: list[Session], device: Device, charge_known: bool) -> WornStreams:
    """Return the streams of a patient-driven device; without any session all its time is unknown, and so is the rate."""
    if not sessions:
        return WornStreams([], list(_unknown(device, device.activated_ms, device.ended_ms, 1_000, NOTHING, False)))
    ordered = sorted(sessions, key=lambda s: s.start_ms)
    placed = [_Placed(s, s.start_ms, s.end_ms, _segments(s, device, charge_known)) for s in ordered]
    _settle_overlaps(placed)
    for p in placed:
        p.segments.sort(key=lambda s: s.start_ms)
        p.segments[:1] = [s._replace(begins_session=True) for s in p.segments[:1]]
    return WornStreams([s for p in placed for s in p.segments], list(_silences(placed, device)))
