# SPDX-License-Identifier: Apache-2.0
"""The ports of a cluster, all on 127.0.0.1, and where a cluster's folder remembers them."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from schemas.errors import UsageError

HOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """A port per service."""

    zookeeper: int = 2181
    kafka: int = 9092
    kafka_controller: int = 9093
    rest: int = 8081
    """Flink's pages and REST."""
    rpc: int = 6123
    blob: int = 6124
    jobmanager_metrics: int = 9249
    taskmanager_metrics: int = 9250
    job: int = 8099
    """Beam's job server."""
    artifact: int = 8098
    expansion: int = 8097
    workers: int = 50000

    @classmethod
    def free(cls) -> Ports:
        """Ports that nobody listens on just now, all different."""
        with ExitStack() as stack:
            probes = {f.name: stack.enter_context(socket.socket()) for f in fields(cls)}
            for probe in probes.values():
                probe.bind((HOST, 0))
            return cls(**{name: probe.getsockname()[1] for name, probe in probes.items()})

    @classmethod
    def read(cls, path: Path) -> Ports | None:
        """The ports written to a file; none where there is no file, `UsageError` where it cannot be read."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path}: names no ports of a cluster ({error}); remove it, the usual ports are taken then") from error

    def write(self, path: Path) -> None:
        """Remember the ports in a file."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def answers(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
