# SPDX-License-Identifier: Apache-2.0
"""Contracts: one ODCS v3.1 file per table, read once into frozen values from which everything else follows.

The Arrow schema, the row rules, the audit suite, the table definition and its comments all come from a `Contract`
(`schemas.arrow`, `schemas.rules`, `quality.suite`, `warehouse.comments`); none of them is written a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from schemas.errors import UsageError
from schemas.typed import parse_yaml

Kind = Literal["source", "staged", "mart"]
Severity = Literal["critical", "warning", "info"]
Identifier = Literal["patient", "device", "response", "record"]

SOURCES = (
    "patients", "devices", "consents",  # first: the others refer to them
    "conditions", "history_events", "therapy_sessions", "device_settings", "interrogations",
    "stimulation_sessions", "survey_responses", "physiology", "adverse_events",
)  # fmt: skip
MARTS = ("patients", "scores", "dose_daily", "dose_outcomes", "patient_versions")  # what a shard derives; all have a patient_key


@dataclass(frozen=True)
class Column:
    """One column: its type, bounds and meaning. `minimum` and `maximum` are inclusive; None is unbounded."""

    name: str
    type: str  # an ODCS logical type, or array<integer>, array<number>, array<string>
    required: bool
    description: str
    unit: str | None = None
    minimum: float | str | None = None
    maximum: float | str | None = None
    pattern: str | None = None
    valid_values: tuple[str, ...] = ()
    grid: str | None = None
    identifier: Identifier | None = None
    clock: str | None = None
    since: str | None = None  # version of the contract that added it
    per_window: bool = False
    severity: Severity = "critical"
    failure: str = ""

    @property
    def staged_name(self) -> str:
        """Name beyond landing: an identifier `x_id` is stored only as its keyed pseudonym `x_key`."""
        return self.name.removesuffix("_id") + "_key" if self.identifier else self.name


@dataclass(frozen=True)
class Rule:
    """A table-level quality rule: a query that must return no row, a unique key, or a rate; with what a failure means."""

    name: str
    severity: Severity
    failure: str
    query: str | None = None
    max_quarantine_rate: float | None = None


@dataclass(frozen=True)
class Contract:
    """What a table is, who answers for it and what may not happen to it."""

    name: str
    kind: Kind
    version: str
    purpose: str
    grain: str
    owner: str
    channel: str
    freshness_days: float | None
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rules: tuple[Rule, ...]
    revision: str | None = None
    happened: str | None = None
    receipt: str | None = None
    refers_to: Literal["patient", "device"] | None = None

    def column(self, name: str) -> Column:
        """Return the column of that name; KeyError if there is none."""
        return next(c for c in self.columns if c.name == name)


def _custom(node: Mapping[str, Any]) -> dict[str, Any]:
    return {p["property"]: p["value"] for p in node.get("customProperties", ())}


def _column(node: Mapping[str, Any]) -> Column:
    custom = _custom(node)
    quality: Mapping[str, Any] = next(iter(node.get("quality", ())), {})
    element = node.get("items")
    options = (element or node).get("logicalTypeOptions", {})
    return Column(
        name=node["name"],
        type=f"array<{element['logicalType']}>" if element else node["logicalType"],
        required=node.get("required", False),
        description=node["description"],
        unit=custom.get("unit"),
        minimum=options.get("minimum"),
        maximum=options.get("maximum"),
        pattern=options.get("pattern"),
        valid_values=tuple(quality.get("arguments", {}).get("validValues", ())),
        grid=custom.get("grid"),
        identifier=custom.get("identifier"),
        clock=custom.get("clock"),
        since=custom.get("since"),
        per_window=custom.get("perWindow", False),
        severity=quality.get("severity", "critical"),
        failure=quality.get("description", ""),
    )


def _rule(node: Mapping[str, Any]) -> Rule:
    implementation = node.get("implementation", {})
    return Rule(
        name=node["name"],
        severity=node.get("severity", "critical"),
        failure=node["description"],
        query=node.get("query"),
        max_quarantine_rate=implementation.get("maxQuarantineRate"),
    )


def read_contract(text: str, where: str) -> Contract:
    """Turn the text of one ODCS file (one table) into a `Contract`; KeyError names what is missing, UsageError the line of bad YAML."""
    node = parse_yaml(text, where)
    table = node["schema"][0]
    custom = _custom(table)
    properties = table["properties"]
    keyed = sorted((p for p in properties if p.get("primaryKey")), key=lambda p: p["primaryKeyPosition"])
    freshness = next((s["value"] for s in node.get("slaProperties", ()) if s["property"] == "freshness"), None)
    return Contract(
        name=table["name"], kind=custom["kind"], version=node["version"], purpose=node["description"]["purpose"],
        grain=table["dataGranularityDescription"], owner=node["team"]["name"], channel=node["support"][0]["channel"],
        freshness_days=freshness, columns=tuple(_column(p) for p in properties), key=tuple(p["name"] for p in keyed),
        rules=tuple(_rule(q) for q in table.get("quality", ())), revision=custom.get("revision"),
        happened=custom.get("happened"), receipt=custom.get("receipt"), refers_to=custom.get("refersTo"),
    )  # fmt: skip


@cache
def load_contracts() -> Mapping[str, Contract]:
    """Read all shipped contracts: sources by their name, others as `staged.<name>` and `mart.<name>`."""
    folder = files("schemas") / "contracts"
    names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".odcs.yaml"))
    return {n.removesuffix(".odcs.yaml"): read_contract((folder / n).read_text(encoding="utf-8"), n) for n in names}


def load_contract(name: str) -> Contract:
    """Return one contract; `UsageError` names those that exist."""
    contracts = load_contracts()
    if name not in contracts:
        raise UsageError(f"no contract is called {name}; there are: {', '.join(contracts)}")
    return contracts[name]
