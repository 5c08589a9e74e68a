# SPDX-License-Identifier: Apache-2.0
"""The closed ledger: for every file of a load, rows read equal the sum of its bins, or the load fails before anything is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from pipelines.ingest import Ingested
from pipelines.spill import write_part
from pipelines.stage import DISPOSITIONS, ShardDone
from schemas.errors import VNSightError
from schemas.load import Landed

BINS = ("accepted", "duplicate", "superseded", "pending", "quarantined", "withdrawn")
LEDGER_SCHEMA: dict[str, pl.DataType] = {
    "load": pl.Int64(), "source": pl.String(), "file": pl.String(), "bin": pl.String(), "rows": pl.Int64(), "read": pl.Int64(),
}  # fmt: skip


def balance(load: int, landed: Sequence[Landed], ingested: Iterable[Ingested], done: Iterable[ShardDone]) -> pl.DataFrame:
    """Ledger rows of a load: one per source, file and bin, all six bins, also for empty files.

    Rows read are counted while reading, bins while staging: two counts that know nothing of each other. `VNSightError` names the
    first file where they differ.
    """
    read: Counter[tuple[str, str]] = Counter({(f.source, f.file): 0 for f in landed})
    bins: Counter[tuple[str, str, str]] = Counter()
    for piece in ingested:
        read[piece.source, piece.file] += piece.read
        bins[piece.source, piece.file, "quarantined"] += piece.quarantined
    for shard in done:
        for source, file, name, rows in shard.bins:
            bins[source, file, name] += rows
    for (source, file), rows in sorted(read.items()):
        binned = sum(bins[source, file, b] for b in BINS)
        if binned != rows:
            raise VNSightError(
                f"{file}: {rows:,} rows were read and {binned:,} ended in a bin; nothing was published. Report this with the log."
            )
    rows_out = [(load, s, f, b, bins[s, f, b], n) for (s, f), n in sorted(read.items()) for b in BINS]
    return pl.DataFrame(rows_out, schema=LEDGER_SCHEMA, orient="row")


def quarantined_dispositions(home: Path, load: int, ingested: Iterable[Ingested]) -> list[str]:
    """Write the dispositions of quarantined rows (without raw bytes) and return the parts."""
    files = [home / i.quarantine for i in ingested if i.quarantine]
    if not files:
        return []
    columns = ["load", "source", "file", "line", "record_id", "rules"]
    frame = pl.concat([pl.read_parquet(f, columns=columns, hive_partitioning=False) for f in files])
    fates = frame.with_columns(bin=pl.lit("quarantined")).select(list(DISPOSITIONS)).sort("source", "file", "line")
    return [write_part(fates, home, f"ledger/dispositions/_load={load}")]
