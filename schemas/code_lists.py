# SPDX-License-Identifier: Apache-2.0
"""Lists of codes kept as data: ICD-10 to disorder, and the history flags by which responders are stratified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from schemas.typed import parse_yaml


@dataclass(frozen=True)
class HistoryFlag:
    """True for a patient with at least `at_least` events of `kinds` before the index date, or a case by a questionnaire of the past.

    `asked`: instrument and name of the caseness that any of its scores has to meet.
    """

    name: str
    label: str
    kinds: tuple[str, ...]
    at_least: int
    asked: tuple[str, str] | None = None


@dataclass(frozen=True)
class HistoryResponse:
    """Whether a past treatment helped: any event of `kinds` before the index date, where that was asked."""

    name: str
    label: str
    kinds: tuple[str, ...]


def read_codes(name: str) -> Any:
    """Values of a file of `schemas/codes`."""
    return parse_yaml((files("schemas") / "codes" / name).read_text(encoding="utf-8"), name)


@cache
def disorder_prefixes() -> Mapping[str, str]:
    """ICD-10-CM prefix without dot -> disorder; the longest matching prefix decides."""
    return {prefix: name for name, row in read_codes("disorders.yaml")["disorders"].items() for prefix in row["prefixes"]}


@cache
def disorder_labels() -> Mapping[str, str]:
    """Disorder -> its name for people, in the order of the list."""
    return {name: row["label"] for name, row in read_codes("disorders.yaml")["disorders"].items()}


def disorder_of(code: str) -> str | None:
    """Return the disorder of an ICD-10-CM code, with or without the dot; None when it belongs to none of ours.

    >>> disorder_of("F33.1"), disorder_of("F4310"), disorder_of("J45")
    ('depression', 'ptsd', None)
    """
    plain, prefixes = _plain(code), disorder_prefixes()
    return next((prefixes[plain[:n]] for n in range(len(plain), 2, -1) if plain[:n] in prefixes), None)


def _plain(code: str) -> str:
    return code.replace(".", "").upper()


@cache
def _intractable() -> Mapping[str, tuple[str, ...]]:
    return {disorder: tuple(prefixes) for disorder, prefixes in read_codes("disorders.yaml")["intractable"].items()}


def is_intractable(code: str) -> bool | None:
    """Tell whether a code names an intractable form; None for a disorder whose codes do not say.

    >>> is_intractable("G40.219"), is_intractable("G40909"), is_intractable("F33.1")
    (True, False, None)
    """
    prefixes = _intractable().get(disorder_of(code) or "")
    return None if prefixes is None else _plain(code).startswith(prefixes)


@cache
def polarities() -> Mapping[str, tuple[str, ...]]:
    """Polarity of a mood disorder -> its disorders; where both are recorded the later one here holds."""
    return {name: tuple(disorders) for name, disorders in read_codes("disorders.yaml")["polarity"].items()}


@cache
def history_responses() -> tuple[HistoryResponse, ...]:
    """The responses to past treatments of `schemas/codes/history.yaml`, in their order there."""
    rows = read_codes("history.yaml")["responses"]
    return tuple(HistoryResponse(name, row["label"], tuple(row["kinds"])) for name, row in rows.items())


@cache
def history_flags() -> tuple[HistoryFlag, ...]:
    """The flags of `schemas/codes/history.yaml`, in their order there."""
    rows = read_codes("history.yaml")["flags"]
    asked = {name: (row["asked"]["instrument"], row["asked"]["caseness"]) for name, row in rows.items() if "asked" in row}
    return tuple(HistoryFlag(name, row["label"], tuple(row["kinds"]), row["at_least"], asked.get(name)) for name, row in rows.items())
