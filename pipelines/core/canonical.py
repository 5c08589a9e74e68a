# SPDX-License-Identifier: Apache-2.0
"""Which facts count. Staged facts are a set that only grows; the bin of each is a function of that set, so the order in which files
arrive cannot matter.

Every distinct (key, content) is kept once, with the earliest instant at which it was known. Of the contents of one key the latest
revision wins, then the larger fingerprint. A fact about a patient or device nobody has named yet is pending; one that consent
covers no more is withdrawn. Nothing here looks at the load, except to say which of two identical rows is the duplicate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from schemas.contract import SOURCES, Contract, load_contract

RULES = {"duplicate": "row:duplicate", "superseded": "row:superseded", "withdrawn": "consent:withdrawn"}
Facts = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class Canonical:
    """Facts of one shard, each distinct content once with its `_bin`; and the rows that only repeat one of them."""

    facts: dict[str, pl.DataFrame]
    duplicates: dict[str, pl.DataFrame]

    def accepted(self, source: str) -> pl.DataFrame:
        """The facts of a source that count."""
        return self.facts[source].filter(pl.col("_bin") == "accepted")


def distinct(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split into one row per (key, content), known since the earliest of its copies, and the copies."""
    ordered = frame.sort("_key", "_fingerprint", "_load", "_file", "_line").with_columns(
        _known_at=pl.col("_known_at").min().over("_key", "_fingerprint"),
        _registers=pl.col("_registers").any().over("_key", "_fingerprint"),
    )
    first = ordered.select(((pl.col("_key").diff() != 0) | (pl.col("_fingerprint") != pl.col("_fingerprint").shift(1))).fill_null(True))
    mask = first.to_series()
    return ordered.filter(mask), ordered.filter(~mask).with_columns(_bin=pl.lit("duplicate"))


def _winners(frame: pl.DataFrame, contract: Contract) -> pl.Series:
    """Whether a fact is the latest revision of its key, and of several latest ones that with the larger fingerprint."""
    revision = pl.col(contract.revision or "_known_at")
    # in two steps: a window over a window takes the square of the rows (Polars 2.1: 18 s for 400,000)
    latest = frame.select("_key", _latest=pl.when(revision == revision.max().over("_key")).then(pl.col("_fingerprint")))
    return latest.select((pl.col("_latest") == pl.col("_latest").max().over("_key")).fill_null(False)).to_series()


def withdrawals(consents: pl.DataFrame) -> pl.DataFrame:
    """Patients whose latest decision (by `effective_at`, then the later record) is a withdrawal: patient_key, erase, withdrawn_at."""
    latest = consents.sort("effective_at", "recorded_at", "_fingerprint").group_by("patient_key", maintain_order=True).last()
    return latest.filter(pl.col("action") == "withdrawn").select(
        "patient_key", erase=pl.col("mode").fill_null("stop_collecting") == "erase", withdrawn_at="effective_at"
    )


def _status(frame: pl.DataFrame, contract: Contract, unknown: pl.Expr, gone: pl.DataFrame) -> pl.DataFrame:
    frame = frame.join(gone, on="patient_key", how="left", maintain_order="left")
    happened = pl.col(contract.happened or "_known_at")
    withdrawn = pl.col("erase") | (happened >= pl.col("withdrawn_at"))
    if contract.name == "consents":
        withdrawn = pl.lit(False)
    return frame.with_columns(_wins=_winners(frame, contract)).with_columns(
        _bin=pl.when(unknown).then(pl.lit("pending")).when(withdrawn.fill_null(False)).then(pl.lit("withdrawn"))
        .when(~pl.col("_wins")).then(pl.lit("superseded")).otherwise(pl.lit("accepted"))
    ).drop("erase", "withdrawn_at", "_wins")  # fmt: skip


def canonicalise(facts: Facts, owners: pl.DataFrame) -> Canonical:
    """Decide the bin of every fact of one shard.

    facts: source -> staged frame (all sources, possibly empty), old and new rows together. owners: as `owners_of` gives them, of every
    device known anywhere: the patient of a device is the one its latest revision names. Device facts gain `patient_key`
    in memory only. Pure: the same facts in any order give the same result.
    """
    split = {source: distinct(facts[source]) for source in SOURCES}
    consents = split["consents"][0].filter(_winners(split["consents"][0], load_contract("consents")))
    gone = withdrawals(consents)
    known = pl.concat([
        split["patients"][0]["patient_key"],
        split["survey_responses"][0].filter("_registers")["patient_key"],
    ]).unique()  # fmt: skip
    decided, copies = {}, {}
    for source in SOURCES:
        contract, (frame, duplicates) = load_contract(source), split[source]
        if contract.refers_to == "device":
            frame = frame.join(owners.select("device_key", "patient_key"), on="device_key", how="left", maintain_order="left")
        unknown = pl.lit(False)
        if contract.refers_to is not None:
            unknown = pl.col("patient_key").is_null() | ~pl.col("patient_key").is_in(known.implode())
        decided[source] = _status(frame, contract, unknown, gone)
        copies[source] = duplicates
    return Canonical(_drop_moved_devices(decided, owners), copies)


def _drop_moved_devices(facts: dict[str, pl.DataFrame], owners: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """A device row that names another patient than the device's latest revision does counts no more."""
    current = owners.select("device_key", owner="patient_key")
    devices = facts["devices"].join(current, on="device_key", how="left", maintain_order="left")
    moved = (pl.col("_bin") == "accepted") & (pl.col("owner") != pl.col("patient_key"))
    facts["devices"] = devices.with_columns(_bin=pl.when(moved).then(pl.lit("superseded")).otherwise("_bin")).drop("owner")
    return facts


def rule_of(contract: Contract) -> pl.Expr:
    """The rule that put a fact into its bin, from `_bin`; pending names what is unknown."""
    unknown = f"{contract.refers_to or 'patient'}_id:unknown"
    return pl.col("_bin").replace_strict(RULES | {"pending": unknown, "accepted": ""}, default=None)


def owners_of(devices: pl.DataFrame) -> pl.DataFrame:
    """Device -> patient by the latest revision, from staged `devices` rows of any number of shards, repeated or not.

    Returns device_key, patient_key, revisions (how many different rows name the device).
    """
    latest = devices.sort("recorded_at", "_fingerprint").group_by("device_key", maintain_order=True)
    return latest.agg(pl.col("patient_key").last(), revisions=pl.col("_fingerprint").n_unique().cast(pl.Int64))
