# SPDX-License-Identifier: Apache-2.0
"""Physical lines of a simulated inbox, read with the standard library only."""

import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import zstandard

LISTS = ("answers", "step_offsets_ms", "step_intensities", "gap_offsets_ms", "gap_durations_ms")


def raw_lines(path: Path) -> list[bytes]:
    data = path.read_bytes()
    if path.name.endswith(".gz"):
        data = gzip.decompress(data)
    if path.name.endswith(".zst"):
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data.split(b"\n")


def _cells(line: bytes, header: bytes) -> dict[str, object]:
    names, cells = (next(csv.reader(io.StringIO(x.decode()))) for x in (header, line))
    assert len(names) == len(cells), "cell count"
    row: dict[str, object] = {n: c or None for n, c in zip(names, cells, strict=True)}
    return {n: json.loads(str(c)) if n in LISTS and c else c for n, c in row.items()}


class Inbox:
    """Rows by file and physical line; ValueError or AssertionError where the line cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, list[bytes]] = {}
        self.tables: dict[str, list[dict[str, object]]] = {}

    def row(self, file: str, line: int) -> dict[str, object]:
        if file.endswith(".parquet"):
            if file not in self.tables:
                self.tables[file] = pq.read_table(self.folder / file).to_pylist()
            return self.tables[file][line - 1]
        raw = self.raw(file, line)
        return _cells(raw, self.raw(file, 1)) if ".csv" in file else json.loads(raw.decode())

    def raw(self, file: str, line: int) -> bytes:
        if file not in self.files:
            self.files[file] = raw_lines(self.folder / file)
        return self.files[file][line - 1]

    def lines(self, file: str) -> range:
        """Numbers of its rows; the empty text after the last newline is none."""
        if file.endswith(".parquet"):
            self.row(file, 1)
            return range(1, len(self.tables[file]) + 1)
        self.raw(file, 1)
        last = len(self.files[file]) - (self.files[file][-1] == b"")
        return range(2 if ".csv" in file else 1, last + 1)

    def is_last(self, file: str, line: int) -> bool:
        return len(self.files[file]) == line
