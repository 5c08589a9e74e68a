# SPDX-License-Identifier: Apache-2.0
"""A device maker's cloud: a paged JSON REST API with a cursor, a bearer token, a rate limit and bad days.

Each page becomes one landed NDJSON file. The cursor of a page is remembered once the page is landed, so a crash fetches one page twice
and lands it once. The last page is asked for again by the next run, because it may have grown.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from flows.sources.connector import Item
from pipelines.landing import Stamp
from schemas.contract import SOURCES
from schemas.errors import UsageError, VNSightError
from schemas.workspace import Workspace

TRIES = 6
PAGE = 5_000
LONGEST_WAIT_S = 60.0


@dataclass
class DeviceCloud:
    """The records of one API. `sleep` is what waits between tries (a test need not)."""

    name: str
    url: str
    token: str = field(repr=False)
    records: tuple[str, ...]
    page: int = PAGE
    sleep: Callable[[float], None] = time.sleep

    def list_new(self, ws: Workspace) -> Iterator[Item]:
        """One item per page, from the page where the last pull ended; the next cursor is known only after a page was fetched."""
        with httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=30.0) as self._client:
            for source in self.records:
                place: Mapping[str, Any] | None = self._read_cursor(ws, source)
                while place is not None:
                    self._next: str | None = None
                    yield Item(source, f"{self.name}/{source}/{place['page']:06d}.ndjson", str(place["cursor"]), Stamp())
                    place = {"page": place["page"] + 1, "cursor": self._next} if self._next else None

    def fetch(self, item: Item) -> Iterable[bytes]:
        """The records of a page as NDJSON, one line each."""
        answer = self._get(item.source, item.place)
        if not isinstance(answer.get("records"), list):
            raise VNSightError(f"{self.name}: the answer for {item.source} holds no list of records; is {self.url} the right address?")
        self._next = answer.get("next_cursor")
        yield b"".join(json.dumps(r, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for r in answer["records"])

    def done(self, ws: Workspace, item: Item) -> None:
        """Remember the page that was landed, by one rename."""
        path = self._cursor_path(ws, item.source)
        path.parent.mkdir(parents=True, exist_ok=True)
        number = int(item.file.rsplit("/", 1)[1].split(".")[0])
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"page": number, "cursor": item.place}), encoding="utf-8")
        os.replace(temporary, path)

    def _cursor_path(self, ws: Workspace, source: str) -> Any:
        return ws.landing / "cursors" / f"{self.name}.{source}.json"

    def _read_cursor(self, ws: Workspace, source: str) -> Mapping[str, Any]:
        path = self._cursor_path(ws, source)
        place: Mapping[str, Any] = json.loads(path.read_bytes()) if path.exists() else {"page": 1, "cursor": ""}
        return place

    def _get(self, source: str, cursor: str) -> dict[str, Any]:
        """One page, with patience: 429 waits as told, 5xx and broken connections back off with jitter, a refused token ends at once."""
        why = ""
        for attempt in range(TRIES):
            wait = min(LONGEST_WAIT_S, 0.5 * 2**attempt) * random.uniform(0.5, 1.0)
            try:
                response = self._client.get(f"/v1/records/{source}", params={"cursor": cursor, "limit": self.page})
                if response.status_code == 200:
                    page: dict[str, Any] = response.json()
                    return page
                wait = self._judge(response, source, wait)
                why = f"status {response.status_code}"
            except (httpx.TransportError, json.JSONDecodeError) as error:
                why = type(error).__name__
            self.sleep(wait)
        raise VNSightError(f"{self.name}: no page of {source} after {TRIES} tries ({why}); what came before is landed, run again to go on")

    def _judge(self, response: httpx.Response, source: str, wait: float) -> float:
        """How long to wait after an answer that is no page; a `VNSightError` for those that time does not heal."""
        if response.status_code in (401, 403):
            raise VNSightError(f"{self.name}: the token was refused (status {response.status_code}); renew it, then run again")
        if response.status_code == 429:
            return min(LONGEST_WAIT_S, float(response.headers.get("Retry-After", wait)))
        if response.status_code < 500:
            raise VNSightError(f"{self.name}: {source} was refused with status {response.status_code}; check url and records in vnsight.toml")
        return wait


def declared_cloud(table: Mapping[str, Any]) -> DeviceCloud:
    """A cloud declared in `vnsight.toml`: name, url, token_env (a variable that holds the token), records (sources)."""
    name = table["name"]
    for key in ("url", "token_env", "records"):
        if not table.get(key):
            raise UsageError(f"vnsight.toml, source {name}, {key}: is missing; a device cloud needs url, token_env and records")
    unknown = [r for r in table["records"] if r not in SOURCES]
    if unknown:
        raise UsageError(f"vnsight.toml, source {name}, records: {unknown[0]} is no source; there are: {', '.join(sorted(SOURCES))}")
    token = os.environ.get(table["token_env"], "")
    if not token:
        raise UsageError(f"vnsight.toml, source {name}: the variable {table['token_env']} with the token is not set")
    return DeviceCloud(name, table["url"], token, tuple(table["records"]), int(table.get("page", PAGE)))
