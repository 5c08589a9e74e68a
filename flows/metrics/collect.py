# SPDX-License-Identifier: Apache-2.0
"""What can be measured of a workspace, from what lies in it: the figures outlive the stream, its engine and its jobs.

Nothing here asks the stream itself: `reports/stream.json` is what it said last, the published window and the books are what it did.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flows.lock import stream_at_work
from flows.metrics.exposition import Family, Sample, by_label, counter, gauge
from flows.plan import waiting_files
from flows.stream.status import BINS, read_status
from pipelines.updates import waiting_updates
from schemas.workspace import Workspace
from warehouse.delta import last_complete
from warehouse.sql import query
from warehouse.stream_books import stream_books

STATES = ("running", "waiting", "stopped", "held")
END_S = 9_000_000_000_000  # a watermark at the end of time is no instant
_LEDGER = "select source, bin, sum(rows)::bigint as n from ledger group by source, bin order by source, bin"
_AGREEMENT = "from stream_agreement where load = (select max(load) from stream_agreement) order by mart"
_CHECKS = "select severity, count(*) as n from quality_results where not success group by severity order by severity"
_FRESH = "select source, rows, epoch(now()) - epoch(last_known_at) as age from freshness order by source"


class Measured:
    """The figures of one workspace; what only a new load can change is read once per load."""

    def __init__(self, ws: Workspace) -> None:
        self.ws = ws
        self._at: tuple[int, ...] = ()
        self._window: list[Family] = []

    def families(self) -> list[Family]:
        """All that is known now."""
        said = read_status(self.ws)
        return [*of_stream(said, stream_at_work(self.ws)), *_of_waiting(self.ws), *self._published()]

    def _published(self) -> list[Family]:
        window = self.ws.window
        if not window.exists():
            return []
        seen = window.stat()
        if self._at != (seen.st_mtime_ns, seen.st_ino):
            self._window = _of_window(self.ws)
            self._at = (seen.st_mtime_ns, seen.st_ino)
        return self._window


def of_stream(said: Mapping[str, Any] | None, alive: bool) -> list[Family]:
    """What `reports/stream.json` says; without one, only that no stream is there."""
    up = gauge("vnsight_stream_up", "1 while a process holds the stream of the workspace.", float(alive))
    if said is None:
        return [up]
    flink = said["engine"] == "flink"
    late, lag_s, bound = (None, None, None) if flink else (said["late"], said["lag_seconds"], said["bound"])
    watermark = said["watermark_ms"] / 1000
    return [
        up,
        gauge("vnsight_stream_info", "Always 1; the label says which engine streams.", 1, engine=said["engine"]),
        by_label("gauge", "vnsight_stream_state", "1 for the state it is in.", "state", {s: float(s == said["state"]) for s in STATES}),
        gauge("vnsight_stream_start_time_seconds", "When the stream was started, Unix time.", _unix(said["started_at"])),
        gauge("vnsight_stream_updated_timestamp_seconds", "When the stream last said how it stands, Unix time.", _unix(said["updated_at"])),
        gauge("vnsight_stream_load", "Last load the stream published.", said["load"]),
        counter("vnsight_stream_epochs_total", "Epochs begun since the start; on Flink, commits.", said["epoch"]),
        by_label("counter", "vnsight_stream_rows_total", "Rows since the start, by where they ended.", "bin", _rows(said)),
        counter("vnsight_stream_late_messages_total", "Messages since the start that came a day or more late.", late),
        by_label("gauge", "vnsight_stream_lag_messages", "Messages that wait at the broker.", "topic", said["lag_messages"]),
        gauge("vnsight_stream_lag_seconds", "Age of the newest message read where most are behind.", lag_s),
        gauge("vnsight_stream_pull_limit_messages", "Most messages the next epoch takes.", bound),
        gauge("vnsight_stream_interval_seconds", "From the start of an epoch to the start of the next.", said["interval_s"]),
        by_label("gauge", "vnsight_stream_epoch_seconds", "How long the last epoch took, by step.", "step", said["epoch_seconds"]),
        gauge("vnsight_stream_watermark_timestamp_seconds", "Event time the slowest step has reached, Unix time.",
              watermark if flink and 0 < watermark < END_S else None),
        gauge("vnsight_stream_checkpoint_bytes", "State in the last checkpoint.", said["checkpoint_bytes"] if flink else None),
        gauge("vnsight_stream_checkpoint_age_seconds", "Age of the last checkpoint when the stream last looked.",
              said["checkpoint_age_s"] if flink and said["checkpoint_bytes"] else None),
    ]  # fmt: skip


def _rows(said: Mapping[str, Any]) -> dict[str, float]:
    """Rows by bin; on Flink the books say them, not the status."""
    return {b: said["rows_total"][b] for b in BINS if b != "read"} if said["engine"] != "flink" else {}


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _of_waiting(ws: Workspace) -> list[Family]:
    complete = last_complete(ws)
    updates = waiting_updates(ws.home)
    oldest = int(updates[0].name.partition("-")[0]) / 1e9 if updates else None
    return [
        gauge("vnsight_load", "Last complete load.", complete.load),
        gauge("vnsight_waiting_files", "Landed files no complete load has taken.", len(waiting_files(ws, complete.load))),
        gauge("vnsight_waiting_updates", "Updates of a streaming job nobody has committed.", len(updates)),
        gauge("vnsight_waiting_updates_oldest_seconds", "Age of the oldest of them.", None if oldest is None else time.time() - oldest),
    ]


def _of_window(ws: Workspace) -> list[Family]:
    """What readers see, what became of the rows, what was found."""
    meta = query(ws, "select epoch(published_at) as at from vnsight_meta").to_pylist()[0]
    fresh = query(ws, _FRESH).to_pylist()
    known = {r["source"]: time.time() - r["age"] for r in fresh if r["age"] is not None}
    agreement = [
        Sample(row[what], {"mart": row["mart"], "outcome": what})
        for row in query(ws, _AGREEMENT).to_pylist()
        for what in ("equal", "mismatched", "missing", "extra")
    ]
    ledger = [Sample(r["n"], {"source": r["source"], "bin": r["bin"]}) for r in query(ws, _LEDGER).to_pylist()]
    books = [Sample(n, {"source": s, "bin": b}) for s, bins in stream_books(ws).items() for b, n in bins.items()]
    streamed = query(ws, "select count(*) as n from streamed").to_pylist()[0]["n"]
    failed = {r["severity"]: float(r["n"]) for r in query(ws, _CHECKS).to_pylist()}
    return [
        gauge("vnsight_published_timestamp_seconds", "When the published window was put in place, Unix time.", meta["at"]),
        Family("vnsight_ledger_rows", "gauge", "Rows read from files, by source and where they ended.", tuple(ledger)),
        Family("vnsight_streamed_rows", "gauge", "Rows a streaming job began with and read, and what became of them.", tuple(books)),
        gauge("vnsight_streamed_patients", "Patients whose rows come from the stream, for it knows more of them.", streamed),
        by_label("gauge", "vnsight_facts", "Distinct facts staged, by source.", "source", {r["source"]: r["rows"] for r in fresh}),
        by_label("gauge", "vnsight_known_timestamp_seconds", "When the newest staged fact became known, Unix time.", "source", known),
        by_label("gauge", "vnsight_failed_checks", "Checks of the last audit that failed.", "severity", failed),
        Family("vnsight_stream_agreement_rows", "gauge", "Rows of the stream beside those of the last nightly run.", tuple(agreement)),
    ]  # fmt: skip
