# SPDX-License-Identifier: Apache-2.0
"""From accepted records to the facts a dose depends on, in whole milliseconds, microamperes and millihertz."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import polars as pl

from schemas.devices import load_models
from simulator.truth.programmed import Change, Device, Reading, Train, Vector, implanted_streams
from simulator.truth.segments import OPEN_END_MS, Stream, thousandths
from simulator.truth.worn import Session, worn_streams

Row = dict[str, Any]


def _ms(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Int64) // 1_000


def _vector(row: Row) -> Vector | None:
    values = [row[c] for c in ("current_ma", "pulse_width_us", "frequency_hz", "on_s", "off_min")]
    if any(v is None for v in values):
        return None
    current, width, frequency, on, off = values
    minutes = round(Fraction(repr(float(off))) * 60_000)
    return Vector(thousandths(current), width, thousandths(frequency), thousandths(on), minutes)


def _train(row: Row, kind: str) -> Train | None:
    values = [row[f"{kind}_{c}"] for c in ("current_ma", "pulse_width_us", "on_s")]
    return None if any(v is None for v in values) else Train(thousandths(values[0]), values[1], thousandths(values[2]))


def _change(row: Row) -> Change:
    vector = _vector(row)
    if vector is None:
        raise ValueError("an accepted programming record has all five columns of its vector")
    return Change(row["at_ms"], vector, _train(row, "magnet"), _train(row, "autostim"))


def _reading(row: Row) -> Reading:
    eos = row["battery_status"] == "eos"
    return Reading(row["at_ms"], _vector(row), eos, row["magnet_count"] or 0, row["autostim_count"] or 0)


def _session(row: Row) -> Session:
    on, off = row["on_s"], row["off_s"]
    steps = list(zip(row["step_offsets_ms"], [thousandths(i) for i in row["step_intensities"]], strict=True))
    gaps = list(zip(row["gap_offsets_ms"] or [], row["gap_durations_ms"] or [], strict=True))
    return Session(
        row["session_no"], row["started_us"], row["clock_us"], row["upload_us"], row["duration_ms"], row["pulse_width_us"],
        thousandths(row["frequency_hz"]), None if on is None else thousandths(on), None if off is None else thousandths(off), steps, gaps,
    )  # fmt: skip


def _by_device(frame: pl.DataFrame) -> Mapping[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in frame.iter_rows(named=True):
        groups.setdefault(row["device_id"], []).append(row)
    return groups


class DeviceStreams:
    """The streams of one device: what is known, what is unknown, and whether its charge can be known at all."""

    def __init__(self, known: list[Stream], unknown: Stream, charge_known: bool) -> None:
        self.known, self.unknown, self.charge_known = known, unknown, charge_known


def _implanted(device: Device, changes: list[Row], readings: list[Row]) -> DeviceStreams:
    streams = implanted_streams([_change(r) for r in changes], [_reading(r) for r in readings], device)
    return DeviceStreams([Stream(streams.normal), Stream(streams.magnet), Stream(streams.autostim)], Stream(streams.unknown), True)


def _worn(device: Device, sessions: list[Row], charge_known: bool) -> DeviceStreams:
    streams = worn_streams([_session(r) for r in sessions], device, charge_known)
    return DeviceStreams([Stream(streams.normal)], Stream(streams.unknown), charge_known)


def streams_of_patients(facts: Mapping[str, pl.DataFrame]) -> Iterator[tuple[str, DeviceStreams]]:
    """Yield the patient and the streams of every device, from the accepted rows of the four device sources."""
    changes = _by_device(facts["device_settings"].with_columns(at_ms=_ms("effective_at")))
    readings = _by_device(facts["interrogations"].with_columns(at_ms=_ms("interrogated_at")))
    clocks = {"started_us": "device_started_at", "clock_us": "device_clock_at", "upload_us": "uploaded_at"}
    texts = facts["stimulation_sessions"].with_columns(**{n: pl.col(c).cast(pl.Int64) for n, c in clocks.items()})
    sessions = _by_device(texts.drop(pl.selectors.datetime()))
    for row in facts["devices"].with_columns(a_ms=_ms("activated_at"), e_ms=_ms("ended_at")).iter_rows(named=True):
        device, name = Device(row["a_ms"], OPEN_END_MS if row["e_ms"] is None else row["e_ms"]), row["device_id"]
        if row["modality"] == "implanted":
            yield row["patient_id"], _implanted(device, changes.get(name, []), readings.get(name, []))
        else:
            yield row["patient_id"], _worn(device, sessions.get(name, []), load_models()[row["model"]].charge_known)
