# SPDX-License-Identifier: Apache-2.0
"""A workspace: one folder that holds everything of one study, and the settings in its `vnsight.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from schemas.errors import UsageError

Table = TypeVar("Table", "Settings", "Stream")
_MOST = 1_000_000_000  # of any number of [stream]: 31 years in seconds
CONVENTIONS = ("on_only", "ramp_trapezoid", "ramp_full")


@dataclass(frozen=True)
class Settings:
    """What a site may set; each value is part of the meaning of the marts, so change it between loads with care."""

    shards: int = 16  # fixed once data is staged; 64 to 256 above 50,000 patients
    workers: int = 1  # 2 pay above some 50 million rows
    windows_days: tuple[int, ...] = (7, 28, 90)
    carry_limit_days: int = 180
    charge_convention: Literal["on_only", "ramp_trapezoid", "ramp_full"] = "on_only"
    secret_file: str = "secret.key"
    trusted_receipt: tuple[str, ...] = ()  # sources whose own receipt time is when a fact became known
    alerts_file: str = "alerts.yaml"

    def __post_init__(self) -> None:
        if not 1 <= self.shards <= 4096:
            raise UsageError(f"vnsight.toml, workspace.shards: {self.shards} is not between 1 and 4096")
        if self.workers not in (1, 2, 3, 4):
            raise UsageError(f"vnsight.toml, workspace.workers: {self.workers} is not between 1 and 4")
        if not self.windows_days or any(not 1 <= d <= 3650 for d in self.windows_days):
            raise UsageError("vnsight.toml, workspace.windows_days: name whole days between 1 and 3650, such as [7, 28, 90]")
        if self.charge_convention not in CONVENTIONS:
            raise UsageError(f"vnsight.toml, workspace.charge_convention: choose one of {', '.join(CONVENTIONS)}")


@dataclass(frozen=True)
class Stream:
    """How a job on Flink reads and remembers (table `[stream]`); none of it changes what the marts hold in the end.

    `settle_s`: event time after which news is looked at. `lag_s`: how far the watermark stays behind the newest message of a partition.
    `idle_s`: after which a silent partition holds the others up no more; negative: never, as for replays of the past. `remember_days`:
    after which the facts of a patient of whom nothing came are let go; what comes later is left to the nightly run; 0: for ever. `cells`:
    keys of the state, fixed for its life. `checkpoint_ms`: from one checkpoint to the next. The owner is told when the watermark stands
    still for `stall_s` while messages wait, when more than `most_lag` wait, and when the cluster does not answer for `away_s`.
    """

    settle_s: float = 3600.0
    lag_s: float = 0.0
    idle_s: float = 60.0
    remember_days: float = 0.0
    cells: int = 16
    checkpoint_ms: int = 5000
    stall_s: float = 600.0
    most_lag: int = 1_000_000
    away_s: float = 60.0

    def __post_init__(self) -> None:
        least = {"settle_s": 0, "lag_s": 0, "remember_days": 0, "cells": 1, "checkpoint_ms": 100, "stall_s": 1, "most_lag": 0, "away_s": 1}
        for name in (f.name for f in fields(Stream)):
            value = getattr(self, name)
            whole = name in ("cells", "checkpoint_ms", "most_lag")
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise UsageError(f"vnsight.toml, stream.{name}: {value!r} is no {'whole ' if whole else ''}number")
            if value < least.get(name, value):
                raise UsageError(f"vnsight.toml, stream.{name}: {value} is below {least[name]}")
            if not abs(value) <= _MOST:  # nan is not, either
                raise UsageError(f"vnsight.toml, stream.{name}: {value} is not within {_MOST:,}")
        if self.cells > 4096:
            raise UsageError(f"vnsight.toml, stream.cells: {self.cells} is above 4096")


@dataclass(frozen=True)
class Workspace:
    """Where the parts of one study lie, with its settings and its declared sources (raw tables of the TOML file)."""

    home: Path
    settings: Settings = Settings()
    sources: tuple[Mapping[str, Any], ...] = field(default=())
    stream: Stream = Stream()

    @property
    def wide(self) -> dict[str, Mapping[str, Any]]:
        """Name of a source -> its mapping of a wide survey, for the sources that declare one."""
        return {s["name"]: s["wide"] for s in self.sources if "wide" in s}

    @property
    def inbox(self) -> Path:
        """Folder drop: `inbox/<source>/` is pulled by every run."""
        return self.home / "inbox"

    @property
    def landing(self) -> Path:
        """Raw files exactly as they arrived, named by content hash; never changed."""
        return self.home / "landing"

    @property
    def staged(self) -> Path:
        """Facts in canonical form, one Delta table per contract, sharded by patient."""
        return self.home / "staged"

    @property
    def marts(self) -> Path:
        """Published tables as Parquet with a Delta log."""
        return self.home / "marts"

    @property
    def quarantine(self) -> Path:
        """Refused rows with their raw bytes."""
        return self.home / "quarantine"

    @property
    def ledger(self) -> Path:
        """Per load, source and file: how many rows ended in which bin."""
        return self.home / "ledger"

    @property
    def loads(self) -> Path:
        """Working folders of loads; only the newest is kept."""
        return self.home / "loads"

    @property
    def window(self) -> Path:
        """The database file that analysts open: `marts.duckdb`."""
        return self.home / "marts.duckdb"

    @property
    def secret_path(self) -> Path:
        """File of the pseudonym key; relative to the workspace unless absolute."""
        return self.home / self.settings.secret_file


def _read(kind: type[Table], document: Mapping[str, Any], name: str) -> Table:
    table = document.get(name, {})
    if not isinstance(table, Mapping):
        raise UsageError(f"vnsight.toml, {name}: {table!r} is no table; write [{name}] on a line of its own, and the settings below it")
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise UsageError(f"vnsight.toml, {name}.{unknown[0]}: not a setting; there are: {', '.join(sorted(known))}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return kind(**values)


def open_workspace(home: Path) -> Workspace:
    """Open the workspace in `home` (default settings without a `vnsight.toml`); `UsageError` names a broken setting."""
    home = home.resolve()
    if not home.is_dir():
        raise UsageError(f"{home} is not a folder; create a workspace with: vnsight init {home}")
    path = home / "vnsight.toml"
    if not path.exists():
        return Workspace(home)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name} cannot be read: {error}") from error
    unknown = sorted(set(document) - {"workspace", "stream", "source"})
    if unknown:
        raise UsageError(f"vnsight.toml, [{unknown[0]}]: not a table it knows; there are: [workspace], [stream] and [[source]]")
    settings, stream = _read(Settings, document, "workspace"), _read(Stream, document, "stream")
    sources = document.get("source", [])
    if not isinstance(sources, list) or not all(isinstance(one, Mapping) for one in sources):
        raise UsageError("vnsight.toml, source: write [[source]] on a line of its own for every source, and its settings below it")
    return Workspace(home, settings, tuple(sources), stream)
