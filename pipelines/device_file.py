# SPDX-License-Identifier: Apache-2.0
"""Read one file of device rows outside a workspace, with the same parsers and rules as a load; a bad row stops it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import polars as pl

from pipelines.core.instants import parse_instants
from pipelines.core.parse_arrow import FileRefused
from pipelines.core.validate import split_by_rules
from pipelines.ingest import read_piece, split_file
from schemas.contract import Contract, load_contract
from schemas.errors import UsageError, VNSightError
from schemas.load import Landed
from schemas.rules import explain


def _contract_of(path: Path) -> Contract:
    """Which of the two device tables a file is, by a column only one of them has."""
    head = path.read_bytes()[: 1 << 20] if path.suffix != ".parquet" else str(pl.read_parquet_schema(path)).encode()
    if path.suffix in (".gz", ".zst"):
        from pipelines.core.rows import TextChunk
        from pipelines.read import kind_of, read_chunks

        chunk = next((c for c in read_chunks(path, kind_of(path.name).packing) if isinstance(c, TextChunk)), None)
        head = chunk.data[: 1 << 20] if chunk else b""
    return load_contract("stimulation_sessions" if b"session_no" in head else "device_settings")


def read_device_file(path: Path) -> pl.DataFrame:
    """Typed rows of a file of `device_settings` or `stimulation_sessions` in the contract's columns, ids as they are.

    `VNSightError` names file, line, field and rule of the first row that breaks the contract: a dose without it would be wrong.
    """
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    contract = _contract_of(path)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        landed = Landed(contract.name, path.name, "file", hashlib.sha256(str(path).encode()).hexdigest(), 0, 0)
        (home / "landing" / landed.path).parent.mkdir(parents=True)
        shutil.copyfile(path, home / "landing" / landed.path)
        try:
            frames = [_checked(rows.parsed, contract, path) for p in split_file(home, landed, False) for rows in read_piece(p, str(home))]
        except FileRefused as refusal:
            raise VNSightError(f"{path.name}: {refusal}") from refusal
    if not frames:
        raise VNSightError(f"{path.name}: holds no rows")
    return pl.concat(frames)


def _checked(parsed: object, contract: Contract, path: Path) -> pl.DataFrame:
    from pipelines.core.rows import Parsed

    assert isinstance(parsed, Parsed)
    found = [(b.line, b.rules[0]) for b in parsed.broken]
    good = parsed.frame
    if good.height:
        frame, times = parse_instants(good, contract)
        good, bad = split_by_rules(frame, contract, times)
        found += [(line, rules[0]) for line, rules in bad.select("_line", "rules").iter_rows()]
    if found:
        line, rule = min(found)
        raise VNSightError(
            f"{path.name} line {line}: {explain(contract, rule)} ({len(found)} bad rows in this part)"
        )
    return good.select([c.name for c in contract.columns]) if good.height else good
