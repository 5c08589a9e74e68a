# SPDX-License-Identifier: Apache-2.0
"""How a wide survey table is declared: which column holds what, in which coding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from schemas.errors import UsageError
from schemas.instrument import Instrument, Instruments
from schemas.instrument_parts import Coding, Form, normalise_label
from schemas.typed import read_typed


@dataclass(frozen=True, kw_only=True)
class WideMapping:
    """Where the parts of a survey stand in a wide table, as declared under `[[source]]` in `vnsight.toml`.

    `items` is a template such as `Item{}_num`, filled with 1, 2, ... in form order, or the list of columns in form order.
    `coding` says whether cells hold codes or labels. `labels` adds wordings: label -> form code. `declared` is the coding the
    file uses where it is not that of the form (a 0-3 form exported as 1-4); answers are then shifted to the form's.
    On a form of totals `items` is an empty list and `source_score` names the column of the total.
    `source_subscales` names the columns in which the source computed scores of subscales: subscale -> column.
    `missing` lists cell texts that mean unanswered; an empty cell always does. `completed_at` and `uploaded_at` name columns,
    their `_constant` twins give one instant for the whole file; the upload defaults to the completion.
    `id_prefix` is put before every response_id, so that two instruments in one table do not share identifiers.
    """

    instrument: str
    response_id: str
    patient_id: str
    items: str | tuple[str, ...]
    form_version: str = "standard"
    completed_at: str | None = None
    completed_at_constant: str | None = None
    uploaded_at: str | None = None
    uploaded_at_constant: str | None = None
    time_zone: str | None = None
    coding: Literal["codes", "labels"] = "codes"
    labels: Mapping[str, int] = field(default_factory=dict)
    declared: Coding | None = None
    missing: tuple[str, ...] = ()
    source_score: str | None = None
    source_subscales: Mapping[str, str] = field(default_factory=dict)
    id_prefix: str = ""

    def __post_init__(self) -> None:
        if (self.completed_at is None) is (self.completed_at_constant is None):
            raise UsageError("wide survey: name either completed_at (a column) or completed_at_constant (an instant)")
        if self.uploaded_at and self.uploaded_at_constant:
            raise UsageError("wide survey: name uploaded_at (a column) or uploaded_at_constant (an instant), not both")
        if self.coding == "labels" and self.declared:
            raise UsageError("wide survey: declared is a coding of numbers; with labels map each label to its code instead")

    @property
    def source_columns(self) -> dict[str, str]:
        """Subscale -> column with the score of the source; its total goes by `total`."""
        return ({"total": self.source_score} if self.source_score else {}) | dict(self.source_subscales)

    @property
    def own_columns(self) -> tuple[str, ...]:
        """Columns the mapping names besides the items."""
        named = (self.response_id, self.patient_id, self.completed_at, self.uploaded_at, *self.source_columns.values())
        return tuple(dict.fromkeys(c for c in named if c is not None))


@dataclass(frozen=True)
class WideLayout:
    """The mapping made concrete for its form."""

    mapping: WideMapping
    instrument: Instrument
    columns: tuple[str, ...]

    @property
    def form(self) -> Form:
        """Form that the table holds."""
        return self.instrument.forms[self.mapping.form_version]

    @property
    def declared(self) -> Coding:
        """Coding the file is declared to use."""
        return self.mapping.declared or self.form.coding

    @property
    def shift(self) -> int:
        """Code in the file minus code of the form."""
        return self.declared.minimum - self.form.coding.minimum

    @property
    def labels(self) -> dict[str, int]:
        """Normalised label -> form code: the wordings of the form and those the mapping adds."""
        return {**self.form.label_codes, **{normalise_label(k): code for k, code in self.mapping.labels.items()}}

    def legal(self, position: int) -> list[int]:
        """Form codes of one item."""
        return sorted(self.instrument.points(self.mapping.form_version, self.form.items[position]))


def read_mapping(table: Mapping[str, Any], where: str = "vnsight.toml, wide") -> WideMapping:
    """Read a mapping from its TOML table; `UsageError` names an unknown, missing or mistyped key."""
    mapping: WideMapping = read_typed(WideMapping, table, where)
    return mapping


def item_columns(items: str | tuple[str, ...], form: Form) -> tuple[str, ...]:
    """Names of the item columns in form order; `UsageError` if the template has no `{}` or the list another length.

    >>> item_columns("q{}", Form(items=("a", "b"), coding=Coding(minimum=0, maximum=3), source="-", confidence="K+"))
    ('q1', 'q2')
    """
    if isinstance(items, str):
        if items.count("{}") != 1:
            raise UsageError(f"items: the template {items!r} must hold {{}} once, where the number of the item stands")
        return tuple(items.replace("{}", str(position)) for position in range(1, len(form.items) + 1))
    if len(items) != len(form.items) or len(set(items)) != len(items):
        raise UsageError(f"items: {len(set(items))} different columns are listed, the form has {len(form.items)} items")
    return items


def lay_out(mapping: WideMapping, instruments: Instruments) -> WideLayout:
    """Bind a mapping to its form; `UsageError` if instrument, form, declared coding, labels or items do not fit it."""
    if mapping.instrument not in instruments:
        raise UsageError(f"wide survey, instrument: {mapping.instrument} is not known; there are: {', '.join(instruments)}")
    instrument = instruments[mapping.instrument]
    if mapping.form_version not in instrument.forms:
        raise UsageError(f"wide survey, form_version: {mapping.instrument} has {', '.join(instrument.forms)}")
    form = instrument.forms[mapping.form_version]
    if not form.items and mapping.source_score is None:
        raise UsageError(f"wide survey, source_score: {mapping.instrument} is kept as the total of the source; name its column")
    if mapping.source_score and "total" not in instrument.subscales:
        scores = ", ".join(instrument.subscales)
        raise UsageError(f"wide survey, source_score: {mapping.instrument} has no total to stand beside it, only {scores}; leave it out")
    if unknown := sorted(set(mapping.source_subscales) - set(instrument.parts)):
        there = ", ".join(instrument.parts) or "none besides the total, whose column is source_score"
        raise UsageError(f"wide survey, source_subscales: {mapping.instrument} has no subscale {unknown[0]}; it has {there}")
    declared = mapping.declared or form.coding
    if declared.maximum - declared.minimum != form.coding.maximum - form.coding.minimum or declared.codes != form.coding.codes:
        raise UsageError(f"wide survey, declared: {declared} cannot be shifted to the coding {form.coding} of the form")
    for label, code in mapping.labels.items():
        if not form.coding.minimum <= code <= form.coding.maximum:
            raise UsageError(f"wide survey, labels: {label!r} has code {code}, outside the coding {form.coding} of the form")
    return WideLayout(mapping, instrument, item_columns(mapping.items, form))
