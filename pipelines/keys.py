# SPDX-License-Identifier: Apache-2.0
"""From the ids of the sources to the keys of the marts; needs the secret, and reads the ids from landing, where alone they are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from pipelines.core.parse_arrow import FileRefused
from pipelines.core.pseudonym import key_of, key_text
from pipelines.ingest import read_piece, split_file
from schemas.contract import Identifier
from schemas.load import Landed
from schemas.workspace import Workspace

# Where each kind of id is introduced. A wide survey source may introduce patients too.
_INTRODUCED = {"patient": ("patients",), "device": ("devices",), "response": ("survey_responses",)}


def list_keys(ws: Workspace, landed: Sequence[Landed], kind: Identifier, secret: bytes) -> pl.DataFrame:
    """All ids of a kind in landed files with their keys: columns id, key; sorted by id, each once. Unreadable rows have none."""
    wide = ws.wide
    column = f"{kind}_id"
    files = [f for f in landed if f.source in _INTRODUCED[kind] or (kind == "patient" and f.origin in wide)]
    ids: set[str] = set()
    for file in files:
        ids.update(_ids(ws, file, wide.get(file.origin), column))
    ordered = sorted(ids)
    return pl.DataFrame(
        {"id": ordered, "key": [key_text(key_of(secret, kind, i)) for i in ordered]}, schema={"id": pl.String, "key": pl.String}
    )


def _ids(ws: Workspace, file: Landed, wide: Mapping[str, Any] | None, column: str) -> Iterable[str]:
    try:
        for piece in split_file(ws.home, file, wide is not None):
            for rows in read_piece(piece, str(ws.home), wide):
                if rows.parsed.frame.height:
                    yield from rows.parsed.frame[column].drop_nulls()
    except FileRefused:
        return
