# SPDX-License-Identifier: Apache-2.0
"""`vnsight cluster up | down | status`: Kafka and Flink on this machine, for streams."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts

from flows.cluster import NAMES, Cluster, Ports
from flows.cluster.jars import SETS
from flows.terminal import ERR, OUT, print_table, watch

Which = Annotated[str, cyclopts.Parameter(name="--set")]

cluster = cyclopts.App(name="cluster", help="Start, stop and look at Kafka, Flink, Beam's job server and Python workers on this machine.")


@cluster.command
def up(*, folder: Path = Path(".flink"), which: Which = SETS[0], port: Ports | None = None) -> int:
    """Start what does not run and wait until all is ready.

    The first time 240 MB of jars are fetched with Maven. Jobs that ran when the cluster was stopped go on.

    Parameters
    ----------
    folder
        Where everything of the cluster is kept.
    which
        Versions of Flink and of Beam's runner that belong together: beam-2.70 or beam-2.62.
    port
        A port per service, all on 127.0.0.1; those of the last start by default.
    """
    here = Cluster(folder, port)
    running = [m.name for m in here.status() if m.up]
    if running:
        OUT.print(f"running already: {', '.join(running)}")
    with watch() as progress:
        if len(running) < len(NAMES):
            ERR.print("starting; logs are in " + str(here.folder / "log"), soft_wrap=True)
        for name in here.start(which=which, progress=progress):
            progress(name, 0, 1)
        here.wait_ready(progress=progress)
    OUT.print(f"ready: Kafka at {here.kafka}, Flink at {here.rest}, job server at 127.0.0.1:{here.ports.job}")
    at = "" if str(folder) == ".flink" else f" --cluster {folder}"
    OUT.print(f'Next: a [[source]] with connector = "kafka" and servers = "{here.kafka}" in vnsight.toml, then', soft_wrap=True)
    OUT.print(f"  vnsight stream --home HOME --engine flink{at}")
    return 0


@cluster.command
def down(*, folder: Path = Path(".flink"), kill: bool = False, wipe: bool = False) -> int:
    """Stop everything that runs, by process id.

    Parameters
    ----------
    folder
        The folder of the cluster.
    kill
        Do not ask first (SIGKILL instead of SIGTERM).
    wipe
        Then forget topics, jobs, checkpoints and logs; the jars stay.
    """
    here = Cluster(folder)
    stopped = here.stop(kill=kill)
    OUT.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing ran")
    if wipe:
        here.wipe()
        OUT.print(f"wiped: {here.folder / 'data'}", soft_wrap=True)
    return 0


@cluster.command
def status(*, folder: Path = Path(".flink")) -> int:
    """Show each server with its process and port; exit code 1 unless all are up.

    Parameters
    ----------
    folder
        The folder of the cluster.
    """
    members = Cluster(folder).status()
    rows = [(m.name, str(m.process.pid) if m.process and m.up else "", str(m.port), "up" if m.up else "down") for m in members]
    print_table("", ("server", "pid", "port", "state"), rows)
    return 0 if all(m.up for m in members) else 1


@cluster.command
def fetch(*, jars: Path = Path(".flink/jars"), which: Which = SETS[0]) -> int:
    """Only fetch the jars, such as for an image.

    Parameters
    ----------
    jars
        Where they are put.
    which
        The set of versions.
    """
    from flows.cluster.jars import fetch as fetch_jars

    with watch() as progress:
        fetch_jars(jars, which, progress)
    return 0


@cluster.command
def run(server: str, *, folder: Path = Path(".flink"), data: Path | None = None, jars: Path | None = None, which: Which = SETS[0]) -> int:
    """Become one server, in the foreground: what a container runs.

    The environment names the others: VNSIGHT_HOST_ZOOKEEPER, _KAFKA, _JOBMANAGER, _TASKMANAGER (this one, as the job manager calls it), and
    the address to listen on, VNSIGHT_HOST_BIND; each is 127.0.0.1 by default.

    Parameters
    ----------
    server
        zookeeper, kafka, jobmanager, taskmanager, jobserver or workers.
    folder
        Where the configuration is written.
    data
        Where lies what must last, FOLDER/data by default; job manager, task managers and job server must see the same.
    jars
        Where the jars are, FOLDER/jars by default.
    which
        The set of versions.
    """
    from flows.cluster.foreground import become

    become(server, folder, data or folder / "data", jars or folder / "jars", which)
