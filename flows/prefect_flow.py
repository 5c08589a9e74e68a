# SPDX-License-Identifier: Apache-2.0
"""The nightly run as a Prefect flow: the steps of `flows/steps.py` as tasks. Nothing below this module knows Prefect.

A run is one load and takes its lock, so that two runs of one workspace never meet, wherever they were started. Only pulling is tried
again: what a later step meets does not heal by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from flows import steps
from flows.lock import only_run
from flows.nightly import Step, run_steps
from flows.sources.connector import NotYet
from flows.steps import Outcome, Progress
from pipelines.launch import silent
from schemas.errors import HeldBack
from schemas.workspace import open_workspace
from warehouse.sql import query

DAY_S = 20 * 3600  # a run that takes longer would meet the next one
SHARE = {"pull": 10.0, "stage": 70.0, "audit": 90.0, "publish": 95.0}  # how far a finished step has brought a load [percent]
_STRATA = """select stratifier, stratum, arm, instrument, visit, n, k, round(rate, 3) as rate, round(low, 3) as low, round(high, 3) as high
    from strata where subscale = 'total' and arm = 'all' and definition = 'drop_50' and method = 'observed' and n > 0
        and stratifier in ('all', 'disorder', 'history') order by instrument, visit, stratifier, stratum"""
_watcher: ContextVar[Progress] = ContextVar("watcher", default=silent)


class LoadHeld(HeldBack):
    """The load did not pass the gate: the flow run fails, and says what was found."""

    def __init__(self, outcome: Outcome) -> None:
        found = "; ".join(c.name for c in outcome.failed if c.severity == "critical")
        super().__init__(f"load {outcome.load} was held back: {found}. The published marts stay as they were")
        self.outcome = outcome


@contextmanager
def watched_by(progress: Progress) -> Iterator[None]:
    """Show the progress of flows run in the block to somebody."""
    token = _watcher.set(progress)
    try:
        yield
    finally:
        _watcher.reset(token)


def _can_heal(_task: Any, _run: Any, state: Any) -> bool:
    return isinstance(state.result(raise_on_failure=False), NotYet)


_OPTIONS: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False, "timeout_seconds": DAY_S}
TASKS: dict[Step, Callable[..., Any]] = {
    "pull": task(
        name="pull", retries=3, retry_delay_seconds=[5, 60, 300], retry_jitter_factor=0.2, retry_condition_fn=_can_heal, **_OPTIONS
    )(steps.pull_sources),
    "stage": task(name="stage", **_OPTIONS)(steps.stage),
    "audit": task(name="audit", **_OPTIONS)(steps.audit_candidate),
    "publish": task(name="publish", **_OPTIONS)(steps.publish_or_hold),
}


@flow(name="nightly", timeout_seconds=DAY_S, retries=0, persist_result=False, validate_parameters=True)
def nightly(home: str, rebuild: bool = False) -> Outcome:
    """Pull what is new, stage it, audit it and publish `marts.duckdb` of the workspace in `home`.

    `rebuild` derives every shard anew, after a change of settings. Raises `LoadHeld` when the gate holds the load back.
    """
    ws = open_workspace(Path(home))
    bar: Any = create_progress_artifact(0.0, key="nightly-progress", description=f"nightly run of {ws.home.name}")

    def do(step: Step, *arguments: Any, **options: Any) -> Any:
        result = TASKS[step](*arguments, **options)
        update_progress_artifact(bar, SHARE[step])
        return result

    with only_run(ws):
        outcome = run_steps(ws, _watcher.get(), rebuild=rebuild, do=do)
    update_progress_artifact(bar, 100.0)
    _report(outcome)
    if outcome.state == "held":
        raise LoadHeld(outcome)
    if outcome.state != "idle":
        rows = query(ws, _STRATA).to_pylist()
        create_table_artifact(rows, key="strata", description="Responders by stratum, all arms; observed cases")
    return outcome


def _report(outcome: Outcome) -> None:
    """Leave the ledger and what was found where the flow run is looked at."""
    lines = [f"## Load {outcome.load}: {outcome.state}", *(f"- **{c.severity}** {c.name}: {c.meaning}" for c in outcome.failed)]
    create_markdown_artifact("\n".join([*lines, *(f"- {note}" for note in outcome.notes)]), key="nightly-outcome")
    if outcome.ledger is not None:
        wide = outcome.ledger.pivot("bin", index="source", values="rows", aggregate_function="sum").sort("source")
        create_table_artifact(wide.to_dicts(), key="ledger", description=f"Rows of load {outcome.load} by source and bin")


def send_what_is_left() -> None:
    """Send logs and events that still wait: a server that is stopped before leaves the process retrying at its end."""
    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=10)
