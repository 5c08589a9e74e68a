# SPDX-License-Identifier: Apache-2.0
"""The keyed steps of the streaming join as pure functions of what a key has been told so far.

A cell is all patients with `patient_key mod cells` equal, a router all devices with `device_key mod cells` equal: the unit of state.
One patient a cell would pay the fixed cost of the kernel per patient; a cell of some fifty pays it once (docs/decisions/0004).

    device facts ──▶ route: facts wait for the owner of their device, then go to the owner's cell ──┐
    patient facts ──────────────────────────────────────────────────────────────────────────────────┴─▶ evaluate

Nothing here depends on the order of arrival. A cell is a set of facts; what it gives is the batch's own `derive` of that set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import polars as pl

from pipelines.core.blocks import Block, facts_of
from pipelines.core.canonical import distinct, owners_of
from pipelines.core.pseudonym import key_texts
from pipelines.core.segments import DoseOptions
from pipelines.core.shard import derive
from pipelines.core.versions import patient_versions
from schemas.contract import SOURCES, load_contract

DEVICE_SOURCES = tuple(s for s in SOURCES if load_contract(s).refers_to == "device")


@dataclass(frozen=True)
class CellOptions:
    """What every cell needs to know; the same values as the nightly batch, or the two disagree."""

    cells: int = 32
    windows: tuple[int, ...] = (7, 28, 90)
    dose: DoseOptions = field(default_factory=DoseOptions)


@dataclass(frozen=True)
class Snapshot:
    """All mart rows of the patients of a cell of whom more is known than when they were last told.

    marts: name -> rows with `_version` of their patient and `_facts`, a number for the very set of facts behind them. A patient of
    whom no mart has a row any more (consent withdrawn) stands in `patient_versions` alone: that is how old rows go away.
    """

    marts: Mapping[str, pl.DataFrame]
    versions: Mapping[int, int]


def cell_of(key: pl.Expr, cells: int) -> pl.Expr:
    """Cell of a patient key, or router of a device key."""
    return (key.reinterpret(signed=False) % cells).cast(pl.Int64)


def split(block: Block, key: str, cells: int) -> Iterator[tuple[int, Block]]:
    """Cut a block by the cell of one of its keys; rows without that key are left out."""
    keyed = block.facts.filter(pl.col(key).is_not_null()).with_columns(_cell=cell_of(pl.col(key), cells))
    for (cell,), part in keyed.partition_by("_cell", as_dict=True, include_key=False, maintain_order=True).items():
        yield int(cell), Block(block.source, block.time_ms, part)


def send(facts: pl.DataFrame, source: str, time_ms: int, owners: pl.DataFrame, cells: int) -> Iterator[tuple[int, Block]]:
    """Device facts to the cells of their owners; those of devices nobody owns yet stay behind."""
    owned = facts.join(owners.select("device_key", _owner="patient_key"), on="device_key", how="inner", maintain_order="left")
    yield from _without_owner(split(Block(source, time_ms, owned), "_owner", cells))


def _without_owner(parts: Iterable[tuple[int, Block]]) -> Iterator[tuple[int, Block]]:
    return ((cell, Block(b.source, b.time_ms, b.facts.drop("_owner"))) for cell, b in parts)


def route_devices(news: Block, known: pl.DataFrame, waiting: Sequence[Block], cells: int) -> tuple[pl.DataFrame, list[tuple[int, Block]]]:
    """Take in rows of `devices`: return all rows known now, and what the cells must hear.

    known: rows of `devices` so far. waiting: every device fact of this router so far. Each cell that any revision of a device names
    hears all revisions, so that the old owner's cell knows the device has left; the facts go to the owner of the latest revision, if
    they have not gone there before.
    """
    before = owners_of(known)
    rows = distinct(pl.concat([known, news.facts]))[0]
    owners = owners_of(rows)
    touched = rows.filter(pl.col("device_key").is_in(news.facts["device_key"].unique().implode()))
    named = touched.select("device_key", _owner="patient_key").unique()
    told = touched.join(named, on="device_key", how="inner")
    out = list(_without_owner(split(Block("devices", news.time_ms, told), "_owner", cells)))
    moved = owners.join(before.select("device_key", _before="patient_key"), on="device_key", how="left").filter(
        pl.col("_before").is_null() | (pl.col("_before") != pl.col("patient_key"))
    )
    if moved.height:
        facts = facts_of(waiting)
        out += [part for source in DEVICE_SOURCES for part in send(facts[source], source, news.time_ms, moved, cells)]
    return rows, out


def compact(blocks: Sequence[Block]) -> list[Block]:
    """The same facts in one block per source, each distinct content once."""
    latest = max((b.time_ms for b in blocks), default=0)
    facts = {source: distinct(frame)[0] for source, frame in facts_of(blocks).items()}
    return [Block(source, latest, frame) for source, frame in facts.items() if frame.height]


def silent_patients(facts: Mapping[str, pl.DataFrame], before_us: int) -> set[int]:
    """Patients of whom nothing became known since an instant (UTC microseconds); facts by source, as a cell holds them."""
    owners = owners_of(facts["devices"]) if "devices" in facts else pl.DataFrame(schema={"device_key": pl.Int64, "patient_key": pl.Int64})
    heard = [_of_patients(f, s, owners).select("patient_key", "_known_at") for s, f in facts.items()]
    if not heard:
        return set()
    last = pl.concat(heard).drop_nulls().group_by("patient_key").agg(pl.col("_known_at").max())
    return set(last.filter(pl.col("_known_at").dt.epoch("us") < before_us)["patient_key"])


def without_patients(facts: Mapping[str, pl.DataFrame], patients: AbstractSet[int]) -> dict[str, pl.DataFrame]:
    """The facts of a cell without those of some patients; who had which device stays known."""
    if not patients or not facts:
        return dict(facts)
    gone = pl.DataFrame({"patient_key": sorted(patients)}, schema={"patient_key": pl.Int64})
    owners = owners_of(facts["devices"]) if "devices" in facts else pl.DataFrame(schema={"device_key": pl.Int64, "patient_key": pl.Int64})
    kept = {}
    for source, frame in facts.items():
        left = _of_patients(frame, source, owners).join(gone, on="patient_key", how="anti", maintain_order="left")
        kept[source] = frame if source == "devices" else left.select(frame.columns)
    return kept


def _of_patients(frame: pl.DataFrame, source: str, owners: pl.DataFrame) -> pl.DataFrame:
    if source not in DEVICE_SOURCES:
        return frame
    return frame.join(owners.select("device_key", "patient_key"), on="device_key", how="left", maintain_order="left")


def evaluate(
    blocks: Sequence[Block], told: Mapping[int, int], cell: int, options: CellOptions, apart: frozenset[int] = frozenset()
) -> Snapshot | None:
    """Derive the patients of a cell whose version is not the one last told (patient_key -> version); None when there is none.

    apart: patients who are left alone, because their facts are kept no more.
    """
    facts = {source: distinct(frame)[0] for source, frame in facts_of(blocks).items()}
    owners = owners_of(facts["devices"])
    mine = {source: _mine(frame, source, owners, cell, options.cells) for source, frame in facts.items()}
    versions = patient_versions(mine, owners).filter(~pl.col("patient_key").is_in(sorted(apart)))
    before = pl.DataFrame({"patient_key": list(told), "_told": list(told.values())}, schema={"patient_key": pl.Int64, "_told": pl.Int64})
    fresh = versions.join(before, on="patient_key", how="left").filter(pl.col("_told").is_null() | (pl.col("_told") != pl.col("version")))
    if not fresh.height:
        return None
    chosen = {s: f.join(fresh.select("patient_key"), on="patient_key", how="semi", maintain_order="left") for s, f in mine.items()}
    behind = pl.concat([f.select("patient_key", "_fingerprint") for f in chosen.values()])
    # a sum modulo 2^64 has no order
    stamps = behind.group_by("patient_key").agg(_facts=pl.col("_fingerprint").sum()).join(fresh, on="patient_key")
    shard = {s: f.drop("patient_key") if s in DEVICE_SOURCES else f for s, f in chosen.items()}
    _, _, derived = derive(shard, owners, options.dose, options.windows)
    marts = {name: _stamp(frame, stamps) for name, frame in derived.items()}
    return Snapshot(marts, dict(fresh.select("patient_key", "version").iter_rows()))


def _mine(frame: pl.DataFrame, source: str, owners: pl.DataFrame, cell: int, cells: int) -> pl.DataFrame:
    """Facts that belong to this cell today; device facts get the patient of their device."""
    if source in DEVICE_SOURCES:
        frame = frame.join(owners.select("device_key", "patient_key"), on="device_key", how="inner", maintain_order="left")
    return frame.filter(cell_of(pl.col("patient_key"), cells) == cell)


def _stamp(frame: pl.DataFrame, stamps: pl.DataFrame) -> pl.DataFrame:
    texts = stamps.select(key_texts(stamps["patient_key"]), _version="version", _facts="_facts")
    return frame.join(texts, on="patient_key", how="left", maintain_order="left")
