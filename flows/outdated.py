# SPDX-License-Identifier: Apache-2.0
"""Whether what is stored was written for other columns than today's: by an older version, or before a setting was changed."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from schemas.contract import load_contract
from schemas.errors import UsageError
from schemas.frames import mart_schema, staged_schema, window_names
from schemas.load import Shards
from schemas.workspace import Workspace


def outdated(ws: Workspace, live: Mapping[str, Shards]) -> list[str]:
    """Tables whose live parts have other columns than contracts and settings ask for, each with a few of these columns.

    One part of each table is looked at: a commit that would give the parts of one table different columns is refused.
    """
    windows = window_names(ws.settings.windows_days)
    found = []
    for table, shards in live.items():
        kind, _, name = table.partition("/")
        asked = staged_schema(load_contract(name)) if kind == "staged" else mart_schema(load_contract(f"mart.{name}"), windows)
        there = pl.read_parquet_schema(ws.home / next(iter(shards.values()))) if shards else asked
        if other := sorted(asked.keys() ^ there.keys()):
            found.append(f"{table} ({', '.join(other[:3])}{' ...' if len(other) > 3 else ''})")
    return found


def require_current(ws: Workspace, live: Mapping[str, Shards]) -> None:
    """Raise `UsageError` where tables must be derived anew before anything is built on them."""
    if old := outdated(ws, live):
        raise UsageError(f"the columns have changed since these were written: {', '.join(old)}; first: vnsight run --home {ws.home}")
