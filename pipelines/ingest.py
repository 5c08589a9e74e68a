# SPDX-License-Identifier: Apache-2.0
"""One piece of a landed file to facts on disk: read, parse, validate, place by shard, spill; refused rows to quarantine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.messages import records_of
from pipelines.core.parse_arrow import FileRefused, check_arrow_schema, parse_arrow, raw_row
from pipelines.core.parse_csv import parse_csv, read_header, split_records
from pipelines.core.parse_json import parse_json
from pipelines.core.placement import place
from pipelines.core.rows import Broken, Parsed, TextChunk
from pipelines.core.validate import Provenance, validate
from pipelines.quarantine import QUARANTINE_SCHEMA, quarantine_rows
from pipelines.read import kind_of, line_ranges, read_chunks
from pipelines.spill import SpillRef, write_part, write_spill
from pipelines.wide_files import read_wide
from schemas.contract import load_contract
from schemas.load import Landed

ROWS_PER_SPILL = 500_000
ROWS_PER_TABLE = 250_000


@dataclass(frozen=True)
class Piece:
    """A part of a landed file that one worker reads: a byte range, a row group, or (stop None, group None) all of it."""

    landed: Landed
    start: int = 0
    stop: int | None = None
    first_line: int = 1
    group: int | None = None


@dataclass(frozen=True)
class IngestPlan:
    """What every piece of a load needs to know. `owners`: Arrow file of device_key, patient_key. `wide`: origin -> mapping table."""

    home: str
    load: int
    shards: int
    secret: bytes = field(repr=False)
    owners: str
    spill: str
    trusted: tuple[str, ...] = ()
    wide: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ingested:
    """What became of a piece: rows read and refused, references to its facts, its quarantine part, and why the file was refused."""

    source: str
    file: str
    read: int
    quarantined: int
    spills: tuple[SpillRef, ...]
    quarantine: str | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowsRead:
    """Parsed rows of a chunk, the text or table they came from, and what reading this very file found out."""

    parsed: Parsed
    origin: TextChunk | pa.Table | None
    registers: bool = False
    messages: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def _path(home: str, landed: Landed) -> Path:
    return Path(home) / "landing" / landed.path


def split_file(home: Path, landed: Landed, wide: bool) -> list[Piece]:
    """Cut a landed file into pieces that workers can read alone; packed, CSV and wide files are one piece each."""
    try:
        kind = kind_of(landed.file)
        path = _path(str(home), landed)
        if kind.format == "parquet":
            metadata = pq.read_metadata(path)
            first, pieces = 1, []
            for group in range(metadata.num_row_groups):
                pieces.append(Piece(landed, first_line=first, group=group))
                first += metadata.row_group(group).num_rows
            return pieces or [Piece(landed)]
        if kind.format == "ndjson" and kind.packing is None and not wide:
            return [Piece(landed, start, stop, line) for start, stop, line in line_ranges(path)]
    except (FileRefused, pa.ArrowException, OSError):
        pass  # the piece itself meets the same fault and says so in its own bin
    return [Piece(landed)]


def _parquet(piece: Piece, path: Path) -> Iterator[tuple[Parsed, pa.Table]]:
    contract = load_contract(piece.landed.source)
    try:
        file = pq.ParquetFile(path)
        check_arrow_schema(file.schema_arrow, contract)
        if piece.group is None:
            return
        columns = [c.name for c in contract.columns if c.name in file.schema_arrow.names]
        table = file.read_row_group(piece.group, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise FileRefused("file:unreadable", f"not a readable Parquet file: {str(error).splitlines()[0][:200]}") from error
    for start in range(0, table.num_rows, ROWS_PER_TABLE):
        part = table.slice(start, ROWS_PER_TABLE)
        yield parse_arrow(part, piece.first_line + start, contract), part


def _messages(piece: Piece, path: Path) -> Iterator[tuple[Parsed, TextChunk | pa.Table | None]]:
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
            table = file.read_all()
    except (pa.ArrowException, OSError) as error:
        raise FileRefused("file:unreadable", f"not readable as messages: {str(error).splitlines()[0][:200]}") from error
    for rows in records_of(table, load_contract(piece.landed.source))[0]:
        yield rows.parsed, rows.origin


_READERS = {"parquet": _parquet, "messages": _messages}


def _text(piece: Piece, path: Path) -> Iterator[tuple[Parsed, TextChunk | None]]:
    kind, contract = kind_of(piece.landed.file), load_contract(piece.landed.source)
    quoted = kind.format == "csv"
    header: tuple[str, ...] = ()
    for chunk in read_chunks(path, kind.packing, piece.start, piece.stop, piece.first_line, quoted=quoted):
        if isinstance(chunk, Broken):
            yield Parsed(pl.DataFrame(), [chunk]), None
            continue
        if chunk.first_line == 1:
            chunk = TextChunk(chunk.data.removeprefix(b"\xef\xbb\xbf"), 1, chunk.cut)
        if not quoted:
            yield parse_json(chunk, contract), chunk
            continue
        if not header:
            header, chunk = _take_header(chunk, piece)
        yield parse_csv(chunk, header, contract), chunk


def _take_header(chunk: TextChunk, piece: Piece) -> tuple[tuple[str, ...], TextChunk]:
    records = split_records(chunk.data, chunk.first_line)
    try:
        header = read_header(records[0][1])
    except (UnicodeDecodeError, IndexError, StopIteration) as error:
        raise FileRefused("file:columns", "the first line is no CSV header") from error
    missing = [c.name for c in load_contract(piece.landed.source).columns if c.required and c.name not in header]
    if missing or len(set(header)) != len(header):
        what = f"columns {', '.join(missing)} are required and missing" if missing else "two columns have the same name"
        raise FileRefused("file:columns", f"{what}; the header has: {', '.join(header)[:300]}")
    rest = chunk.data[chunk.data.index(records[0][1]) + len(records[0][1]) :]
    return header, TextChunk(rest, records[0][0], chunk.cut)


def refused_rows(refused: pl.DataFrame, origin: TextChunk | pa.Table | None, first_line: int) -> list[Broken]:
    """Give rows that broke a rule their raw bytes back."""
    if not refused.height:
        return []
    if isinstance(origin, pa.Table):
        return [Broken(n, raw_row(origin, n - first_line), tuple(r), i) for n, r, i in refused.iter_rows()]
    records = split_records(origin.data, origin.first_line) if origin else []
    raw = dict(records)
    return [Broken(n, raw.get(n, b""), tuple(r), i) for n, r, i in refused.iter_rows()]


class _Outcome:
    """Collects what a piece gives, flushing facts to spill files now and then so that memory stays bounded."""

    def __init__(self, piece: Piece, plan: IngestPlan) -> None:
        self.piece, self.plan = piece, plan
        self.contract = load_contract(piece.landed.source)
        self.read, self.broken = 0, list[Broken]()
        self.held, self.spills = list[pl.DataFrame](), list[SpillRef]()
        self.messages, self.notes = dict[str, str](), tuple[str, ...]()
        self.owners = pl.read_ipc(plan.owners) if self.contract.refers_to == "device" else pl.DataFrame()

    def add(self, rows: RowsRead) -> None:
        landed, plan, parsed = self.piece.landed, self.plan, rows.parsed
        self.messages |= rows.messages
        self.notes += rows.notes
        self.read += parsed.frame.height + len(parsed.broken)
        self.broken += parsed.broken
        if not parsed.frame.height:
            return
        provenance = Provenance(plan.load, landed.file, landed.landed_us, landed.source in plan.trusted, rows.registers)
        checked = validate(parsed, self.contract, provenance, plan.secret)
        self.broken += refused_rows(checked.refused, rows.origin, int(parsed.frame["_line"][0]))
        self.held.append(place(checked.facts, self.contract, self.owners, plan.shards))
        if sum(f.height for f in self.held) >= ROWS_PER_SPILL:
            self.flush()

    def flush(self) -> None:
        if self.held:
            self.spills += write_spill(pl.concat(self.held), self.piece.landed.source, Path(self.plan.spill))
            self.held = []

    def refuse(self, refusal: FileRefused) -> Ingested:
        """The whole file is out: nothing of it is spilled, and one entry (line 0) stands for it."""
        whole = Broken(0, b"", (refusal.rule,))
        part = self._quarantine([whole], {refusal.rule: str(refusal)})
        return Ingested(self.piece.landed.source, self.piece.landed.file, 1, 1, (), part, (f"{refusal.rule}: {refusal}",))

    def finish(self) -> Ingested:
        self.flush()
        part = self._quarantine(self.broken, self.messages) if self.broken else None
        landed = self.piece.landed
        return Ingested(landed.source, landed.file, self.read, len(self.broken), tuple(self.spills), part, self.notes)

    def _quarantine(self, broken: list[Broken], messages: Mapping[str, str]) -> str:
        frame = quarantine_rows(broken, self.contract, self.piece.landed, self.plan.load, self.plan.secret, messages)
        return write_part(frame.select(list(QUARANTINE_SCHEMA)), Path(self.plan.home), f"quarantine/_load={self.plan.load}")


def read_piece(piece: Piece, home: str, wide: Mapping[str, Any] | None = None) -> Iterator[RowsRead]:
    """Parse one piece of a landed file, through the wide mapping where its source declares one.

    Raises `FileRefused` when the whole file cannot be taken; what was yielded before does not count then.
    """
    path = _path(home, piece.landed)
    if wide is not None:
        mapped = read_wide(path, piece.landed.file, wide)
        yield RowsRead(mapped.parsed, mapped.chunk, mapped.registers, mapped.messages, mapped.notes)
        return
    kind = kind_of(piece.landed.file)
    for parsed, origin in _READERS.get(kind.format, _text)(piece, path):
        yield RowsRead(parsed, origin)


def ingest_piece(piece: Piece, plan: IngestPlan) -> Ingested:
    """Read one piece of a file; every row of it ends as a spilled fact or in quarantine."""
    outcome = _Outcome(piece, plan)
    try:
        for rows in read_piece(piece, plan.home, plan.wide.get(piece.landed.origin)):
            outcome.add(rows)
    except FileRefused as refusal:
        return outcome.refuse(refusal)
    return outcome.finish()
