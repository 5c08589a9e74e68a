# SPDX-License-Identifier: Apache-2.0
"""Lists of codes kept as data: ICD-10 to disorder, and the history flags by which responders are stratified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True)
class HistoryFlag:
    """True for a patient with at least `at_least` events of `kinds` before the index date."""

    name: str
    label: str
    kinds: tuple[str, ...]
    at_least: int


def _read(name: str) -> Any:
    return yaml.safe_load((files("schemas") / "codes" / name).read_text(encoding="utf-8"))


@cache
def disorder_prefixes() -> Mapping[str, str]:
    """ICD-10-CM prefix without dot -> disorder; the longest matching prefix decides."""
    return {prefix: name for name, row in _read("disorders.yaml")["disorders"].items() for prefix in row["prefixes"]}


def disorder_of(code: str) -> str | None:
    """Return the disorder of an ICD-10-CM code, with or without the dot; None when it belongs to none of ours.

    >>> disorder_of("F33.1"), disorder_of("F4310"), disorder_of("J45")
    ('depression', 'ptsd', None)
    """
    plain, prefixes = code.replace(".", "").upper(), disorder_prefixes()
    return next((prefixes[plain[:n]] for n in range(len(plain), 2, -1) if plain[:n] in prefixes), None)


@cache
def history_flags() -> tuple[HistoryFlag, ...]:
    """The flags of `schemas/codes/history.yaml`, in their order there."""
    rows = _read("history.yaml")["flags"]
    return tuple(HistoryFlag(name, row["label"], tuple(row["kinds"]), row["at_least"]) for name, row in rows.items())
