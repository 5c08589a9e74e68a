# SPDX-License-Identifier: Apache-2.0
"""One message to the owner of bad data, by e-mail, webhook or whatever else Apprise can reach.

Addresses stay out of the code and out of the contracts, in `alerts.yaml` of the workspace (`alerts_file` in vnsight.toml):

    urls:
    - "mailto://user:password@mail.example.org?to=devices@example.org": {tag: devices}
    - "jsons://hooks.example.org/vnsight": {tag: [registry, surveys]}
    - "mailto://mail.example.org?from=vnsight@example.org&to=data@example.org": {tag: default}

A tag is the owner or the channel a contract names (`team.name`, `support.channel`). Owners without an address of their own are
reached by `default`. What reaches nobody is logged as an error and kept in `reports/undelivered/`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import UsageError
from schemas.workspace import Workspace

LOG = logging.getLogger("vnsight.quality")
FALLBACK = "default"
_EXAMPLE = 'urls: [{"mailto://user:password@mail.example.org?to=data@example.org": {tag: default}}]'


@dataclass(frozen=True)
class Address:
    """Where Apprise can send to, and whom that reaches. The URL may hold a password: it is never logged."""

    url: str = field(repr=False)
    tags: tuple[str, ...] = (FALLBACK,)


@dataclass(frozen=True)
class Delivery:
    """What became of a message: to whom (the tag that was reached, None when nobody was) and where it is kept otherwise."""

    owner: str
    reached: str | None
    kept: Path | None = None

    @property
    def delivered(self) -> bool:
        """True when at least one address took the message."""
        return self.reached is not None


def notify_owner(ws: Workspace, owner: str, channel: str, title: str, body: str) -> Delivery:
    """Send one message to an owner, else to the fallback, else keep it in `reports/undelivered/` and log an error.

    Never raises for a dead address: the run's own verdict must not depend on a mail server. `UsageError` only when `alerts.yaml`
    itself cannot be read.
    """
    addresses = _read_addresses(ws.home / ws.settings.alerts_file)
    for tag in dict.fromkeys((owner, channel, FALLBACK)):
        if _send(addresses, tag, title, body):
            return Delivery(owner, tag)
    kept = _keep(ws, owner, title, body)
    why = "no address took it" if addresses else f"there are no addresses yet; write some to {ws.settings.alerts_file}: {_EXAMPLE}"
    LOG.error("the message to %s was not delivered (%s); it is kept in %s", owner, why, kept.relative_to(ws.home))
    return Delivery(owner, None, kept)


def _read_addresses(path: Path) -> tuple[Address, ...]:
    if not path.exists():
        return ()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        return tuple(_address(entry) for entry in document["urls"])
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path.name} cannot be read as a list of addresses; it looks like this: {_EXAMPLE}") from error


def _address(entry: Any) -> Address:
    """Read `url`, `{url: {tag: a}}`, `{url: {tag: [a, b]}}` or Apprise's own `{url: [{tag: a}]}`; without a tag it is `default`."""
    if isinstance(entry, str):
        return Address(entry, (FALLBACK,))
    ((url, options),) = entry.items()
    options = options[0] if isinstance(options, list) else options or {}
    tags = options.get("tag", FALLBACK)
    listed = tags.split(",") if isinstance(tags, str) else tags
    return Address(url, tuple(str(tag).strip() for tag in listed))


def _send(addresses: Sequence[Address], tag: str, title: str, body: str) -> bool:
    """Send to every address of a tag; True when all of them took it, so that a half-dead list also reaches the fallback."""
    urls = [address.url for address in addresses if tag in address.tags]
    if not urls:
        return False
    import apprise  # a third of a second, for runs that have something to say only

    sender = apprise.Apprise()
    readable = [sender.add(url) for url in urls]
    if not all(readable):
        LOG.error("an address of %s is not one Apprise can read; see https://github.com/caronc/apprise/wiki", tag)
    # None is "no address", False is "an address failed": both are undelivered
    taken = sender.notify(title=title, body=body, notify_type=apprise.NotifyType.FAILURE, body_format=apprise.NotifyFormat.TEXT)
    return all(readable) and bool(taken)


def _keep(ws: Workspace, owner: str, title: str, body: str) -> Path:
    folder = ws.home / "reports" / "undelivered"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{time.time_ns() % 10**9:09d}-{owner}.txt"
    path.write_text(f"{title}\n\n{body}\n", encoding="utf-8")
    return path
