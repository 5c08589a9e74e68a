# SPDX-License-Identifier: Apache-2.0
"""A 64-bit number for the content of a row: equal for equal typed values, on any machine, in any version, in any file format.

It tells an exact duplicate from a revision and breaks ties between revisions. It is only ever compared between rows of one key, so
64 bits are ample. Library hashes are not used because they change between versions, and staged rows outlive versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

U64 = npt.NDArray[np.uint64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_NULL = np.uint64(0xA5A5A5A5DEADBEEF)


def _mix(x: U64) -> U64:
    """Finaliser of splitmix64 (Steele, Lea and Flood 2014): a bijection that spreads every bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _text(column: pl.Series) -> U64:
    distinct = column.unique().drop_nulls()
    digests = [int.from_bytes(hashlib.blake2b(s.encode(), digest_size=8).digest(), "big") for s in distinct]
    table = pl.DataFrame({"text": distinct, "digest": pl.Series(digests, dtype=pl.UInt64)})
    joined = column.to_frame("text").join(table, on="text", how="left", maintain_order="left")
    return joined["digest"].fill_null(0).to_numpy()


def _list(column: pl.Series) -> U64:
    lengths = column.list.len().fill_null(0).to_numpy().astype(np.int64)
    flat = column.filter(column.list.len() > 0).explode()
    starts = np.concatenate([[0], np.cumsum(lengths)])
    if not len(flat):
        return _mix(lengths.astype(np.uint64))
    place = np.arange(len(flat)) - np.repeat(starts[:-1], lengths)
    with np.errstate(over="ignore"):
        hashed = _mix(_column(flat) + _GOLDEN * (place.astype(np.uint64) + np.uint64(1)))
        running = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashed, dtype=np.uint64)])
        return _mix(running[starts[1:]] - running[starts[:-1]] + lengths.astype(np.uint64))


def _column(column: pl.Series) -> U64:
    kind = column.dtype
    if kind == pl.String:
        bits = _text(column)
    elif isinstance(kind, pl.List):
        bits = _list(column)
    elif kind.is_float():
        bits = (column.fill_null(0.0) + 0.0).to_numpy().astype(np.float64).view(np.uint64)  # + 0.0 makes -0.0 equal 0.0
    else:
        bits = column.cast(pl.Int64).fill_null(0).to_numpy().view(np.uint64)
    return np.where(column.is_null().to_numpy(), _NULL, _mix(bits))


def fingerprint(frame: pl.DataFrame, columns: Sequence[str], later: Sequence[str] = ()) -> pl.Series:
    """Number the content of each row over the named columns, in their order (UInt64, never null).

    Null differs from zero and from empty text; 1 differs from 1.0 only if the column types differ. Where a column of `later` is null,
    the number is as without it: what was written before the contract gained the column equals what comes again after.
    """
    with np.errstate(over="ignore"):
        total = np.zeros(frame.height, np.uint64)
        for name in columns:
            total = _mix(total * _GOLDEN + _column(frame[name]) + _GOLDEN)
        for name in later:
            more = _mix(total * _GOLDEN + _column(frame[name]) + _mix(_text(pl.Series([name]))))
            total = np.where(frame[name].is_null().to_numpy(), total, more)
    return pl.Series("_fingerprint", total, dtype=pl.UInt64)
