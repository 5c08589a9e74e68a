# SPDX-License-Identifier: Apache-2.0
"""A workspace whose streaming job runs in this process: the real steps and the real committer, a watermark and a broker of our own."""

import json
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from flows import committer, nightly
from flows.committer import commit_updates
from flows.steps import Outcome
from pipelines.core.cells import CellOptions
from pipelines.core.messages import SCHEMA
from pipelines.launch import silent
from pipelines.messages import read_messages
from pipelines.secret import create_secret
from pipelines.transforms.stream import StreamOptions
from pipelines.updates import begin_books, write_update
from schemas.contract import load_contract
from schemas.envelope import topic_of
from schemas.workspace import Workspace
from tests.mini_runner import MiniRunner
from tests.small_world import SECRET, workspace

NOW_US = 1_750_000_000_000_000  # everything became known in June 2025


def without_audit(monkeypatch) -> None:
    """The audit takes most of a load and is not what is tried."""
    monkeypatch.setitem(nightly._STEPS, "audit", lambda ws, candidate: ())
    monkeypatch.setattr(committer, "audit_candidate", lambda ws, candidate: ())


def messages_of(values: Iterable[bytes | None], offset: int = 0, **columns: object) -> pa.Table:
    """A table of messages of partition 0, stamped in 1970 unless `columns` say otherwise."""
    same = {"partition": 0, "timestamp_ms": 0, "appended": False} | columns
    rows = [same | {"offset": offset + n, "value": v} for n, v in enumerate(values)]
    return pa.Table.from_pylist(rows, SCHEMA)


class StreamHome(MiniRunner):
    """Messages go in by `send`, answers come out in the updates of the workspace; offsets run on as a broker counts them."""

    def __init__(self, ws: Workspace, **options: object) -> None:
        self.ws, self.offsets, self.told = ws, {}, 0
        super().__init__(StreamOptions(str(ws.home), cells=CellOptions(cells=3), settle_s=60, **options))

    def send(self, source: str, *records: dict | bytes, **columns: object) -> None:
        """Each record a message; what was read is told in an update of its own."""
        values = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
        offset = self.offsets.get(source, 0)
        self.offsets[source] = offset + len(values)
        self.read_again(source, messages_of(values, offset, **columns))

    def read_again(self, source: str, table: pa.Table) -> None:
        """Read messages, as a job does that was set back: receipts are told again."""
        read = read_messages(table, topic_of(source), load_contract(source), SECRET, True, NOW_US)
        told = {"receipts": read.receipts} | ({"quarantine": read.quarantine} if read.quarantine.height else {})
        write_update(self.ws.home, told)
        self.hear(source, read.facts, max(table["timestamp_ms"].to_pylist()))

    def look(self) -> None:
        """Move the watermark to where everything that came is looked at, and tell what was found."""
        self.advance(self.watermark + 10**6 if self.watermark > 0 else 10**11)
        self.tell()

    def tell(self) -> None:
        """Write what the steps found since the last call as one update."""
        fresh, self.told = self.written[self.told :], len(self.written)
        tables: dict[str, list[pl.DataFrame]] = {}
        for name, rows in [*fresh, *(("held", rows) for rows in self.held)]:
            tables.setdefault(name, []).append(rows)
        self.held = []
        if tables:
            write_update(self.ws.home, {name: pl.concat(frames) for name, frames in tables.items()})

    def commit(self) -> Outcome | None:
        """One commit of all that waits."""
        return commit_updates(self.ws, silent)

    def night(self) -> Outcome:
        """A nightly run over the files that wait."""
        return nightly.run_steps(self.ws, silent)


def begun_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> StreamHome:
    """An empty workspace below a folder, its books opened for a job that begins with nothing; nothing is audited."""
    without_audit(monkeypatch)
    ws = workspace(folder / "home")
    create_secret(ws)
    (ws.home / "secret.key").write_bytes(SECRET)
    begin_books(ws.home, [])
    return StreamHome(ws)
