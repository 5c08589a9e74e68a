# SPDX-License-Identifier: Apache-2.0
"""The records of a simulated inbox as a device cloud would hold them: JSON objects in the order of their upload."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from schemas.contract import Contract, load_contract

DEVICE_SOURCES: Final = ("devices", "device_settings", "interrogations", "stimulation_sessions")
Record = dict[str, Any]


def unpacked(path: Path) -> bytes:
    """Return the bytes of a file, without its compression if it has one."""
    data = path.read_bytes()
    if path.name.endswith(".gz"):
        return gzip.decompress(data)
    if path.name.endswith(".zst"):
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


def _json_lines(data: bytes) -> Iterator[Record]:
    for line in data.split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError:  # a damaged line was never a record of the cloud
            continue
        if isinstance(record, dict):
            yield record


def cell_readers(contract: Contract) -> dict[str, Callable[[str], Any]]:
    """Return how the text of a CSV cell becomes a JSON value, by column."""
    return {c.name: str if c.type in ("string", "timestamp") else json.loads for c in contract.columns}


def _csv_lines(data: bytes, contract: Contract) -> Iterator[Record]:
    readers = cell_readers(contract)
    for row in csv.DictReader(io.StringIO(data.decode("utf-8", errors="replace"), newline="")):
        if None not in row and None not in row.values() and "\ufffd" not in "".join(row.values()):
            yield {name: readers[name](cell) if cell else None for name, cell in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value


def parquet_rows(path: Path) -> Iterator[Record]:
    """Yield the rows of a Parquet file as JSON objects, instants as text in UTC."""
    for batch in pq.ParquetFile(path).iter_batches(10_000):
        for row in batch.to_pylist():
            yield {name: _plain(value) for name, value in row.items()}


def _records(path: Path, contract: Contract) -> Iterator[Record]:
    if path.name.endswith(".parquet"):
        yield from parquet_rows(path)
    elif ".csv" in path.name:
        yield from _csv_lines(unpacked(path), contract)
    else:
        yield from _json_lines(unpacked(path))


def _uploaded(record: Record, receipt: str) -> datetime:
    """When the record reached the cloud; a record that does not say so came before all others."""
    text = record.get(receipt)
    return datetime.fromisoformat(text) if isinstance(text, str) else datetime.min.replace(tzinfo=UTC)


def records_in_upload_order(home: Path, source: str) -> list[bytes]:
    """Return the readable rows of a source below `home/inbox` as JSON texts, earliest upload first, ties by file and line."""
    contract = load_contract(source)
    found = []
    for path in sorted((home / "inbox" / source).glob("*")):
        for record in _records(path, contract):
            found.append((_uploaded(record, contract.receipt or "recorded_at"), json.dumps(record, separators=(",", ":")).encode()))
    found.sort(key=lambda pair: pair[0])  # stable: ties keep the order of files and lines
    return [text for _, text in found]
