# SPDX-License-Identifier: Apache-2.0
"""Every row of an inbox as it goes out live: the line it is, or a JSON object where it came from CSV or Parquet; whose it is, and when."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from schemas.contract import Contract
from simulator.cloud_records import Record, cell_readers, parquet_rows, unpacked

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Row(NamedTuple):
    """One row: its text, the device or participant it belongs to, and its receipt in UTC microseconds, None where it does not say so."""

    text: bytes
    key: bytes | None
    at_us: int | None


def key_column(contract: Contract) -> str:
    """Return the column whose value is the key of a message: the device of device facts, the participant of all others."""
    wanted = "device" if contract.refers_to == "device" else "patient"
    return next(c.name for c in contract.columns if c.identifier == wanted)


def _instant(text: object) -> int | None:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return None if at is None else ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def _row(text: bytes, key: object, at: object) -> Row:
    return Row(text, key.encode() if isinstance(key, str) else None, _instant(at))


def _of_record(record: Record, contract: Contract) -> Row:
    text = json.dumps(record, separators=(",", ":")).encode()
    return _row(text, record.get(key_column(contract)), record.get(str(contract.receipt)))


def _json_rows(data: bytes, contract: Contract) -> Iterator[Row]:
    names = {"key": key_column(contract), "at": str(contract.receipt)}
    head: msgspec.json.Decoder[Any] = msgspec.json.Decoder(msgspec.defstruct("Head", [("key", Any, None), ("at", Any, None)], rename=names))
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            found = head.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            yield Row(line, None, None)
        else:
            yield _row(line, found.key, found.at)


def _cells(line: bytes, names: list[str], readers: dict[str, Callable[[str], Any]]) -> Record | None:
    """The record of one CSV line, or None where it is not one: broken text, too many or too few cells, no number where one belongs."""
    try:
        cells = next(csv.reader([line.decode()], strict=True))
        found = {name: readers.get(name, str)(cell) if cell else None for name, cell in zip(names, cells, strict=True)}
    except (ValueError, csv.Error):  # UnicodeDecodeError is a ValueError
        return None
    return found


def _csv_rows(data: bytes, contract: Contract) -> Iterator[Row]:
    """A simulated cell holds no newline, so every line is a record; one that cannot be read goes out as the bytes it is."""
    head, *lines = data.split(b"\n")
    names, readers = next(csv.reader([head.decode()])), cell_readers(contract)
    for line in lines:
        if not line.strip():
            continue
        record = _cells(line, names, readers)
        yield Row(line, None, None) if record is None else _of_record(record, contract)


def read_rows(path: Path, contract: Contract) -> Iterator[Row]:
    """Yield every row of one inbox file in the order of its lines; the ending says the format. No row is left out, readable or not."""
    if path.name.endswith(".parquet"):
        yield from (_of_record(r, contract) for r in parquet_rows(path))
    elif ".csv" in path.name:
        yield from _csv_rows(unpacked(path), contract)
    else:
        yield from _json_rows(unpacked(path), contract)
