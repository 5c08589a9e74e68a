# SPDX-License-Identifier: Apache-2.0
"""Where a fact lives: in the shard of its patient; facts of a device nobody has named yet wait in the pool."""

from __future__ import annotations

import polars as pl

from schemas.contract import Contract

POOL = -1  # shard of facts whose device is not known yet


def place(facts: pl.DataFrame, contract: Contract, owners: pl.DataFrame, shards: int) -> pl.DataFrame:
    """Add `_shard`: `patient_key mod shards`, by the patient of the device for device facts, or `POOL`."""
    if contract.refers_to == "device":
        facts = facts.join(owners.select("device_key", "patient_key"), on="device_key", how="left", maintain_order="left")
    shard = (pl.col("patient_key").reinterpret(signed=False) % shards).cast(pl.Int64).fill_null(POOL)
    placed = facts.with_columns(_shard=shard)
    return placed.drop("patient_key") if contract.refers_to == "device" else placed
