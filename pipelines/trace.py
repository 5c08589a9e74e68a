# SPDX-License-Identifier: Apache-2.0
"""Where a record is: every row that carries an id, from its file and line to its bin and, if it counts, to its marts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import polars as pl

from pipelines.core.pseudonym import key_of, key_text
from schemas.contract import SOURCES, Identifier, load_contract
from schemas.load import Shards
from schemas.workspace import Workspace

KINDS: tuple[Identifier, ...] = ("patient", "device", "response", "record")
TRACE_SCHEMA: dict[str, pl.DataType] = {
    "source": pl.String(), "load": pl.Int64(), "file": pl.String(), "line": pl.Int64(), "bin": pl.String(), "rules": pl.List(pl.String),
    "stored": pl.String(),
}  # fmt: skip
_KEY = re.compile(r"^[0-9a-f]{16}$")


def keys_for(identifier: str, secret: bytes | None) -> dict[str, int]:
    """The keys an id may have, by kind of identifier; a key itself (16 hexadecimal digits) is taken as it is."""
    if _KEY.match(identifier):
        key = int.from_bytes(bytes.fromhex(identifier), "big", signed=True)
        return dict.fromkeys(KINDS, key)
    return {k: key_of(secret, k, identifier) for k in KINDS} if secret else {}


def trace(
    ws: Workspace, identifier: str, secret: bytes | None, live: Mapping[str, Shards], dispositions: Sequence[str],
    refused: Sequence[str] = (),
) -> pl.DataFrame:  # fmt: skip
    """Every row that carries the id, one line each (`TRACE_SCHEMA`), facts first, then rows that were not accepted.

    live: table -> shard -> live file; dispositions: their live files; refused: those of what a stream refused and no nightly run has
    taken yet, where a file is a partition and a line an offset; all as of the last complete load. Empty when nothing carries the id.
    `bin` of a fact is what holds now; that of the others is what held at their load.
    """
    keys = keys_for(identifier, secret)
    found = [_facts(ws, source, live.get(f"staged/{source}", {}), keys) for source in SOURCES]
    texts = sorted({key_text(k) for k in keys.values()})
    fates = [_fates(ws, dispositions, texts)] if dispositions and keys else []
    fates += [_fates(ws, refused, texts, load="_load", bin=pl.lit("quarantined"))] if refused and keys else []
    return pl.concat([*found, *fates, pl.DataFrame(schema=TRACE_SCHEMA)]).sort("load", "source", "file", "line", maintain_order=True)


def _facts(ws: Workspace, source: str, shards: Shards, keys: Mapping[str, int]) -> pl.DataFrame:
    contract = load_contract(source)
    wanted = [(c.staged_name, keys[c.identifier]) for c in contract.columns if c.identifier and c.identifier in keys]
    if not wanted or not shards:
        return pl.DataFrame(schema=TRACE_SCHEMA)
    rows = pl.scan_parquet([ws.home / p for p in shards.values()], include_file_paths="_path", hive_partitioning=False)
    hit = rows.filter(pl.any_horizontal([pl.col(c) == k for c, k in wanted])).collect()
    return hit.select(
        pl.lit(source).alias("source"), load="_load", file="_file", line="_line", bin="_bin", rules=pl.lit([], dtype=pl.List(pl.String)),
        stored=pl.col("_path").str.strip_prefix(f"{ws.home}/"),
    )  # fmt: skip


def _fates(ws: Workspace, files: Sequence[str], texts: list[str], **columns: str | pl.Expr) -> pl.DataFrame:
    rows = pl.scan_parquet([ws.home / p for p in files], include_file_paths="_path", hive_partitioning=False)
    hit = rows.filter(pl.col("record_id").str.split("/").list.first().is_in(texts)).collect()
    if "raw" in hit.columns:  # a message that a stream read again after a crash was refused again
        hit = hit.unique(["source", "file", "line", "record_id", "rules", "raw"], keep="first", maintain_order=True)
    stored = pl.col("_path").str.strip_prefix(f"{ws.home}/")
    return hit.select(**({c: c for c in TRACE_SCHEMA} | columns | {"stored": stored}))
