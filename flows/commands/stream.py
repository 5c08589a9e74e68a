# SPDX-License-Identifier: Apache-2.0
"""`vnsight stream`: load what comes while it comes, epoch by epoch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.box import SIMPLE_HEAD
from rich.live import Live
from rich.table import Table

from flows.commands import Home, find_workspace
from flows.stream.stopping import asked_to_stop
from flows.terminal import ERR, OUT, text_of
from schemas.errors import UsageError

if TYPE_CHECKING:
    from flows.stream.status import Status
    from schemas.workspace import Workspace


def stream(  # noqa: PLR0913 - options of a command line
    *, home: Home = None, epoch: float = 10.0, max_messages: int | None = None, until_idle: bool = False,
    engine: Literal["epochs", "flink"] = "epochs", cluster: Path = Path(".flink"), settle: float | None = None,
    idle: float | None = None,
) -> int:  # fmt: skip
    """Load what comes while it comes: every few seconds a run of pull, check, join, audit and publish over the patients it touches.

    Ctrl-C or SIGTERM ends it after the epoch at work, a second one at once; either way the next stream goes on where this one stopped.

    Example: vnsight stream --home study

    Parameters
    ----------
    epoch
        Seconds from the start of an epoch to the start of the next; while messages wait the next begins at once.
    max_messages
        Most messages an epoch takes; fewer while epochs last longer than that many seconds.
    until_idle
        End when a whole epoch brought nothing.
    engine
        epochs: in this process, nothing to start. flink: a keyed streaming job on a cluster (vnsight cluster up), supervised from here;
        an epoch is a commit then, and stopping drains the job with a savepoint.
    cluster
        With flink: the folder of the cluster.
    settle
        With flink: seconds of event time after which what came is looked at; else as [stream] of vnsight.toml says.
    idle
        With flink: seconds after which a silent partition holds the others up no more; a negative number: never (a replay of the past);
        else as [stream] says.
    """
    from flows.commands.runs import report
    from flows.lock import only_stream
    from flows.stream.epochs import Epochs, Options

    if not 0.1 <= epoch <= 86_400:
        raise UsageError(f"--epoch {epoch}: give seconds between 0.1 and 86400")
    if max_messages is not None and max_messages < 1:
        raise UsageError(f"--max-messages {max_messages}: give at least 1")
    if engine == "flink" and max_messages is not None:
        raise UsageError("--max-messages: bounds an epoch, and --engine flink has none; leave it out")
    for flag, given in (("--settle", settle), ("--idle", idle)):
        if engine == "epochs" and given is not None:
            raise UsageError(f"{flag}: is of event time, and epochs have none; add --engine flink or leave it out")
    ws = find_workspace(home)
    if engine == "flink":
        return _on_flink(ws, cluster, epoch, settle, idle, until_idle)
    with only_stream(ws), _shown() as show, asked_to_stop(_say_stopping) as stop:
        epochs = Epochs(ws, Options(epoch, max_messages, until_idle), show)
        held = epochs.run(stop)
    if held is not None:
        report(ws, held)
        return 3
    said = epochs.status
    if said.load:
        OUT.print(f"stopped after epoch {said.epoch}; {ws.window} shows load {said.load}", soft_wrap=True)
    else:
        OUT.print(f"stopped after epoch {said.epoch}; nothing came, nothing is published yet", soft_wrap=True)
    return 0


def _on_flink(
    ws: Workspace, folder: Path, commit_s: float, settle_s: float | None, idle_s: float | None, until_idle: bool,
) -> int:  # fmt: skip
    """Supervise the job of a workspace from this terminal."""
    from flows.cluster import Cluster
    from flows.commands.runs import report
    from flows.engine.job import Options
    from flows.engine.supervise import Supervisor
    from flows.lock import only_stream

    here = Cluster(folder)
    down = [m.name for m in here.status() if not m.up]
    if down:
        raise UsageError(f"the cluster in {folder} is not up ({', '.join(down)}); start it: vnsight cluster up --folder {folder}")
    with only_stream(ws), _shown() as show, asked_to_stop(_say_draining) as stop:
        options = Options.declared(ws, commit_s=commit_s, settle_s=settle_s, idle_s=idle_s, until_idle=until_idle)
        supervisor = Supervisor(ws, here, options, show)
        held = supervisor.run(stop)
    if held is not None:
        report(ws, held)
        return 3
    OUT.print(f"{supervisor.status.message}; {ws.window} shows load {supervisor.status.load or 'none yet'}", soft_wrap=True)
    return 0


def _say_stopping() -> None:
    ERR.print("stopping after this epoch; once more to stop now")


def _say_draining() -> None:
    ERR.print("stopping: the job is drained, which takes some seconds; once more to stop now and leave it running")


class _Lines:
    """A line for every epoch that brought rows or a load, and for everything that is new to say, a state that is left behind included."""

    def __init__(self) -> None:
        self.rows, self.said = 0, ("running", "")
        self.load: int | None = None

    def __call__(self, status: Status, ended: bool) -> None:
        from flows.stream.status import one_line

        rows, said = status.rows_total["read"], (status.state, status.message)
        loaded = self.load not in (None, status.load)
        news = said != self.said and (status.message or (status.state == "running" and self.said[0] != "running"))
        if (ended and (rows != self.rows or loaded)) or news:
            ERR.print(f"{status.state}: {one_line(vars(status))}", soft_wrap=True)
        if ended or self.load is None:
            self.rows, self.load = rows, status.load
        self.said = said


class _Panel:
    """A table that is drawn again with every change."""

    def __init__(self, live: Live) -> None:
        self.live = live

    def __call__(self, status: Status, _ended: bool) -> None:
        self.live.update(status_table(vars(status)), refresh=True)


def status_table(said: dict[str, Any]) -> Table:
    """A status as a table of two columns."""
    from flows.stream.status import lag_is_known

    table = Table(title=f"stream: {said['state']}", title_justify="left", box=SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    lag = {topic: n for topic, n in said["lag_messages"].items() if n}
    quiet = "nothing" if lag_is_known(said) else "unknown"
    lines = {
        "epoch": f"{said['epoch']}, load {said['load'] or 'none yet'}, by process {said['pid']}",
        "rows, last": _counts(said["rows"]),
        "rows, all": _counts(said["rows_total"]),
        "late messages": text_of(said["late"]),
        "waiting at the broker": f"{_counts(lag)} messages, newest read {said['lag_seconds']:,.0f} s old" if lag else quiet,
        "seconds": ", ".join(f"{step} {seconds:.1f}" for step, seconds in said["epoch_seconds"].items()),
        "most messages of an epoch": text_of(said["bound"]),
        "files waiting": text_of(said["waiting_files"]),
        "": said["message"],
    }
    for name, text in lines.items():
        if text:
            table.add_row(name, text)
    return table


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in numbers.items() if n) or "none"


@contextmanager
def _shown() -> Iterator[Any]:
    if not sys.stderr.isatty():
        yield _Lines()
        return
    with Live(console=ERR, auto_refresh=False) as live:
        yield _Panel(live)
