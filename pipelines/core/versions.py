# SPDX-License-Identifier: Apache-2.0
"""How much is known of a patient, as one number that only grows: of two answers about a patient the one with more behind it is newer.

The version counts the distinct facts of the patient, and far above them (in steps of 2^32) the revisions of every device that was ever
theirs. A device that passes to somebody else takes its facts along; the revision that says so weighs more than all of them, so the
version grows nonetheless. It is a function of the set of facts: batch and stream give the same number to the same knowledge.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from schemas.contract import SOURCES

REVISION = 1 << 32


def patient_versions(facts: Mapping[str, pl.DataFrame], owners: pl.DataFrame) -> pl.DataFrame:
    """Version of every patient that any fact names: patient_key, version (int64), sorted by patient.

    facts: source -> distinct facts of one shard, device facts with the patient_key of their owner (null: nobody yet). owners: as
    `owners_of` gives them.
    """
    named = pl.concat([facts[source].select("patient_key") for source in SOURCES]).drop_nulls()
    counted = named.group_by("patient_key").agg(facts=pl.len().cast(pl.Int64))
    held = facts["devices"].select("patient_key", "device_key").unique().join(owners, on="device_key", how="inner")
    revised = held.group_by("patient_key").agg(pl.col("revisions").sum())
    joined = counted.join(revised, on="patient_key", how="left")
    return joined.select("patient_key", version=pl.col("facts") + REVISION * pl.col("revisions").fill_null(0)).sort("patient_key")
