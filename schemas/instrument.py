# SPDX-License-Identifier: Apache-2.0
"""Instruments: one YAML file each in `schemas/instruments`, read once into frozen values; adding one needs no code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Literal

from schemas.errors import UsageError
from schemas.instrument_parts import (
    Criteria,
    Direction,
    Form,
    ItemRule,
    Licence,
    Loinc,
    Range,
    Safety,
    Sourced,
    Subscale,
    TakenFrom,
    normalise_label,
)
from schemas.typed import Token, parse_yaml, read_typed


@dataclass(frozen=True, kw_only=True)
class Instrument(Sourced):
    """A questionnaire or rating: its items, its forms and its scores. Item texts are not part of it."""

    id: str
    title: str
    licence: Licence
    direction: Direction
    rater: Literal["patient", "clinician"] = "patient"
    kind: Literal["trait", "state", "symptom", "history", "function", "change"] = "symptom"
    items: ItemRule
    item_exceptions: Mapping[Token, ItemRule] = field(default_factory=dict)
    reverse: tuple[Token, ...] = ()
    forms: Mapping[str, Form]
    subscales: Mapping[str, Subscale]
    safety: tuple[Safety, ...] = ()
    criteria: tuple[Criteria, ...] = ()
    loinc: Loinc | None = None
    taken_from: TakenFrom | None = None

    def __post_init__(self) -> None:
        for place, there in (("forms", self.forms), ("subscales", self.subscales)):
            if not there:
                self._fail(place, "there is none; without one its responses would leave no score and no reason")
        for version in self.forms:
            self._check_form(version)
        for name in self.subscales:
            self._check_subscale(name)
        for alert in self.safety:
            self._check_known(f"safety item {alert.item}", (alert.item,))
            rule = self.item_rule(alert.item)
            if not rule.minimum < alert.at_least <= rule.maximum:
                self._fail(f"safety item {alert.item}", f"at_least {alert.at_least} is not above {rule.minimum} and within {rule.maximum}")
        self._check_known("reverse", self.reverse)
        for one in self.criteria:
            self._check_criteria(one)

    def item_rule(self, item: str) -> ItemRule:
        """Codes and points of one item."""
        return self.item_exceptions.get(Token(item), self.items)

    def points(self, version: str, item: str) -> Mapping[int, float]:
        """Points of every legal form code of an item: offset or recoding, reversal and points in one step.

        A code that is not a key is out of range. Form 1-4 of a 0-3 item that is reversed: {1: 3, 2: 2, 3: 1, 4: 0}.
        """
        rule, coding = self.item_rule(item), self.forms[version].coding
        shift = coding.minimum - self.items.minimum
        own = coding.codes or {code + shift: code for code in range(rule.minimum, rule.maximum + 1)}
        legal = {code: value for code, value in own.items() if rule.minimum <= value <= rule.maximum}
        if item in self.reverse:
            legal = {code: rule.minimum + rule.maximum - value for code, value in legal.items()}
        return {code: float(rule.points.get(value, value)) for code, value in legal.items()}

    @property
    def parts(self) -> list[str]:
        """Names of its scores besides the total."""
        return [name for name in self.subscales if name != "total"]

    @property
    def is_outcome(self) -> bool:
        """Whether a score can be compared with the patient's own baseline: not a history, and not itself a rating of change."""
        return self.kind not in ("history", "change")

    def meets(self, criteria: Criteria, points: Mapping[str, float]) -> bool | None:
        """Tell whether answered items (item -> points) meet the criteria; None where missing answers could still decide."""
        sure = possible = True
        for name, needed in criteria.at_least.items():
            items = self.subscales[name].items
            present = sum(points[i] >= criteria.present_from for i in items if i in points)
            sure = sure and present >= needed
            possible = possible and present + sum(i not in points for i in items) >= needed
        return True if sure else None if possible else False

    def subscale(self, name: str) -> Subscale:
        """One of its scores; `UsageError` names those that exist."""
        if name not in self.subscales:
            raise UsageError(f"{self.id} has no subscale {name}; there are: {', '.join(self.subscales)}")
        return self.subscales[name]

    def direction_of(self, subscale: str) -> Direction:
        """Which way is worse for one subscale; `UsageError` as above."""
        return self.subscale(subscale).direction or self.direction

    def _fail(self, place: str, problem: str) -> None:
        raise UsageError(f"instrument {self.id}, {place}: {problem}")

    def _check_known(self, place: str, items: tuple[Token, ...]) -> None:
        for version, form in self.forms.items():
            unknown = [i for i in items if i not in form.items]
            if unknown:
                self._fail(place, f"item {unknown[0]} is not on form {version}")

    def _check_criteria(self, criteria: Criteria) -> None:
        for name, needed in criteria.at_least.items():
            if name not in self.subscales or needed > self.subscales[name].n:
                self._fail(f"criteria {criteria.name}", f"{needed} items of subscale {name} cannot be present")

    def _check_form(self, version: str) -> None:
        form, place = self.forms[version], f"forms.{version}"
        if len(set(form.items)) != len(form.items):
            self._fail(place, "an item is listed twice")
        coding, width = form.coding, self.items.maximum - self.items.minimum
        if not coding.codes and coding.maximum - coding.minimum != width:
            items = f"{self.items.minimum}-{self.items.maximum}"
            self._fail(f"{place}.coding", f"{coding} is not as wide as the item range {items}")
        for wording, labels in form.labels.items():
            for label, code in labels.items():
                if not coding.minimum <= code <= coding.maximum:
                    self._fail(f"{place}.labels.{wording}", f"{label!r} has code {code}, outside {coding}")
                if form.label_codes[normalise_label(label)] != code:
                    self._fail(f"{place}.labels.{wording}", f"{label!r} has another code in another wording")

    def _check_subscale(self, name: str) -> None:
        one, place = self.subscales[name], f"subscales.{name}"
        if one.n != len(one.items) or len(set(one.items)) != one.n:
            self._fail(place, f"n is {one.n}, but {len(set(one.items))} different items are listed")
        self._check_printed(place, one)
        self._check_published(place, one)
        needed = one.missing.needed(len(one.parts))
        if (one.missing.rule == "prorate") is (one.missing.minimum is None) or not 1 <= needed <= len(one.parts):
            self._fail(f"{place}.missing", f"prorate needs a minimum between 1 and {len(one.parts)}, none takes no minimum")
        stray: list[str] = [i for group in one.groups for i in group if i not in one.items]
        stray += [s for s in one.weights if s not in self.subscales]
        if stray:
            self._fail(place, f"{stray[0]} is in groups or weights, but is not an item or subscale")
        found = self._reachable(one)
        if (found.minimum, found.maximum) != (one.range.minimum, one.range.maximum):
            self._fail(f"{place}.range", f"declared {one.range}, but the items reach {found}")

    def _check_printed(self, place: str, one: Subscale) -> None:
        """Of every part at least one item stands on every form: of two ways to rate weight loss, a form may print either."""
        for version, form in self.forms.items() if one.operation != "given" else ():
            absent = [part[0] for part in one.parts if not set(part) & set(form.items)]
            if absent:
                self._fail(place, f"item {absent[0]} is not on form {version}")

    def _check_published(self, place: str, one: Subscale) -> None:
        """Bands rise from the least score; cuts lie within the range; deviations and reliabilities are possible ones."""
        low, high = one.range.minimum, one.range.maximum
        ends = list(one.bands.ends.values()) if one.bands else [low]
        if ends != sorted(set(ends)) or ends[0] != low or ends[-1] > high:
            self._fail(f"{place}.bands", f"lower ends have to rise from {low:g} and stay within {high:g}, found {ends}")
        for cut in (*one.caseness, *one.remission, *one.functional):
            if not low <= cut.value <= high:
                self._fail(f"{place}, {cut.name}", f"{cut.value:g} lies outside the range {low:g} to {high:g}")
        if any(r.sd <= 0 or not 0 < r.reliability < 1 for r in one.reliable_change) or any(n.sd <= 0 for n in one.norms):
            self._fail(place, "a standard deviation has to be above 0 and a reliability between 0 and 1")

    def _reachable(self, one: Subscale) -> Range:
        if one.operation == "given":
            return one.range
        if one.operation == "weighted":
            ranges = [(self.subscales[s].range, w) for s, w in one.weights.items()]
            low, high = sum(r.minimum * w for r, w in ranges), sum(r.maximum * w for r, w in ranges)
            return Range(minimum=round(low, 9), maximum=round(high, 9))
        version, take = next(iter(self.forms)), max if one.of_group == "max" else _first
        values = {str(i): self.points(version, i).values() for i in one.items}
        low = sum(take([min(values[i]) for i in part]) for part in one.parts)
        high = sum(take([max(values[i]) for i in part]) for part in one.parts)
        divisor = len(one.parts) if one.operation == "mean" else 1
        return Range(minimum=low * one.times / divisor, maximum=high * one.times / divisor)


def _first(points: list[float]) -> float:
    return points[0]


Instruments = Mapping[str, Instrument]


def read_instrument(text: str, where: str) -> Instrument:
    """Read the text of one instrument file; `UsageError` names file, place and what was expected."""
    instrument: Instrument = read_typed(Instrument, parse_yaml(text, where), where)
    return instrument


@cache
def load_instruments() -> Instruments:
    """Read all shipped instruments, by id."""
    folder = files("schemas") / "instruments"
    names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".yaml"))
    return index_instruments([read_instrument((folder / n).read_text(encoding="utf-8"), n) for n in names])


def index_instruments(read: list[Instrument]) -> Instruments:
    """Instruments by id; `UsageError` if two have the same, or if one is said to be taken from another in a way that cannot be."""
    found = {one.id: one for one in read}
    if len(found) < len(read):
        twice = next(one.id for k, one in enumerate(read) if one.id in [other.id for other in read[:k]])
        raise UsageError(f"instrument {twice}: two files have this id; give one of them another")
    for one in read:
        taken = one.taken_from
        longer = found.get(taken.instrument) if taken else None
        if taken and longer and len(taken.items) != max(len(form.items) for form in one.forms.values()):
            raise UsageError(f"instrument {one.id}, taken_from: {len(taken.items)} items are listed, which is not one for each of its own")
        if taken and longer:
            longer._check_known(f"taken from by {one.id}", taken.items)
    return found


def load_instrument(id: str) -> Instrument:
    """Return one instrument; `UsageError` names those that exist."""
    instruments = load_instruments()
    if id not in instruments:
        raise UsageError(f"no instrument is called {id}; there are: {', '.join(instruments)}")
    return instruments[id]
