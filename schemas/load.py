# SPDX-License-Identifier: Apache-2.0
"""What passes between the pipelines, the audit and the warehouse: the files of one load, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Shards = Mapping[int, str]  # shard -> the one live Parquet file of that shard, relative to the workspace


@dataclass(frozen=True)
class Landed:
    """A raw file in landing. `source` is its contract, `origin` the declared source it came by, `landed_us` UTC microseconds."""

    source: str
    file: str
    origin: str
    sha256: str
    size: int
    landed_us: int

    @property
    def path(self) -> str:
        """Place of the bytes relative to `landing/`."""
        return f"{self.sha256[:2]}/{self.sha256}"


@dataclass(frozen=True)
class LoadFiles:
    """Parquet files one load has written but not committed.

    `replaced`: table -> shard -> new file, which takes the place of that shard's file (tables: `staged/<name>`, `marts/<name>`).
    `appended`: table -> new files of `ledger/...`, `quarantine`, `streamed/...`. `dropped`: table -> appended files of earlier loads
    that nothing needs any more.
    """

    load: int
    replaced: Mapping[str, Shards] = field(default_factory=dict)
    appended: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dropped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    known_by_us: int | None = None  # set for a rebuild of past knowledge, which commits nothing


@dataclass(frozen=True)
class CompleteLoad:
    """The last load whose ledger commit was made, and the version of every table that belongs to it (0: none yet)."""

    load: int
    versions: Mapping[str, int]
