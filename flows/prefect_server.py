# SPDX-License-Identifier: Apache-2.0
"""A Prefect server for the time of one run, so that `vnsight run` needs nothing to be started.

Prefect would start one by itself, but that one outlives a killed run, writes tracebacks on the terminal when it ends, and keeps its
database in the user's home. This one ends with its parent, logs into `reports/`, and keeps the history of a workspace in the workspace.
Where PREFECT_API_URL names a server, that one is used.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from schemas.errors import VNSightError
from schemas.workspace import Workspace

STARTUP_S = 120.0  # a cold machine takes 20 s, a busy one longer
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the run's own lines say what matters; the log of the flow run has the rest
    "PREFECT_LOGGING_HANDLERS_DEBUG_LEVEL": "CRITICAL",
    "PREFECT_CLI_PROMPT": "false",
}


@contextmanager
def server_for(ws: Workspace) -> Iterator[Callable[[], None]]:
    """Point Prefect at a server, in the environment, for the time of the block. To be entered before Prefect is imported.

    Gives a call that waits until the server answers: what comes before it is done while the server starts.
    """
    quiet = QUIET | {"NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1")))}
    if os.environ.get("PREFECT_API_URL"):
        with _environment(quiet):
            yield lambda: None
        return
    with _free_port() as port:
        url = f"http://127.0.0.1:{port}/api"
    own = {
        **quiet,
        "PREFECT_HOME": str(ws.home / ".prefect"),
        "PREFECT_API_URL": url,
        "PREFECT_PROFILES_PATH": str(ws.home / ".prefect" / "profiles.toml"),
    }
    log = ws.home / "reports" / "prefect-server.log"
    log.parent.mkdir(exist_ok=True)
    with _environment(own), log.open("wb") as stream:
        server = subprocess.Popen([sys.executable, "-m", __name__, str(port)], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        try:
            yield lambda: _await(server, url, log)
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _free_port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


def _await(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + STARTUP_S
    while time.monotonic() < until:
        if server.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/health", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise VNSightError(f"the local Prefect server did not start (its log: {log}); run again, or without Prefect: vnsight run --direct")


def _end_with(parent: int) -> None:
    """Leave when the parent is gone, however it went: a killed run must not leave a server behind."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def main(port: int) -> None:
    """Serve Prefect's API on 127.0.0.1 until the parent process ends."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app

    uvicorn.run(create_app(ephemeral=True, final=True), host="127.0.0.1", port=port, log_level="error", lifespan="on")


if __name__ == "__main__":
    main(int(sys.argv[1]))
