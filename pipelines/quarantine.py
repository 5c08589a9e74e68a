# SPDX-License-Identifier: Apache-2.0
"""Quarantine: refused rows with their raw bytes, every reason in words, the contract they broke and who answers for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from pipelines.core.pseudonym import key_of, key_text
from pipelines.core.rows import Broken
from schemas.contract import Contract
from schemas.frames import UTC_US
from schemas.load import Landed
from schemas.rules import explain

QUARANTINE_SCHEMA: dict[str, pl.DataType] = {
    "load": pl.Int64(), "source": pl.String(), "file": pl.String(), "line": pl.Int64(), "record_id": pl.String(),
    "rules": pl.List(pl.String), "messages": pl.List(pl.String), "raw": pl.Binary(), "contract_version": pl.String(),
    "owner": pl.String(), "first_seen": UTC_US,
}  # fmt: skip

def quarantine_rows(
    broken: Sequence[Broken], contract: Contract, landed: Landed, load: int, secret: bytes, messages: Mapping[str, str]
) -> pl.DataFrame:
    """Rows of `QUARANTINE_SCHEMA`. `messages` adds words for rules found out about this very file; record ids become keys."""
    where = f"{landed.file} line"
    rows = [
        {
            "load": load, "source": landed.source, "file": landed.file, "line": row.line, "record_id": _record_key(row, contract, secret),
            "rules": list(row.rules), "raw": row.raw, "contract_version": contract.version, "owner": contract.owner,
            "messages": [f"{where} {row.line}: {messages.get(r) or explain(contract, r)}" for r in row.rules],
        }
        for row in broken
    ]  # fmt: skip
    first_seen = pl.lit(landed.landed_us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("first_seen")
    schema = {n: t for n, t in QUARANTINE_SCHEMA.items() if n != "first_seen"}
    return pl.DataFrame(rows, schema=schema).with_columns(first_seen).sort("line")


def _record_key(row: Broken, contract: Contract, secret: bytes) -> str | None:
    """The pseudonym of a readable record id; of a composite one only the first part identifies anybody."""
    if row.record_id is None:
        return None
    first, *rest = row.record_id.split("/") if len(contract.key) > 1 else [row.record_id]
    kind = contract.column(contract.key[0]).identifier
    return "/".join([key_text(key_of(secret, kind, first)) if kind else first, *rest])
