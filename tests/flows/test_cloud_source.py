# SPDX-License-Identifier: Apache-2.0
"""The device-cloud connector against a server that answers as scripted, and against the simulator's own with all its troubles."""

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from flows.sources import connectors
from flows.sources.connector import NotYet, pull
from flows.sources.device_cloud import TRIES, DeviceCloud
from pipelines.landing import landed_files
from pipelines.launch import silent
from schemas.errors import UsageError, VNSightError
from schemas.workspace import Workspace
from simulator.cloud_records import records_in_upload_order
from simulator.device_cloud import serve

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "interrogations"


class Script(HTTPServer):
    """Answers from a list, in turn; what is not scripted is a page of two records of `rows`."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.rows, self.script, self.asked = [{"n": i} for i in range(5)], [], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        query = httpx.URL(self.path).params
        self.server.asked.append((query["cursor"], self.headers["Authorization"]))
        status, body, headers = self.server.script.pop(0) if self.server.script else (200, self.page(query["cursor"]), {})
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def page(self, cursor):
        start, rows = int(cursor or 0), self.server.rows
        return {"records": rows[start : start + 2], "next_cursor": str(start + 2) if start + 2 < len(rows) else None}


@pytest.fixture
def script():
    with Script() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


class Clock:
    def __init__(self):
        self.waits = []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


def cloud(server, **how) -> DeviceCloud:
    return DeviceCloud("maker", server.url, "a token", (SOURCE,), page=2, sleep=how.pop("sleep", Clock()), **how)


def rows_landed(ws: Workspace) -> list[dict]:
    return [json.loads(line) for f in landed_files(ws) for line in (ws.landing / f.path).read_text().splitlines()]


def test_every_page_is_one_landed_file(ws, script):
    files = pull(ws, cloud(script), silent)
    assert [(f.source, f.file, f.origin) for f in files] == [(SOURCE, f"maker/{SOURCE}/{n:06d}.ndjson", "maker") for n in (1, 2, 3)]
    assert rows_landed(ws) == script.rows
    assert {header for _, header in script.asked} == {"Bearer a token"}


def test_the_next_pull_asks_for_the_last_page_only_and_lands_nothing_twice(ws, script):
    pull(ws, cloud(script), silent)
    script.asked.clear()
    assert pull(ws, cloud(script), silent) == []
    assert [cursor for cursor, _ in script.asked] == ["4"]
    script.rows += [{"n": 5}, {"n": 6}]
    assert [f.file for f in pull(ws, cloud(script), silent)] == [f"maker/{SOURCE}/{n:06d}.ndjson" for n in (3, 4)]
    assert [r for f in landed_files(ws) for r in [f.file[-8]]] == ["1", "2", "3", "3", "4"]


def test_it_waits_as_long_as_it_is_told(ws, script):
    clock = Clock()
    script.script = [
        (429, {}, {"Retry-After": "7"}),
        (429, {}, {"Retry-After": "Thu, 01 Jan 2099 00:00:00 GMT"}),
        (429, {}, {"Retry-After": "soon"}),
    ]
    pull(ws, cloud(script, sleep=clock), silent)
    assert clock.waits[:2] == [7.0, 60.0]  # never longer than a minute at once
    assert 0 < clock.waits[2] < 1
    assert rows_landed(ws) == script.rows


def test_being_asked_to_wait_is_no_failed_try(ws, script):
    script.script = [(429, {}, {"Retry-After": "1"})] * (TRIES + 4)
    pull(ws, cloud(script), silent)
    assert rows_landed(ws) == script.rows


def test_but_not_for_ever(ws, script):
    script.script = [(429, {}, {"Retry-After": "60"})] * 100
    with pytest.raises(NotYet, match=r"maker: no page of interrogations .*status 429"):
        pull(ws, cloud(script), silent)
    assert len(script.asked) == 15


def test_server_errors_broken_answers_and_cut_connections_are_tried_again_with_growing_waits(ws, script):
    clock = Clock()
    script.script = [(500, {}, {}), (503, {}, {}), (200, b'{"records": [', {}), (200, b"{}", {"Content-Length": "100"})]
    pull(ws, cloud(script, sleep=clock), silent)
    assert rows_landed(ws) == script.rows
    assert len(clock.waits) == 4
    assert all(0.25 * 2**n <= wait <= 0.5 * 2**n for n, wait in enumerate(clock.waits))


def test_a_cloud_that_stays_down_is_left_to_the_next_run_which_goes_on(ws, script):
    script.script = [(200, {"records": script.rows[:2], "next_cursor": "2"}, {})] + [(500, {}, {})] * TRIES
    with pytest.raises(NotYet, match="run again to go on"):
        pull(ws, cloud(script), silent)
    assert rows_landed(ws) == script.rows[:2]
    pull(ws, cloud(script), silent)
    assert rows_landed(ws) == script.rows


def test_a_cloud_that_is_not_there_is_said(ws):
    with pytest.raises(NotYet, match="ConnectError"):
        pull(ws, DeviceCloud("maker", "http://127.0.0.1:9", "t", (SOURCE,), sleep=Clock()), silent)


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_token_ends_at_once_and_is_not_repeated_in_words(ws, script, code):
    script.script = [(code, {}, {})] * 2
    with pytest.raises(VNSightError, match="the token was refused") as refused:
        pull(ws, cloud(script), silent)
    assert not isinstance(refused.value, NotYet)
    assert len(script.asked) == 1
    assert "a token" not in str(refused.value) + repr(cloud(script))


@pytest.mark.parametrize("answer", [[], {"rows": []}, {"records": [], "next_cursor": 7}, {"records": [], "next_cursor": ""}])
def test_an_answer_that_is_no_page_is_refused(ws, script, answer):
    script.script = [(200, answer, {})]
    with pytest.raises(VNSightError, match=r"maker: .*page"):
        pull(ws, cloud(script), silent)
    assert landed_files(ws) == []


def test_an_unknown_source_is_not_asked_for_twice(ws, script):
    script.script = [(404, {}, {})] * 2
    with pytest.raises(VNSightError, match="status 404; check url and records"):
        pull(ws, cloud(script), silent)
    assert len(script.asked) == 1


@pytest.mark.parametrize("point", ["land:copied", "land:listed", "cloud:landed"])
def test_a_killed_pull_goes_on_and_lands_every_page_once(ws, script, point):
    code = (
        "import sys; from pathlib import Path; from schemas.workspace import Workspace; from flows.sources.connector import pull\n"
        "from flows.sources.device_cloud import DeviceCloud\n"
        f"pull(Workspace(Path({str(ws.home)!r})), DeviceCloud('maker', {script.url!r}, 't', ({SOURCE!r},), 2), lambda *_: None)"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"VNSIGHT_KILL_AT": point}, check=False)
    assert killed.returncode == -signal.SIGKILL
    pull(ws, cloud(script), silent)
    assert [cursor for cursor, _ in script.asked] == ["", "", "2", "4"]
    assert rows_landed(ws) == script.rows


def test_the_simulated_cloud_is_pulled_whole_through_all_its_troubles(ws, tmp_path):
    home = tmp_path / "cloud"
    (home / "inbox" / SOURCE).mkdir(parents=True)
    lines = [json.dumps({"device_id": f"D{i}", "recorded_at": f"2025-01-01T00:{i % 60:02d}:00Z"}) for i in range(300)]
    (home / "inbox" / SOURCE / "a.ndjson").write_text("\n".join(lines) + "\n")
    server = serve(home, token="t", rate_per_s=500, fail_rate=0.3, seed=4)
    try:
        maker = DeviceCloud("maker", server.url, "t", (SOURCE,), page=20, sleep=lambda s: threading.Event().wait(min(s, 0.01)))
        assert len(pull(ws, maker, silent)) == 15
    finally:
        server.shutdown()
    assert rows_landed(ws) == [json.loads(r) for r in records_in_upload_order(home, SOURCE)]


def declare(ws: Workspace, **table):
    base = {"name": "maker", "connector": "device_cloud", "url": "https://127.0.0.1", "records": [SOURCE], "token_file": "token"}
    return connectors(Workspace(ws.home, sources=({k: v for k, v in (base | table).items() if v is not None},)))


def test_a_token_comes_from_a_file_or_a_variable(ws, monkeypatch):
    (ws.home / "token").write_text("from a file\n")
    monkeypatch.setenv("MAKER_TOKEN", "from a variable")
    assert declare(ws)[0].token == "from a file"
    assert declare(ws, token_file=None, token_env="MAKER_TOKEN")[0].token == "from a variable"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "token_file: token with the token is not there or empty"),
        ({"token_file": None, "token_env": "NO_SUCH"}, "the variable NO_SUCH with the token is not set"),
        ({"token_file": None}, "say where its token is, with token_env or token_file"),
        ({"url": None}, "source maker, url: is missing"),
        ({"url": "maker.example"}, "begins neither with"),
        ({"records": ["sessions"]}, "records: sessions is no source; there are: adverse_events"),
        ({"page": 0}, "page: 0 is no number of records"),
        ({"token": "in plain sight"}, "token: is not known"),
    ],
)
def test_a_wrong_declaration_says_what_is_right(ws, table, message):
    with pytest.raises(UsageError, match=message):
        declare(ws, **table)
