# SPDX-License-Identifier: Apache-2.0
"""A record that a stream refused is found before any nightly run knows it: by its id, by its key, and by nothing else."""

import json
from pathlib import Path

import polars as pl
import pytest

from pipelines.core.canonical import RULES, rule_of
from pipelines.core.pseudonym import key_of, key_text
from pipelines.quarantine import QUARANTINE_SCHEMA
from pipelines.trace import MEANINGS, TRACE_SCHEMA, meaning, trace
from schemas.contract import SOURCES, load_contract
from schemas.workspace import Workspace

SECRET = b"s" * 32


@pytest.fixture
def refused(tmp_path: Path) -> str:
    """The file of a commit of the stream with two refused responses."""
    told = {"load": 0, "source": "survey_responses", "file": "vnsight.survey_responses/1", "rules": ["answers:range"], "_load": 7}
    keys = [key_text(key_of(SECRET, "response", f"R{n}")) for n in range(2)]
    rows = [dict.fromkeys(QUARANTINE_SCHEMA) | told | {"line": 40 + n, "record_id": f"{key}/more"} for n, key in enumerate(keys)]
    path = tmp_path / "streamed" / "quarantine" / "_load=7" / "x.parquet"
    path.parent.mkdir(parents=True)
    pl.DataFrame(rows, schema=QUARANTINE_SCHEMA | {"_load": pl.Int64()}).write_parquet(path)
    return str(path.relative_to(tmp_path))


@pytest.mark.parametrize("asked", ["R1", key_text(key_of(SECRET, "response", "R1"))])
def test_a_refused_record_is_found(tmp_path: Path, refused: str, asked: str):
    found = trace(Workspace(tmp_path), asked, SECRET, {}, [], [refused])
    assert found.schema == pl.Schema(TRACE_SCHEMA)
    assert found.rows() == [("survey_responses", 7, "vnsight.survey_responses/1", 41, "quarantined", ["answers:range"], refused)]


def test_another_id_is_not(tmp_path: Path, refused: str):
    assert trace(Workspace(tmp_path), "R7", SECRET, {}, [], [refused]).height == 0
    assert trace(Workspace(tmp_path), "R1", b"t" * 32, {}, [], [refused]).height == 0


def quarantined(home: Path, *raw: bytes, record_id: str | None = None) -> str:
    told = {"load": 3, "source": "survey_responses", "file": "survey_responses/a.ndjson", "rules": ["instrument:unknown"]}
    rows = [dict.fromkeys(QUARANTINE_SCHEMA) | told | {"line": n, "record_id": record_id, "raw": r} for n, r in enumerate(raw, 1)]
    path = home / "quarantine" / "_load=3" / "x.parquet"
    path.parent.mkdir(parents=True)
    pl.DataFrame(rows, schema=QUARANTINE_SCHEMA).write_parquet(path)
    return str(path.relative_to(home))


def test_a_refused_row_is_found_by_any_id_in_its_raw_bytes_as_a_whole_word(tmp_path: Path):
    raw = (b'{"patient_id": "P1", "x": 1}', b'{"patient_id": "P10"}', b"R2,P1,x", b"R3,MP1,x", b"P1-2,", b"\xffP1", b"", b"x_P1")
    file = quarantined(tmp_path, *raw)
    found = trace(Workspace(tmp_path), "P1", SECRET, {}, [], (), [file])
    assert found.schema == pl.Schema(TRACE_SCHEMA)
    place = ("survey_responses", 3, "survey_responses/a.ndjson")
    assert found.rows() == [(*place, n, "quarantined", ["instrument:unknown"], file) for n in (1, 3, 6)]


@pytest.mark.parametrize("identifier", ["P.", "P1|P2", "(", "Zo\u00eb", 'a"b', "a\\b"])
def test_an_id_is_searched_as_it_is_written_never_as_a_pattern(tmp_path: Path, identifier: str):
    escaped = json.dumps({"patient_id": identifier}).encode()
    file = quarantined(tmp_path, b"P2 P1", escaped, identifier.encode())
    assert trace(Workspace(tmp_path), identifier, SECRET, {}, [], (), [file])["line"].to_list() == [2, 3]


def test_a_row_found_by_its_key_and_by_its_bytes_is_one(tmp_path: Path):
    key = key_text(key_of(SECRET, "response", "R1"))
    file = quarantined(tmp_path, b'{"response_id": "R1"}', record_id=key)
    fate = tmp_path / "fates.parquet"
    columns = [*(c for c in TRACE_SCHEMA if c != "stored"), "record_id"]
    pl.read_parquet(tmp_path / file).with_columns(bin=pl.lit("quarantined")).select(columns).write_parquet(fate)
    found = trace(Workspace(tmp_path), "R1", SECRET, {}, ["fates.parquet"], (), [file])
    assert found["stored"].to_list() == ["fates.parquet"]


def test_every_rule_that_puts_a_row_aside_has_words():
    for source in SOURCES:
        kind = load_contract(source).refers_to or "patient"
        rules = pl.DataFrame({"_bin": ["pending", *RULES]}).select(rule_of(load_contract(source))).to_series().to_list()
        assert rules[0] == f"{kind}_id:unknown"
        assert all(rule in MEANINGS for rule in rules)
    assert "waits for a row in patients" in meaning("survey_responses", "patient_id:unknown")
    assert meaning("patients", "index_at:null") == "column index_at is required and missing."
