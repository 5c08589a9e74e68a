# SPDX-License-Identifier: Apache-2.0
"""A record that a stream refused is found before any nightly run knows it: by its id, by its key, and by nothing else."""

from pathlib import Path

import polars as pl
import pytest

from pipelines.core.pseudonym import key_of, key_text
from pipelines.quarantine import QUARANTINE_SCHEMA
from pipelines.trace import TRACE_SCHEMA, trace
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
