# SPDX-License-Identifier: Apache-2.0
"""What `deploy/` says of containers: nothing of it can run here, so every name in it is held against the thing it names."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from flows.cli import app
from flows.cluster import NAMES, Ports
from flows.cluster.ports import Hosts
from tests.test_architecture import HOUSE

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PORTS = vars(Ports())
COMPOSE = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
MANIFESTS = sorted(p for p in (DEPLOY / "kubernetes").glob("*.yaml") if p.name != "kustomization.yaml")
OBJECTS = [o for p in MANIFESTS for o in yaml.safe_load_all(p.read_text())]
WORKLOADS = {o["metadata"]["name"]: o for o in OBJECTS if o["kind"] in ("Deployment", "StatefulSet")}
CONTAINERS = [(c, w["spec"]["template"]["spec"]) for w in WORKLOADS.values() for c in w["spec"]["template"]["spec"]["containers"]]


def named(kind: str) -> dict[str, dict]:
    return {o["metadata"]["name"]: o for o in OBJECTS if o["kind"] == kind}


def check_call(tokens: list[str]) -> str:
    """The server a container becomes, or the command it runs; fails unless the command line would take it."""
    app.parse_args(tokens, exit_on_error=False, print_error=False)
    assert "--jars" not in tokens or tokens[tokens.index("--jars") + 1] == "/opt/jars"
    return tokens[2] if tokens[:2] == ["cluster", "run"] else tokens[0]


def probed(text: object) -> set[int]:
    """Ports that a check of health knocks at."""
    return {int(p) for p in re.findall(r"127\.0\.0\.1(?:', |:)(\d+)", str(text))}


# compose


def test_compose_runs_every_server_and_the_committer():
    called = {name: check_call(service["command"]) for name, service in COMPOSE["services"].items()}
    assert set(called.values()) == {*NAMES, "stream"}
    assert {name for name in called if name in NAMES} == set(NAMES) - {"workers"}
    assert all(called[name] == name for name in set(NAMES) - {"workers"})


def test_compose_names_only_what_there_is():
    services, volumes = COMPOSE["services"], set(COMPOSE["volumes"])
    used = {v.split(":")[0] for s in services.values() for v in s.get("volumes", ()) if not v.startswith("$")}
    assert used == volumes
    assert {d for s in services.values() for d in s.get("depends_on", {})} <= set(services)
    hosts = COMPOSE["x-server"]["environment"]
    assert set(hosts) == {f"VNSIGHT_HOST_{name.upper()}" for name in vars(Hosts())}
    assert {v for k, v in hosts.items() if k != "VNSIGHT_HOST_BIND"} <= set(services)
    assert {s["image"] for s in services.values()} == {"vnsight"}


def test_whoever_shares_state_sees_one_volume_in_one_place():
    for name in ("jobmanager", "taskmanager", "jobserver", "committer"):
        assert "flink:/cluster/data" in COMPOSE["services"][name]["volumes"]
    places = {v.rpartition(":")[2] for n in ("worker", "committer") for v in COMPOSE["services"][n]["volumes"] if "WORKSPACE" in v}
    assert places == {"/workspace"}
    assert "/workspace" in COMPOSE["services"]["committer"]["command"]
    assert COMPOSE["services"]["worker"]["network_mode"] == "service:taskmanager"


@pytest.mark.parametrize(("name", "port"), [("zookeeper", "zookeeper"), ("kafka", "kafka"), ("jobmanager", "rest"), ("jobserver", "job")])
def test_health_is_asked_at_the_port_of_the_server(name: str, port: str):
    assert probed(COMPOSE["services"][name]["healthcheck"]["test"]) == {PORTS[port]}


def test_compose_publishes_nothing_beyond_this_machine():
    published = [p for s in COMPOSE["services"].values() for p in s.get("ports", ())]
    assert published == [f"127.0.0.1:{PORTS['rest']}:{PORTS['rest']}"]


def test_docker_compose_takes_the_file():
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    call = [docker, "compose", "-f", str(DEPLOY / "docker-compose.yml"), "config", "--quiet"]
    told = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")


# Kubernetes


def test_kubernetes_runs_every_server_but_kafka_and_the_committer():
    assert {check_call(c["args"]) for c, _ in CONTAINERS} == {*NAMES, "stream"} - {"kafka"}
    assert {c["image"] for c, _ in CONTAINERS} == {"vnsight"}


def test_every_manifest_is_applied():
    kustomization = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    assert sorted(kustomization["resources"]) == [p.name for p in MANIFESTS]
    assert [i["name"] for i in kustomization["images"]] == ["vnsight"]
    assert kustomization["namespace"] in named("Namespace")


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_selects_its_own_pods(name: str):
    spec = WORKLOADS[name]["spec"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert spec["template"]["metadata"]["labels"]["app.kubernetes.io/part-of"] == "vnsight"  # or the network policy shuts it out
    if spec["replicas"] == 1 and WORKLOADS[name]["kind"] == "Deployment" and name in ("jobmanager", "committer"):
        assert spec["strategy"] == {"type": "Recreate"}  # never two at a time


@pytest.mark.parametrize("name", named("Service"))
def test_a_service_leads_to_ports_that_somebody_serves(name: str):
    service = named("Service")[name]["spec"]
    pods = [w["spec"]["template"] for w in WORKLOADS.values()]
    found = [p for p in pods if service["selector"].items() <= p["metadata"]["labels"].items()]
    assert len(found) == 1
    served = {p["name"]: p["containerPort"] for c in found[0]["spec"]["containers"] for p in c.get("ports", ())}
    for port in service["ports"]:
        assert served[port["targetPort"]] == port["port"]


def test_ports_are_those_the_servers_take():
    ports = {(c["name"], p["name"]): p["containerPort"] for c, _ in CONTAINERS for p in c.get("ports", ())}
    assert ports == {
        ("zookeeper", "client"): PORTS["zookeeper"],
        ("jobmanager", "rest"): PORTS["rest"],
        ("jobmanager", "rpc"): PORTS["rpc"],
        ("jobmanager", "blob"): PORTS["blob"],
        ("jobmanager", "metrics"): PORTS["jobmanager_metrics"],
        ("taskmanager", "metrics"): PORTS["taskmanager_metrics"],
        ("jobserver", "job"): PORTS["job"],
        ("jobserver", "artifact"): PORTS["artifact"],
    }
    assert {p for c, _ in CONTAINERS for p in probed(c.get("livenessProbe"))} == {PORTS["workers"]}


def test_volumes_and_settings_that_are_mounted_exist():
    claims, settings = named("PersistentVolumeClaim"), named("ConfigMap")
    for container, pod in CONTAINERS:
        volumes = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in pod.get("volumes", ())}
        assert set(volumes.values()) <= set(claims)
        templates = {t["metadata"]["name"] for w in WORKLOADS.values() for t in w["spec"].get("volumeClaimTemplates", ())}
        assert {m["name"] for m in container["volumeMounts"]} <= set(volumes) | templates
        assert {m["mountPath"] for m in container["volumeMounts"]} <= {"/cluster/data", "/workspace"}
        assert {e["configMapRef"]["name"] for e in container["envFrom"]} <= set(settings)
    assert set(settings["hosts"]["data"]) <= {f"VNSIGHT_HOST_{name.upper()}" for name in vars(Hosts())}
    assert {v for k, v in settings["hosts"]["data"].items() if k != "VNSIGHT_HOST_BIND"} <= set(named("Service"))


def test_no_container_may_more_than_it_must():
    for container, pod in CONTAINERS:
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.name)
def test_kubernetes_takes_the_manifest(path: Path):
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for manifest in yaml.safe_load_all(path.read_text()):
        validator.validate(manifest, validator.latest_version(), strict=True)


# the image


def test_the_image_holds_what_it_needs():
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    copied = set(re.findall(r"^COPY (\w+) \1$", dockerfile, re.M))
    assert copied == {*HOUSE, "deploy"}
    let_in = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    named_files = set(re.findall(r"^COPY (.+) \./$", dockerfile, re.M)[0].split())
    assert let_in == copied | named_files
    assert all((ROOT / name).exists() for name in let_in)
    assert check_call(re.findall(r"^RUN vnsight (.+)$", dockerfile, re.M)[0].split()) == "cluster"
    user = int(re.findall(r"--uid (\d+)", dockerfile)[0])
    assert {pod["securityContext"]["runAsUser"] for _, pod in CONTAINERS} == {user}
