# SPDX-License-Identifier: Apache-2.0
"""Messages to owners, through a real SMTP server and a real webhook on this machine."""

import json
import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from aiosmtpd.controller import Controller

from quality.alerts import notify_owner
from quality.messages import held_messages
from quality.results import CheckResult
from schemas.errors import UsageError

pytestmark = pytest.mark.filterwarnings("default")  # Apprise's and aiosmtpd's own


class Inbox:
    def __init__(self) -> None:
        self.letters = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  # the name aiosmtpd calls
        self.letters.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"


@pytest.fixture
def mail():
    inbox = Inbox()
    with socket.create_server(("127.0.0.1", 0)) as free:  # aiosmtpd tries out its port, so 0 will not do
        inbox.port = free.getsockname()[1]
    controller = Controller(inbox, hostname="127.0.0.1", port=inbox.port)
    controller.start()
    yield inbox
    controller.stop()


@pytest.fixture
def hook():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            server.posts.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(self.server.status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.posts, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def write(ws, urls) -> None:
    (ws.home / "alerts.yaml").write_text(yaml.safe_dump({"urls": urls}), encoding="utf-8")


def webhook(hook, path: str) -> str:
    return f"json://127.0.0.1:{hook.server_port}/{path}"


def letter(mail) -> str:
    return f"mailto://127.0.0.1:{mail.port}?from=vnsight@example.org&to=devices@example.org"


def test_a_mail_arrives(ws, mail):
    write(ws, [{letter(mail): {"tag": "devices"}}])
    delivery = notify_owner(ws, "devices", "devices-data", "load 3 held back", "why\n\nit matters")
    assert delivery.reached == "devices"
    ((to, content),) = mail.letters
    assert to == ["devices@example.org"]
    assert "Subject: load 3 held back" in content
    assert "it matters" in content


@pytest.mark.parametrize(
    ("options", "reached"),
    [
        ({"tag": "devices"}, "devices"), ({"tag": ["registry", "devices"]}, "devices"), ({"tag": "registry, devices"}, "devices"),
        ([{"tag": "devices"}], "devices"), ({"tag": "devices-data"}, "devices-data"), ({"tag": "default"}, "default"),
        ({}, "default"), (None, "default"),
    ],
)  # fmt: skip
def test_owners_are_tags_with_a_fallback(ws, hook, options, reached):
    write(ws, [{webhook(hook, "a"): options}, {webhook(hook, "other"): {"tag": "surveys"}}])
    assert notify_owner(ws, "devices", "devices-data", "title", "body").reached == reached
    assert [(path, post["title"], post["message"]) for path, post in hook.posts] == [("/a", "title", "body")]


def test_a_plain_address_is_the_fallback(ws, hook):
    write(ws, [webhook(hook, "all")])
    assert notify_owner(ws, "devices", "devices-data", "title", "body").reached == "default"


def test_a_dead_address_falls_back(ws, hook, mail):
    hook.status = 500
    write(ws, [{webhook(hook, "dead"): {"tag": "devices"}}, {letter(mail): {"tag": "default"}}])
    assert notify_owner(ws, "devices", "devices-data", "title", "body").reached == "default"
    assert len(mail.letters) == 1


@pytest.mark.parametrize("urls", [[], [{"json://127.0.0.1:9/": {"tag": "devices"}}], [{"no-such-service://x": {"tag": "default"}}]])
def test_what_reaches_nobody_is_kept_and_shouted(ws, urls, caplog):
    write(ws, urls)
    delivery = notify_owner(ws, "devices", "devices-data", "title", "body")
    assert not delivery.delivered
    assert delivery.kept.parent == ws.home / "reports" / "undelivered"
    assert delivery.kept.read_text(encoding="utf-8") == "title\n\nbody\n"
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR and r.name == "vnsight.quality"]
    assert any("was not delivered" in e for e in errors)


def test_without_an_alerts_file_the_log_says_how_to_make_one(ws, caplog):
    assert not notify_owner(ws, "devices", "devices-data", "title", "body").delivered
    assert "there are no addresses yet; write some to alerts.yaml: urls: [" in caplog.text


@pytest.mark.parametrize("text", ["urls: 7", "- a", "urls: [{a: {tag: 1}, b: {}}]", "urls: [7]", "{", "other: []"])
def test_a_broken_alerts_file_is_a_usage_error(ws, text):
    (ws.home / "alerts.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"alerts\.yaml cannot be read as a list of addresses; it looks like this: urls"):
        notify_owner(ws, "devices", "devices-data", "title", "body")


def check(table, rule, severity, owner, failed=3) -> CheckResult:
    return CheckResult(
        table, rule, severity, failed == 0, failed, 1_000_000, f"why {rule}", owner, f"{owner}-data", ("day=2025",), "select 1\n  from t"
    )


def test_one_message_per_owner_worst_first():
    results = [
        check("t", "w", "warning", "devices", 9), check("t", "c", "critical", "devices", 12_345), check("u", "c", "critical", "surveys"),
        check("v", "w", "warning", "registry"), check("t", "fine", "critical", "devices", 0),
    ]  # fmt: skip
    messages = held_messages(results, 4, 3, "reports/held/load-4.duckdb")
    assert [(m.owner, m.channel) for m in messages] == [("devices", "devices-data"), ("surveys", "surveys-data")]
    first = messages[0]
    assert first.title == "[CRITICAL] VNSight load 4 held back: t: c (12,345 of 1,000,000) and 1 more"
    order = [first.body.index(part) for part in (
        "Load 4 was held back: readers still see load 3", "[critical] t: c: 12,345 of 1,000,000", "Why it matters: why c",
        "For example: day=2025", "To see all: select 1 from t", "[warning] t: w", "open reports/held/load-4.duckdb", "vnsight trace ID",
    )]  # fmt: skip
    assert order == sorted(order)
    assert "fine" not in first.body


def test_before_the_first_publication_nobody_sees_anything():
    (message,) = held_messages([check("t", "c", "critical", "devices")], 1, 0, "x")
    assert "nothing is published yet" in message.body
