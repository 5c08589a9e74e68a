# SPDX-License-Identifier: Apache-2.0
"""The values that pass between reading, parsing and validating a chunk of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

MAX_LINE = 1 << 20  # bytes; a longer line is no record of ours
KEPT_BYTES = 64 << 10  # of a refused line too long to keep whole; all of it stays in landing


@dataclass(frozen=True)
class Broken:
    """A row that cannot be taken in: where, its raw bytes, the rules it breaks, and its record id where that can be read."""

    line: int
    raw: bytes
    rules: tuple[str, ...]
    record_id: str | None = None


@dataclass(frozen=True)
class TextChunk:
    """Whole lines of one text file. `first_line` is 1-based; `cut` says that the file ends here without a newline."""

    data: bytes
    first_line: int
    cut: bool = False

    def lines(self) -> list[tuple[int, bytes]]:
        """The lines that are not blank, with their numbers and without their line ends."""
        split = self.data.split(b"\n")
        return [(self.first_line + i, s.rstrip(b"\r")) for i, s in enumerate(split) if s.strip()]


@dataclass(frozen=True)
class Parsed:
    """Rows of a chunk in the wire's columns plus `_line`, and the rows that could not be read at all."""

    frame: pl.DataFrame
    broken: Sequence[Broken] = field(default=())
