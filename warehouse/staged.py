# SPDX-License-Identifier: Apache-2.0
"""Staged facts in the window: what marts made in SQL read beside the marts of the shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from schemas.contract import load_contract
from warehouse.columns import TYPES, parquet_source

STAGED = ("consents", "physiology", "adverse_events")  # sources that no mart of a shard holds row by row


def staged_view(home: Path, source: str, files: Sequence[str], known_by_us: int | None) -> str:
    """CREATE TEMP VIEW `staged_<source>` of the facts known by an instant (UTC microseconds, inclusive; None is now).

    Columns of the contract with `patient_key` as in marts, `_key`, `_fingerprint`, and `happened_at`, `revised_at` by the contract's
    own columns. All contents of a key are there: which one counts depends on what was known when, so the SQL of the mart decides.
    Without files the view has no rows.
    """
    contract = load_contract(source)
    columns = {c.staged_name: "BIGINT" if c.identifier else TYPES[c.type] for c in contract.columns}
    columns |= {"_key": "BIGINT", "_fingerprint": "BIGINT"}
    if files:
        until = "" if known_by_us is None else f" where epoch_us(_known_at) <= {known_by_us}"
        rows = f"select {', '.join(columns)} from {parquet_source(home, files)}{until}"
    else:
        rows = f"select {', '.join(f'null::{kind} as {name}' for name, kind in columns.items())} where false"
    return f"""create temp view staged_{source} as
        select * replace (lpad(lower(to_hex(patient_key)), 16, '0') as patient_key),
            {contract.happened} as happened_at, {contract.revision} as revised_at
        from ({rows})"""
