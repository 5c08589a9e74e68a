# SPDX-License-Identifier: Apache-2.0
"""Segments of an implanted device from its programming records and interrogations (`docs/dose.md`, section 3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from simulator.truth.segments import NOTHING, Amounts, Segment, clipped, per_cycle

CARRY_LIMIT_MS: Final = 180 * 86_400_000


@dataclass(frozen=True)
class Vector:
    """What a device is programmed to: uA, us, mHz, ms, ms."""

    current_ua: int
    width_us: int
    frequency_mhz: int
    on_ms: int
    off_ms: int

    @property
    def amounts(self) -> Amounts:
        """Amounts of one cycle."""
        return per_cycle(self.current_ua, self.width_us, self.frequency_mhz, self.on_ms)


@dataclass(frozen=True)
class Train:
    """The extra train of a magnet swipe or of AutoStim: uA, us, ms."""

    current_ua: int
    width_us: int
    on_ms: int


@dataclass(frozen=True)
class Change:
    """A settings change at an instant (ms); a train is None where one of its columns is empty."""

    at_ms: int
    vector: Vector
    magnet: Train | None = None
    autostim: Train | None = None


@dataclass(frozen=True)
class Reading:
    """An interrogation at an instant (ms); `vector` is None when it does not read."""

    at_ms: int
    vector: Vector | None
    eos: bool = False
    magnet_count: int = 0
    autostim_count: int = 0


@dataclass(frozen=True)
class Device:
    """A device in use over `[activated_ms, ended_ms)`."""

    activated_ms: int
    ended_ms: int


@dataclass(frozen=True)
class ImplantedStreams:
    """The four streams of an implanted device."""

    normal: list[Segment]
    magnet: list[Segment]
    autostim: list[Segment]
    unknown: list[Segment]


@dataclass(frozen=True)
class _State:
    """What is in force since it was last known: a vector (None: not known), and whether the battery is at its end."""

    known_ms: int
    vector: Vector | None
    is_off: bool

    def segment(self, start_ms: int, end_ms: int) -> Segment:
        if self.vector is None:
            return Segment(start_ms, end_ms, 1_000, NOTHING, rate_known=False)
        amounts = NOTHING if self.is_off else self.vector.amounts
        return Segment(start_ms, end_ms, self.vector.on_ms + self.vector.off_ms, amounts)


def _pieces(changes: dict[int, Change], readings: dict[int, Reading], device: Device) -> Iterator[tuple[Segment, bool]]:
    """Every piece of time from activation on, with whether the vector in it counts as known."""
    spoken = {at for at, r in readings.items() if r.vector is not None or r.eos}
    state = _State(device.activated_ms, None, False)
    for at in sorted(set(changes) | spoken):
        reading, change = readings.get(at), changes.get(at)
        read = reading.vector if reading else None
        programmed = change.vector if change else None
        yield from _between(state, at, read, programmed)
        vector = programmed or read or state.vector
        ended = reading is not None and reading.eos and change is None
        state = _State(at, vector, ended or (state.is_off and programmed is None and read is None))
    yield from _between(state, device.ended_ms, None, None)


def _between(state: _State, at: int, read: Vector | None, programmed: Vector | None) -> Iterator[tuple[Segment, bool]]:
    if state.vector is None:
        yield state.segment(state.known_ms, at), False
    elif read is not None and read == state.vector:
        yield state.segment(state.known_ms, at), True
    elif read is not None and read != programmed:
        yield state.segment(state.known_ms, at), False
    else:
        limit = state.known_ms + CARRY_LIMIT_MS
        yield state.segment(state.known_ms, min(at, limit)), True
        yield state.segment(limit, at), False


def _last_before(changes: dict[int, Change], at_ms: int) -> Change | None:
    earlier = [t for t in changes if t < at_ms]
    return changes[max(earlier)] if earlier else None


def _trains(changes: dict[int, Change], readings: dict[int, Reading], device: Device, autostim: bool) -> Iterator[Segment]:
    """Counted trains, spread evenly over the time since the interrogation before."""
    previous = device.activated_ms
    for at in sorted(readings):
        count = readings[at].autostim_count if autostim else readings[at].magnet_count
        change = _last_before(changes, at)
        train = (change.autostim if autostim else change.magnet) if change else None
        start, end = max(previous, device.activated_ms), min(at, device.ended_ms)
        if change is not None and train is not None and count > 0 and start < end:
            one = per_cycle(train.current_ua, train.width_us, change.vector.frequency_mhz, train.on_ms)
            amounts = Amounts(count * one.charge_pc, count * one.pulses_milli, count * one.on_ms)
            yield Segment(start, end, end - start, amounts)
        previous = at


def implanted_streams(changes: list[Change], readings: list[Reading], device: Device) -> ImplantedStreams:
    """Return the streams of an implanted device. Pieces without length vanish; all are within the time of use."""
    by_change, by_reading = {c.at_ms: c for c in changes}, {r.at_ms: r for r in readings}
    normal: list[Segment] = []
    unknown: list[Segment] = []
    for piece, known in _pieces(by_change, by_reading, device):
        segment = clipped(piece, device.activated_ms, device.ended_ms)
        if segment is not None:
            (normal if known else unknown).append(segment)
    magnet, autostim = (list(_trains(by_change, by_reading, device, kind)) for kind in (False, True))
    return ImplantedStreams(normal, magnet, autostim, unknown)
