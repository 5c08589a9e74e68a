# SPDX-License-Identifier: Apache-2.0
"""The expected dose of every accepted response in the windows of 7, 28 and 90 days (`docs/dose.md`, sections 1 and 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from simulator.truth.facts import DeviceStreams, streams_of_patients
from simulator.truth.segments import Stream

WINDOW_DAYS: Final = (7, 28, 90)
DAY_MS: Final = 86_400_000
SCHEMA: Final = {
    "response_id": pl.String(), "window_days": pl.Int64(), "charge_pc": pl.Int64(), "pulses_milli": pl.Int64(), "on_ms": pl.Int64(),
    "sessions": pl.Int64(), "charge_pc_high": pl.Int64(), "on_ms_high": pl.Int64(), "unknown_ms": pl.Int64(),
}  # fmt: skip


@dataclass(frozen=True)
class WindowDose:
    """What a window reports. Charge is None when it cannot be known, an upper bound also when a rate is missing."""

    charge_pc: int | None
    pulses_milli: int
    on_ms: int
    sessions: int
    charge_pc_high: int | None
    on_ms_high: int | None
    unknown_ms: int


@dataclass
class _Sum:
    """Amounts of one window over several streams."""

    charge_pc: int = 0
    pulses_milli: int = 0
    on_ms: int = 0
    length_ms: int = 0
    sessions: int = 0

    def add(self, stream: Stream, begin_ms: int, end_ms: int) -> None:
        (low, before), (high, after) = stream.until(begin_ms), stream.until(end_ms)
        self.charge_pc += high.charge_pc - low.charge_pc
        self.pulses_milli += high.pulses_milli - low.pulses_milli
        self.on_ms += high.on_ms - low.on_ms
        self.length_ms += after - before
        self.sessions += stream.sessions(begin_ms, end_ms)


def window_dose(devices: Sequence[DeviceStreams], begin_ms: int, end_ms: int) -> WindowDose:
    """Return the dose a patient with these devices received in `[begin_ms, end_ms)`; nothing and certain without a device."""
    known, unknown, charge_known, rate_known = _Sum(), _Sum(), True, True
    for device in devices:
        for stream in device.known:
            known.add(stream, begin_ms, end_ms)
        unknown.add(device.unknown, begin_ms, end_ms)
        touched = any(s.touches(begin_ms, end_ms) for s in (*device.known, device.unknown))
        charge_known &= device.charge_known or not touched
        rate_known &= not device.unknown.rateless_touches(begin_ms, end_ms)
    return WindowDose(
        charge_pc=known.charge_pc if charge_known else None, pulses_milli=known.pulses_milli, on_ms=known.on_ms, sessions=known.sessions,
        charge_pc_high=known.charge_pc + unknown.charge_pc if charge_known and rate_known else None,
        on_ms_high=known.on_ms + unknown.on_ms if rate_known else None, unknown_ms=unknown.length_ms,
    )  # fmt: skip


def _doses(responses: list[tuple[str, int]], devices: Sequence[DeviceStreams]) -> list[tuple[object, ...]]:
    return [
        (response, days, *vars(window_dose(devices, end_ms - days * DAY_MS, end_ms)).values())
        for response, end_ms in responses
        for days in WINDOW_DAYS
    ]


def expected_doses(facts: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the expected dose of every response in `facts` (accepted rows of the device sources and the survey responses)."""
    waiting: dict[str, list[tuple[str, int]]] = {}
    answered = facts["survey_responses"].select("patient_id", "response_id", end_ms=pl.col("completed_at").cast(pl.Int64) // 1_000)
    for patient, response, end_ms in answered.sort("response_id").iter_rows():
        waiting.setdefault(patient, []).append((response, end_ms))
    rows = []
    for patient, devices in streams_of_patients(facts):
        rows += _doses(waiting.pop(patient, []), devices)
    for responses in waiting.values():
        rows += _doses(responses, [])
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("response_id", "window_days")
