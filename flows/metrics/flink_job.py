# SPDX-License-Identifier: Apache-2.0
"""What Flink says of the streaming job of a workspace, as families; of a Flink that does not answer, only that."""

from __future__ import annotations

import time

from flows.engine.flink import Flink, FlinkAway, Job
from flows.metrics.exposition import Family, by_label, counter, gauge

STATES = ("RUNNING", "RESTARTING", "FAILED", "CANCELED", "FINISHED", "OTHER")
_UP = "1 when the REST of Flink answers."


def of_job(flink: Flink, name: str) -> list[Family]:
    """The job of a name: its state, what its steps counted, its checkpoints. It may not be there."""
    try:
        job = flink.find(name)
        found = [] if job is None else _of(flink, job)
    except FlinkAway:
        return [gauge("vnsight_flink_up", _UP, 0)]
    return [gauge("vnsight_flink_up", _UP, 1), *found]


def _of(flink: Flink, job: Job) -> list[Family]:
    state = job.state if job.state in STATES else "OTHER"
    counted = flink.counters(job)
    late = {n.removeprefix("behind_"): float(v) for n, v in counted.items() if n.startswith("behind_")}
    checkpoints = flink.checkpoints(job)
    done = {"completed": float(checkpoints.completed), "failed": float(checkpoints.failed)}
    age = time.time() - checkpoints.last_ms / 1000 if checkpoints.last_ms else None
    return [
        by_label("gauge", "vnsight_flink_job_state", "1 for the state Flink says the job is in.", "state",
                 {s: float(s == state) for s in STATES}),
        counter("vnsight_flink_messages_total", "Messages validated since the job was begun or brought back.", counted.get("messages")),
        by_label("counter", "vnsight_flink_late_messages_total", "Those behind the newest of their partition, by how much at most.",
                 "behind", late),
        counter("vnsight_flink_restarts_total", "How often Flink began the job again.", flink.restarts(job)),
        by_label("counter", "vnsight_flink_checkpoints_total", "Checkpoints, by how they ended.", "outcome", done),
        gauge("vnsight_flink_checkpoint_bytes", "State in the last checkpoint.", checkpoints.state_bytes if age is not None else None),
        gauge("vnsight_flink_checkpoint_age_seconds", "Age of the last checkpoint.", age),
    ]  # fmt: skip
