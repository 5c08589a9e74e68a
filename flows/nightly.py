# SPDX-License-Identifier: Apache-2.0
"""The nightly run as one plain composition of steps. `flows/prefect_flow.py` runs the very same, each step as a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

from flows.steps import Outcome, Progress, audit_candidate, publish_or_hold, pull_sources, stage
from pipelines.landing import sweep
from schemas.workspace import Workspace
from warehouse.delta import last_complete

Step = Literal["pull", "stage", "audit", "publish"]
_STEPS: dict[Step, Callable[..., Any]] = {"pull": pull_sources, "stage": stage, "audit": audit_candidate, "publish": publish_or_hold}


class Doer(Protocol):
    """Carries out a step by name, plainly or under an orchestrator."""

    def __call__(self, step: Step, *arguments: Any, **options: Any) -> Any:
        """Return what the step returns."""


def do_plainly(step: Step, *arguments: Any, **options: Any) -> Any:
    """Call the step."""
    return _STEPS[step](*arguments, **options)


def run_steps(ws: Workspace, progress: Progress, *, rebuild: bool = False, do: Doer = do_plainly) -> Outcome:
    """Run all steps until no landed file waits: a load that was cut off is finished with its own files, then the rest follows.

    To be called by the holder of the workspace's lock.
    """
    sweep(ws)
    do("pull", ws, progress)
    outcome = Outcome("idle", last_complete(ws).load)
    while candidate := do("stage", ws, progress, all_shards=rebuild):
        progress("candidate", 1, 1)
        progress("audit", 0, 1)
        failed = do("audit", ws, candidate)
        progress("audit", 1, 1)
        outcome = do("publish", ws, candidate, failed)
        progress("publish", 1, 1)
        rebuild = False
        if outcome.state == "held":
            break
    return outcome
