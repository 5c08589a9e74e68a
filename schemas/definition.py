# SPDX-License-Identifier: Apache-2.0
"""Outcome definitions, visit windows and the landmark: data in `schemas/definitions`, read once into frozen values.

They are parameters of an analysis: the SQL of the marts joins them from tables of `marts.duckdb`, and no number is written there. A
workspace may have its own in `definitions/`; which ones a window was built with, its tables say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from schemas.errors import UsageError
from schemas.instrument import load_instrument
from schemas.instrument_parts import Sourced
from schemas.typed import parse_yaml, read_typed

Scores = Literal["all", "primary", "remission_cut", "reliable_change", "important_change", "rating", "pair", "domains"]


@dataclass(frozen=True, kw_only=True)
class OutcomeDefinition(Sourced):
    """One rule by which an outcome is called; `scores` says for which scores, `parameters` are the numbers of the rule."""

    label: str
    rule: str
    scores: Scores
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Benefit(Sourced):
    """What counts as a benefit on one score of a domain: better by at least `value`, percent of the baseline or points."""

    domain: str
    instrument: str
    subscale: str
    value: float
    unit: Literal["percent", "points"]


@dataclass(frozen=True, kw_only=True)
class Definitions:
    """All outcome definitions by id, and the scores that stand for each domain of the tripartite one."""

    definitions: Mapping[str, OutcomeDefinition]
    domains: tuple[Benefit, ...] = ()

    def __post_init__(self) -> None:
        for one in self.domains:
            load_instrument(one.instrument).subscale(one.subscale)


@dataclass(frozen=True, kw_only=True)
class Window(Sourced):
    """Days after the index date, of 86,400 s, both ends included; `target_d` is the day a visit was meant for.

    `when` says whether the visit has rows from the start, or once somebody was assessed in its window or later.
    """

    from_d: int
    to_d: int
    target_d: int | None = None
    when: Literal["always", "reached"] = "always"

    def __post_init__(self) -> None:
        target = self.from_d if self.target_d is None else self.target_d
        if not self.from_d <= target <= self.to_d:
            raise UsageError(f"window of days {self.from_d} to {self.to_d}: it ends before it begins, or day {target} is not inside")


@dataclass(frozen=True, kw_only=True)
class Landmark(Sourced):
    """Day after the index date on which a patient's arm is decided; what begins on the day itself still counts."""

    day: int


@dataclass(frozen=True, kw_only=True)
class Visits:
    """Where the baseline lies, the visits, periods that span several of them, and the landmark."""

    baseline: Window
    visits: Mapping[str, Window]
    periods: Mapping[str, Window]
    landmark: Landmark

    def __post_init__(self) -> None:
        for name, window in self.visits.items():
            if window.target_d is None or window.from_d <= 0:
                raise UsageError(f"visit {name}: a visit has a target day and lies after the index date")
            if not name.replace("_", "").isalnum() or name != name.lower() or not name[0].isalpha():
                raise UsageError(f"visit {name}: a name like m6 or d42 is wanted")
        if self.baseline.to_d > 0:
            raise UsageError(f"baseline: it ends on day {self.baseline.to_d}; nothing after the index date is a baseline")


OUTCOMES, VISITS = "outcomes.yaml", "visits.yaml"


def shipped_text(name: str) -> str:
    """Text of a shipped file, `OUTCOMES` or `VISITS`."""
    return (files("schemas") / "definitions" / name).read_text(encoding="utf-8")


def own_file(home: Path, name: str) -> Path:
    """Where a workspace has its own `OUTCOMES` or `VISITS`, if it has."""
    return home / "definitions" / name


def read_definitions(text: str, where: str) -> Definitions:
    """Read the text of a definitions file; `UsageError` names file, place and what was expected, or a score that no instrument has."""
    read: Definitions = read_typed(Definitions, parse_yaml(text, where), where)
    return read


def read_visits(text: str, where: str) -> Visits:
    """Read the text of a visits file; `UsageError` as above, also for a window that ends before it begins."""
    read: Visits = read_typed(Visits, parse_yaml(text, where), where)
    return read


@cache
def load_definitions() -> Definitions:
    """The shipped outcome definitions, in the order of their file."""
    return read_definitions(shipped_text(OUTCOMES), OUTCOMES)


@cache
def load_visits() -> Visits:
    """The shipped visit windows and the landmark."""
    return read_visits(shipped_text(VISITS), VISITS)


def has_own(home: Path) -> bool:
    """Whether a workspace has definitions or visits of its own."""
    return own_file(home, OUTCOMES).is_file() or own_file(home, VISITS).is_file()


def definitions_of(home: Path) -> Definitions:
    """The outcome definitions of a workspace: its own file, else the shipped ones.

    Texts, sources, numbers and domains are free; `UsageError` where a definition is missing, new, for other scores or with other
    parameters, because the rules themselves are SQL.
    """
    path, shipped = own_file(home, OUTCOMES), load_definitions()
    if not path.is_file():
        return shipped
    own = read_definitions(path.read_text(encoding="utf-8"), str(path))
    if other := sorted(own.definitions.keys() ^ shipped.definitions.keys()):
        raise UsageError(f"{path}: {other[0]}: the definitions are {', '.join(shipped.definitions)}; no more and no less")
    for name, one in own.definitions.items():
        rule = shipped.definitions[name]
        if one.scores != rule.scores or one.parameters.keys() != rule.parameters.keys():
            wanted = ", ".join(rule.parameters) or "none"
            raise UsageError(f"{path}: {name}: it is for scores: {rule.scores}, with the parameters: {wanted}")
    return own


def visits_of(home: Path) -> Visits:
    """The visit windows of a workspace: its own file, else the shipped ones.

    Visits, periods and the baseline are free; `UsageError` for another landmark, because arms are decided there when rows are staged.
    """
    path, shipped = own_file(home, VISITS), load_visits()
    if not path.is_file():
        return shipped
    own = read_visits(path.read_text(encoding="utf-8"), str(path))
    if own.landmark.day != shipped.landmark.day:
        raise UsageError(f"{path}: landmark: arms are decided on day {shipped.landmark.day}, and only there")
    return own
