# SPDX-License-Identifier: Apache-2.0
"""A Prefect server and worker of one's own, for tests of deployments."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[1]
PREFECT = [sys.executable, "-m", "prefect"]


@dataclass
class Cluster:
    """A server and a worker below one folder, ended by their own process ids."""

    folder: Path
    env: dict[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str, *arguments: str) -> None:
        log = (self.folder / f"{name}.log").open("wb")
        # from Popen and not from a shell's &, or a worker would ignore SIGTERM
        self.running.append(subprocess.Popen([*PREFECT, *arguments], cwd=self.folder, env=self.env, stdout=log, stderr=log))
        log.close()

    def call(self, *arguments: str) -> str:
        call = [*PREFECT, *arguments]
        done = subprocess.run(call, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def post(self, path: str, body: dict[str, object]) -> list[dict[str, object]]:
        for _ in range(10):
            answer = httpx.post(f"{self.env['PREFECT_API_URL']}{path}", json=body, timeout=30, trust_env=False)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:  # its database is busy
                break
            time.sleep(1)
        return answer.raise_for_status().json()

    def await_health(self) -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                if httpx.get(f"{self.env['PREFECT_API_URL']}/health", timeout=5, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.5)
        pytest.fail((self.folder / "server.log").read_text())

    def stop(self) -> None:
        for process in reversed(self.running):
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def started(tmp_path: Path, home: Path) -> Iterator[Cluster]:
    """A server that answers, for a workspace; the worker is started by the test."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    env = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | {
        "PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "NO_PROXY": "127.0.0.1",
        "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_WORKER_QUERY_SECONDS": "2",
        "VNSIGHT_HOME": str(home), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    cluster = Cluster(tmp_path, env)
    try:
        cluster.start("server", "server", "start", "--host", "127.0.0.1", "--port", port)
        cluster.await_health()
        yield cluster
    finally:
        cluster.stop()
