# SPDX-License-Identifier: Apache-2.0
"""`vnsight metrics`: text that Prometheus' own parser reads, with the figures that lie in the workspace."""

import json
import threading
import urllib.error
import urllib.request
from pathlib import Path

import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows.lock import only_stream
from flows.metrics.collect import Measured
from flows.metrics.exposition import Family, Sample, by_label, counter, gauge, render
from flows.metrics.server import make_server
from flows.stream.status import Status
from schemas.errors import UsageError, VNSightError
from schemas.workspace import Workspace, open_workspace
from tests.flows.conftest import vnsight
from warehouse.sql import query

NASTY = 'a "quoted" \\ back\\nslash\nand a line'


def read(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Name -> values of the labels -> value, as Prometheus reads it; every family has its help and its type."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation.endswith("."), family.name
        assert family.type in ("gauge", "counter"), family.name
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_labels_and_helps_survive_whatever_is_in_them():
    samples = Sample(1.5, {"topic": NASTY, "bin": "ü"}), Sample(float("inf"), {"topic": "", "bin": ""})
    (family,) = text_string_to_metric_families(render([Family("vnsight_x", "gauge", f"{NASTY}.", samples)]))
    assert family.documentation == f"{NASTY}."
    assert [(s.labels["topic"], s.labels["bin"], s.value) for s in family.samples] == [(NASTY, "ü", 1.5), ("", "", float("inf"))]


@pytest.mark.parametrize(("value", "text"), [(3, "3"), (3.0, "3"), (0.1, "0.1"), (1795408841.4, "1795408841.4"), (float("nan"), "NaN")])
def test_numbers(value, text):
    assert render([gauge("vnsight_x", "X.", value)]).splitlines()[-1] == f"vnsight_x {text}"


def test_what_is_not_known_is_not_there():
    assert render([gauge("vnsight_x", "X.", None), by_label("gauge", "vnsight_y", "Y.", "topic", {})]) == ""


@pytest.mark.parametrize(("make", "name"), [(counter, "vnsight_x"), (gauge, "vnsight_x_total"), (gauge, "x y")])
def test_a_name_against_the_conventions_is_a_fault_of_ours(make, name):
    with pytest.raises(AssertionError):
        make(name, "X.", 1)


def test_a_workspace_without_anything(tmp_path: Path):
    found = read(render(Measured(Workspace(tmp_path)).families()))
    assert found == {f"vnsight_{name}": {(): 0.0} for name in ("stream_up", "load", "waiting_files", "waiting_updates")}


def test_the_figures_of_a_study_are_those_of_its_window(study: Path):
    found = read(vnsight("metrics", "--home", study))
    ledger = query(study / "marts.duckdb", "select source, bin, sum(rows) as n from ledger group by source, bin").to_pylist()
    assert found["vnsight_ledger_rows"] == {(r["source"], r["bin"]): float(r["n"]) for r in ledger}
    assert found["vnsight_load"][()] == 1
    fresh = query(study / "marts.duckdb", "select source, rows from freshness").to_pylist()
    assert found["vnsight_facts"] == {(r["source"],): r["rows"] for r in fresh}
    assert "vnsight_stream_state" not in found


@pytest.fixture
def streamed(tmp_path: Path) -> Workspace:
    """A workspace whose stream said something."""
    ws = Workspace(tmp_path)
    status = Status(10.0, 5000, epoch=7, load=5, late=3, lag_messages={"vnsight.devices": 4, "vnsight.patients": 0}, lag_seconds=2.5)
    status.add_rows({"accepted": 10, "quarantined": 1})
    status.epoch_seconds = {"pull": 0.5, "all": 1.25}
    status.save(ws)
    return ws


def test_what_a_stream_said_outlives_it(streamed: Workspace):
    with only_stream(streamed):
        assert read(render(Measured(streamed).families()))["vnsight_stream_up"] == {(): 1}
    found = read(render(Measured(streamed).families()))
    assert found["vnsight_stream_up"] == {(): 0}
    assert found["vnsight_stream_state"] == {("running",): 1, ("waiting",): 0, ("stopped",): 0, ("held",): 0}
    assert found["vnsight_stream_lag_messages"] == {("vnsight.devices",): 4, ("vnsight.patients",): 0}
    assert found["vnsight_stream_rows_total"][("accepted",)] == 10
    assert ("read",) not in found["vnsight_stream_rows_total"]  # a sum over the bins would count every row twice
    assert found["vnsight_stream_epoch_seconds"] == {("pull",): 0.5, ("all",): 1.25}
    assert found["vnsight_stream_late_messages_total"] == {(): 3}
    assert not [name for name in found if "checkpoint" in name or "watermark" in name]


def test_a_stream_on_flink_has_other_figures(tmp_path: Path):
    ws = Workspace(tmp_path)
    Status(15.0, 0, engine="flink", watermark_ms=1_750_000_000_500, checkpoint_bytes=2000, checkpoint_age_s=1.5).save(ws)
    found = read(render(Measured(ws).families()))
    assert found["vnsight_stream_watermark_timestamp_seconds"] == {(): 1_750_000_000.5}
    assert found["vnsight_stream_checkpoint_bytes"] == {(): 2000}
    assert "vnsight_stream_rows_total" not in found  # its books are in vnsight_streamed_rows
    Status(15.0, 0, engine="flink", watermark_ms=9_223_372_036_854_775).save(ws)  # the end of time is no instant
    assert "vnsight_stream_watermark_timestamp_seconds" not in read(render(Measured(ws).families()))


def test_waiting_updates_are_counted_with_their_age(tmp_path: Path):
    from pipelines.updates import write_update

    write_update(tmp_path, {"held": pl.DataFrame({"rows": [1]})})
    found = read(render(Measured(Workspace(tmp_path)).families()))
    assert found["vnsight_waiting_updates"] == {(): 1}
    assert 0 <= found["vnsight_waiting_updates_oldest_seconds"][()] < 60


@pytest.fixture
def served(streamed: Workspace):
    """URL of a server, and the calls it made."""
    measured, failing = Measured(streamed), threading.Event()

    def collect():
        if failing.is_set():
            raise VNSightError("the disk is gone")
        return measured.families()

    with make_server(0, collect, "<study>") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", failing
        server.shutdown()
        thread.join()


def get(url: str, **headers: str) -> tuple[int, str, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_the_server_says_what_the_command_prints(served):
    url, failing = served
    code, kind, text = get(f"{url}/metrics")
    assert (code, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert read(text)["vnsight_stream_load"] == {(): 5}
    families = json.loads(get(f"{url}/families.json")[2])
    assert families["vnsight_stream_lag_messages"] == [[{"topic": "vnsight.devices"}, 4], [{"topic": "vnsight.patients"}, 0]]
    assert get(f"{url}/elsewhere")[0] == 404
    failing.set()
    assert get(f"{url}/metrics")[::2] == (503, "the disk is gone\n")


def test_the_page_needs_nothing_from_elsewhere_and_only_this_machine_gets_it(served):
    url, _ = served
    code, kind, page = get(f"{url}/")
    assert (code, kind) == (200, "text/html; charset=utf-8")
    assert "<title>&lt;study>: VNSight</title>" in page
    assert not [word for word in ("https://", "//cdn", "@import", "src=", "innerHTML") if word in page]
    assert get(f"{url}/", Host="evil.example")[0] == 421


def test_a_port_that_is_taken_is_said(served):
    port = int(served[0].rpartition(":")[2])
    with pytest.raises(UsageError, match=f"--serve {port}: the port cannot be had"):
        make_server(port, list, "x")
    assert "--serve -1" in vnsight("metrics", "--home", open_workspace(Path(__file__).parent).home, "--serve", "-1", code=2)
