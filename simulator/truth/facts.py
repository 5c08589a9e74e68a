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


def _by(column: str, frame: pl.DataFrame) -> Mapping[str, pl.DataFrame]:
    return {str(key): rows for (key,), rows in frame.partition_by(column, as_dict=True).items()}


def _rows(frame: pl.DataFrame | None) -> Iterator[Row]:
    return iter(()) if frame is None else frame.iter_rows(named=True)


class DeviceStreams:
    """The streams of one device: what is known, what is unknown, and whether its charge can be known at all."""

    def __init__(self, known: list[Stream], unknown: Stream, charge_known: bool) -> None:
        self.known, self.unknown, self.charge_known = known, unknown, charge_known


def _implanted(device: Device, changes: Iterator[Row], readings: Iterator[Row]) -> DeviceStreams:
    streams = implanted_streams([_change(r) for r in changes], [_reading(r) for r in readings], device)
    return DeviceStreams([Stream(streams.normal), Stream(streams.magnet), Stream(streams.autostim)], Stream(streams.unknown), True)


def _worn(device: Device, sessions: Iterator[Row], charge_known: bool) -> DeviceStreams:
    streams = worn_streams([_session(r) for r in sessions], device, charge_known)
    return DeviceStreams([Stream(streams.normal)], Stream(streams.unknown), charge_known)


class _Records:
    """Accepted rows of the device sources by device, with whole milliseconds or microseconds beside their instants."""

    def __init__(self, facts: Mapping[str, pl.DataFrame]) -> None:
        clocks = {"started_us": "device_started_at", "clock_us": "device_clock_at", "upload_us": "uploaded_at"}
        texts = facts["stimulation_sessions"].with_columns(**{n: pl.col(c).cast(pl.Int64) for n, c in clocks.items()})
        self.changes = _by("device_id", facts["device_settings"].with_columns(at_ms=_ms("effective_at")))
        self.readings = _by("device_id", facts["interrogations"].with_columns(at_ms=_ms("interrogated_at")))
        self.sessions = _by("device_id", texts.drop(pl.selectors.datetime()))

    def streams(self, row: Row) -> DeviceStreams:
        """Return the streams of the device of a row of `devices`."""
        device, name = Device(row["a_ms"], OPEN_END_MS if row["e_ms"] is None else row["e_ms"]), row["device_id"]
        if row["modality"] == "implanted":
            return _implanted(device, _rows(self.changes.get(name)), _rows(self.readings.get(name)))
        return _worn(device, _rows(self.sessions.get(name)), load_models()[row["model"]].charge_known)


def streams_of_patients(facts: Mapping[str, pl.DataFrame]) -> Iterator[tuple[str, list[DeviceStreams]]]:
    """Yield every patient with a device and the streams of their devices, from the accepted rows of the four device sources.

    One patient at a time: the segments of a year of sessions are many.
    """
    records = _Records(facts)
    devices = facts["devices"].with_columns(a_ms=_ms("activated_at"), e_ms=_ms("ended_at"))
    for patient, rows in sorted(_by("patient_id", devices).items()):
        yield patient, [records.streams(row) for row in _rows(rows)]
