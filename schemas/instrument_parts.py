# SPDX-License-Identifier: Apache-2.0
"""What an instrument is made of: forms, subscales and the published numbers by which a score is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Literal

from schemas.typed import Token

Confidence = Literal["S", "C", "K+", "K~", "K-"]  # read in a source, computed, recalled with high / medium / low confidence
Direction = Literal["higher_is_worse", "lower_is_worse", "not_stated"]  # not stated: no source says, so nothing is classed by it
Comparison = Literal["below", "at_most", "at_least", "above"]


@dataclass(frozen=True, kw_only=True)
class Sourced:
    """A statement with the place it comes from and how far it can be trusted."""

    source: str
    confidence: Confidence


@dataclass(frozen=True, kw_only=True)
class Licence(Sourced):
    """Under which terms the instrument may be used; item texts are never stored, whatever it says."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Coding:
    """Codes of a form. Without `codes` the form code is shifted by `minimum` minus the item's own minimum.

    `codes` maps a form code to the item's own code where a shift does not do (gaps, falling order).
    """

    minimum: int
    maximum: int
    codes: Mapping[int, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.minimum}-{self.maximum}"


@dataclass(frozen=True, kw_only=True)
class ItemRule:
    """Codes an item can take, ends included, and `points` (code to points) where points are not the code itself."""

    minimum: int
    maximum: int
    points: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Form(Sourced):
    """One version of the form: items in the order printed, coding, and per wording the code of each answer label."""

    items: tuple[Token, ...]
    coding: Coding
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def label_codes(self) -> Mapping[str, int]:
        """All wordings in one map: normalised label to form code."""
        return {normalise_label(k): code for wording in self.labels.values() for k, code in wording.items()}


def normalise_label(text: str) -> str:
    """Lower the case and trim; no word is left out, so another wording stays unknown.

    >>> normalise_label("  Not at ALL ")
    'not at all'
    """
    return text.strip().lower()


@dataclass(frozen=True, kw_only=True)
class MissingRule(Sourced):
    """What happens when answers are missing: `none` allowed, or `prorate` if at least `minimum` parts are answered."""

    rule: Literal["none", "prorate"]
    minimum: int | None = None

    def needed(self, parts: int) -> int:
        """Number of answered parts from which on there is a score."""
        return parts if self.minimum is None else self.minimum


@dataclass(frozen=True, kw_only=True)
class Range:
    """Least and greatest possible score, both reachable."""

    minimum: float
    maximum: float


@dataclass(frozen=True, kw_only=True)
class Bands(Sourced):
    """Severity bands by their lower ends, rising; a score belongs to the last band whose end it reaches."""

    ends: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Threshold(Sourced):
    """A cut-off on a score, or on a change (`points` or `percent` of baseline, in the direction of getting better).

    The `baseline_` bounds limit it to baselines from `baseline_at_least` up to, not including, `baseline_below`.
    """

    name: str
    comparison: Comparison
    value: float
    unit: Literal["points", "percent"] = "points"
    baseline_at_least: float | None = None
    baseline_below: float | None = None

    def is_met(self, x: float) -> bool:
        """Tell whether `x` is on the named side of the value.

        >>> Threshold(name="response", comparison="at_least", value=50, unit="percent", source="-", confidence="K+").is_met(50)
        True
        """
        return {
            "below": x < self.value, "at_most": x <= self.value, "at_least": x >= self.value, "above": x > self.value,
        }[self.comparison]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ReliableChange(Sourced):
    """Inputs of the Jacobson-Truax reliable change; it moves with whose SD is used, so `sd_source` says whose."""

    sd: float
    sd_source: str
    reliability: float

    @property
    def points(self) -> float:
        """Change beyond which chance is an unlikely reason: 1.96 * sqrt(2) * SD * sqrt(1 - reliability).

        >>> round(ReliableChange(sd=6.1, reliability=0.84, sd_source="clinical", source="-", confidence="C").points, 3)
        6.763
        """
        return 1.96 * sqrt(2) * self.sd * sqrt(1 - self.reliability)


@dataclass(frozen=True, kw_only=True)
class Reliability(Sourced):
    """A published reliability for which no SD is named, so that no reliable change follows from it."""

    kind: Literal["alpha", "retest"]
    value: float


@dataclass(frozen=True, kw_only=True)
class Norm(Sourced):
    """Mean and SD of the score in a population; clinical and functional ones are the inputs of cut-offs a, b and c."""

    population: str
    mean: float
    sd: float
    n: int | None = None


@dataclass(frozen=True, kw_only=True)
class Subscale:
    """One score of an instrument: `times` the sum or mean of its parts.

    A part is an item or a group of items, of which the greatest answer (`max`) or the first answered one (`first`) counts.
    `weighted` is the weighted sum of other subscales (`weights`), `given` takes the total the source computed. `functional` is the
    published end of the healthy range, which clinically significant change has to reach; it is no remission.
    """

    operation: Literal["sum", "mean", "weighted", "given"]
    items: tuple[Token, ...]
    n: int
    range: Range
    missing: MissingRule
    times: int = 1
    groups: tuple[tuple[Token, ...], ...] = ()
    of_group: Literal["max", "first"] = "max"
    weights: Mapping[str, float] = field(default_factory=dict)
    direction: Direction | None = None  # where it differs from that of the instrument
    bands: Bands | None = None
    caseness: tuple[Threshold, ...] = ()
    response: tuple[Threshold, ...] = ()
    remission: tuple[Threshold, ...] = ()
    functional: tuple[Threshold, ...] = ()
    change: tuple[Threshold, ...] = ()
    reliability: tuple[Reliability, ...] = ()
    reliable_change: tuple[ReliableChange, ...] = ()
    norms: tuple[Norm, ...] = ()

    @property
    def parts(self) -> tuple[tuple[str, ...], ...]:
        """Items and groups in item order; an item outside every group is a part of its own."""
        group_of = {item: group for group in self.groups for item in group}
        return tuple(dict.fromkeys(group_of.get(item, (item,)) for item in self.items))

    @property
    def cutoff_c(self) -> float | None:
        """Jacobson-Truax cut-off c, as likely clinical as functional: (SD_f M_c + SD_c M_f) / (SD_c + SD_f).

        It takes the norms called `clinical` and `functional`; None unless both are published.
        """
        norms = {norm.population: norm for norm in self.norms}
        if not {"clinical", "functional"} <= set(norms):
            return None
        ill, well = norms["clinical"], norms["functional"]
        return (well.sd * ill.mean + ill.sd * well.mean) / (ill.sd + well.sd)

    def band(self, score: float) -> str | None:
        """Name of the severity band of a score; None where no bands are published."""
        reached = [name for name, end in self.bands.ends.items() if score >= end] if self.bands else []
        return reached[-1] if reached else None


@dataclass(frozen=True, kw_only=True)
class Safety(Sourced):
    """An answer that someone must look at on the same day, whatever the total: `item` answered `at_least` this code."""

    item: Token
    at_least: int
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Criteria(Sourced):
    """A provisional diagnosis: in each subscale named at least so many items answered `present_from` or more."""

    name: str
    present_from: int
    at_least: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Loinc(Sourced):
    """Confirmed LOINC codes; `answers` maps a form code of `standard` to its answer code, `unscored` are further questions."""

    panel: str
    total: str
    items: Mapping[Token, str]
    answers: Mapping[int, str] = field(default_factory=dict)
    unscored: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TakenFrom(Sourced):
    """The items of a longer instrument that this one consists of, in the order of its own items."""

    instrument: str
    items: tuple[Token, ...]
