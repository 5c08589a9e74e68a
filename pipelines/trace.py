# SPDX-License-Identifier: Apache-2.0
"""Where a record is: every row that carries an id, from its file and line to its bin and, if it counts, to its marts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import polars as pl

from pipelines.core.canonical import rule_of
from pipelines.core.pseudonym import key_of, key_text
from schemas.contract import SOURCES, Identifier, load_contract
from schemas.load import Shards
from schemas.rules import explain
from schemas.workspace import Workspace

KINDS: tuple[Identifier, ...] = ("patient", "device", "response", "record")
TRACE_SCHEMA: dict[str, pl.DataType] = {
    "source": pl.String(), "load": pl.Int64(), "file": pl.String(), "line": pl.Int64(), "bin": pl.String(), "rules": pl.List(pl.String),
    "stored": pl.String(),
}  # fmt: skip
MEANINGS = {
    "row:duplicate": "the same content came before and counts once",
    "row:superseded": "a later revision of the record counts; for a device also: it names another patient since",
    "consent:withdrawn": "the patient's consent does not cover it any more",
    "patient_id:unknown": "the patient is not registered yet; waits for a row in patients with this patient_id",
    "device_id:unknown": "no row in devices has this device_id yet, or the patient it names is not registered; waits for a row in devices, "
    "and one in patients",
}
_PLACE = ("source", "load", "file", "line", "bin")
_KEY = re.compile(r"^[0-9a-f]{16}$")


def keys_for(identifier: str, secret: bytes | None) -> dict[str, int]:
    """The keys an id may have, by kind of identifier; a key itself (16 hexadecimal digits) is taken as it is."""
    if _KEY.match(identifier):
        key = int.from_bytes(bytes.fromhex(identifier), "big", signed=True)
        return dict.fromkeys(KINDS, key)
    return {k: key_of(secret, k, identifier) for k in KINDS} if secret else {}


def trace(
    ws: Workspace, identifier: str, secret: bytes | None, live: Mapping[str, Shards], dispositions: Sequence[str],
    refused: Sequence[str] = (), quarantine: Sequence[str] = (),
) -> pl.DataFrame:  # fmt: skip
    """Every row that carries the id, one line each (`TRACE_SCHEMA`), facts first, then rows that were not accepted.

    live: table -> shard -> live file; dispositions: their live files; quarantine: those of refused rows with their raw bytes; refused:
    the same of what a stream refused and no nightly run has taken yet, where a file is a partition and a line an offset; all as of the
    last complete load. Empty when nothing carries the id. `bin` of a fact is what holds now; that of the others is what held at
    their load, where it was another.

    A refused row is found by the key of its own record, and by any id that stands in its raw bytes, such as that of its patient. The latter
    needs the id itself, not its key, and reads the whole quarantine once (a million short rows: about a second).
    """
    keys = keys_for(identifier, secret)
    empty = pl.DataFrame(schema=TRACE_SCHEMA)
    facts = pl.concat([empty, *(_facts(ws, source, live.get(f"staged/{source}", {}), keys) for source in SOURCES)])
    texts = sorted({key_text(k) for k in keys.values()})
    fates = [_fates(ws, dispositions, texts)] if dispositions and keys else []
    fates += [_fates(ws, refused, texts, load="_load", bin=pl.lit("quarantined"))] if refused and keys else []
    by_key = pl.concat([empty, *fates]).join(facts, on=_PLACE, how="anti", maintain_order="left")
    raw = pl.concat([empty, *(_raw(ws, files, identifier, load) for files, load in ((quarantine, "load"), (refused, "_load")) if files)])
    named = raw.join(by_key, on=_PLACE, how="anti", maintain_order="left")
    return pl.concat([facts, by_key, named]).sort("load", "source", "file", "line", maintain_order=True)


def meaning(source: str, rule: str) -> str:
    """Why a rule put a row of a source into its bin, in words; for one that waits, what it waits for."""
    return MEANINGS.get(rule) or explain(load_contract(source), rule)


def _facts(ws: Workspace, source: str, shards: Shards, keys: Mapping[str, int]) -> pl.DataFrame:
    contract = load_contract(source)
    wanted = [(c.staged_name, keys[c.identifier]) for c in contract.columns if c.identifier and c.identifier in keys]
    if not wanted or not shards:
        return pl.DataFrame(schema=TRACE_SCHEMA)
    rows = pl.scan_parquet([ws.home / p for p in shards.values()], include_file_paths="_path", hive_partitioning=False)
    hit = rows.filter(pl.any_horizontal([pl.col(c) == k for c, k in wanted])).collect()
    return hit.select(
        pl.lit(source).alias("source"), load="_load", file="_file", line="_line", bin="_bin",
        rules=pl.when(pl.col("_bin") == "accepted").then(pl.lit([], dtype=pl.List(pl.String))).otherwise(pl.concat_list(rule_of(contract))),
        stored=pl.col("_path").str.strip_prefix(f"{ws.home}/"),
    )  # fmt: skip


def _fates(ws: Workspace, files: Sequence[str], texts: list[str], **columns: str | pl.Expr) -> pl.DataFrame:
    rows = pl.scan_parquet([ws.home / p for p in files], include_file_paths="_path", hive_partitioning=False)
    return _told(ws, rows.filter(pl.col("record_id").str.split("/").list.first().is_in(texts)).collect(), columns)


def _raw(ws: Workspace, files: Sequence[str], identifier: str, load: str) -> pl.DataFrame:
    """Refused rows in whose raw bytes the id stands, as a whole word: P1 is not found in P10."""
    written = {identifier.encode(), json.dumps(identifier)[1:-1].encode()}  # as it is, and as JSON escapes it
    rows = pl.scan_parquet([ws.home / p for p in files], include_file_paths="_path", hive_partitioning=False)
    near = rows.filter(pl.any_horizontal([pl.col("raw").bin.contains(w) for w in sorted(written)])).collect()
    words = re.compile(rb"(?<![\w-])(?:%s)(?![\w-])" % b"|".join(re.escape(w) for w in sorted(written)))
    hit = near.filter(pl.Series([bool(words.search(raw)) for raw in near["raw"]], dtype=pl.Boolean))
    return _told(ws, hit, {"load": load, "bin": pl.lit("quarantined")})


def _told(ws: Workspace, hit: pl.DataFrame, columns: Mapping[str, str | pl.Expr]) -> pl.DataFrame:
    if "raw" in hit.columns:  # a message that a stream read again after a crash was refused again
        hit = hit.unique(["source", "file", "line", "record_id", "rules", "raw"], keep="first", maintain_order=True)
    named: dict[str, str | pl.Expr] = {c: c for c in TRACE_SCHEMA}
    return hit.select(**(named | dict(columns) | {"stored": pl.col("_path").str.strip_prefix(f"{ws.home}/")}))
