# SPDX-License-Identifier: Apache-2.0
"""Starts a Python worker when Flink asks for one: `python -m flows.cluster.worker_pool PORT`.

Beam's own pool would do, but for three things: it listens on every network of the machine, it starts whatever `python` comes first on the
PATH, and it never reads the output of its workers, so that one which prints much stands still when the pipe is full.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance

_STATE_CACHE_BYTES = 64 << 20  # what a key's state was, so that not every bundle asks Flink again; Beam's own workers have 100 MB
_WORKER = """
import logging, sys
logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
from apache_beam.runners.worker.sdk_worker import SdkHarness
SdkHarness(sys.argv[1], worker_id=sys.argv[2], state_cache_size=int(sys.argv[3])).run()
"""


class WorkerPool(BeamFnExternalWorkerPoolServicer):  # type: ignore[misc]
    """A process per worker; what it prints goes where the pool's output goes."""

    def __init__(self) -> None:
        super().__init__(use_process=True)

    def StartWorker(self, request: Any, _context: Any) -> Any:  # noqa: N802 - the name of the remote call
        """Start a worker that reports at the given control endpoint."""
        command = [sys.executable, "-c", _WORKER, request.control_endpoint.url, request.worker_id, str(_STATE_CACHE_BYTES)]
        self._worker_processes[request.worker_id] = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        return beam_fn_api_pb2.StartWorkerResponse()


def main(port: int) -> None:
    """Serve on 127.0.0.1 until the process is ended."""
    server = grpc.server(shared_unbounded_instance())
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(WorkerPool(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(int(sys.argv[1]))
