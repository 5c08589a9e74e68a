# SPDX-License-Identifier: Apache-2.0
"""Updates: what a streaming pipeline found out in one bundle, on its way into the Delta tables.

    <home>/stream/updates/<name>/<table>.arrow     complete when the folder has its name: one rename

A pipeline that is set back to a checkpoint writes some of it again, cut differently. That costs bytes, not truth: every mart row carries
the version of its patient (pipelines/core/versions.py), and of all snapshots of a patient the one with the greatest version counts.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from schemas.contract import MARTS

FOLDER = "stream/updates"
COUNTED = ("receipts", "held")  # tables that are counted, and not replaced by newer snapshots


@dataclass(frozen=True)
class Merged:
    """Several updates as one: of each patient the newest snapshot only. `tables`: name -> rows; `taken`: the folders they came from."""

    tables: Mapping[str, pl.DataFrame]
    taken: tuple[Path, ...]


def write_update(home: Path, tables: Mapping[str, pl.DataFrame]) -> Path:
    """Write tables as one update; a crash leaves nothing that anybody reads, a full disk nothing at all."""
    folder = home / FOLDER
    name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}"
    temporary = folder / f".{name}"
    temporary.mkdir(parents=True)
    try:
        for table, frame in tables.items():
            path = temporary / f"{table}.arrow"
            frame.write_ipc(path, compression="zstd", compat_level=pl.CompatLevel.oldest())
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        os.replace(temporary, folder / name)
    except BaseException:  # the bundle is tried again and again
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return folder / name


def waiting_updates(home: Path) -> list[Path]:
    """Complete updates nobody has committed, oldest first."""
    folder = home / FOLDER
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []


def merge_updates(folders: Sequence[Path], older: AbstractSet[str] = frozenset()) -> Merged:
    """Put updates together. Of every patient the snapshot with the greatest (version, facts, folder) stays, whole.

    older: names of updates of a state that is gone; its answers count, its books do not.
    """
    found: dict[str, list[pl.DataFrame]] = {}
    for place in folders:
        for path in sorted(place.glob("*.arrow")):
            if path.stem in COUNTED and place.name in older:
                continue
            found.setdefault(path.stem, []).append(pl.read_ipc(path).with_columns(_update=pl.lit(place.name)))
    tables = {name: pl.concat(frames) for name, frames in found.items()}
    if "patient_versions" in tables:
        order = ["_version", "_facts", "_update"]
        newest = tables["patient_versions"].sort(order).group_by("patient_key").last().select("patient_key", *order)
        for mart in MARTS:
            if mart in tables:
                tables[mart] = tables[mart].join(newest, on=["patient_key", *order], how="semi", maintain_order="left")
    return Merged({name: frame.drop("_update") for name, frame in tables.items()}, tuple(folders))


def positions(home: Path) -> dict[str, int]:
    """`topic/partition` -> offset behind the last message whose receipt was committed; for the lag only, nothing goes on from here."""
    path = home / "stream" / "positions.json"
    return dict(json.loads(path.read_bytes())) if path.exists() else {}


def count_read(home: Path, receipts: pl.DataFrame) -> dict[str, int]:
    """Rows `read` and `quarantined` of messages beyond the positions: a replay writes receipts again, and cut differently."""
    known = positions(home)
    behind = pl.concat_str("topic", pl.lit("/"), "partition").replace_strict(known, default=0, return_dtype=pl.Int64)
    fresh = receipts.filter(pl.col("offset") >= behind).unique(["topic", "partition", "offset"])
    return {"read": int(fresh["records"].sum()), "quarantined": int(fresh["quarantined"].sum())}


def note_positions(home: Path, receipts: pl.DataFrame) -> None:
    """Move the positions on by committed receipts."""
    ends = receipts.group_by(pl.concat_str("topic", pl.lit("/"), "partition").alias("place")).agg(pl.col("offset").max() + 1)
    known = positions(home)
    begin_positions(home, known | {place: max(end, known.get(place, 0)) for place, end in ends.iter_rows()})


def begin_positions(home: Path, places: Mapping[str, int]) -> None:
    """Put the positions, all of them: where a job that begins anew reads from."""
    temporary = home / "stream" / ".positions.tmp"
    temporary.parent.mkdir(exist_ok=True)
    temporary.write_text(json.dumps(dict(places)), encoding="utf-8")
    os.replace(temporary, home / "stream" / "positions.json")


@dataclass(frozen=True)
class Begun:
    """The state of a job as it began: `since`, when (ns, by which it is known), `staged`: source -> facts it began with, `older`: names
    of the updates that waited then, of a state before it (no order of names would say so: clocks go back)."""

    since: int
    staged: Mapping[str, int]
    older: Sequence[str] = ()


def begin_books(home: Path, staged: Sequence[tuple[str, str]]) -> None:
    """Note that a state begins now, with these fact files (source, path relative to the workspace): its books begin with it."""
    counted = Counter({source: 0 for source, _ in staged})
    for source, path in staged:
        counted[source] += pq.read_metadata(home / path).num_rows
    said = Begun(time.time_ns(), counted or {"patients": 0}, [place.name for place in waiting_updates(home)])
    temporary = home / "stream" / ".begun.tmp"
    temporary.parent.mkdir(exist_ok=True)
    temporary.write_text(json.dumps(vars(said)), encoding="utf-8")
    os.replace(temporary, home / "stream" / "begun.json")


def begun(home: Path) -> Begun | None:
    """When the state of the job began, and with what; None when nobody noted it."""
    path = home / "stream" / "begun.json"
    return Begun(**json.loads(path.read_bytes())) if path.exists() else None


def drop_updates(folders: Sequence[Path]) -> None:
    """Remove updates that are committed."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
