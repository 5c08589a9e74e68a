# SPDX-License-Identifier: Apache-2.0
"""Spill files: rows go to disk by shard as Arrow, and only references to them travel through the graph.

Measured on 200 million rows: 27 s and 1.2 GiB this way, 118 s and 17.6 GiB through a local GroupByKey.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

_PLAIN: dict[str, Any] = {"compression": "zstd", "compression_level": 1}
_RISING: dict[str, Any] = {"compression": "lz4"}


@dataclass(frozen=True)
class SpillRef:
    """Rows of one source and shard: a record batch of a spill file."""

    source: str
    shard: int
    path: str
    batch: int


def write_spill(placed: pl.DataFrame, source: str, folder: Path) -> list[SpillRef]:
    """Write rows with a `_shard` column as one batch per shard; a retried task writes a new file, and only its references count."""
    if not placed.height:
        return []
    path = folder / f"{uuid.uuid4().hex}.arrow"
    refs: list[SpillRef] = []
    with pa.OSFile(f"{path}.tmp", "wb") as sink:
        writer = None
        for (shard,), part in placed.partition_by("_shard", as_dict=True, include_key=False, maintain_order=True).items():
            table = part.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
            writer = writer or pa.ipc.new_file(sink, table.schema)
            refs.append(SpillRef(source, int(shard), str(path), len(refs)))
            writer.write_batch(table.to_batches(max_chunksize=part.height)[0])
        if writer:
            writer.close()
    os.replace(f"{path}.tmp", path)
    return refs


def read_spill(refs: Iterable[SpillRef], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """Read the referenced batches into one frame of the given schema (empty without references)."""
    frames = []
    for ref in refs:
        with pa.memory_map(ref.path) as source:
            batch = pa.ipc.open_file(source).get_batch(ref.batch)
            frames.append(pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch]))).select(pl.col(n).cast(t) for n, t in schema.items()))
    return pl.concat(frames, rechunk=True) if frames else pl.DataFrame(schema=schema)


def write_part(frame: pl.DataFrame, home: Path, folder: str, rising: frozenset[str] = frozenset()) -> str:
    """Write one immutable Parquet part named by its content below `home/folder`; return its path relative to `home`.

    The same rows give the same bytes and name, so a repeated load writes nothing new. Complete before it has its name. `rising`:
    columns that mostly grow from row to row; they are stored as differences (measured on segments: 21 against 35 bytes a row, and
    half the time to read).
    """
    target = home / folder
    target.mkdir(parents=True, exist_ok=True)
    temporary = target / f".{uuid.uuid4().hex}.tmp"
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    layout = _RISING | {
        "use_dictionary": [c for c in table.column_names if c not in rising],
        "column_encoding": dict.fromkeys(rising, "DELTA_BINARY_PACKED"),
    } if rising else _PLAIN  # fmt: skip
    pq.write_table(table, temporary, row_group_size=1 << 18, **layout)
    with temporary.open("rb+") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
    os.replace(temporary, target / f"{digest}.parquet")
    return f"{folder}/{digest}.parquet"
