# SPDX-License-Identifier: Apache-2.0
"""The figures over HTTP on this machine: `/metrics` for Prometheus, `/` for people, `/families.json` for that page."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files as resources
from threading import Lock

from flows.metrics.exposition import CONTENT_TYPE, Family, render
from schemas.errors import UsageError, VNSightError

HOST = "127.0.0.1"
LOG = logging.getLogger("vnsight.metrics")
# nothing from elsewhere can be loaded by the page, whatever gets into a label
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:"
Collect = Callable[[], list[Family]]


def make_server(port: int, collect: Collect, title: str) -> ThreadingHTTPServer:
    """A server on 127.0.0.1 that asks `collect` at every request; `port` 0 takes a free one. `UsageError` when the port is taken."""
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        """Answers GET only."""

        def do_GET(self) -> None:
            """One of three pages, or 404."""
            place = self.path.partition("?")[0]
            if not _is_here(self.headers.get("Host", "")):
                self._answer(421, "text/plain", "this server answers to 127.0.0.1 and localhost only\n")
            elif place == "/":
                page = (resources("flows.metrics") / "page.html").read_text(encoding="utf-8")
                self._answer(200, "text/html; charset=utf-8", page.replace("{{title}}", _html(title)))
            elif place in ("/metrics", "/families.json"):
                self._measure(place)
            else:
                self._answer(404, "text/plain", "here are /, /metrics and /families.json\n")

        def _measure(self, place: str) -> None:
            try:
                with lock:  # one look at a time: what a load changed is read once
                    found = collect()
            except VNSightError as error:
                self._answer(503, "text/plain; charset=utf-8", f"{error}\n")
                return
            if place == "/metrics":
                self._answer(200, CONTENT_TYPE, render(found))
            else:
                self._answer(200, "application/json", _as_json(found))

        def _answer(self, code: int, kind: str, text: str) -> None:
            data = text.encode()
            self.send_response(code)
            for name, value in (("Content-Type", kind), ("Content-Length", str(len(data))), ("Cache-Control", "no-store"),
                                ("Content-Security-Policy", _POLICY), ("X-Content-Type-Options", "nosniff")):  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Every scrape would be a line."""
            LOG.debug(format, *args)

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise UsageError(f"--serve {port}: the port cannot be had ({error.strerror}); name another one") from error


def _is_here(host: str) -> bool:
    """Whether a request was meant for this machine: a foreign page could have its own name point here (DNS rebinding)."""
    return host.rpartition(":")[0] in (HOST, "localhost") or host in (HOST, "localhost")


def _as_json(families: list[Family]) -> str:
    return json.dumps({f.name: [[dict(s.labels), s.value] for s in f.samples] for f in families if f.samples})


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
