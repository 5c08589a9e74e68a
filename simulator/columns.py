# SPDX-License-Identifier: Apache-2.0
"""From numpy arrays to columns of records: instants, missing values, identifiers, and numbering within groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from simulator.plan import Array

UTC_US = pl.Datetime("us", "UTC")


def with_missing(values: Array | pl.Series | Sequence[object], missing: Array) -> pl.Series:
    """Return the values with null where `missing`."""
    series = pl.Series(values)
    return pl.select(pl.when(pl.Series(missing)).then(None).otherwise(series).alias("")).to_series()


def instants(us: Array, missing: Array | None = None) -> pl.Series:
    """Return UTC instants from microseconds since 1970, null where `missing`."""
    series = pl.Series(us.astype(np.int64)).cast(UTC_US)
    return series if missing is None else with_missing(series, missing)


def labels(names: Sequence[str], index: Array) -> pl.Series:
    """Return `names[index]` for every element."""
    return pl.Series(list(names), dtype=pl.String).gather(pl.Series(index))


def identifiers(prefix: str, numbers: Array, width: int) -> pl.Series:
    """Return `prefix` and the number with leading zeros."""
    text = pl.Series(numbers).cast(pl.String).str.zfill(width)
    return pl.select(pl.lit(prefix) + text).to_series()


def number_within(groups: Array) -> Array:
    """Number the rows of every run of equal values from 0; `groups` must be sorted.

    >>> import numpy as np
    >>> number_within(np.array([3, 3, 7, 7, 7])).tolist()
    [0, 1, 0, 1, 2]
    """
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]) if len(groups) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, len(groups)])
    return np.arange(len(groups)) - np.repeat(starts, lengths)


def pick(rng: np.random.Generator, weights: Sequence[float], size: int) -> Array:
    """Draw category numbers with these weights."""
    edges = np.cumsum(weights) / np.sum(weights)
    return np.searchsorted(edges[:-1], rng.random(size), side="right")


def days_us(days: Array) -> Array:
    """Return a number of days as whole microseconds."""
    return (days * 86_400_000_000).astype(np.int64)
