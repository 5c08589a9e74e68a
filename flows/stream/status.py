# SPDX-License-Identifier: Apache-2.0
"""How a stream stands: kept in `reports/stream.json`, for `vnsight status` and whoever measures, and shown while it runs.

Keys of the file, which is replaced whole by one rename at every change:

    state           running, waiting (for another run, or for the next epoch with a source that does not answer), stopped, held
    message         what there is to say about the state; empty when all is well
    pid             process of the stream
    started_at      UTC, ISO 8601, of this stream
    updated_at      UTC, ISO 8601, of this file
    interval_s      seconds from the start of an epoch to the start of the next
    epoch           number of the last epoch that began, from 1
    load            last load that was published
    rows            bin -> rows of the last epoch that brought any; `read` is their sum. On Flink a commit knows `read` and `quarantined`;
                    what became of the others the books of the stream say (docs/streaming.md)
    rows_total      the same, since the stream started
    late            messages since the stream started that were stamped more than a day before the newest of their topic; on Flink,
                    since its job was begun or brought back, more than a day before the time of their partition
    lag_messages    topic -> messages that still wait at the broker; empty also while that is not known
    lag_seconds     age by its timestamp of the newest message read from the topic that is furthest behind; 0 when nothing waits
    epoch_seconds   step (pull, stage, audit, publish, all) -> seconds of the last epoch that brought any row
    waiting_files   landed files that no complete load has taken
    bound           most messages the next pull takes
    engine          epochs, or flink; on Flink an epoch is a commit, and these are its own:
    job_state       what Flink says of the job
    watermark_ms    event time the slowest step has reached, UTC ms
    checkpoint_bytes, checkpoint_age_s  state in the last checkpoint, and how long ago it was made
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from schemas.workspace import Workspace

State = Literal["running", "waiting", "stopped", "held"]
BINS = ("read", "accepted", "duplicate", "superseded", "pending", "quarantined", "withdrawn")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class Status:
    """What `reports/stream.json` says; see the module."""

    interval_s: float
    bound: int
    state: State = "running"
    message: str = ""
    pid: int = field(default_factory=os.getpid)
    started_at: str = field(default_factory=_now)
    updated_at: str = field(default_factory=_now)
    epoch: int = 0
    load: int = 0
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BINS, 0))
    rows_total: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BINS, 0))
    late: int = 0
    lag_messages: dict[str, int] = field(default_factory=dict)
    lag_seconds: float = 0.0
    epoch_seconds: dict[str, float] = field(default_factory=dict)
    waiting_files: int = 0
    engine: str = "epochs"
    job_state: str = ""
    watermark_ms: int = 0
    checkpoint_bytes: int = 0
    checkpoint_age_s: float = 0.0

    def add_rows(self, bins: Mapping[str, int]) -> None:
        """Count the rows of an epoch; `read` is the sum of the bins unless it is given."""
        self.rows = dict.fromkeys(BINS, 0) | {"read": sum(bins.values())} | dict(bins)
        self.rows_total = dict(Counter(self.rows_total) + Counter(self.rows)) | {b: self.rows_total[b] + self.rows[b] for b in BINS}

    def save(self, ws: Workspace) -> None:
        """Write the file, by one rename."""
        self.updated_at = _now()
        path = status_path(ws)
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        os.replace(temporary, path)


def status_path(ws: Workspace) -> Path:
    """`reports/stream.json`."""
    return ws.home / "reports" / "stream.json"


def read_status(ws: Workspace) -> dict[str, Any] | None:
    """What the last stream of a workspace said; None when there was none."""
    try:
        said: dict[str, Any] = json.loads(status_path(ws).read_bytes())
    except FileNotFoundError:
        return None
    return said


def lag_is_known(said: Mapping[str, Any]) -> bool:
    """Whether somebody said how much waits: epochs cannot while a broker does not answer, or before they asked it."""
    return bool(said["engine"] != "epochs" or said["lag_messages"] or not said["message"])


def one_line(said: Mapping[str, Any]) -> str:
    """A status in a line."""
    rows, steps = said["rows"], said["epoch_seconds"]
    counted = ", ".join(f"{rows[b]:,} {b}" for b in BINS[1:] if rows[b])
    taken = " + ".join(f"{name} {steps[name]:.1f}" for name in ("pull", "stage", "audit", "publish") if name in steps)
    newest = f", {said['lag_seconds']:,.0f} s" if said["lag_seconds"] else ""
    lag = f"lag {sum(said['lag_messages'].values()):,} messages{newest}" if lag_is_known(said) else "lag unknown"
    parts = [f"epoch {said['epoch']}", f"load {said['load']}", f"{rows['read']:,} rows" + (f" ({counted})" if counted else ""), lag]
    if said["late"]:
        parts.append(f"{said['late']:,} late")
    if steps:
        parts.append(f"{steps['all']:.1f} s" + (f" ({taken})" if taken else ""))
    if said["waiting_files"]:
        parts.append(f"{said['waiting_files']:,} files wait")
    return "; ".join(parts) + (f"; {said['message']}" if said["message"] else "")
