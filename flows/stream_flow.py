# SPDX-License-Identifier: Apache-2.0
"""The stream of a workspace as a Prefect flow: started or taken over, watched, drained when the flow run is cancelled.

The flow is the stream's own process for engine `epochs`, and its supervisor for engine `flink`, where the job lives on the cluster: a
flow that dies leaves it running, and the next one takes it over. Prefect's server may be away meanwhile; what is shown is then old,
what is loaded is not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any, Literal, Protocol
from uuid import UUID

import httpx
from prefect import flow
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger
from prefect.logging.loggers import LoggingAdapter
from prefect.states import Cancelled, Completed

from flows.lock import only_stream
from flows.prefect_flow import LoadHeld
from flows.steps import Outcome
from flows.stream.status import BINS, Status
from flows.stream.stopping import asked_to_stop
from schemas.errors import UsageError
from schemas.workspace import Workspace, open_workspace

DRAIN_S = 25.0  # Prefect kills a cancelled flow run 30 s after it asked
SHOWN_EVERY = 5  # calls between two updates of the artifacts, when nothing new was said
Engine = Literal["epochs", "flink"]
Show = Callable[[Status, bool], None]


class Running(Protocol):
    """A stream of either engine."""

    status: Status

    def run(self, stop: Event) -> Outcome | None:
        """Stream until told to stop; return the outcome that was held back, if one was."""
        ...


@flow(name="stream", retries=0, persist_result=False, validate_parameters=True)
def stream(  # noqa: PLR0913 - parameters of a deployment
    home: str, *, engine: Engine = "epochs", cluster: str = ".flink", epoch_s: float = 10.0, settle_s: float | None = None,
    idle_s: float | None = None, stall_s: float | None = None, most_lag: int | None = None, until_idle: bool = False,
) -> State[Any]:  # fmt: skip
    """Load what comes while it comes into the workspace in `home`; end Cancelled when asked to stop, Completed with `until_idle`.

    `engine` and the rest are those of `vnsight stream`; what is not given is as `[stream]` of `vnsight.toml` says: `stall_s` and
    `most_lag` when the owner is told that the watermark of a job on Flink stands still, or that too many messages wait. Raises
    `LoadHeld` when the gate holds a load back, `Busy` when the workspace has a stream already.
    """
    ws = open_workspace(Path(home))
    log = get_run_logger()
    watcher = Watcher(ws, log)
    with only_stream(ws), asked_to_stop(lambda: log.info("asked to stop: draining")) as stop:
        if engine == "flink":
            running = _supervisor(
                ws, Path(cluster), watcher, commit_s=epoch_s, settle_s=settle_s, idle_s=idle_s, stall_s=stall_s, most_lag=most_lag,
                until_idle=until_idle,
            )  # fmt: skip
        else:
            running = _epochs(ws, watcher, epoch_s, until_idle)
        held = running.run(stop)
        watcher.show(running.status)
    if held is not None:
        raise LoadHeld(held)
    said = f"load {running.status.load or 'none yet'}; {running.status.message or f'{running.status.epoch} epochs'}"
    return Cancelled(message=said) if stop.is_set() else Completed(message=said)


def _epochs(ws: Workspace, show: Show, epoch_s: float, until_idle: bool) -> Running:
    from flows.stream.epochs import Epochs, Options

    return Epochs(ws, Options(epoch_s, until_idle=until_idle), show)


def _supervisor(ws: Workspace, folder: Path, show: Show, **options: Any) -> Running:
    from flows.cluster import Cluster
    from flows.engine.job import Options
    from flows.engine.supervise import Supervisor

    if not folder.is_dir():
        raise UsageError(f"{folder.absolute()} is no folder of a cluster; start one there: vnsight cluster up --folder {folder.absolute()}")
    return Supervisor(ws, Cluster(folder), Options.declared(ws, **options, drain_s=DRAIN_S), show)


class Watcher:
    """Shows a stream where its flow run is looked at: one bar, one table, and a line of the log for everything that is new to say."""

    def __init__(self, ws: Workspace, log: logging.Logger | LoggingAdapter) -> None:
        self.log, self.said, self.calls, self.most = log, "", 0, 0
        name = f"stream of {ws.home.name}"
        self.bar: Any = create_progress_artifact(0.0, key="stream-progress", description=f"{name}: share of the backlog that is read")
        self.table: Any = create_table_artifact([], key="stream-status", description=name)

    def __call__(self, status: Status, ended: bool) -> None:
        """Take note of a change."""
        said = f"{status.state}: {status.message}" if status.message else status.state
        fresh, self.said = said != self.said, said
        if fresh:
            self.log.info("%s (epoch %d, load %d)", said, status.epoch, status.load)
        self.calls += ended
        if fresh or (ended and self.calls % SHOWN_EVERY == 1):
            self.show(status)

    def show(self, status: Status) -> None:
        """Bring the artifacts up to date; a server that does not answer is no reason to stop."""
        lag = sum(status.lag_messages.values())
        self.most = max(self.most, lag)
        try:
            update_progress_artifact(self.bar, 100.0 * (1 - lag / self.most) if self.most else 100.0)
            with get_client(sync_client=True) as client:
                client.update_artifact(UUID(str(self.table)), ArtifactUpdate(data=json.dumps(table_of(status))))
        except (httpx.HTTPError, PrefectException) as error:
            self.log.warning("Prefect did not take the status: %s", type(error).__name__)


def table_of(status: Status) -> list[dict[str, str]]:
    """A status as rows of a table: what, value."""
    lines: dict[str, object] = {
        "state": status.state, "message": status.message, "engine": status.engine, "epoch": status.epoch, "load": status.load,
        "updated at": status.updated_at,
        **{f"rows {b}": f"{status.rows_total[b]:,}" for b in BINS if status.rows_total[b]},
        **{f"waiting in {topic}": f"{n:,}" for topic, n in status.lag_messages.items() if n},
        **{f"seconds to {step}": seconds for step, seconds in status.epoch_seconds.items()},
    }  # fmt: skip
    if status.engine == "flink":
        lines |= {"job": status.job_state, "bytes of the last checkpoint": f"{status.checkpoint_bytes:,}"}
    return [{"what": what, "value": str(value)} for what, value in lines.items() if str(value)]
