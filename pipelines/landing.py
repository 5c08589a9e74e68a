# SPDX-License-Identifier: Apache-2.0
"""Landing: raw files exactly as they arrived, named by content hash, listed in a manifest, never changed.

A file exists for the pipelines once its manifest entry does. Bytes are copied first and listed after, each by one rename; a crash in
between leaves bytes that nobody refers to, and the next pull lists them.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from schemas.errors import VNSightError
from schemas.load import Landed
from schemas.milestones import milestone
from schemas.workspace import Workspace


@dataclass(frozen=True)
class Stamp:
    """Size and modification time of a file at its source: an unchanged file is not read again. Zeros where there is none."""

    size: int = 0
    mtime_ns: int = 0


NO_STAMP = Stamp()


@dataclass(frozen=True)
class Entry:
    """A line of the manifest: a landed file, and how it looked at its source."""

    landed: Landed
    stamp: Stamp


# folder of a manifest -> name of an entry -> (inode, time of change), the entry; and all entries sorted
_PARSED: dict[str, tuple[dict[str, tuple[tuple[int, int], Entry]], list[Entry]]] = {}


def _folder(ws: Workspace) -> Path:
    return ws.landing / "manifest"


def _entry_path(ws: Workspace, landed: Landed) -> Path:
    identity = f"{landed.source}\0{landed.file}\0{landed.sha256}"
    return _folder(ws) / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"


def manifest(ws: Workspace) -> list[Entry]:
    """All landed files with their stamps, sorted by source, file and hash.

    An entry is parsed once per process: it is only ever replaced whole, by a file with another inode or time.
    """
    before, entries = _PARSED.get(str(_folder(ws)), ({}, []))
    seen: dict[str, tuple[tuple[int, int], Entry]] = {}
    changed = False
    if _folder(ws).is_dir():
        with os.scandir(_folder(ws)) as found:
            for item in found:
                if item.name.endswith(".json"):
                    stat = item.stat()
                    looks, known = (stat.st_ino, stat.st_mtime_ns), before.get(item.name)
                    if known is None or known[0] != looks:
                        known, changed = (looks, _parse(item.path)), True
                    seen[item.name] = known
    if changed or len(seen) != len(before):
        entries = sorted((entry for _, entry in seen.values()), key=lambda e: (e.landed.source, e.landed.file, e.landed.sha256))
    _PARSED[str(_folder(ws))] = seen, entries
    return list(entries)


def _parse(path: str) -> Entry:
    with open(path, "rb", buffering=0) as stream:  # 50,000 entries: a Path each would double the time
        raw = json.loads(stream.read())
    return Entry(Landed(**raw["landed"]), Stamp(**raw["stamp"]))


def landed_files(ws: Workspace) -> list[Landed]:
    """All landed files, sorted by source, file and hash."""
    return [entry.landed for entry in manifest(ws)]


def land(ws: Workspace, landed_as: tuple[str, str, str], blocks: Iterable[bytes], now_us: int, stamp: Stamp = NO_STAMP) -> Landed | None:
    """Copy a file into landing and list it; None when exactly this file was landed before (only its stamp is then renewed).

    landed_as: contract, file name at the source, origin. now_us: UTC microseconds, from then on the file is known. Blocks may
    raise: then nothing is landed. A full disk is a `VNSightError`.
    """
    incoming = ws.landing / f".{uuid.uuid4().hex}.tmp"
    try:
        incoming.parent.mkdir(parents=True, exist_ok=True)
        digest, size = _copy(blocks, incoming)
        landed = Landed(*landed_as, digest, size, now_us)
        target = ws.landing / landed.path
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            incoming.chmod(0o444)
            os.replace(incoming, target)
        milestone("land:copied")
        new = _list(ws, landed, stamp)
        milestone("land:listed")
        return landed if new else None
    except OSError as error:
        raise VNSightError(f"{landed_as[1]}: cannot be landed ({error.strerror}); make room or check rights, then run again") from error
    finally:
        incoming.unlink(missing_ok=True)


def _copy(blocks: Iterable[bytes], path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as stream:
        for block in blocks:
            digest.update(block)
            stream.write(block)
            size += len(block)
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest(), size


def _list(ws: Workspace, landed: Landed, stamp: Stamp) -> bool:
    """Write the entry of a landed file, by one rename; an entry that is there keeps the time it became known."""
    path = _entry_path(ws, landed)
    path.parent.mkdir(exist_ok=True)
    new = not path.exists()
    if not new:
        before = json.loads(path.read_bytes())
        if before["stamp"] == asdict(stamp):
            return False
        landed = Landed(**before["landed"])
    temporary = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("x", encoding="utf-8") as stream:
            json.dump({"landed": asdict(landed), "stamp": asdict(stamp)}, stream)
            stream.flush()
            os.fsync(stream.fileno())  # or a power cut may leave an entry without content, which every later run would trip over
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return new


def sweep(ws: Workspace) -> None:
    """Remove what killed pulls left half-copied. Only for who holds the lock of the workspace."""
    for left in (*ws.landing.glob(".*.tmp"), *_folder(ws).glob("*.tmp")):
        left.unlink(missing_ok=True)
