# SPDX-License-Identifier: Apache-2.0
"""The ports of a cluster, the file in its folder that remembers them, and the hosts of its servers: all on 127.0.0.1 by default."""

from __future__ import annotations

import json
import os
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
    """Clients of ZooKeeper."""
    kafka: int = 9092
    """Clients of Kafka."""
    kafka_controller: int = 9093
    """Kafka with itself."""
    rest: int = 8081
    """Flink's pages and REST."""
    rpc: int = 6123
    """Flink's job manager with task managers."""
    blob: int = 6124
    """What Flink's job manager hands to task managers."""
    jobmanager_metrics: int = 9249
    """Prometheus metrics of the job manager."""
    taskmanager_metrics: int = 9250
    """Prometheus metrics of the task manager."""
    job: int = 8099
    """Beam's job server."""
    artifact: int = 8098
    """What Beam's job server stages."""
    expansion: int = 8097
    """Beam's expansion service."""
    workers: int = 50000
    """The pool of Python workers."""

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


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """Where the servers find each other, and we them."""

    bind: str = HOST
    """The address that servers listen on; 0.0.0.0 in a container."""
    zookeeper: str = HOST
    """Name of ZooKeeper's machine."""
    kafka: str = HOST
    """Name of Kafka's machine."""
    jobmanager: str = HOST
    """Name of the job manager's machine."""
    taskmanager: str = HOST
    """Name under which the job manager calls this task manager."""
    jobserver: str = HOST
    """Name of the machine of Beam's job server."""

    @classmethod
    def of_environment(cls) -> Hosts:
        """What VNSIGHT_HOST_BIND, VNSIGHT_HOST_JOBMANAGER and so on say, as containers set them; 127.0.0.1 where they say nothing."""
        return cls(**{f.name: os.environ.get(f"VNSIGHT_HOST_{f.name.upper()}", HOST) for f in fields(cls)})


def answers(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
