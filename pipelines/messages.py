# SPDX-License-Identifier: Apache-2.0
"""A table of messages to facts, refused rows and receipts: what the streaming engine does where the batch ingests a piece of a file.

The line of a fact or a refused row is the offset of its message, its file the partition: `vnsight.survey_responses/0`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from pipelines.core.messages import records_of
from pipelines.core.rows import Broken
from pipelines.core.validate import Provenance, validate
from pipelines.ingest import refused_rows
from pipelines.quarantine import QUARANTINE_SCHEMA, quarantine_rows
from schemas.contract import Contract
from schemas.frames import staged_schema
from schemas.load import Landed

RECEIPTS = {
    "topic": pl.String(), "partition": pl.Int64(), "offset": pl.Int64(), "source": pl.String(), "records": pl.Int64(),
    "quarantined": pl.Int64(),
}  # fmt: skip


@dataclass(frozen=True)
class MessagesRead:
    """Facts in the staged columns; refused rows as `QUARANTINE_SCHEMA`; one receipt per message, as `RECEIPTS`."""

    facts: pl.DataFrame
    quarantine: pl.DataFrame
    receipts: pl.DataFrame


def read_messages(table: pa.Table, topic: str, contract: Contract, secret: bytes, trusted: bool, now_us: int) -> MessagesRead:
    """Parse and validate the messages of one partition (`pipelines.core.messages.SCHEMA`), in the order of their offsets.

    A fact is known since the broker stamped its message where it does so (LogAppendTime), else since now. Every record ends as a fact
    or a refused row: `facts.height + quarantine.height == receipts["records"].sum()`.
    """
    partition = int(table["partition"][0].as_py())
    stamped = bool(table["appended"][0].as_py())
    known_us = min(now_us, max(table["timestamp_ms"].to_pylist()) * 1000) if stamped else now_us
    origin = Provenance(0, f"{topic}/{partition}", known_us, trusted)
    rows, first = records_of(table, contract)
    facts: list[pl.DataFrame] = []
    broken: list[Broken] = []
    records = 0
    for read in rows:
        parsed = read.parsed
        records += parsed.frame.height + len(parsed.broken)
        broken += parsed.broken
        if parsed.frame.height:
            checked = validate(parsed, contract, origin, secret)
            facts.append(checked.facts)
            broken += refused_rows(checked.refused, read.origin, int(parsed.frame["_line"][0]))
    offsets = table["offset"].to_numpy()
    good = pl.concat(facts) if facts else pl.DataFrame(schema=staged_schema(contract))
    of_good, of_bad = (np.searchsorted(first, n, side="right") - 1 for n in (good["_line"].to_numpy(), [b.line for b in broken]))
    bad = np.bincount(of_bad, minlength=len(offsets))
    receipts = _receipts(topic, partition, contract.name, offsets, np.bincount(of_good, minlength=len(offsets)) + bad, bad)
    refused = [replace(b, line=int(offsets[i])) for b, i in zip(broken, of_bad.tolist(), strict=True)]
    landed = Landed(contract.name, origin.file, "stream", "", 0, known_us)
    quarantine = quarantine_rows(refused, contract, landed, 0, secret, {}).select(list(QUARANTINE_SCHEMA))
    return MessagesRead(good.with_columns(_line=pl.Series(offsets[of_good], dtype=pl.Int64)), quarantine, receipts)


def _receipts(topic: str, partition: int, source: str, offsets: Any, records: Any, quarantined: Any) -> pl.DataFrame:
    return pl.DataFrame(
        {"topic": topic, "partition": partition, "offset": offsets, "source": source, "records": records, "quarantined": quarantined},
        schema=RECEIPTS,
    )
