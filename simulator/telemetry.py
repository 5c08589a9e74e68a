# SPDX-License-Identifier: Apache-2.0
"""What patient-driven devices send: one record per session, uploaded in batches, with the device's own clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from simulator.columns import instants, labels, number_within, with_missing
from simulator.devices import MODELS, Devices
from simulator.plan import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Array, Plan
from simulator.population import CERVICAL

# hours of the day; the cervical device is used twice in a row in the morning
_SLOTS: Final = {True: np.array([7.0, 7.2, 13.0, 20.0]), False: np.array([8.0, 14.0, 20.0])}
_END_REASONS: Final = ("completed", "stopped_early", "contact_loss", "battery")
_STEPS: Final = 4
_NEMOS: Final = MODELS.index("NEMOS")


@dataclass(frozen=True)
class Sessions:
    """True sessions in order of device and time: instants in UTC microseconds, lengths in ms. `device` is a row of `Devices`."""

    device: Array
    start_us: Array
    duration_ms: Array
    planned_ms: Array
    number: Array
    upload_us: Array
    batch: Array

    def keep(self, chosen: Array) -> Sessions:
        """Return the chosen sessions only."""
        return Sessions(**{name: value[chosen] for name, value in vars(self).items()})


def adherence(plan: Plan, devices: Devices, block: int) -> Array:
    """Share of the planned sessions that every device of the block is used for."""
    return np.clip(plan.rng(block, "adherence").normal(0.75, 0.18, len(devices)), 0.15, 0.99)


def _starts(plan: Plan, devices: Devices, rows: Array, cervical: bool, used: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Device rows and starts of the sessions that are really done: one per slot of a day, each up to some minutes late."""
    slots = _SLOTS[cervical]
    late = 4 * MINUTE_US if cervical else HOUR_US
    days = np.arange(plan.days + 1)
    done = rng.random((len(rows), len(days), len(slots))) < used[rows][:, None, None]
    index, day, slot = np.nonzero(done)
    device = rows[index]
    phase = rng.integers(-HOUR_US, HOUR_US, len(devices))
    start = devices.activated_us[device] // DAY_US * DAY_US + day * DAY_US + (slots[slot] * HOUR_US).astype(np.int64)
    start += phase[device] + rng.integers(0, late, len(start))
    inside = (start >= devices.activated_us[device]) & (start < np.minimum(devices.followed_us, devices.ended_us)[device])
    return device[inside], start[inside]


def _durations(devices: Devices, device: Array, cervical: bool, rng: np.random.Generator) -> tuple[Array, Array]:
    planned = np.full(len(device), 120_000) if cervical else devices.prescribed_min[device] * 60_000 // 3
    early = rng.random(len(device)) < 0.08
    return np.where(early, (planned * rng.uniform(0.25, 0.95, len(device))).astype(np.int64), planned), planned


def _numbers(device: Array, rng: np.random.Generator, devices: int) -> Array:
    """Counter of the device: from 1, or higher where it was shown around before; a few start again after a reset."""
    within = number_within(device)
    first = np.where(rng.random(devices) < 0.04, rng.integers(2, 6, devices), 1)
    reset = np.where(rng.random(devices) < 0.03, rng.integers(20, 200, devices), 1 << 30)
    after = within >= reset[device]
    return np.where(after, within - reset[device] + 1, within + first[device])


def _uploads(plan: Plan, devices: Devices, device: Array, end_us: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Upload of every session: the first sync of its device after its end; batches of 1 to 30 days, none after the last sync."""
    every = rng.choice([1.0, 3.0, 7.0, 14.0, 30.0], len(devices), p=[0.3, 0.25, 0.2, 0.15, 0.1])
    count = plan.days + 40
    gaps = rng.uniform(0.6, 1.4, (len(devices), 64))[:, np.arange(count) % 64] * every[:, None]
    syncs = devices.activated_us[:, None] + np.cumsum((gaps * DAY_US).astype(np.int64), axis=1)
    syncs = np.minimum(syncs, devices.activated_us[:, None] + (plan.days + 100) * DAY_US)
    span = (2 * plan.days + 400) * DAY_US  # devices follow one another on one axis, so one search serves all
    origin = int(devices.activated_us.min()) if len(devices) else 0
    axis = (syncs - origin + np.arange(len(devices))[:, None] * span).ravel()
    place = np.searchsorted(axis, end_us - origin + device * span)
    return syncs.ravel()[place], place


def draw_sessions(plan: Plan, devices: Devices, used: Array, rng: np.random.Generator) -> Sessions:
    """Draw every session that reached the phone, 1 in 200 lost on the way; numbers count the lost ones too."""
    parts = []
    for cervical in (True, False):
        rows = np.flatnonzero((devices.modality == CERVICAL) == cervical)
        rows = np.intersect1d(rows, devices.of(2, 3))
        device, start = _starts(plan, devices, rows, cervical, used, rng)
        parts.append((device, start, *_durations(devices, device, cervical, rng)))
    device, start, duration, planned = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((start, device))
    device, start, duration, planned = device[order], start[order], duration[order], planned[order]
    number = _numbers(device, rng, len(devices))
    upload, batch = _uploads(plan, devices, device, start + duration * 1_000, rng)
    arrives = (upload < (devices.followed_us + 10 * DAY_US)[device]) & (rng.random(len(device)) >= 0.005)
    return Sessions(device, start, duration, planned, number, upload, batch).keep(arrives)


def _lists(flat: Array, keep: Array) -> pl.Series:
    """Rows of a matrix as lists of the kept elements."""
    owner = np.repeat(np.arange(len(flat)), keep.sum(axis=1))
    frame = pl.DataFrame({"owner": owner, "value": flat[keep]})
    return frame.group_by("owner", maintain_order=True).agg("value")["value"]


def _steps(devices: Devices, s: Sessions, rng: np.random.Generator) -> tuple[pl.Series, pl.Series]:
    """Intensity steps: rising towards the level the patient likes; one session in thirty pauses at zero for a step."""
    n = len(s.device)
    count = rng.integers(1, _STEPS + 1, n)
    keep = np.arange(_STEPS) < count[:, None]
    gap = (s.duration_ms / (count + 1) * rng.uniform(0.2, 0.9, n)).astype(np.int64)
    cervical = devices.modality[s.device] == CERVICAL
    liked = rng.uniform(0.5, 1.0, len(devices))[s.device] * np.where(cervical, 30, 30)
    level = np.maximum(1, np.round(liked[:, None] - 2 * (count[:, None] - 1 - np.arange(_STEPS)))).astype(np.int64)
    pause = (rng.random(n) < 0.03)[:, None] & (np.arange(_STEPS) == 1)
    level = np.where(pause, 0, level)
    intensity = np.where(cervical[:, None], level * 1.0, level / 10)
    return _lists(np.arange(_STEPS) * gap[:, None], keep), _lists(intensity, keep)


def _gaps(s: Sessions, rng: np.random.Generator) -> tuple[pl.Series, pl.Series, Array]:
    """Losses of contact in one session of six: up to two, in the second and in the last third."""
    n = len(s.device)
    count = np.where(rng.random(n) < 1 / 6, rng.integers(1, 3, n), 0)
    third = s.duration_ms // 3
    offset = third[:, None] * np.array([1, 2]) + (third[:, None] * rng.uniform(0, 0.4, (n, 2))).astype(np.int64)
    length = np.maximum(1, (third[:, None] * rng.uniform(0.02, 0.5, (n, 2))).astype(np.int64))
    keep = np.arange(2) < np.maximum(1, count)[:, None]
    return with_missing(_lists(offset, keep), count == 0), with_missing(_lists(length, keep), count == 0), count > 0


def sessions_frame(plan: Plan, devices: Devices, used: Array, block: int, sent: bool = True) -> pl.DataFrame:
    """All session records of a block, with the clock pair of their upload; device clocks are up to 90 s off. None if not `sent`."""
    rng = plan.rng(block, "sessions")
    s = draw_sessions(plan, devices, used if sent else np.zeros_like(used), rng)
    n, device = len(s.device), s.device
    (offsets, intensities), (gap_offsets, gap_lengths, lost) = _steps(devices, s, rng), _gaps(s, rng)
    off_by = rng.integers(-90 * SECOND_US, 90 * SECOND_US, int(s.batch.max(initial=0)) + 1)[s.batch]
    cervical, nemos = devices.modality[device] == CERVICAL, devices.model[device] == _NEMOS
    reason = np.where(s.duration_ms < s.planned_ms, rng.choice([1, 3], n, p=[0.9, 0.1]), np.where(lost & (rng.random(n) < 0.1), 2, 0))
    return pl.DataFrame({
        "device_id": devices.ids.gather(pl.Series(device)), "model": labels(MODELS, devices.model[device]), "session_no": s.number,
        "device_started_at": instants(s.start_us - off_by), "device_clock_at": instants(s.upload_us - off_by),
        "uploaded_at": instants(s.upload_us), "duration_ms": s.duration_ms,
        "planned_ms": with_missing(s.planned_ms, rng.random(n) < 0.05),
        "pulse_width_us": np.where(cervical, 200, np.where(nemos, 250, 200)), "frequency_hz": np.full(n, 25.0),
        "on_s": with_missing(np.full(n, 30.0), ~nemos), "off_s": with_missing(np.full(n, 30.0), ~nemos),
        "step_offsets_ms": offsets, "step_intensities": intensities, "gap_offsets_ms": gap_offsets, "gap_durations_ms": gap_lengths,
        "end_reason": labels(_END_REASONS, reason), "_patient": devices.patient[device], "_receipt": s.upload_us, "_device": device,
        "_batch": s.batch,
    })  # fmt: skip
