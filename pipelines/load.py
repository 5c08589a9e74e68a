# SPDX-License-Identifier: Apache-2.0
"""A load: landed files in, uncommitted parts and a balanced ledger out. Two graphs of ingestion, one of staging.

Patients, devices and consents are read first, because device facts are placed by the patient of their device. Then the rest is
read, and every touched shard is derived anew from its facts.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.core.canonical import owners_of
from pipelines.core.placement import POOL
from pipelines.core.segments import DoseOptions
from pipelines.core.units import DAY_MS
from pipelines.ingest import Ingested, IngestPlan, split_file
from pipelines.launch import Progress, run_graph, silent
from pipelines.ledger import LEDGER_SCHEMA, balance, quarantined_dispositions
from pipelines.replace import FactFile, ReplacePlan
from pipelines.spill import SpillRef, read_spill, write_part
from pipelines.stage import ShardDone, ShardWork, StagePlan, read_facts
from pipelines.transforms.ingest import IngestPieces
from pipelines.transforms.stage import ReplaceFacts, StageShards
from schemas.contract import SOURCES, load_contract
from schemas.errors import UsageError
from schemas.frames import staged_schema
from schemas.load import Landed, LoadFiles, Shards
from schemas.milestones import milestone
from schemas.workspace import Workspace

REFERENCES = ("patients", "devices", "consents")
Live = Mapping[str, Shards]  # table -> shard -> live file


@dataclass(frozen=True)
class StagedLoad:
    """A load that is written but not committed: its files, its ledger rows (None: no file was read), and what people should hear."""

    files: LoadFiles
    ledger: pl.DataFrame | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Run:
    """What the steps of one load share."""

    workspace: Workspace
    folder: Path
    load: int
    live: Live
    secret: bytes
    progress: Progress

    @property
    def owners(self) -> str:
        return str(self.folder / "owners.arrow")

    def graph(self, step: str, elements: Sequence[Any], transform: Any) -> list[Any]:
        heavy = step in ("ingest", "stage", "recall")  # the others take less than starting a second worker
        workers = min(self.workspace.settings.workers, len(elements)) if heavy else 1
        return run_graph(step, elements, transform, self.folder, workers, self.progress)

    def facts(self, source: str) -> dict[int, str]:
        return dict(self.live.get(f"staged/{source}", {}))


def _start(ws: Workspace, name: str, load: int, live: Live, secret: bytes, progress: Progress) -> _Run:
    folder = ws.loads / name
    shutil.rmtree(folder / "spill", ignore_errors=True)
    (folder / "spill").mkdir(parents=True)
    return _Run(ws, folder, load, live, secret, progress)


def _ingest(run: _Run, step: str, landed: Sequence[Landed]) -> list[Ingested]:
    settings, wide = run.workspace.settings, run.workspace.wide
    pieces = [p for f in landed for p in split_file(run.workspace.home, f, f.origin in wide)]
    plan = IngestPlan(
        str(run.workspace.home),
        run.load,
        settings.shards,
        run.secret,
        run.owners,
        str(run.folder / "spill"),
        settings.trusted_receipt,
        wide,
    )
    results = run.graph(step, pieces, IngestPieces(plan))
    return [Ingested(**r | {"spills": tuple(SpillRef(**s) for s in r["spills"]), "notes": tuple(r["notes"])}) for r in results]


def _known_devices(run: _Run, spills: Iterable[SpillRef], known_by_us: int | None = None) -> pl.DataFrame:
    """Staged `devices` rows of all shards and of this load, as owners need them."""
    columns = ["device_key", "patient_key", "recorded_at", "_fingerprint", "_known_at"]
    old = [read_facts(run.workspace.home, path, "devices").select(columns) for path in run.facts("devices").values()]
    new = read_spill([r for r in spills if r.source == "devices"], staged_schema(load_contract("devices"))).select(columns)
    frame = pl.concat([*old, new])
    if known_by_us is not None:
        frame = frame.filter(pl.col("_known_at").dt.epoch("us") <= known_by_us)
    return owners_of(frame)


def _write_owners(run: _Run, owners: pl.DataFrame) -> None:
    owners.sort("device_key").write_ipc(run.owners, compat_level=pl.CompatLevel.oldest())


def _moved(run: _Run, owners: pl.DataFrame) -> tuple[list[SpillRef], set[int]]:
    """Facts that this load's device rows send elsewhere, out of the pool or to another shard, and the shards they leave."""
    before = _known_devices(run, [])
    changed = owners.join(before, on="device_key", how="left", suffix="_before").filter(
        pl.col("patient_key_before").is_null() | (pl.col("patient_key") != pl.col("patient_key_before"))
    )
    shards = run.workspace.settings.shards
    left = {(k & 0xFFFFFFFFFFFFFFFF) % shards for k in changed["patient_key_before"].drop_nulls()} if changed.height else set()
    from_shards = left | ({POOL} if changed.height else set())
    device_sources = [s for s in SOURCES if load_contract(s).refers_to == "device"]
    files = [FactFile(s, n, path) for s in device_sources for n, path in run.facts(s).items() if n in from_shards]
    results = run.graph("move", files, ReplaceFacts(ReplacePlan(str(run.workspace.home), shards, run.owners, str(run.folder / "spill"))))
    refs = [SpillRef(**ref) for result in results for ref in result]
    return refs, left | ({POOL} if any(f.shard == POOL for f in files) else set())


def _stage(run: _Run, spills: Sequence[SpillRef], also: set[int], **changes: Any) -> list[ShardDone]:
    settings = run.workspace.settings
    shards = sorted({r.shard for r in spills} | also)
    works = [
        ShardWork(n, {s: run.facts(s)[n] for s in SOURCES if n in run.facts(s)} , tuple(r for r in spills if r.shard == n))
        for n in shards
    ]  # fmt: skip
    options = DoseOptions(settings.carry_limit_days * DAY_MS, settings.charge_convention)
    plan = StagePlan(str(run.workspace.home), run.load, settings.shards, run.owners, settings.windows_days, options, **changes)
    results = run.graph("stage", works, StageShards(plan))
    return [ShardDone(**r | {"bins": tuple(tuple(b) for b in r["bins"])}) for r in results]


def _replaced(done: Iterable[ShardDone]) -> dict[str, dict[int, str]]:
    tables: dict[str, dict[int, str]] = {}
    for shard in done:
        for table, path in shard.parts.items():
            tables.setdefault(table, {})[shard.shard] = path
    return tables


def _empty_files(ledger: pl.DataFrame) -> tuple[str, ...]:
    """A file without a row may be a quiet night or a broken export: somebody should hear of it."""
    empty = ledger.filter(pl.col("read") == 0)["file"].unique().sort()
    return tuple(f"{file}: is empty, no row was read; ask its sender if that is meant" for file in empty)


def check_shards(ws: Workspace, live: Live) -> None:
    """A workspace keeps the number of shards it was staged with; `UsageError` says how to change it."""
    staged = set(live.get("staged/patients", {})) | set(live.get("staged/devices", {}))
    if staged and max(staged) >= ws.settings.shards:
        raise UsageError(f"vnsight.toml, workspace.shards: data is staged in {max(staged) + 1} or more shards; set it back")


def stage_load(
    ws: Workspace, landed: Sequence[Landed], load: int, live: Live, secret: bytes, progress: Progress = silent, *, all_shards: bool = False
) -> StagedLoad:
    """Ingest landed files and stage the shards they touch; nothing is committed.

    live: table -> shard -> live file as of the last complete load. `all_shards` derives every shard anew (after a change of settings).
    Raises `VNSightError` when the ledger of any file does not balance.
    """
    check_shards(ws, live)
    run = _start(ws, f"{load:06d}", load, live, secret, progress)
    _write_owners(run, _known_devices(run, []))
    first = _ingest(run, "reference", [f for f in landed if f.source in REFERENCES])
    milestone("load:referenced")
    owners = _known_devices(run, [s for i in first for s in i.spills])
    _write_owners(run, owners)
    ingested = first + _ingest(run, "ingest", [f for f in landed if f.source not in REFERENCES])
    milestone("load:ingested")
    moved, left = _moved(run, owners)
    everything = {n for s in SOURCES for n in run.facts(s)} | set(range(ws.settings.shards))  # with what waits for its owner
    touched = left | (everything if all_shards or load == 1 else set())
    done = _stage(run, [s for i in ingested for s in i.spills] + moved, touched)
    milestone("load:staged")
    ledger = balance(load, landed, ingested, done)
    fates = [d.dispositions for d in done if d.dispositions] + quarantined_dispositions(ws.home, load, ingested)
    book = write_part(ledger.select(list(LEDGER_SCHEMA)), ws.home, f"ledger/ledger/_load={load}")
    appended = {
        "ledger/ledger": (book,),
        "ledger/dispositions": tuple(fates),
        "quarantine": tuple(i.quarantine for i in ingested if i.quarantine),
    }
    shutil.rmtree(run.folder / "spill", ignore_errors=True)
    notes = tuple(f"{i.file}: {n}" for i in ingested for n in i.notes) + _empty_files(ledger)
    return StagedLoad(LoadFiles(load, _replaced(done), appended), ledger, notes)


def rebuild_known_by(ws: Workspace, known_by_us: int, load: int, live: Live, secret: bytes, progress: Progress = silent) -> LoadFiles:
    """Derive all marts from the facts known by an instant (UTC microseconds, inclusive); facts and ledger stay untouched."""
    run = _start(ws, "known_by", load, live, secret, progress)
    _write_owners(run, _known_devices(run, [], known_by_us))
    files = [FactFile(s, n, path) for s in SOURCES for n, path in run.facts(s).items()]
    plan = ReplacePlan(str(ws.home), ws.settings.shards, run.owners, str(run.folder / "spill"), known_by_us)
    refs = [SpillRef(**ref) for result in run.graph("recall", files, ReplaceFacts(plan)) for ref in result]
    past = _Run(ws, run.folder, load, {}, secret, progress)
    done = _stage(past, [r for r in refs if r.shard != POOL], set(range(ws.settings.shards)), target="known_by/", keep_facts=False)
    shutil.rmtree(run.folder / "spill", ignore_errors=True)
    return LoadFiles(load, _replaced(done), known_by_us=known_by_us)
