# SPDX-License-Identifier: Apache-2.0
"""Small hand-made parts of marts, ledger and sources, with the columns of their contracts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from schemas.code_lists import history_flags, history_responses
from schemas.contract import load_contract
from schemas.frames import mart_schema, staged_schema, window_names
from schemas.load import LoadFiles
from schemas.workspace import Workspace

INDEX = datetime(2025, 3, 1, tzinfo=UTC)
Row = dict[str, Any]


def key(n: int) -> str:
    return f"{n:016x}"


def patient(n: int, **over: Any) -> Row:
    flags = {flag.name: False for flag in history_flags()}
    row = {"patient_key": key(n), "age_band": "40-49", "sex": "female", "site": "A", "index_at": INDEX, "modality": "implanted"}
    row |= {"activated_at": INDEX, "disorders": ["depression"], "n_disorders": 1, "polarity": "unipolar", "failed_trials": 0}
    row |= flags | {"n_other_codes": 0}
    row |= {"epilepsy_intractable": None, "age_at_onset_band": "20-29", **{r.name: None for r in history_responses()}}
    row |= {"cbt_started_at": None, "arm": "vns"}
    return row | over


def score(n: int, patient_n: int, days: float, value: float | None, **over: Any) -> Row:
    """A PHQ-9 total `days` after the index date; None is unscorable."""
    status, reason = ("complete", None) if value is not None else ("unscorable", "too_few_answers")
    row = {"response_key": key(n), "patient_key": key(patient_n), "instrument": "PHQ-9", "form_version": "standard"}
    row |= {"subscale": "total", "completed_at": INDEX + timedelta(days=days), "score": value, "status": status}
    return row | {"reason": reason, "n_answered": 9, "n_items": 9, "source_score": None} | over


def dose_outcome(scored: Row, windows: Sequence[str], **over: Any) -> Row:
    row = {k: v for k, v in scored.items() if k != "n_items"} | {"modality": "implanted", "cbt_sessions_90d": 0}
    for w in windows:
        row |= {f"charge_pc_{w}": 10, f"charge_pc_low_{w}": 10, f"charge_pc_high_{w}": 12, f"pulses_milli_{w}": 5}
        row |= {f"on_ms_{w}": 7, f"on_ms_high_{w}": 8, f"sessions_{w}": 0, f"coverage_{w}": 1.0, f"charge_reason_{w}": None}
    return row | {"days_since_activation": 1.0} | over


def dose_day(patient_n: int, device_n: int, day: date, **over: Any) -> Row:
    row = {"patient_key": key(patient_n), "device_key": key(device_n), "day": day, "charge_pc": 10, "pulses_milli": 5, "on_ms": 7}
    return row | {"charge_pc_high": 12, "sessions": 0, "coverage": 1.0, "current_ua": 1500, "adherence": 1.0} | over


def ledger_row(load: int, file: str, rows: int, **over: Any) -> Row:
    return {"load": load, "source": "devices", "file": file, "bin": "accepted", "rows": rows, "read": rows} | over


def disposition(load: int, line: int, **over: Any) -> Row:
    row = {"load": load, "source": "devices", "file": "devices/a.csv", "line": line, "record_id": key(line)}
    return row | {"bin": "quarantined", "rules": ["model:unknown"]} | over


def fact(contract: str, n: int, known_at: datetime, **over: Any) -> Row:
    row = dict.fromkeys(staged_schema(load_contract(contract))) | {"_key": n, "_known_at": known_at, "_bin": "accepted"}
    return row | over


def write_part(ws: Workspace, table: str, partition: str, rows: Sequence[Row]) -> str:
    """Write rows as one content-named part and return its path relative to the workspace."""
    return _write(ws, f"{table}/{partition}", pl.DataFrame(list(rows), schema=_schema(ws, table)))


def _schema(ws: Workspace, table: str) -> dict[str, pl.DataType]:
    folder, name = table.split("/")
    if folder == "staged":
        return staged_schema(load_contract(name))
    if folder == "quarantine":
        return {"raw": pl.Binary()}
    return mart_schema(load_contract(f"mart.{name}"), window_names(ws.settings.windows_days)) | {"_load": pl.Int64()}


def _write(ws: Workspace, folder: str, frame: pl.DataFrame) -> str:
    path = ws.home / folder / "new.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)
    name = f"{folder}/{hashlib.sha256(path.read_bytes()).hexdigest()}.parquet"
    path.rename(ws.home / name)
    return name


def load_files(
    ws: Workspace, load: int, marts: Mapping[str, Mapping[int, Sequence[Row]]], ledger: Sequence[Row], **appended: Sequence[Row]
) -> LoadFiles:
    """Write a whole load: mart or source -> shard -> rows, the ledger, and `dispositions`."""
    replaced = {}
    for name, shards in marts.items():
        table = name if "/" in name else f"marts/{name}"
        replaced[table] = {n: write_part(ws, table, f"_shard={n}", rows) for n, rows in shards.items()}
    tables = {"ledger": ledger, **appended}
    added = {f"ledger/{t}": (write_part(ws, f"ledger/{t}", f"_load={load}", rows),) for t, rows in tables.items() if rows}
    return LoadFiles(load, replaced, added)


def small_load(ws: Workspace, load: int, shard: int = 0, n: int = 3, drop: float = 0.5, known_at: datetime = INDEX) -> LoadFiles:
    """Load of `n` patients in one shard, each with a baseline of 20, a follow-up at month 3 and ten days of dose."""
    first, windows = 1 + 1000 * shard, window_names(ws.settings.windows_days)
    people = range(first, first + n)
    scores = [score(10_000 * p, p, -1, 20) for p in people] + [score(10_000 * p + 1, p, 91, 20 * (1 - drop)) for p in people]
    days = [dose_day(p, p, INDEX.date() + timedelta(days=d)) for p in people for d in range(10)]
    marts = {
        "patients": {shard: [patient(p) for p in people]}, "scores": {shard: scores}, "dose_daily": {shard: days},
        "dose_outcomes": {shard: [dose_outcome(s, windows) for s in scores]},
        "staged/devices": {shard: [fact("devices", p, known_at) for p in people]},
    }  # fmt: skip
    name = f"devices/{load}.csv"
    counts = [ledger_row(load, name, n, read=n + 1), ledger_row(load, name, 1, bin="quarantined", read=n + 1)]
    return load_files(ws, load, marts, counts, dispositions=[disposition(load, 2, file=name)])


def workspace(home: Path) -> Workspace:
    home.mkdir(parents=True, exist_ok=True)
    return Workspace(home.resolve())
