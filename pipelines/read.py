# SPDX-License-Identifier: Apache-2.0
"""Landed bytes to chunks of whole lines: plain, .gz or .zst, in bounded memory whatever the file holds."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from pipelines.core.parse_arrow import FileRefused
from pipelines.core.rows import KEPT_BYTES, MAX_LINE, Broken, TextChunk

BLOCK = 8 << 20
BOMB_AT = 256 << 20  # bytes unpacked before the ratio is judged
BOMB_RATIO = 200  # telemetry packs 5 to 30 times


@dataclass(frozen=True)
class FileKind:
    """What a file name says of its content: `ndjson`, `csv`, `parquet` or `messages`, and how it is packed."""

    format: str
    packing: str | None


_FORMATS = {".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson", ".csv": "csv", ".parquet": "parquet", ".messages": "messages"}


def kind_of(name: str) -> FileKind:
    """Kind of a file by its name; `FileRefused` (file:unreadable) for endings that are not read."""
    path, packing = Path(name.lower()), None
    if path.suffix in (".gz", ".zst"):
        packing, path = path.suffix[1:], path.with_suffix("")
    if path.suffix not in _FORMATS or (packing and path.suffix in (".parquet", ".messages")):
        raise FileRefused(
            "file:unreadable", f"{Path(name).name}: not a file of a known kind; send .ndjson, .csv (also .gz or .zst) or .parquet"
        )
    return FileKind(_FORMATS[path.suffix], packing)


def _unpacked(path: Path, packing: str | None) -> IO[bytes]:
    if packing == "gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if packing == "zst":
        import zstandard

        reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(path.open("rb"), read_across_frames=True, closefd=True)
        return cast("IO[bytes]", reader)
    return path.open("rb")


def _blocks(path: Path, packing: str | None, start: int, stop: int | None) -> Iterator[bytes]:
    """Blocks of unpacked bytes. A packed file that is broken ends with EOFError after what could be read; a bomb is refused."""
    packed_size, unpacked = path.stat().st_size, 0
    with _unpacked(path, packing) as stream:
        if start:
            stream.seek(start)
        while stop is None or start + unpacked < stop:
            want = BLOCK if stop is None else min(BLOCK, stop - start - unpacked)
            try:
                block = stream.read(want)
            except (OSError, EOFError, zlib.error) as error:
                raise EOFError(str(error)) from error
            except Exception as error:
                if type(error).__name__ == "ZstdError":  # not an OSError, and the library is only imported where needed
                    raise EOFError(str(error)) from error
                raise
            if not block:
                return
            unpacked += len(block)
            if packing and unpacked > BOMB_AT and unpacked > BOMB_RATIO * packed_size:
                raise FileRefused("file:bomb", f"unpacks to more than {BOMB_RATIO} times its size; send it in smaller files if it is real")
            yield block


def read_chunks(
    path: Path, packing: str | None, start: int = 0, stop: int | None = None, first_line: int = 1, *, quoted: bool = False
) -> Iterator[TextChunk | Broken]:
    """Cut unpacked bytes `[start, stop)` into chunks of whole lines, in file order.

    A line over 1 MiB comes as `Broken` with its first 64 KiB; the end of a packed file that breaks off comes as `Broken` with rule
    `file:truncated`. Memory stays at a few blocks. `first_line` is the number of the line at `start`. With `quoted` (CSV) a chunk
    never ends inside quotes.
    """
    line, carry, overlong = first_line, b"", 0
    try:
        for block in _blocks(path, packing, start, stop):
            if overlong:
                head, newline, block = block.partition(b"\n")
                overlong += len(head)
                if not newline:
                    continue
                yield Broken(line, carry, ("line:too_long",))
                line, carry, overlong = line + 1, b"", 0
            joined = carry + block
            cut = _last_end(joined, quoted)
            if cut:
                yield from _without_overlong(joined[:cut], line)
                line += joined.count(b"\n", 0, cut)
            carry = joined[cut:]
            if len(carry) > MAX_LINE:
                overlong, carry = len(carry), carry[:KEPT_BYTES]
    except EOFError:
        yield Broken(line, carry[:KEPT_BYTES], ("file:truncated",))
        return
    if overlong:
        yield Broken(line, carry, ("line:too_long",))
    elif carry.strip():
        yield TextChunk(carry, line, cut=True)


def _last_end(data: bytes, quoted: bool) -> int:
    """Place after the last newline that ends a record; 0 when there is none."""
    if quoted and data.count(b'"') % 2 and len(data) <= BLOCK + MAX_LINE:
        opened = data.rfind(b'"')  # an odd number of quotes: the last one opened a cell that is not closed yet
        return data.rfind(b"\n", 0, opened) + 1
    return data.rfind(b"\n") + 1


def _without_overlong(data: bytes, line: int) -> Iterator[TextChunk | Broken]:
    """A chunk as it is, or in pieces around lines that are too long."""
    pieces = data.split(b"\n") if len(data) > MAX_LINE else []
    if not any(len(p) > MAX_LINE for p in pieces):
        yield TextChunk(data, line)
        return
    kept: list[bytes] = []
    for i, piece in enumerate(pieces):
        if len(piece) > MAX_LINE:
            yield Broken(line + i, piece[:KEPT_BYTES], ("line:too_long",))
            piece = b""  # a blank line keeps the numbers right
        kept.append(piece)
    yield TextChunk(b"\n".join(kept), line)


def line_ranges(path: Path, size: int = 32 << 20) -> Iterator[tuple[int, int, int]]:
    """Cut a plain text file into ranges `(start, stop, first_line)` of about `size` bytes that end after a newline."""
    start, position, line, lines = 0, 0, 1, 0
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            last = block.rfind(b"\n")
            lines += block.count(b"\n")
            if last >= 0 and position + last + 1 - start >= size:
                stop = position + last + 1
                yield start, stop, line
                start, line = stop, line + lines
                lines = 0
            position += len(block)
    if position > start or position == 0:
        yield start, position, line
