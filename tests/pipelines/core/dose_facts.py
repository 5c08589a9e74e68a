# SPDX-License-Identifier: Apache-2.0
"""Rows of canonical facts for the tests of the dose: builders with defaults, frames, and random histories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from dose_oracle import OPEN, Seg, driven, implanted, ms
from hypothesis import strategies as st

INSTANT = pl.Datetime("us", "UTC")
ZERO = datetime(2024, 1, 1, tzinfo=UTC)

DEVICES = {
    "patient_key": pl.Int64, "device_key": pl.Int64, "model": pl.String, "activated_at": INSTANT, "ended_at": INSTANT,
    "prescribed_min_per_day": pl.Int64,
}  # fmt: skip
SETTINGS = {
    "device_key": pl.Int64, "effective_at": INSTANT, "current_ma": pl.Float64, "pulse_width_us": pl.Int64,
    "frequency_hz": pl.Float64, "on_s": pl.Float64, "off_min": pl.Float64,
    "magnet_current_ma": pl.Float64, "magnet_pulse_width_us": pl.Int64, "magnet_on_s": pl.Float64,
    "autostim_current_ma": pl.Float64, "autostim_pulse_width_us": pl.Int64, "autostim_on_s": pl.Float64,
}  # fmt: skip
INTERROGATIONS = {
    "device_key": pl.Int64, "interrogated_at": INSTANT, "current_ma": pl.Float64, "pulse_width_us": pl.Int64,
    "frequency_hz": pl.Float64, "on_s": pl.Float64, "off_min": pl.Float64, "magnet_count": pl.Int64,
    "autostim_count": pl.Int64, "battery_status": pl.String,
}  # fmt: skip
SESSIONS = {
    "device_key": pl.Int64, "session_no": pl.Int64, "started_at": INSTANT, "uploaded_at": INSTANT, "duration_ms": pl.Int64,
    "pulse_width_us": pl.Int64, "frequency_hz": pl.Float64, "on_s": pl.Float64, "off_s": pl.Float64,
    "step_offsets_ms": pl.List(pl.Int64), "step_intensities": pl.List(pl.Float64),
    "gap_offsets_ms": pl.List(pl.Int64), "gap_durations_ms": pl.List(pl.Int64), "_fingerprint": pl.UInt64,
}  # fmt: skip


def at(days: float = 0, **more) -> datetime:
    """An instant so long after 2024-01-01 UTC."""
    return ZERO + timedelta(days=days, **more)


def frame(rows, schema):
    return pl.DataFrame([{c: row.get(c) for c in schema} for row in rows], schema=schema)


def device(key=1, model="106", *, patient=None, activated=None, ended=None, prescribed=None):
    return {
        "patient_key": key if patient is None else patient, "device_key": key, "model": model,
        "activated_at": activated or at(), "ended_at": ended, "prescribed_min_per_day": prescribed,
    }  # fmt: skip


def setting(when, vector=(1.5, 250, 20, 30, 5), magnet=(None,) * 3, autostim=(None,) * 3, key=1):
    trains = {f"{kind}_{c}": v for kind, train in (("magnet", magnet), ("autostim", autostim))
              for c, v in zip(("current_ma", "pulse_width_us", "on_s"), train, strict=True)}  # fmt: skip
    return {"device_key": key, "effective_at": when, **_vector(vector), **trains}


def interrogation(when, vector=None, *, magnet=None, autostim=None, battery="ok", key=1):
    return {
        "device_key": key, "interrogated_at": when, **_vector(vector or (None,) * 5),
        "magnet_count": magnet, "autostim_count": autostim, "battery_status": battery,
    }  # fmt: skip


def _vector(vector):
    return dict(zip(("current_ma", "pulse_width_us", "frequency_hz", "on_s", "off_min"), vector, strict=True))


def session(
    no, started, minutes=60.0, steps=((0, 1.0),), *, gaps=(), uploaded=None, mark=0, pauses=(30, 30), hz=25, width=250, key=1
):
    return {
        "device_key": key, "session_no": no, "started_at": started, "uploaded_at": uploaded or started + timedelta(days=1),
        "duration_ms": int(minutes * 60_000), "pulse_width_us": width, "frequency_hz": hz,
        "on_s": pauses[0], "off_s": pauses[1],
        "step_offsets_ms": [o for o, _ in steps], "step_intensities": [i for _, i in steps],
        "gap_offsets_ms": [o for o, _ in gaps] or None, "gap_durations_ms": [d for _, d in gaps] or None, "_fingerprint": mark,
    }  # fmt: skip


def frames(devices=(), settings=(), interrogations=(), sessions=()):
    """The four inputs of `build_segments`."""
    return (
        frame(devices, DEVICES), frame(settings, SETTINGS), frame(interrogations, INTERROGATIONS), frame(sessions, SESSIONS),
    )  # fmt: skip


def oracle_segments(dev, settings=(), interrogations=(), sessions=(), ramps=0, **limit) -> list[Seg]:
    """What docs/dose.md says of one device, by plain Python."""
    a, e = ms(dev["activated_at"]), ms(dev["ended_at"]) if dev["ended_at"] else OPEN
    key = dev["device_key"]
    mine = [[r for r in rows if r["device_key"] == key] for rows in (settings, interrogations, sessions)]
    if dev["model"] in ("NEMOS", "PARASYM", "SAPPHIRE"):
        return driven(a, e, [s | {"start": ms(s["started_at"])} for s in mine[2]], charge_known=dev["model"] != "SAPPHIRE")
    return implanted(a, e, mine[0], mine[1], ramps=ramps, **limit)


def as_segs(segments: pl.DataFrame) -> list[Seg]:
    """Rows of `build_segments` in the oracle's form, in its canonical order."""
    columns = (
        "stream", "start_ms", "end_ms", "cycle_ms", "charge_pc", "pulses_milli", "on_ms", "sessions", "coverage", "rate_known",
    )  # fmt: skip
    return sorted(Seg(*row) for row in segments.select(columns).iter_rows())


# Instants on a coarse grid, so that facts often fall on one instant; a microsecond now and then, because instants are floored.
instants = st.builds(
    lambda half_days, us: at(half_days / 2, microseconds=us), st.integers(-30, 700), st.sampled_from([0, 0, 1, 999, 1000])
)
vectors = st.sampled_from([(1.5, 250, 20, 30, 5), (1.5, 250, 20, 30, 3), (0.0, 250, 20, 30, 5), (0.25, 130, 5, 7, 0.2)])
train = st.sampled_from([(1.75, 250, 60), (None, 250, 60), (0.0, 500, 30), (1.625, 130, 30)])


def _unique(rows, column):
    return list({r[column]: r for r in rows}.values())


def implanted_histories(key):
    """One implanted device with any settings and interrogations: (device, settings, interrogations)."""
    change = st.builds(setting, instants, vectors, train, train, st.just(key))
    counts = st.none() | st.sampled_from([0, 1, 7, 100_000])
    reading = st.builds(
        interrogation, instants, st.none() | vectors, magnet=counts, autostim=counts,
        battery=st.sampled_from(["ok", None, "eos", "ifi"]), key=st.just(key),
    )  # fmt: skip
    ends = st.none() | instants
    return st.tuples(
        st.builds(lambda start, end: device(key, "106", activated=start, ended=end), instants, ends),
        st.lists(change, max_size=7).map(lambda rows: _unique(rows, "effective_at")),
        st.lists(reading, max_size=7).map(lambda rows: _unique(rows, "interrogated_at")),
    )


@st.composite
def sessions_of(draw, key, no, when):
    minutes = draw(st.sampled_from([1, 2, 60, 240, 1440]))
    length = minutes * 60_000
    offsets = sorted(draw(st.sets(st.integers(1, 20).map(lambda k: k * length // 20), max_size=4)))
    steps = [(o, draw(st.sampled_from([0.0, 0.5, 1.0, 2.3]))) for o in (0, *offsets)]
    gap_at = sorted(draw(st.sets(st.integers(0, 19).map(lambda k: k * length // 20), max_size=3)))
    gaps = [(o, draw(st.sampled_from([1, 1000, length // 10, length]))) for o in gap_at]
    uploaded = at(draw(st.integers(0, 12)))
    pauses = draw(st.sampled_from([(30, 30), (None, None)]))
    mark, hz = draw(st.integers(0, 3)), draw(st.sampled_from([25, 0.5]))
    return session(no, when, minutes, steps, gaps=gaps, uploaded=uploaded, mark=mark, pauses=pauses, hz=hz, key=key)


@st.composite
def driven_histories(draw, key):
    """One patient-driven device with any sessions, overlapping or missing: (device, sessions)."""
    hours = draw(st.lists(st.integers(-20, 200), max_size=6))
    rows, no = [], draw(st.integers(0, 3))
    for hour in sorted(hours):
        row = draw(sessions_of(key, no, at(hours=hour, microseconds=draw(st.sampled_from([0, 999])))))
        rows.append(row | {"_fingerprint": 10 * row["_fingerprint"] + len(rows)})  # two sessions are never one content
        no = max(0, no + draw(st.sampled_from([0, 1, 1, 1, 3, 8, -5])))
    model = draw(st.sampled_from(["NEMOS", "SAPPHIRE"]))
    ended = draw(st.none() | st.integers(0, 9).map(at))
    return device(key, model, activated=at(draw(st.integers(-2, 3))), ended=ended), rows
