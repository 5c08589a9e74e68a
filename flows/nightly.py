# SPDX-License-Identifier: Apache-2.0
"""The nightly run as one plain call: pull, stage, audit, publish. `flows/prefect_flow.py` runs the same steps as tasks."""

from __future__ import annotations

from flows.steps import Outcome, Progress, audit_candidate, publish_or_hold, pull_sources, stage
from schemas.workspace import Workspace
from warehouse.delta import last_complete


def run_steps(ws: Workspace, progress: Progress, *, rebuild: bool = False) -> Outcome:
    """Run all steps until no landed file waits: a load that was cut off is finished with its own files, then the rest follows."""
    pull_sources(ws, progress)
    outcome = Outcome("idle", last_complete(ws).load)
    while candidate := stage(ws, progress, all_shards=rebuild):
        progress("audit", 0, 1)
        failed = audit_candidate(ws, candidate)
        progress("audit", 1, 1)
        outcome = publish_or_hold(ws, candidate, failed)
        progress("publish", 1, 1)
        rebuild = False
        if outcome.state == "held":
            break
    return outcome
