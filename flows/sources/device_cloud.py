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
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from flows.sources.connector import Item, NotYet
from schemas.contract import SOURCES
from schemas.errors import UsageError, VNSightError
from schemas.milestones import milestone
from schemas.workspace import Workspace

TRIES = 6  # per page, not counting answers that only ask to wait
PAGE = 5_000  # records
LONGEST_WAIT_S = 60.0
PATIENCE_S = 900.0  # a page that is put off longer than this is left to the next run


@dataclass(frozen=True)
class Place:
    """Where a pull stands in a source: number of the page (from 1) and the cursor it is asked for with."""

    page: int = 1
    cursor: str = ""


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
                place: Place | None = self._read_place(ws, source)
                while place is not None:
                    self._next: str | None = None
                    yield Item(source, f"{self.name}/{source}/{place.page:06d}.ndjson", place.cursor)
                    place = Place(place.page + 1, self._next) if self._next else None

    def fetch(self, item: Item) -> Iterable[bytes]:
        """The records of a page as NDJSON, one line each."""
        answer = self._get(item.source, item.place)
        records, following = answer.get("records"), answer.get("next_cursor")
        if not isinstance(records, list) or not isinstance(following, str | None):
            raise VNSightError(f"{self.name}: the answer for {item.source} is no page of records; is {self.url} the right address?")
        if following == item.place:
            raise VNSightError(f"{self.name}: the page of {item.source} names itself as the next one; ask the maker of the cloud")
        self._next = following
        yield b"".join(json.dumps(r, separators=(",", ":")).encode() + b"\n" for r in records)

    def done(self, ws: Workspace, item: Item) -> None:
        """Remember the page that was landed, by one rename."""
        milestone("cloud:landed")
        path = self._place_path(ws, item.source)
        path.parent.mkdir(parents=True, exist_ok=True)
        place = Place(int(Path(item.file).stem), item.place)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(place)), encoding="utf-8")
        os.replace(temporary, path)

    def _place_path(self, ws: Workspace, source: str) -> Path:
        return ws.landing / "cursors" / f"{self.name}.{source}.json"

    def _read_place(self, ws: Workspace, source: str) -> Place:
        path = self._place_path(ws, source)
        return Place(**json.loads(path.read_bytes())) if path.exists() else Place()

    def _get(self, source: str, cursor: str) -> dict[str, Any]:
        """One page, with patience: 429 waits as told, 5xx and broken connections back off with jitter, a refused token ends at once."""
        why, tries, waited = "", 0, 0.0
        while tries < TRIES and waited < PATIENCE_S:
            backoff = min(LONGEST_WAIT_S, 0.5 * 2**tries) * random.uniform(0.5, 1.0)
            try:
                response = self._client.get(f"/v1/records/{source}", params={"cursor": cursor, "limit": self.page})
                if response.status_code == 200:
                    page = response.json()
                    return page if isinstance(page, dict) else {}
                self._refuse_what_stays(response, source)
                why = f"status {response.status_code}"
                asked = _retry_after(response.headers.get("Retry-After"), backoff)
                wait, counts = (asked, 0) if response.status_code == 429 else (backoff, 1)
            except (httpx.TransportError, ValueError) as error:  # ValueError: an answer that is no JSON, as from a proxy
                why, wait, counts = type(error).__name__, backoff, 1
            tries, waited = tries + counts, waited + wait
            self.sleep(wait)
        raise NotYet(
            f"{self.name}: no page of {source} from {self.url} ({why}); what came before is landed, run again to go on"
        )

    def _refuse_what_stays(self, response: httpx.Response, source: str) -> None:
        """Raise for an answer that time does not heal."""
        if response.status_code in (401, 403):
            raise VNSightError(f"{self.name}: the token was refused (status {response.status_code}); renew it, then run again")
        if response.status_code < 500 and response.status_code not in (408, 429):
            hint = "check url and records in vnsight.toml"
            raise VNSightError(f"{self.name}: {source} was refused with status {response.status_code}; {hint}")


def _retry_after(text: str | None, otherwise: float) -> float:
    """Seconds that `Retry-After` asks for: a number, or an instant as HTTP writes it; at least a little, at most a minute."""
    try:
        wait = float(text or otherwise)
    except ValueError:
        try:
            wait = (parsedate_to_datetime(text or "") - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            wait = otherwise
    return min(LONGEST_WAIT_S, max(0.1, wait))


def declared_cloud(table: Mapping[str, Any], ws: Workspace) -> DeviceCloud:
    """A cloud declared in `vnsight.toml`: name, url, records (sources), and where its token is: token_env or token_file."""
    name = table["name"]
    for key in ("url", "records"):
        if not table.get(key):
            raise UsageError(
                f"vnsight.toml, source {name}, {key}: is missing; a device cloud needs url, records, and token_env or token_file"
            )
    if not str(table["url"]).startswith(("http://", "https://")):
        raise UsageError(f"vnsight.toml, source {name}, url: {table['url']} begins neither with https:// nor http://")
    unknown = [r for r in table["records"] if r not in SOURCES]
    if unknown:
        raise UsageError(f"vnsight.toml, source {name}, records: {unknown[0]} is no source; there are: {', '.join(sorted(SOURCES))}")
    page = table.get("page", PAGE)
    if not isinstance(page, int) or page < 1:
        raise UsageError(f"vnsight.toml, source {name}, page: {page} is no number of records")
    return DeviceCloud(name, table["url"], _token(table, ws), tuple(table["records"]), page)


def _token(table: Mapping[str, Any], ws: Workspace) -> str:
    """The token from the environment or a file, never from the settings themselves, which people share."""
    where = f"vnsight.toml, source {table['name']}"
    if variable := table.get("token_env"):
        token = os.environ.get(variable, "").strip()
        missing = f"{where}, token_env: the variable {variable} with the token is not set"
    elif path := table.get("token_file"):
        file = ws.home / Path(path).expanduser()
        token = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
        missing = f"{where}, token_file: {path} with the token is not there or empty"
    else:
        raise UsageError(f"{where}: say where its token is, with token_env or token_file")
    if not token:
        raise UsageError(missing)
    return token
