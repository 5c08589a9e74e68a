# SPDX-License-Identifier: Apache-2.0
"""Facts of one source as bytes: what travels between the steps of a streaming pipeline and what its state keeps.

    1 byte   format of the block
    1 byte   length of the source's name, then the name
    8 bytes  event time: when the latest message of the block was uploaded, milliseconds since 1970, big-endian
    rest     an Arrow IPC stream, which says its own columns

A block outlives the version of the program that wrote it (it lies in checkpoints), so reading is by name of column: one the contract
has gained since is null, one it has lost is dropped. A format nobody knows is an error, never a guess.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from schemas.contract import SOURCES, load_contract
from schemas.errors import VNSightError
from schemas.frames import staged_schema

FORMAT = 1
_HEAD = struct.Struct(">BB")
_TIME = struct.Struct(">q")
_LARGE = 16 << 10  # rows above which packing pays


@dataclass(frozen=True)
class Block:
    """Facts of one source (staged columns) and the event time of the message they came in."""

    source: str
    time_ms: int
    facts: pl.DataFrame


def pack(block: Block) -> bytes:
    """Write a block; the same facts in the same order give the same bytes."""
    table = block.facts.to_arrow(compat_level=pl.CompatLevel.oldest())
    packing = pa.ipc.IpcWriteOptions(compression="zstd" if table.num_rows > _LARGE else None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=packing) as writer:
        writer.write_table(table)
    name = block.source.encode()
    return b"".join((_HEAD.pack(FORMAT, len(name)), name, _TIME.pack(block.time_ms), memoryview(sink.getvalue())))


def unpack(data: bytes) -> Block:
    """Read a block; `VNSightError` for a format or a source this version does not know."""
    form, length = _HEAD.unpack_from(data)
    source = bytes(data[2 : 2 + length]).decode("ascii", "replace")
    if form != FORMAT or source not in SOURCES:
        raise VNSightError(f"state holds a block of format {form}, source {source}: it was written by a newer version; run that version")
    (time_ms,) = _TIME.unpack_from(data, 2 + length)
    given = pl.DataFrame(pl.from_arrow(pa.ipc.open_stream(memoryview(data)[10 + length :]).read_all()))
    columns = [
        pl.col(name).cast(kind) if name in given.columns else pl.lit(None, dtype=kind).alias(name)
        for name, kind in staged_schema(load_contract(source)).items()
    ]
    return Block(source, time_ms, given.select(columns))


def facts_of(blocks: Iterable[Block]) -> dict[str, pl.DataFrame]:
    """All facts by source; every source is there, possibly without a row."""
    frames: dict[str, list[pl.DataFrame]] = {source: [] for source in SOURCES}
    for block in blocks:
        frames[block.source].append(block.facts)
    return {
        source: pl.concat(found) if found else pl.DataFrame(schema=staged_schema(load_contract(source))) for source, found in frames.items()
    }
