# SPDX-License-Identifier: Apache-2.0
"""Prometheus' text format: a family of samples has a name, a kind, a help line, and one line per set of labels."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True)
class Sample:
    """One value and its labels."""

    value: float
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Family:
    """All samples of one name. A counter only grows while its process lives, and its name ends in `_total`."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: tuple[Sample, ...]

    def __post_init__(self) -> None:
        assert _NAME.fullmatch(self.name), self.name
        assert (self.kind == "counter") == self.name.endswith("_total"), self.name
        assert all(_LABEL.fullmatch(label) for s in self.samples for label in s.labels), self.name


def gauge(name: str, text: str, value: float | None, **labels: str) -> Family:
    """A gauge of one sample; without a value it has none."""
    return Family(name, "gauge", text, () if value is None else (Sample(value, labels),))


def counter(name: str, text: str, value: float | None, **labels: str) -> Family:
    """A counter of one sample; without a value it has none."""
    return Family(name, "counter", text, () if value is None else (Sample(value, labels),))


def by_label(kind: Literal["counter", "gauge"], name: str, text: str, label: str, values: Mapping[str, float]) -> Family:
    """A family with one sample per value of one label."""
    return Family(name, kind, text, tuple(Sample(v, {label: k}) for k, v in values.items()))


def render(families: Iterable[Family]) -> str:
    """Write families as text; one without samples is left out: what is not known is not there.

    >>> print(render([gauge("vnsight_load", "Last load.", 3)]), end="")
    # HELP vnsight_load Last load.
    # TYPE vnsight_load gauge
    vnsight_load 3
    """
    lines: list[str] = []
    for family in families:
        if family.samples:
            lines += [f"# HELP {family.name} {_escape(family.help)}", f"# TYPE {family.name} {family.kind}"]
            lines += [f"{family.name}{_labels(s.labels)} {_number(s.value)}" for s in family.samples]
    return "\n".join([*lines, ""])


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{k}="{_escape(v, quotes=True)}"' for k, v in labels.items()) + "}" if labels else ""


def _escape(text: str, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))
