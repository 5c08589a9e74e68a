# SPDX-License-Identifier: Apache-2.0
"""Folder drop: files that appear in `inbox/<source>/`, or in a folder declared under `[[source]]`."""

from __future__ import annotations

import logging
import os
import stat as modes
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.sources.connector import Item, NotYet
from pipelines.landing import Stamp, manifest
from schemas.contract import SOURCES
from schemas.errors import UsageError, VNSightError
from schemas.workspace import Workspace

BLOCK = 8 << 20
LOG = logging.getLogger("vnsight.sources")
UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart")


@dataclass(frozen=True)
class Folder:
    """Files below `path`. `contract` None: the first folder below `path` names the contract. `prefix` goes before file names."""

    name: str
    path: Path
    contract: str | None = None
    pattern: str = "**/*"
    prefix: str = ""

    def list_new(self, ws: Workspace) -> Iterator[Item]:
        """Files that are not listed in the manifest as they look now, sorted by name; hidden and unfinished ones are left alone."""
        known = {(e.landed.source, e.landed.file, e.stamp) for e in manifest(ws)}
        items = [self._item(path) for path in self._files() if self._belongs(path)]  # all are looked at before the first is landed
        for item in items:
            if (item.source, item.file, item.stamp) not in known:
                yield item

    def fetch(self, item: Item) -> Iterable[bytes]:
        """The file's bytes; a file that changes while it is read is refused, to be read again by the next run."""
        try:
            with open(item.place, "rb") as stream:
                while block := stream.read(BLOCK):
                    yield block
            stat = os.stat(item.place)
        except OSError as error:
            raise self._unreadable(item.place, error) from error
        if (stat.st_size, stat.st_mtime_ns) != (item.stamp.size, item.stamp.mtime_ns):
            raise NotYet(f"{item.file}: changed while it was read, nothing of it was landed; run again when its writer is done")

    def done(self, ws: Workspace, item: Item) -> None:
        """Nothing to remember: the manifest knows."""

    def _item(self, path: Path) -> Item:
        relative = path.relative_to(self.path).as_posix()
        try:
            stat = path.stat()
        except OSError as error:
            raise self._unreadable(path, error) from error
        if not modes.S_ISREG(stat.st_mode):  # opening a pipe would wait for ever
            raise VNSightError(f"{self._shown(path)}: is no plain file but a pipe, a socket or a device; remove it, then run again")
        return Item(self._contract(relative), self.prefix + relative, str(path), Stamp(stat.st_size, stat.st_mtime_ns))

    def _contract(self, relative: str) -> str:
        return self.contract or relative.split("/", 1)[0]

    def _belongs(self, path: Path) -> bool:
        """Whether a file lies in the folder of a source; a stray one is named and left alone, it must not stop the night's run."""
        relative = path.relative_to(self.path).as_posix()
        if self.contract is not None or ("/" in relative and self._contract(relative) in SOURCES):
            return True
        hint = f"put files in a folder named after their source: {', '.join(sorted(SOURCES))}"
        LOG.warning("%s: was not pulled, %s is no source; %s", self._shown(path), self._contract(relative), hint)
        return False

    def _files(self) -> list[Path]:
        """All files that match, by walking: an unreadable folder is an error, not an empty one."""

        def refuse(error: OSError) -> None:
            raise self._unreadable(error.filename, error)

        found, seen = [], set()
        for folder, folders, files in os.walk(self.path, onerror=refuse, followlinks=True):
            place = os.stat(folder)
            if (place.st_dev, place.st_ino) in seen:  # a link to a folder above it would be walked round and round
                folders.clear()
                continue
            seen.add((place.st_dev, place.st_ino))
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            paths = (Path(folder) / f for f in files if not f.startswith(".") and not f.lower().endswith(UNFINISHED))
            found += [p for p in paths if p.relative_to(self.path).match(self.pattern.removeprefix("**/"))]
        return sorted(found)

    def _shown(self, path: str | Path) -> str:
        """A path as its owner knows it: from the folder that was declared."""
        return os.path.join(self.name, os.path.relpath(path, self.path))

    def _unreadable(self, path: str | Path, error: OSError) -> VNSightError:
        what = f"{self._shown(path)}: cannot be read ({error.strerror}); nothing of it was landed"
        if isinstance(error, FileNotFoundError):
            return NotYet(f"{what}. It was there when the folder was listed; put it back or let its writer finish, then run again")
        return VNSightError(f"{what}. Give this user the right to read it, then run again")


def inbox(ws: Workspace) -> Folder:
    """The folder drop every workspace has."""
    return Folder("inbox", ws.inbox)


def declared_folder(table: Mapping[str, Any], ws: Workspace) -> Folder:
    """A folder declared in `vnsight.toml`: name, path (relative to the workspace), contract, and optionally pattern.

    With a `wide` table (one column per item) the contract is `survey_responses`.
    """
    name, path = table["name"], ws.home / Path(str(table.get("path", ""))).expanduser()
    contract = table.get("contract", "survey_responses" if "wide" in table else None)
    if contract is not None and contract not in SOURCES:
        raise UsageError(f"vnsight.toml, source {name}, contract: {contract} is no source; there are: {', '.join(sorted(SOURCES))}")
    if "path" not in table or not path.is_dir():
        raise UsageError(f"vnsight.toml, source {name}, path: {table.get('path', '(missing)')} is not a folder")
    return Folder(name, path, contract, str(table.get("pattern", "**/*")), f"{name}/")
