# SPDX-License-Identifier: Apache-2.0
"""The rules of docs/dose.md once more, in plain Python, one device and one row at a time: slow, and easy to check."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

OPEN = 4_102_444_800_000
DAY = 86_400_000
LIMIT = 180 * DAY


class Seg(NamedTuple):
    stream: int
    start: int
    end: int
    cycle: int
    charge: int
    pulses: int
    on: int
    sessions: int = 0
    coverage: int = 0
    rate_known: bool = True


def ms(at: datetime) -> int:
    delta = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400_000_000 + delta.seconds * 1_000_000 + delta.microseconds) // 1_000


def cycle_of(current_ma, width, hz, on_ms, off_ms, *, ramps=0):
    """(cycle, charge, pulses, on) per cycle; ramps: 0, 1 or 2 times 2 s that count as charge at 10 Hz and more."""
    current, mhz = round(1000 * current_ma), round(1000 * hz)
    if current == 0:
        return on_ms + off_ms, 0, 0, 0
    charge_on = on_ms + (ramps * 2000 if mhz >= 10_000 else 0)
    return on_ms + off_ms, current * width * mhz * charge_on // 1_000_000, mhz * on_ms // 1000, on_ms


def whole(segment: Seg, amount: int) -> int:
    return int(Fraction(amount * (segment.end - segment.start), segment.cycle).__floor__())


def amount_before(segment: Seg, amount: int, t: int) -> int:
    if t <= segment.start:
        return 0
    return int(Fraction(amount * (min(t, segment.end) - segment.start), segment.cycle).__floor__())


def clip(segment: Seg, a: int, e: int) -> list[Seg]:
    start, end = max(segment.start, a), min(segment.end, e)
    return [segment._replace(start=start, end=end)] if start < end else []


VECTOR = ("current_ma", "pulse_width_us", "frequency_hz", "on_s", "off_min")


def vector_of(row):
    if any(row[c] is None for c in VECTOR):
        return None
    return (
        round(1000 * row["current_ma"]), row["pulse_width_us"], round(1000 * row["frequency_hz"]),
        round(1000 * row["on_s"]), round(60_000 * row["off_min"]),
    )  # fmt: skip


def implanted(a: int, e: int, settings: list[dict], interrogations: list[dict], *, limit=LIMIT, ramps=0) -> list[Seg]:
    """Section 3: the walk, then magnet and AutoStim."""
    changes = {ms(s["effective_at"]): vector_of(s) for s in sorted(settings, key=lambda s: s["effective_at"])}
    readings, empty = {}, set()
    for i in sorted(interrogations, key=lambda i: i["interrogated_at"]):
        if vector_of(i) is not None:
            readings[ms(i["interrogated_at"])] = vector_of(i)
        if i["battery_status"] == "eos":
            empty.add(ms(i["interrogated_at"]))
    out: list[Seg] = []

    def piece(start, end, coverage, vector, off):
        if vector in (None, "off"):
            numbers = (1, 0, 0, 0)
        else:
            numbers = cycle_of(vector[0] / 1000, vector[1], vector[2] / 1000, vector[3], vector[4], ramps=ramps)
        if off:
            numbers = (numbers[0], 0, 0, 0)
        stream = 3 if coverage == 2 else 0
        out.extend(clip(Seg(stream, start, end, *numbers, coverage=coverage, rate_known=vector is not None), a, e))

    def carried(start, end, vector, off):
        piece(start, min(end, start + limit), 1, vector, off)
        piece(min(end, start + limit), end, 2, vector, off)

    v, off, p = None, False, None
    for t in sorted({*changes, *readings, *empty}):
        if p is None:
            piece(a, t, 2, None, False)
        elif readings.get(t) == v:
            piece(p, t, 0, v, off)
        elif t in readings and readings[t] != changes.get(t):
            piece(p, t, 2, v, off)
        else:
            carried(p, t, v, off)
        v = changes.get(t, readings.get(t, v))
        off = t in empty and t not in changes
        if v is None:
            v = "off"
        p = t
    if p is None:
        piece(a, e, 2, None, False)
    else:
        carried(p, e, v, off)
    return out + trains(a, e, settings, interrogations)


def trains(a, e, settings, interrogations) -> list[Seg]:
    out = []
    previous = a
    for i in sorted(interrogations, key=lambda i: i["interrogated_at"]):
        t = ms(i["interrogated_at"])
        before = [s for s in settings if ms(s["effective_at"]) < t]
        for kind, stream in (("magnet", 1), ("autostim", 2)):
            n = i[f"{kind}_count"]
            if not n or not before:
                continue
            x = max(before, key=lambda s: s["effective_at"])
            train = [x[f"{kind}_{c}"] for c in ("current_ma", "pulse_width_us", "on_s")]
            if None in train:
                continue
            _, charge, pulses, on = cycle_of(train[0], train[1], x["frequency_hz"], round(1000 * train[2]), 0)
            for c in clip(Seg(stream, previous, t, 1, n * charge, n * pulses, n * on, coverage=1), a, e):
                out.append(c._replace(cycle=c.end - c.start))
        previous = t
    return out


def driven(a: int, e: int, sessions: list[dict], charge_known=True) -> list[Seg]:
    """Section 4. Sessions carry `start` (repaired, ms) and the columns of the contract."""
    if not sessions:
        return clip(Seg(3, a, e, 1, 0, 0, 0, coverage=2, rate_known=False), a, e)
    order = sorted(sessions, key=lambda s: (s["start"], s["session_no"], s["uploaded_at"], s["_fingerprint"]))
    out: list[Seg] = []
    pieces_of = []
    for s in order:
        pieces = _pieces(s, [o for o in order if o is not s and _beats(o, s)], a, e, charge_known)
        pieces_of.append(pieces)
        out += pieces
    totals = [tuple(sum(whole(p, getattr(p, k)) for p in pieces) for k in ("charge", "pulses", "on")) for pieces in pieces_of]

    def unknown(start, end, cycle, total):
        for c in clip(Seg(3, start, end, 1, *total, coverage=2), a, e):
            out.append(c._replace(cycle=cycle(c.end - c.start)))

    def spread(m):
        return lambda length: max(1, length // m)

    first, last = order[0], order[-1]
    if first["session_no"] > 1:
        unknown(a, first["start"], spread(first["session_no"] - 1), totals[0])
    for s, following, total in zip(order, order[1:], totals, strict=False):
        m = following["session_no"] - s["session_no"] - 1
        if m >= 1:
            unknown(s["start"] + s["duration_ms"], following["start"], spread(m), total)
    heard = max(ms(s["uploaded_at"]) for s in order)
    pace = DAY if len(order) == 1 else min(max(last["start"] - order[-2]["start"], last["duration_ms"]), DAY)
    unknown(max(heard, last["start"] + last["duration_ms"]), e, lambda _: pace, totals[-1])
    return out


def _beats(o, s):
    return (o["uploaded_at"], o["_fingerprint"]) > (s["uploaded_at"], s["_fingerprint"])


def _pieces(s, stronger, a, e, charge_known):
    """Cut at every step, gap and stronger session; keep what has intensity, no gap and no stronger session."""
    start, stop = s["start"], s["start"] + s["duration_ms"]
    steps = [start + o for o in s["step_offsets_ms"]]
    gaps = [(start + o, start + o + d) for o, d in zip(s["gap_offsets_ms"] or [], s["gap_durations_ms"] or [], strict=True)]
    taken = gaps + [(o["start"], o["start"] + o["duration_ms"]) for o in stronger]
    edges = sorted({x for x in (start, stop, *steps, *(y for g in taken for y in g)) if start <= x <= stop})
    on, off = (1000, 0) if s["on_s"] is None else (round(1000 * s["on_s"]), round(1000 * s["off_s"]))
    kept: list[list] = []
    for x, y in pairwise(edges):
        step = max(k for k, t in enumerate(steps) if t <= x)
        intensity = s["step_intensities"][step]
        if intensity <= 0 or any(b <= x and y <= f for b, f in taken):
            continue
        if kept and kept[-1][1] == x and kept[-1][3] == step:  # an edge at which nothing of this session changes
            kept[-1][1] = y
        else:
            kept.append([x, y, intensity, step])
    out = []
    for x, y, intensity, _ in kept:
        cycle, charge, pulses, lit = cycle_of(intensity, s["pulse_width_us"], s["frequency_hz"], on, off)
        out += clip(Seg(0, x, y, cycle, charge if charge_known else 0, pulses, lit), a, e)
    return [p._replace(sessions=int(k == 0)) for k, p in enumerate(out)]
