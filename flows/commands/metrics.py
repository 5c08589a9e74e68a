# SPDX-License-Identifier: Apache-2.0
"""`vnsight metrics`: the figures of a workspace and its stream, as Prometheus reads them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flows.commands import Home, find_workspace
from flows.terminal import ERR
from schemas.errors import UsageError

if TYPE_CHECKING:
    from flows.metrics.exposition import Family
    from schemas.workspace import Workspace


def metrics(*, home: Home = None, serve: int | None = None, cluster: Path = Path(".flink")) -> int:
    """Print what can be measured of the workspace in Prometheus' text format, or serve it until Ctrl-C.

    Example: vnsight metrics --home study --serve 9200

    Parameters
    ----------
    serve
        Serve on 127.0.0.1 at this port: /metrics for Prometheus, / is a page for people.
    cluster
        The folder of the cluster, asked about the job of a stream with engine flink.
    """
    from flows.metrics.exposition import render

    ws = find_workspace(home)
    if serve is not None and not 0 <= serve <= 65_535:
        raise UsageError(f"--serve {serve}: give a port between 1 and 65535")
    watched = _Watched(ws, cluster)
    if serve is None:
        sys.stdout.write(render(watched.families()))
        return 0
    from flows.metrics.server import make_server

    with make_server(serve, watched.families, ws.home.name) as server:
        ERR.print(f"serving http://127.0.0.1:{server.server_port}/ and /metrics; Ctrl-C ends", soft_wrap=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


class _Watched:
    """A workspace and, where its stream runs on Flink, its job."""

    def __init__(self, ws: Workspace, folder: Path) -> None:
        from flows.metrics.collect import Measured

        self.ws, self.folder, self.measured = ws, folder, Measured(ws)

    def families(self) -> list[Family]:
        """All that is known now."""
        found = self.measured.families()
        if (self.ws.home / "stream" / "job.json").exists() and (self.folder / "ports.json").exists():
            from flows.cluster import Cluster
            from flows.engine.flink import Flink
            from flows.engine.job import Remembered
            from flows.metrics.flink_job import of_job

            found += of_job(Flink(Cluster(self.folder).rest), Remembered.read(self.ws).name)
        return found
