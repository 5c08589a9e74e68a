# SPDX-License-Identifier: Apache-2.0
"""Rows to bytes: NDJSON, CSV and Parquet, compressed or not, with the lines that are damaged on the way."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from schemas.contract import Contract

_ROW_GROUP = 131_072


def _as_text(rows: pl.DataFrame, contract: Contract, zone: str) -> pl.DataFrame:
    """Instants in ISO 8601 with `zone`; a local time, where the row has one, without."""
    pattern = f"%Y-%m-%dT%H:%M:%S%.6f{zone}"
    names = [c.name for c in contract.columns if c.type == "timestamp"]
    rows = rows.with_columns(pl.col(names).dt.strftime(pattern))
    if "completed_at" in names:
        rows = rows.with_columns(completed_at=pl.coalesce("_wall", "completed_at"))
    return rows


def _columns(contract: Contract) -> list[str]:
    return [c.name for c in contract.columns]


def _ndjson(rows: pl.DataFrame, contract: Contract) -> bytes:
    return _as_text(rows, contract, "Z").select(_columns(contract)).write_ndjson().encode()


def _json_lists(rows: pl.DataFrame, contract: Contract) -> list[pl.Expr]:
    names = [c.name for c in contract.columns if c.type.startswith("array")]
    texts = {n: pl.col(n).cast(pl.List(pl.String)).list.eval(pl.element().fill_null("null")).list.join(",") for n in names}
    return [pl.when(pl.col(n).is_not_null()).then(pl.format("[{}]", text)).alias(n) for n, text in texts.items()]


def _csv(rows: pl.DataFrame, contract: Contract) -> bytes:
    texts = _as_text(rows, contract, "+00:00")
    return texts.with_columns(_json_lists(texts, contract)).select(_columns(contract)).write_csv().encode()


def _parquet(rows: pl.DataFrame, contract: Contract) -> bytes:
    if "completed_at" in rows.columns and rows["_wall"].null_count() < rows.height:
        pattern = "%Y-%m-%dT%H:%M:%S%.6fZ"
        rows = rows.with_columns(completed_at=pl.coalesce("_wall", pl.col("completed_at").dt.strftime(pattern)))
    sink = io.BytesIO()
    table = rows.select(_columns(contract)).to_arrow(compat_level=pl.CompatLevel.oldest())
    pq.write_table(table, sink, compression="zstd", row_group_size=_ROW_GROUP)
    return sink.getvalue()


def _damaged(line: bytes, damage: str) -> bytes:
    if damage == "utf8":  # a stray byte of another encoding within the first value
        at = line.find(b'":"') + 3 if line.startswith(b"{") else 0
        return line[:at] + b"\xff\xfe" + line[at:]
    if damage == "cells":
        return line + b",1,2"
    return line[: len(line) * 3 // 5]


def _break_lines(data: bytes, rows: pl.DataFrame) -> bytes:
    """Damage the lines whose row says so; a file cut short has no newline at its end."""
    broken = rows.filter(pl.col("_damage").is_not_null())
    if broken.is_empty():
        return data
    lines = data.split(b"\n")
    for line, damage in broken.select("_line", "_damage").iter_rows():
        lines[line - 1] = _damaged(lines[line - 1], damage)
    return b"\n".join(lines[:-1] if "end" in broken["_damage"] else lines)


def _packed(data: bytes, name: str) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(data, compresslevel=4, mtime=0)
    if name.endswith(".zst"):
        import zstandard

        return zstandard.ZstdCompressor(level=3).compress(data)
    return data


def render(rows: pl.DataFrame, contract: Contract, name: str) -> bytes:
    """Return the bytes of one file; `name` decides the format. The same rows give the same bytes."""
    if name.endswith(".parquet"):
        return _parquet(rows, contract)
    text = _csv(rows, contract) if ".csv" in name else _ndjson(rows, contract)
    return _packed(_break_lines(text, rows), name)


def _files(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    for (name,), rows in frame.partition_by("_file", as_dict=True, maintain_order=True).items():
        yield str(name), rows


def write_inbox(inbox: Path, frame: pl.DataFrame, contract: Contract) -> int:
    """Write every file of one source and block below `inbox`; returns how many."""
    count = 0
    for name, rows in _files(frame):
        path = inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(render(rows, contract, name))
        count += 1
    return count


def fault_rows(frame: pl.DataFrame, source: str) -> pl.DataFrame:
    """Return the labelled rows as `truth/faults.parquet` holds them."""
    return frame.filter(pl.col("_fault").is_not_null()).select(
        source=pl.lit(source), file="_file", line="_line", record_id="_record", fault="_fault", expected_bin="_bin", expected_rule="_rule",
    )  # fmt: skip
