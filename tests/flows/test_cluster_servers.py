# SPDX-License-Identifier: Apache-2.0
"""Servers known by pid and birth: with `sleep` in the place of Kafka and Flink here, the real ones in `tests/cluster/test_servers.py`."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from flows.cluster import NAMES, Cluster, Ports, jars, processes
from flows.cluster import cluster as module
from flows.cluster.ports import HOST, Hosts
from flows.cluster.processes import Started
from flows.cluster.servers import Server, Setting, write_configuration
from schemas.errors import UsageError, VNSightError
from tests.flows.conftest import vnsight

STUBBORN = "trap '' TERM; echo on; while :; do sleep 0.1; done"


def launch(tmp_path: Path, *command: str) -> Started:
    return processes.start(command, tmp_path / "log", env=os.environ, cwd=tmp_path)


def await_(condition, seconds=10.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "did not come true"
        time.sleep(0.02)


def exists(pid: int) -> bool:
    return processes.birth(pid) is not None


@pytest.fixture
def sleeper(tmp_path: Path):
    started = launch(tmp_path, "sleep", "60")
    yield started
    processes.end(started, kill=True)


@pytest.fixture
def dummy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A cluster whose servers are all `sleep`."""
    command = ["sh", "-c", "sleep 60 & wait"]
    monkeypatch.setattr(module, "SERVERS", {n: Server(s.port, lambda *_: command, lambda *_: True) for n, s in module.SERVERS.items()})
    monkeypatch.setattr(module, "format_kafka", lambda _: None)
    monkeypatch.setattr(Cluster, "_setting", lambda self, *_: (self.ports.write(self._ports_file), None)[1])
    cluster = Cluster(tmp_path / "flink", Ports.free())
    yield cluster
    cluster.stop(kill=True)


# a process


def test_a_process_lives_until_it_is_ended(sleeper: Started):
    assert sleeper.alive()
    processes.end(sleeper)
    assert not sleeper.alive()
    processes.end(sleeper)  # a second time is fine


def test_a_process_that_ended_by_itself_is_noticed(tmp_path: Path):
    short = launch(tmp_path, "true")
    await_(lambda: not short.alive())


def test_a_kill_from_outside_is_noticed(sleeper: Started):
    os.kill(sleeper.pid, signal.SIGKILL)
    await_(lambda: not sleeper.alive())


def test_a_pid_that_another_process_has_now_is_never_signalled(sleeper: Started):
    recorded_before = replace(sleeper, born="another boot 17")
    assert not recorded_before.alive()
    assert recorded_before.group() == []
    processes.end(recorded_before, kill=True)
    assert sleeper.alive()


def test_two_processes_are_never_born_alike(tmp_path: Path):
    births = []
    for _ in range(3):
        started = launch(tmp_path, "sleep", "60")
        births.append((started.pid, started.born))
        processes.end(started, kill=True)
    assert len(set(births)) == 3


def test_births_told_by_ps_agree_with_themselves(sleeper: Started):
    assert processes._birth_by_ps(sleeper.pid) == processes._birth_by_ps(sleeper.pid) is not None
    processes.end(sleeper, kill=True)
    assert processes._birth_by_ps(sleeper.pid) is None


def test_who_does_not_listen_to_sigterm_is_killed(tmp_path: Path):
    stubborn = launch(tmp_path, "sh", "-c", STUBBORN)
    await_(lambda: (tmp_path / "log").read_text() == "on\n")
    processes.end(stubborn, grace_s=0.3)
    assert not stubborn.alive()


def test_what_a_process_started_ends_with_it(tmp_path: Path):
    parent = launch(tmp_path, "sh", "-c", f'sh -c "{STUBBORN}" & wait')
    await_(lambda: (tmp_path / "log").read_text() == "on\n")
    children = parent.group()
    assert children
    processes.end(parent, grace_s=0.3)
    await_(lambda: not any(exists(pid) for pid in children))


def test_a_process_is_remembered_across_processes(tmp_path: Path, sleeper: Started):
    processes.write(sleeper, tmp_path / "x.pid")
    code = "import sys; from pathlib import Path; from flows.cluster import processes as p; print(p.read(Path(sys.argv[1])).alive())"
    call = [sys.executable, "-c", code, str(tmp_path / "x.pid")]
    told = subprocess.run(call, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(jars.DEPLOY.parent)})
    assert told.stdout == "True\n"


@pytest.mark.parametrize("text", ["", "{", "17", '{"pid": 17}', '{"pid": 17, "born": "x", "more": 1}'])
def test_a_torn_record_speaks_of_no_process(tmp_path: Path, text: str):
    (tmp_path / "x.pid").write_text(text)
    assert processes.read(tmp_path / "x.pid") is None


# a cluster


def test_starting_twice_starts_once(dummy: Cluster):
    assert dummy.start() == list(NAMES)
    pids = [m.process.pid for m in dummy.status()]
    assert dummy.start() == []
    assert [m.process.pid for m in dummy.status()] == pids
    dummy.wait_ready()


def test_only_what_is_missing_is_started(dummy: Cluster):
    dummy.start()
    kept = {m.name: m.process for m in dummy.status() if m.name != "kafka"}
    os.kill(next(m.process.pid for m in dummy.status() if m.name == "kafka"), signal.SIGKILL)
    await_(lambda: [m.name for m in dummy.status() if not m.up] == ["kafka"])
    with pytest.raises(VNSightError, match=r"kafka ended; its log is .*kafka\.log"):
        dummy.wait_ready()
    assert dummy.start() == ["kafka"]
    assert {m.name: m.process for m in dummy.status() if m.name != "kafka"} == kept


def test_a_server_that_ended_by_itself_is_raised_but_not_one_that_was_stopped(dummy: Cluster, monkeypatch: pytest.MonkeyPatch):
    assert dummy.raise_fallen() == []  # nothing was ever started
    dummy.start()
    dummy.stop("jobserver")
    os.kill(next(m.process.pid for m in dummy.status() if m.name == "taskmanager"), signal.SIGKILL)
    await_(lambda: [m.name for m in dummy.status() if m.fallen] == ["taskmanager"])
    assert dummy.raise_fallen() == []  # it was started a moment ago: not over and over
    monkeypatch.setattr(module, "_TRY_AGAIN_S", 0.0)
    assert dummy.raise_fallen() == ["taskmanager"]
    assert [m.name for m in dummy.status() if not m.up] == ["jobserver"]
    assert dummy.raise_fallen() == []


def test_a_server_is_raised_with_the_jars_it_was_started_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    used: list[str] = []
    monkeypatch.setattr(module.jars, "require_java", lambda: "java")
    monkeypatch.setattr(module.jars, "fetch", lambda _folder, which, _progress: used.append(which))
    monkeypatch.setattr(module, "write_configuration", lambda _: None)
    monkeypatch.setattr(module, "SERVERS", {n: Server(s.port, lambda *_: ["true"], s.ready) for n, s in module.SERVERS.items()})
    monkeypatch.setattr(module, "_TRY_AGAIN_S", 0.0)
    cluster = Cluster(tmp_path / "flink", Ports.free())
    cluster.start("zookeeper", which=jars.SETS[-1])
    await_(lambda: cluster.status()[0].fallen)
    assert cluster.raise_fallen() == ["zookeeper"]
    assert used == [jars.SETS[-1]] * 2
    cluster.stop(kill=True)


@pytest.mark.parametrize("kill", [False, True])
def test_one_server_is_stopped_and_started_again(dummy: Cluster, kill: bool):
    dummy.start()
    before = {m.name: m.process for m in dummy.status()}
    dummy.restart("taskmanager", kill=kill)
    after = {m.name: m.process for m in dummy.status()}
    assert {n for n in NAMES if before[n] != after[n]} == {"taskmanager"}
    assert all(m.up for m in dummy.status())
    assert not before["taskmanager"].alive()


def test_everything_stops_last_started_first_with_its_children(dummy: Cluster):
    dummy.start()
    await_(lambda: dummy.children("workers"))
    pids = [pid for name in NAMES for pid in dummy.children(name)]
    assert dummy.stop() == list(reversed(NAMES))
    assert dummy.stop() == []
    await_(lambda: not any(exists(pid) for pid in pids))
    assert not list((dummy.folder / "run").glob("*.pid"))


def test_two_clusters_do_not_know_each_other(dummy: Cluster, tmp_path: Path):
    other = Cluster(tmp_path / "other", Ports.free())
    try:
        dummy.start()
        other.start("kafka")
        dummy.stop()
        assert [m.name for m in other.status() if m.up] == ["kafka"]
    finally:
        other.stop(kill=True)


def test_a_cluster_keeps_its_ports(dummy: Cluster):
    dummy.start("kafka")
    assert Cluster(dummy.folder).ports == dummy.ports
    with pytest.raises(UsageError, match="runs on other ports; stop it first"):
        Cluster(dummy.folder, Ports.free())
    dummy.stop()
    others = Ports.free()
    assert Cluster(dummy.folder, others).ports == others


def test_a_port_that_somebody_else_has_is_named(dummy: Cluster):
    told = rf"kafka: another program listens on port {dummy.ports.kafka}"
    with socket.create_server((HOST, dummy.ports.kafka)), pytest.raises(UsageError, match=told):
        dummy.start()


def test_data_are_not_wiped_below_a_running_server(dummy: Cluster):
    dummy.start("kafka")
    with pytest.raises(UsageError, match="kafka still run"):
        dummy.wipe()
    dummy.stop()
    (dummy.folder / "jars").mkdir()
    dummy.wipe()
    assert sorted(p.name for p in dummy.folder.iterdir()) == ["jars", "ports.json"]


def test_a_large_log_is_put_aside(dummy: Cluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_LARGE_LOG", 3)
    (dummy.folder / "log").mkdir(parents=True)
    (dummy.folder / "log" / "kafka.log").write_text("much")
    dummy.start("kafka")
    assert (dummy.folder / "log" / "kafka.log.1").read_text() == "much"


@pytest.mark.parametrize("call", [Cluster.start, Cluster.stop, Cluster.restart, Cluster.wait_ready, Cluster.children])
def test_an_unknown_name_is_refused(dummy: Cluster, call):
    with pytest.raises(UsageError, match="kafak: is no server of the cluster; choose of zookeeper, kafka"):
        call(dummy, "kafak")


def test_a_server_that_does_not_come_is_named(dummy: Cluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(module.SERVERS, "kafka", replace(module.SERVERS["kafka"], ready=lambda *_: False))
    dummy.start("kafka")
    with pytest.raises(VNSightError, match=r"kafka is not ready after 0 s; its log is"):
        dummy.wait_ready("kafka", timeout_s=0)


def test_the_youngest_completed_checkpoint_is_found(dummy: Cluster):
    for number, job in enumerate(("a", "b", "a")):
        checkpoint = dummy.folder / "data" / "checkpoints" / job / f"chk-{number}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "_metadata").touch()
        os.utime(checkpoint / "_metadata", (number, number))
    (dummy.folder / "data" / "checkpoints" / "a" / "chk-9").mkdir()  # not completed
    assert dummy.latest_checkpoint().name == "chk-2"
    assert dummy.latest_checkpoint("b").name == "chk-1"
    assert dummy.latest_checkpoint("c") is None
    assert f"--savepoint_path={dummy.latest_checkpoint()}" in dummy.beam_arguments(resume=dummy.latest_checkpoint())


# ports, configuration, jars


def test_free_ports_differ():
    ports = vars(Ports.free())
    assert len(set(ports.values())) == len(ports)


def test_unreadable_ports_are_named(tmp_path: Path):
    (tmp_path / "ports.json").write_text('{"kafkka": 1}')
    with pytest.raises(UsageError, match=r"ports\.json: names no ports of a cluster .*kafkka"):
        Cluster(tmp_path)


def configured(tmp_path: Path, hosts: Hosts = Hosts()) -> tuple[Setting, dict, str, str]:  # noqa: B008
    at = Setting(tmp_path, tmp_path / "data", Ports.free(), hosts, "java", jars.Jars(tmp_path / "jars"))
    write_configuration(at)
    texts = [(tmp_path / "conf" / n).read_text() for n in ("config.yaml", "kafka.properties", "zookeeper.cfg")]
    return at, yaml.safe_load(texts[0]), texts[1], texts[2]


def test_everything_listens_on_loopback(tmp_path: Path):
    at, flink, kafka, zookeeper = configured(tmp_path)
    assert flink["jobmanager"]["bind-host"] == flink["taskmanager"]["bind-host"] == flink["rest"]["bind-address"] == HOST
    assert flink["metrics"]["reporter"]["prom"]["host"] == HOST
    assert f"listeners=PLAINTEXT://{HOST}:{at.ports.kafka},CONTROLLER://{HOST}:{at.ports.kafka_controller}" in kafka
    assert f"clientPortAddress={HOST}" in zookeeper
    assert all(h == HOST for h in vars(Hosts()).values())


def test_a_container_listens_everywhere_and_calls_by_name(tmp_path: Path):
    names = Hosts(bind="0.0.0.0", zookeeper="zoo", kafka="broker", jobmanager="jm", taskmanager="10.1.2.3")
    at, flink, kafka, zookeeper = configured(tmp_path, names)
    assert (flink["jobmanager"]["bind-host"], flink["rest"]["bind-address"]) == ("0.0.0.0", "0.0.0.0")
    assert (flink["jobmanager"]["rpc"]["address"], flink["taskmanager"]["host"]) == ("jm", "10.1.2.3")
    assert flink["high-availability"]["zookeeper"]["quorum"] == f"zoo:{at.ports.zookeeper}"
    assert f"advertised.listeners=PLAINTEXT://broker:{at.ports.kafka}" in kafka
    assert HOST not in kafka + zookeeper + (tmp_path / "conf" / "config.yaml").read_text()


def test_a_job_survives_by_the_configuration(tmp_path: Path):
    _, flink, kafka, _ = configured(tmp_path)
    assert flink["state"]["backend"] == {"type": "rocksdb", "incremental": True}
    assert flink["execution"]["checkpointing"]["externalized-checkpoint-retention"] == "RETAIN_ON_CANCELLATION"
    assert flink["restart-strategy"]["fixed-delay"]["attempts"] > 1000
    assert flink["high-availability"]["type"] == "zookeeper"
    assert flink["state"]["savepoints"]["dir"] == f"file://{tmp_path / 'data' / 'savepoints'}"
    assert "log.retention.ms=-1" in kafka  # records of years ago stay


def test_the_pom_knows_every_set():
    pom = (jars.DEPLOY / "flink" / "pom.xml").read_text()
    assert re.findall(r"<value>(beam-[\d.]+)</value>", pom) == list(jars.SETS[1:])
    assert f"the set {jars.SETS[0]}" in pom


def test_an_unknown_set_is_refused_before_anything_happens(dummy: Cluster):
    with pytest.raises(UsageError, match=r"beam-1: is no set of jars; choose one of beam-2\.70"):
        dummy.start(which="beam-1")
    assert not any(m.up for m in dummy.status())


def test_missing_programs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="java was not found on the PATH; install a JDK"):
        jars.require_java()
    with pytest.raises(UsageError, match="mvn was not found on the PATH; install Maven"):
        jars.fetch(tmp_path / "jars")


def test_an_old_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(UsageError, match="java is 11, too old for Kafka"):
        jars.require_java()


def test_jars_are_made_once_and_again_when_their_pom_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    deploy, calls = tmp_path / "deploy", []
    for part in ("kafka", "flink"):
        (deploy / part / "java").mkdir(parents=True)
        (deploy / part / "pom.xml").write_text(part)
    monkeypatch.setattr(jars, "DEPLOY", deploy)
    monkeypatch.setattr(jars, "_copy", lambda pom, which, to: calls.append(pom.parent.name))
    monkeypatch.setattr(jars, "_compile", lambda _jars, to: calls.append("classes"))
    jars.fetch(tmp_path / "jars")
    assert calls == ["kafka", "flink", "classes"]
    jars.fetch(tmp_path / "jars")
    assert calls == ["kafka", "flink", "classes"]
    (deploy / "flink" / "pom.xml").write_text("newer")
    jars.fetch(tmp_path / "jars")
    assert calls[3:] == ["flink", "classes"]


def test_a_failing_maven_says_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for program in ("mvn", "javac"):
        (tmp_path / program).write_text("#!/bin/sh\necho '[ERROR] no such jar'\nexit 1\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(VNSightError, match=r"Maven could not fetch the jars: \[ERROR\] no such jar"):
        jars.fetch(tmp_path / "jars")


def test_containers_name_each_other_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert Hosts.of_environment() == Hosts()
    for name in ("JOBMANAGER", "JOBSERVER", "KAFKA"):
        monkeypatch.setenv(f"VNSIGHT_HOST_{name}", name.lower())
    remote = Cluster(tmp_path, Ports())
    assert (remote.rest, remote.kafka) == ("http://jobmanager:8081", "kafka:9092")
    assert {"--job_endpoint=jobserver:8099", "--artifact_endpoint=jobserver:8098", "--environment_config=127.0.0.1:50000"} <= set(
        remote.beam_arguments()
    )


# the command


def test_the_command_tells_what_is_not_there(tmp_path: Path):
    assert vnsight("cluster", "status", "--folder", tmp_path / "none", code=1).count("down") == len(NAMES)
    assert "nothing ran" in vnsight("cluster", "down", "--folder", tmp_path / "none")
    assert "is no set of jars" in vnsight("cluster", "up", "--folder", tmp_path / "none", "--set", "x", code=2)
    assert "is no server" in vnsight("cluster", "run", "kafak", "--folder", tmp_path / "none", code=2)
