# SPDX-License-Identifier: Apache-2.0
"""Delta logs as the ledger of loads: parts written by workers become part of a table by reference, once.

A load commits table by table and the ledger last. The commit of the ledger carries the version of every table that belongs
to the load, so a load is complete exactly when its ledger commit exists. Everything is read at those versions and never at the
newest one: a run that was killed may have left commits of an unfinished load in some of the logs.

A commit makes the live files of a table *equal to* the files of the recorded version with the load's files put in, whatever a
killed run left behind. Doing the same load again therefore finds nothing to do, and doing it with other files still ends right.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from schemas.contract import MARTS, SOURCES, load_contract
from schemas.errors import UsageError, VNSightError
from schemas.frames import arrow_schema, mart_schema
from schemas.load import CompleteLoad, LoadFiles
from schemas.milestones import milestone
from schemas.workspace import Workspace
from warehouse.storage import guard_storage

LEDGER = "ledger/ledger"
FACTS_AND_MARTS = (*(f"staged/{s}" for s in SOURCES), *(f"marts/{m}" for m in MARTS))  # each with one live part per shard
CHECKPOINT_EVERY = 10  # versions; without one a log of 50 commits takes 20 ms to read instead of 3

# Checkpoints are made here, after the load is complete, and old log entries are kept: the recorded version of a table may be
# older than the newest one, and deltalake's own clean-up would take away the log entries it is read from.
_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


@dataclass(frozen=True)
class Change:
    """What one table needs to reach the state it must have after a load. Paths are relative to the table."""

    table: str
    partition: str
    add: tuple[str, ...]
    remove: tuple[str, ...]
    log: DeltaTable | None  # as it is now; None before its first commit
    schema: pa.Schema
    rewrite: bool  # other columns than the log has: possible only when no file that is live now stays


def partition_value(path: str) -> int:
    """Return the shard or load in a path such as `marts/scores/_shard=3/<sha>.parquet`: 3; ValueError if it names none."""
    for part in path.split("/"):
        if part.startswith(("_shard=", "_load=")):
            return int(part.partition("=")[2])
    raise ValueError(f"{path} names neither a shard nor a load")


def last_complete(ws: Workspace) -> CompleteLoad:
    """Return the last load whose ledger commit was made; load 0 without versions when there is none."""
    root = _root(ws, LEDGER)
    if not DeltaTable.is_deltatable(root):
        return CompleteLoad(0, {})
    log = DeltaTable(root)
    for limit in (1, None):  # the newest entry, unless somebody maintained the table in between
        for entry in log.history(limit):
            if "vnsight_versions" in entry:
                return CompleteLoad(int(entry["vnsight_load"]), json.loads(entry["vnsight_versions"]))
    raise VNSightError(f"{LEDGER}: its Delta log has no commit of a load; was it written by another program?")


def live_files(ws: Workspace, table: str, version: int | None) -> list[str]:
    """Files of a table at a version, sorted, relative to the workspace; none for version None (no such table in the load)."""
    return [] if version is None else _files_of(DeltaTable(_root(ws, table), version=version), table)


def _files_of(log: DeltaTable | None, table: str) -> list[str]:
    return sorted(f"{table}/{path}" for path in log.get_add_actions().column("path").to_pylist()) if log else []


def live_shards(ws: Workspace, table: str, version: int | None) -> dict[int, str]:
    """Shard -> its one live file at a version, relative to the workspace; `VNSightError` if a shard has two."""
    files = live_files(ws, table, version)
    shards = {partition_value(path): path for path in files}
    if len(shards) != len(files):
        raise VNSightError(f"{table}, version {version}: a shard has two live files; was it written by another program?")
    return dict(sorted(shards.items()))


def live_tables(ws: Workspace, base: CompleteLoad) -> dict[str, dict[int, str]]:
    """Table -> shard -> live file as of a complete load."""
    return {t: live_shards(ws, t, base.versions[t]) for t in FACTS_AND_MARTS if t in base.versions}


def commit_load(ws: Workspace, files: LoadFiles, base: CompleteLoad) -> CompleteLoad:
    """Commit the files of a load, table by table, the ledger last; return the load with the versions of all tables.

    `base` is the last complete load; it is returned as it is when it already is this load. Doing a load again after a crash at
    any point is safe. Raises `VNSightError` for a rebuild of past knowledge, a load out of turn, or a failing disk.
    """
    if files.known_by_us is not None:
        raise VNSightError("a rebuild of past knowledge is never committed")
    if base.load == files.load:
        return base
    if files.load != base.load + 1:
        raise VNSightError(f"load {files.load} cannot follow load {base.load}: loads are committed one after another")
    with guard_storage(f"commit of load {files.load}"):
        changes = [_plan(ws, files, base, table) for table in _tables(files)]  # all checks before the first commit
        versions = dict(base.versions)
        for change in changes:
            milestone(f"commit:{change.table}")
            versions[change.table] = _commit(ws, change, files.load, {})
        ledger = _plan(ws, files, base, LEDGER)
        milestone("commit:ledger")
        versions[LEDGER] = ledger.log.version() + 1 if ledger.log else 0  # its own commit says it, so it is known beforehand
        record = {"vnsight_load": str(files.load), "vnsight_versions": json.dumps(versions, sort_keys=True)}
        if _commit(ws, ledger, files.load, record) != versions[LEDGER]:
            raise VNSightError(f"{LEDGER} was written by another program during load {files.load}; run again")
        _checkpoint(ws, {change.table: versions[change.table] for change in (*changes, ledger)})
    return CompleteLoad(files.load, versions)


def _tables(files: LoadFiles) -> list[str]:
    """Tables the load brings anything to; a load without a refused row, say, leaves `quarantine` as it is."""
    moved = (*files.appended.items(), *files.dropped.items())
    return sorted({*files.replaced, *(table for table, parts in moved if parts)} - {LEDGER})


def _plan(ws: Workspace, files: LoadFiles, base: CompleteLoad, table: str) -> Change:
    """Compare what must be live after the load with what is live in the log now."""
    replaced = table in files.replaced
    root, recorded = _root(ws, table), base.versions.get(table)
    log = DeltaTable(root) if DeltaTable.is_deltatable(root) else None
    now = _files_of(log, table)
    before = now if log and log.version() == recorded else live_files(ws, table, recorded)
    touched, dropped = set(files.replaced.get(table, ())), set(files.dropped.get(table, ()))
    kept = [path for path in before if path not in dropped and (not replaced or partition_value(path) not in touched)]
    new = [*files.replaced.get(table, {}).values(), *files.appended.get(table, ())]
    target = {*kept, *new}
    partition = "_shard" if replaced else "_load"
    schema = _schema(ws, table, new or kept or now, partition)
    rewrite = log is not None and _columns_differ(table, log, schema, bool(target & set(now)))
    return Change(table, partition, _within(table, target - set(now)), _within(table, set(now) - target), log, schema, rewrite)


def _within(table: str, paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(path.removeprefix(f"{table}/") for path in paths))


def _schema(ws: Workspace, table: str, paths: list[str], partition: str) -> pa.Schema:
    """Columns of the files with the partition column; a ledger without a file has those of its contract."""
    columns = pq.read_schema(ws.home / paths[0]).remove_metadata() if paths else _ledger_schema()
    return columns if partition in columns.names else columns.append(pa.field(partition, pa.int64()))


def _ledger_schema() -> pa.Schema:
    return arrow_schema(mart_schema(load_contract("mart.ledger"), ()))


def _columns_differ(table: str, log: DeltaTable, schema: pa.Schema, keeps: bool) -> bool:
    if _types(log.schema()) == _types(Schema.from_arrow(schema)):
        return False
    if keeps:
        raise VNSightError(
            f"{table}: the columns changed, but only some shards were computed anew; a change of columns (a contract, or "
            "windows_days in vnsight.toml) needs all of them. Nothing was committed."
        )
    return True


def _types(schema: Schema) -> dict[str, str]:
    return {field.name: str(field.type) for field in schema.fields}


def _commit(ws: Workspace, change: Change, load: int, record: Mapping[str, str]) -> int:
    """Bring one table to its state and return its version; a table that is there already is left alone."""
    log = change.log
    if log and not (change.add or change.remove or record):
        return int(log.version())
    properties = CommitProperties(app_transactions=[Transaction(change.table, load)], custom_metadata=dict(record) or None)
    adds = [_add_action(ws.home / change.table, path, change.partition) for path in change.add]
    schema, by = Schema.from_arrow(change.schema), [change.partition]
    if log is None:
        create_table_with_add_actions(
            _root(ws, change.table), schema, adds, partition_by=by, commit_properties=properties, post_commithook_properties=_NO_HOOKS
        )
        return 0
    # overwrite takes the old files out by itself and is the only mode that also writes new columns
    removes = [] if change.rewrite else [_remove_action(path, change.partition) for path in change.remove]
    log.create_write_transaction(
        [*removes, *adds], "overwrite" if change.rewrite else "append", schema, by,
        commit_properties=properties, post_commithook_properties=_NO_HOOKS,
    )  # fmt: skip
    log.update_incremental()
    return int(log.version())


def _root(ws: Workspace, table: str) -> str:
    """Place of a table; `UsageError` for a folder deltalake would look for elsewhere, as it reads a path like an address."""
    strange = sorted(set("?#%") & set(str(ws.home)))
    if strange:
        raise UsageError(f"{ws.home}: a workspace cannot lie in a folder with {' or '.join(strange)} in its name; move or rename it")
    return str(ws.home / table)


def _add_action(root: Path, path: str, partition: str) -> AddAction:
    full = root / path
    # No minimum and maximum: Delta keeps instants as millisecond text, and a truncated maximum would prune rows that are there.
    stats = json.dumps({"numRecords": pq.read_metadata(full).num_rows})
    state = os.stat(full)
    return AddAction(path, state.st_size, {partition: str(partition_value(path))}, int(state.st_mtime * 1000), True, stats)


def _remove_action(path: str, partition: str) -> Any:
    return RemoveAction(path, True, int(time.time() * 1000), partition_values={partition: str(partition_value(path))})


def _checkpoint(ws: Workspace, versions: Mapping[str, int]) -> None:
    for table, version in versions.items():
        if version and version % CHECKPOINT_EVERY == 0:
            DeltaTable(_root(ws, table), version=version).create_checkpoint()
