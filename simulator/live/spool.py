# SPDX-License-Identifier: Apache-2.0
"""All records of an inbox side by side: their texts in an unnamed file on disk, what orders them in arrays of a few bytes a record."""

from __future__ import annotations

import os
import tempfile
from array import array
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import polars as pl

from schemas.contract import SOURCES, load_contract
from schemas.errors import UsageError
from simulator.live.records import read_rows
from simulator.plan import Array


@dataclass(frozen=True)
class Spool:
    """Records in the order of source, file and line. `source` indexes `SOURCES`, `key` indexes `keys` (-1: none), `at_us` is the receipt.

    A record that does not say when it came stands beside its neighbour in the file. Close it, or use it in a `with` block.
    """

    file: IO[bytes]
    keys: list[bytes]
    source: Array
    key: Array
    at_us: Array
    offset: Array
    length: Array

    def __len__(self) -> int:
        return len(self.source)

    def text(self, record: int) -> bytes:
        """Return the bytes of one record."""
        return os.pread(self.file.fileno(), int(self.length[record]), int(self.offset[record]))

    def close(self) -> None:
        """Give the disk space back."""
        self.file.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Columns:
    def __init__(self) -> None:
        self.source, self.key, self.length = array("b"), array("i"), array("i")
        self.times: list[pl.Series] = []
        self.codes: dict[bytes, int] = {}

    def add_file(self, file: IO[bytes], path: Path, number: int) -> None:
        times: list[int | None] = []
        for row in read_rows(path, load_contract(SOURCES[number])):
            file.write(row.text)
            self.source.append(number)
            self.key.append(-1 if row.key is None else self.codes.setdefault(row.key, len(self.codes)))
            self.length.append(len(row.text))
            times.append(row.at_us)
        self.times.append(pl.Series(times, dtype=pl.Int64).fill_null(strategy="forward").fill_null(strategy="backward"))

    def receipts(self) -> Array:
        times = pl.concat(self.times)
        earliest = times.min()
        return times.fill_null(earliest if isinstance(earliest, int) else 0).to_numpy()


def read_inbox(home: Path) -> Spool:
    """Read all sources below `home/inbox` once; disk space of their uncompressed size is taken below `home` until `close`.

    `UsageError` when the inbox holds no record.
    """
    found, columns = home / "inbox", _Columns()
    file = tempfile.TemporaryFile(dir=home)  # noqa: SIM115 - closed by the spool
    try:
        for number, source in enumerate(SOURCES):
            for path in sorted(p for p in (found / source).rglob("*") if p.is_file()):
                columns.add_file(file, path, number)
        file.flush()
        if not columns.source:
            raise UsageError(f"{found} holds no records to send; make some with: vnsight simulate {home}")
    except BaseException:
        file.close()
        raise
    length = np.asarray(columns.length, np.int32)
    offset = np.cumsum(length, dtype=np.int64) - length
    return Spool(file, list(columns.codes), np.asarray(columns.source), np.asarray(columns.key), columns.receipts(), offset, length)
