# SPDX-License-Identifier: Apache-2.0
"""A device cloud to test a connector against: a paged JSON REST API over a simulated inbox, with the troubles of a real one.

`GET /v1/records/<source>?cursor=...&limit=N` with `Authorization: Bearer <token>` answers `{"records": [...], "next_cursor": ...}`;
the cursor is null on the last page. 401 without the token, 404 for a source it does not hold, 400 for a broken cursor or limit,
429 with `Retry-After` above the rate, and, if asked for, 500 and connections cut in the middle of an answer.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import random
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from simulator.cloud_records import DEVICE_SOURCES, records_in_upload_order

_PATH: Final = "/v1/records/"
_DEFAULT_LIMIT: Final = 500
_MOST: Final = 5_000


class _RequestRefused(Exception):
    """An answer that is not 200, with its status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class _Bucket:
    """Requests still allowed: `rate` flow in per second, up to one second's worth."""

    rate: float
    left: float = field(init=False)
    at: float = field(init=False)

    def __post_init__(self) -> None:
        self.left, self.at = max(1.0, self.rate), time.monotonic()

    def take(self) -> int:
        """Take one request; 0 if it was allowed, else the whole seconds to wait."""
        now = time.monotonic()
        self.left, self.at = min(max(1.0, self.rate), self.left + (now - self.at) * self.rate), now
        if self.left >= 1:
            self.left -= 1
            return 0
        return math.ceil((1 - self.left) / self.rate)


class _Cloud:
    """What all connections share. Records of a source are read when it is first asked for."""

    def __init__(self, home: Path, token: str, rate_per_s: float, fail_rate: float, seed: int) -> None:
        self._home, self._token, self._fail_rate = home, token.encode(), fail_rate
        self._bucket, self._random = _Bucket(rate_per_s), random.Random(seed)
        self._records: dict[str, list[bytes]] = {}
        self._lock = threading.Lock()

    def knows(self, header: str | None) -> bool:
        return hmac.compare_digest((header or "").encode(), b"Bearer " + self._token)

    def wait(self) -> int:
        with self._lock:
            return self._bucket.take()

    def trouble(self) -> str:
        """Return what goes wrong with this request: `error`, `cut` or nothing."""
        with self._lock:
            draw = self._random.random()
        return "" if draw >= self._fail_rate else ("error" if draw < self._fail_rate / 2 else "cut")

    def page(self, source: str, cursor: str, limit: int) -> bytes:
        with self._lock:
            if source not in self._records:
                self._records[source] = records_in_upload_order(self._home, source)
            records = self._records[source]
        start = read_cursor(source, cursor)
        rows = records[start : start + limit]
        following = f'"{write_cursor(source, start + limit)}"' if start + limit < len(records) else "null"
        return b'{"records":[' + b",".join(rows) + b'],"next_cursor":' + following.encode() + b"}"


def write_cursor(source: str, place: int) -> str:
    """Return the opaque cursor of a place in a source."""
    return base64.urlsafe_b64encode(f"{source}:{place}".encode()).decode()


def read_cursor(source: str, cursor: str) -> int:
    """Return the place a cursor stands for, 0 for an empty one; a cursor of another source or none at all is refused."""
    if not cursor:
        return 0
    try:
        name, _, place = base64.urlsafe_b64decode(cursor.encode()).decode().partition(":")
        if name != source or int(place) < 0:
            raise _RequestRefused(400)
        return int(place)
    except (binascii.Error, ValueError) as error:
        raise _RequestRefused(400) from error


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, cloud: _Cloud, *args: object) -> None:
        self.cloud = cloud
        super().__init__(*args)  # type: ignore[arg-type]

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a request line may name a patient's device."""

    def do_GET(self) -> None:
        """Answer one page, or say why not."""
        try:
            if not self.cloud.knows(self.headers.get("Authorization")):
                raise _RequestRefused(401)
            wait = self.cloud.wait()
            if wait:
                return self._answer(429, b'{"error":429}', {"Retry-After": str(wait)})
            trouble = self.cloud.trouble()
            if trouble == "error":
                raise _RequestRefused(500)
            page = self._page()
            if trouble == "cut":
                return self._cut(page)
            return self._answer(200, page, {})
        except _RequestRefused as refused:
            return self._answer(refused.status, b'{"error":%d}' % refused.status, {})

    def _page(self) -> bytes:
        url = urlsplit(self.path)
        source = url.path.removeprefix(_PATH)
        if not url.path.startswith(_PATH) or source not in DEVICE_SOURCES:
            raise _RequestRefused(404)
        query = parse_qs(url.query)
        limit = query.get("limit", [str(_DEFAULT_LIMIT)])[0]
        if not limit.isdecimal() or not 1 <= int(limit) <= _MOST:
            raise _RequestRefused(400)
        return self.cloud.page(source, query.get("cursor", [""])[0], int(limit))

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._head(status, len(body), headers)
        self.wfile.write(body)

    def _cut(self, body: bytes) -> None:
        """Promise the whole answer, send half of it and hang up."""
        self._head(200, len(body), {})
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.close_connection = True


@dataclass(frozen=True)
class DeviceCloud:
    """A running server on 127.0.0.1."""

    server: ThreadingHTTPServer
    thread: threading.Thread

    @property
    def url(self) -> str:
        """Base address, without a slash at its end."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def shutdown(self) -> None:
        """Stop serving and free the port."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def serve(home: Path, port: int = 0, *, token: str, rate_per_s: float = 20.0, fail_rate: float = 0.0, seed: int = 0) -> DeviceCloud:
    """Serve the device sources of the simulated workspace `home` on 127.0.0.1 (a free port when `port` is 0) until `shutdown`.

    `fail_rate` is the share of requests that fail, half with 500 and half by a cut connection; which ones follows from `seed`.
    """
    cloud = _Cloud(home, token, rate_per_s, fail_rate, seed)
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, cloud))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="device cloud", daemon=True)
    thread.start()
    return DeviceCloud(server, thread)
