# SPDX-License-Identifier: Apache-2.0
"""What each server of a cluster is: its command line, its configuration, its ports, and how one sees that it is ready."""

from __future__ import annotations

import os
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from uuid import uuid4

from flows.cluster.jars import DEPLOY, Jars
from flows.cluster.ports import HOST, Hosts, Ports, answers
from flows.cluster.processes import Started
from schemas.errors import VNSightError

NAMES = ("zookeeper", "kafka", "jobmanager", "taskmanager", "jobserver", "workers")  # in the order of starting
_DATA = ("zookeeper", "kafka", "checkpoints", "savepoints", "jobs")  # below data/
_TEMPLATES = {"conf/config.yaml": "flink/config.yaml", "conf/zookeeper.cfg": "flink/zookeeper.properties",
              "conf/kafka.properties": "kafka/server.properties"}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """What a command line is made of."""

    folder: Path
    """Configuration and what is thrown away."""
    data: Path
    """What must last; on several machines, what all of them see."""
    ports: Ports
    hosts: Hosts
    java: str
    jars: Jars

    def jvm(self, class_path: str, *heap: str) -> list[str]:
        """A Java call up to its main class."""
        options = (DEPLOY / "flink" / "jvm.options").read_text(encoding="utf-8").split()
        return [self.java, *heap, *options, f"-Djava.io.tmpdir={self.folder / 'tmp'}", "-cp", class_path]


@dataclass(frozen=True)
class Server:
    """One server: how it is started and how one sees that it is ready."""

    port: str
    """Name of the port it is known by."""
    command: Callable[[Setting, str], list[str]]
    """Its command line, given the tag of this start."""
    ready: Callable[[Ports, Started], bool]


def _zookeeper(at: Setting, _tag: str) -> list[str]:
    main = "org.apache.flink.shaded.zookeeper3.org.apache.zookeeper.server.ZooKeeperServerMain"
    return [*at.jvm(at.jars.flink, "-Xmx64m"), main, str(at.folder / "conf" / "zookeeper.cfg")]


def _kafka(at: Setting, _tag: str) -> list[str]:
    return [*at.jvm(at.jars.kafka, "-Xmx512m"), "kafka.Kafka", str(at.folder / "conf" / "kafka.properties")]


def _jobmanager(at: Setting, _tag: str) -> list[str]:
    main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
    metrics = f"-Dmetrics.reporter.prom.port={at.ports.jobmanager_metrics}"
    return [*at.jvm(at.jars.flink, "-Xmx512m"), main, "--configDir", str(at.folder / "conf"), metrics]


def _taskmanager(at: Setting, tag: str) -> list[str]:
    heap = ("-Xmx640m", "-XX:MaxDirectMemorySize=192m", "-XX:MaxMetaspaceSize=256m")
    main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
    own = [f"-Dmetrics.reporter.prom.port={at.ports.taskmanager_metrics}", f"-Dtaskmanager.resource-id={tag}"]
    return [*at.jvm(at.jars.flink, *heap), main, "--configDir", str(at.folder / "conf"), *own]


def _jobserver(at: Setting, _tag: str) -> list[str]:
    options = {
        "flink-master": f"{at.hosts.jobmanager}:{at.ports.rest}", "flink-conf-dir": at.folder / "conf", "job-host": at.hosts.bind,
        "job-port": at.ports.job, "artifact-port": at.ports.artifact, "expansion-port": at.ports.expansion,
        "artifacts-dir": at.data / "artifacts",
    }  # fmt: skip
    return [*at.jvm(at.jars.flink, "-Xmx512m"), "LeanJobServer", *(f"--{name}={value}" for name, value in options.items())]


def _workers(at: Setting, _tag: str) -> list[str]:
    return [sys.executable, "-m", "flows.cluster.worker_pool", str(at.ports.workers)]


def _listens(port: str) -> Callable[[Ports, Started], bool]:
    return lambda ports, _: answers(getattr(ports, port))


def _broker_answers(ports: Ports, _process: Started) -> bool:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    if not answers(ports.kafka):  # or librdkafka would complain on the terminal
        return False
    try:
        return bool(AdminClient({"bootstrap.servers": f"{HOST}:{ports.kafka}", "log_level": 0}).list_topics(timeout=2).brokers)
    except KafkaException:
        return False


def _leads(ports: Ports, _process: Started) -> bool:
    return flink(ports, "overview") is not None


def _has_registered(ports: Ports, process: Started) -> bool:
    known = flink(ports, "taskmanagers") or {}
    return any(manager["id"] == process.tag for manager in known.get("taskmanagers", ()))  # not one that died and still counts


SERVERS = {
    "zookeeper": Server("zookeeper", _zookeeper, _listens("zookeeper")),
    "kafka": Server("kafka", _kafka, _broker_answers),
    "jobmanager": Server("rest", _jobmanager, _leads),
    "taskmanager": Server("taskmanager_metrics", _taskmanager, _has_registered),
    "jobserver": Server("job", _jobserver, _listens("job")),
    "workers": Server("workers", _workers, _listens("workers")),
}


def flink(ports: Ports, path: str) -> dict[str, list[dict[str, str]]] | None:
    """What Flink's REST says at a path; none while it cannot answer."""
    import httpx

    try:
        said = httpx.get(f"http://{HOST}:{ports.rest}/{path}", timeout=5, trust_env=False)
        return dict(said.json()) if said.status_code == 200 else None
    except (httpx.TransportError, ValueError):
        return None


def environment(folder: Path) -> dict[str, str]:
    """The environment servers run in: Flink finds its configuration in it, and no proxy stands between them."""
    (folder / "plugins").mkdir(exist_ok=True)
    return os.environ | {
        "FLINK_CONF_DIR": str(folder / "conf"), "FLINK_PLUGINS_DIR": str(folder / "plugins"), "NO_PROXY": HOST, "no_proxy": HOST,
        "TZ": "UTC",
    }  # fmt: skip


def write_configuration(at: Setting) -> None:
    """Fill in the templates of `deploy/` and make the folders they name."""
    for place in (*(at.data / name for name in _DATA), at.folder / "conf", at.folder / "tmp"):
        place.mkdir(parents=True, exist_ok=True)
    values = {"folder": at.folder, "data": at.data, "bind": at.hosts.bind, **asdict(at.ports)}
    values |= {f"{name}_host": host for name, host in asdict(at.hosts).items()}
    for target, template in _TEMPLATES.items():
        text = Template((DEPLOY / template).read_text(encoding="utf-8")).substitute(values)
        (at.folder / target).write_text(text, encoding="utf-8")


def format_kafka(at: Setting) -> None:
    """Give an empty Kafka folder its identity, once; `VNSightError` when the tool fails."""
    if (at.data / "kafka" / "meta.properties").exists():
        return
    identity = urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
    tool = [*at.jvm(at.jars.kafka, "-Xmx128m"), "kafka.tools.StorageTool", "format", f"--cluster-id={identity}", "-c"]
    # with a space between, an identity that begins with a hyphen (one in 64) would be taken for an option
    ran = subprocess.run([*tool, str(at.folder / "conf" / "kafka.properties")], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise VNSightError(f"the folder of Kafka could not be prepared: {(ran.stdout + ran.stderr).strip().splitlines()[-1]}")
