# SPDX-License-Identifier: Apache-2.0
"""A study of six people small enough to read, with every trouble that depends on order: revisions, duplicates, devices and patients
that are named later than they are used, a device that changes hands, and consent withdrawn in both ways."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from pipelines.launch import silent
from pipelines.load import StagedLoad, stage_load
from schemas.load import Landed
from schemas.workspace import Settings, Workspace

START = datetime(2025, 1, 1, tzinfo=UTC)
SECRET = b"a secret only for tests, 32 byte"


def at(days: float) -> str:
    return (START + timedelta(days=days)).isoformat().replace("+00:00", "Z")


def known(event: str, days: float) -> dict[str, object]:
    """An event that was recorded when it happened."""
    return {event: at(days), "recorded_at": at(days)}


def patient(n: int, **more: object) -> dict[str, object]:
    return {"patient_id": f"P{n}", "birth_year": 1950 + n, "sex": "female", "site": "S1", "index_at": at(0), "recorded_at": at(0)} | more


def device(n: int, **more: object) -> dict[str, object]:
    model = (
        {"model": "106", "modality": "implanted"} if n < 4 else {"model": "NEMOS", "modality": "auricular", "prescribed_min_per_day": 240}
    )
    return {"device_id": f"D{n}", "patient_id": f"P{n}", "activated_at": at(0), "recorded_at": at(0)} | model | more


def settings(n: int, day: float, ma: float, **more: object) -> dict[str, object]:
    vector = {"current_ma": ma, "pulse_width_us": 250, "frequency_hz": 20, "on_s": 30, "off_min": 5}
    return (
        {"device_id": f"D{n}", "model": "106", "effective_at": at(day), "changed_by": "clinician", "recorded_at": at(day)} | vector | more
    )


def reading(n: int, day: float, ma: float, **more: object) -> dict[str, object]:
    vector = {"current_ma": ma, "pulse_width_us": 250, "frequency_hz": 20, "on_s": 30, "off_min": 5}
    return {"device_id": f"D{n}", "model": "106", "interrogated_at": at(day), "recorded_at": at(day)} | vector | more


def session(n: int, number: int, **more: object) -> dict[str, object]:
    return {
        "device_id": f"D{n}", "model": "NEMOS", "session_no": number, "device_started_at": at(number), "device_clock_at": at(40),
        "uploaded_at": at(40), "duration_ms": 3_600_000, "pulse_width_us": 250, "frequency_hz": 25, "on_s": 30, "off_s": 30,
        "step_offsets_ms": [0, 60_000], "step_intensities": [0.5, 1.2],
    } | more  # fmt: skip


def response(n: int, day: float, answer: int, **more: object) -> dict[str, object]:
    return {
        "response_id": f"R{n}-{day}", "patient_id": f"P{n}", "instrument": "PHQ-9", "form_version": "standard", "completed_at": at(day),
        "uploaded_at": at(day), "answers": [answer] * 9,
    } | more  # fmt: skip


def files() -> dict[str, bytes]:
    """File name -> content, in no order that matters."""
    rows: dict[str, list[dict[str, object]]] = {
        "patients/a": [patient(n) for n in range(1, 6)],
        "patients/b": [patient(1, sex="male", recorded_at=at(9)), patient(6)],  # a revision, and a patient named late
        "devices/a": [device(1), device(2), device(4)],
        "devices/b": [device(3), device(5), device(2, patient_id="P3", recorded_at=at(50))],  # D2 changes hands
        "device_settings/a": [settings(1, 0, 1.0), settings(1, 30, 1.5), settings(2, 0, 0.5), settings(3, 0, 2.0)],
        "device_settings/b": [settings(1, 30, 1.5), settings(1, 30, 1.75, recorded_at=at(33)), settings(9, 0, 1.0)],
        "interrogations/a": [reading(1, 20, 1.0), reading(1, 60, 1.75, magnet_count=7), reading(3, 45, 2.0)],
        "stimulation_sessions/a": [session(4, n) for n in range(1, 20)] + [session(5, n) for n in (1, 2, 5)],
        "stimulation_sessions/b": [session(4, 3), session(4, 7, duration_ms=1_800_000, uploaded_at=at(41), device_clock_at=at(41))],
        "survey_responses/a": [response(n, day, 3) for n in (1, 2, 3, 4, 5, 6) for day in (-3, 30)],
        "survey_responses/b": [response(n, day, 1) for n in (1, 2, 3, 4, 5, 6, 7) for day in (60, 91)] + [response(1, 30, 3)],
        "survey_responses/c": [response(4, 30, 2, uploaded_at=at(70)), response(1, 91, 9), {"response_id": None}],
        "consents/a": [
            {"consent_id": "C1", "patient_id": "P5", "action": "withdrawn", "mode": "stop_collecting"} | known("effective_at", 45)
        ],
        "consents/b": [{"consent_id": "C2", "patient_id": "P6", "action": "withdrawn", "mode": "erase"} | known("effective_at", 80)],
        "therapy_sessions/a": [
            {"session_id": f"T{d}", "patient_id": "P4", "therapy": "cbt"} | known("started_at", d) for d in (10, 20)
        ],
        "conditions/a": [
            {"condition_id": f"K{n}", "patient_id": f"P{n}", "code": c, "recorded_at": at(0)} for n, c in ((1, "F33.1"), (4, "G40.219"))
        ],
    }  # fmt: skip
    texts = {f"{name}.ndjson": b"".join(json.dumps(r).encode() + b"\n" for r in rs) for name, rs in rows.items()}
    texts["survey_responses/c.ndjson"] += b'{"response_id": "cut o'
    return texts


def workspace(home: Path, **settings: object) -> Workspace:
    home.mkdir(parents=True, exist_ok=True)
    return Workspace(home.resolve(), Settings(**settings))


def land_bytes(ws: Workspace, name: str, data: bytes, landed_us: int) -> Landed:
    sha = hashlib.sha256(data).hexdigest()
    landed = Landed(name.split("/", maxsplit=1)[0], name, "inbox", sha, len(data), landed_us)
    path = ws.landing / landed.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return landed


def load_all(ws: Workspace, loads: Sequence[Sequence[str]], texts: Mapping[str, bytes] | None = None) -> list[StagedLoad]:
    """Stage the named files load by load, each on what the loads before it left, as the warehouse would."""
    texts, live, done = texts or files(), dict[str, dict[int, str]](), []
    for number, names in enumerate(loads, start=1):
        landed = [land_bytes(ws, name, texts[name], 1_770_000_000_000_000 + number) for name in names]
        staged = stage_load(ws, landed, number, live, SECRET, silent)
        for table, shards in staged.files.replaced.items():
            live.setdefault(table, {}).update(shards)
        done.append(staged)
    return done


def live_tables(loads: Sequence[StagedLoad]) -> dict[str, dict[int, str]]:
    live: dict[str, dict[int, str]] = {}
    for staged in loads:
        for table, shards in staged.files.replaced.items():
            live.setdefault(table, {}).update(shards)
    return live


def read_table(ws: Workspace, loads: Sequence[StagedLoad], table: str) -> pl.DataFrame:
    """All live rows of a table, bookkeeping left out, in an order of their own."""
    parts = [pl.read_parquet(ws.home / p, hive_partitioning=False) for _, p in sorted(live_tables(loads)[table].items())]
    frame = pl.concat(parts)
    frame = frame.select([c for c in frame.columns if not c.startswith("_")])
    return frame.sort(frame.columns[:3] + [c for c in frame.columns[3:] if not isinstance(frame.schema[c], pl.List)])
