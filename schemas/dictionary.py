# SPDX-License-Identifier: Apache-2.0
"""The data dictionary, written from the contracts: `python -m schemas.dictionary > docs/data-dictionary.md`; a test keeps it current."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.contract import Column, Contract, load_contracts

TITLES = {"source": "Sources", "staged": "Staged tables", "mart": "Marts"}


def _limits(column: Column) -> str:
    parts = []
    if column.minimum is not None or column.maximum is not None:
        parts.append(f"{'' if column.minimum is None else column.minimum} to {'' if column.maximum is None else column.maximum}")
    if column.valid_values:
        parts.append(", ".join(column.valid_values))
    if column.grid:
        parts.append(f"list: {column.grid}")
    return "; ".join(parts)


def _table(contract: Contract) -> Iterator[str]:
    yield f"\n### {contract.name}\n\n{contract.purpose} {contract.grain[0].upper()}{contract.grain[1:]}."
    fresh = f" Expected at least every {contract.freshness_days:g} days." if contract.freshness_days else ""
    yield f"Owner: {contract.owner} ({contract.channel}).{fresh}\n\n| column | type | unit | limits | meaning |\n|---|---|---|---|---|"
    for c in contract.columns:
        name = f"**{c.name}**" if c.name in contract.key else c.name
        kind = c.type + ("" if c.required else ", may be null") + (", per window" if c.per_window else "")
        yield f"| {name} | {kind} | {c.unit or ''} | {_limits(c)} | {c.description} |"
    for rule in contract.rules:
        yield f"\n*{rule.name}* ({rule.severity}): {rule.failure}"


def write_dictionary() -> str:
    """The whole dictionary as Markdown; keys in bold."""
    lines = ["# Data dictionary", "", "Written from the contracts by `python -m schemas.dictionary`; change a contract, not this page."]
    for kind, title in TITLES.items():
        lines.append(f"\n## {title}")
        for contract in load_contracts().values():
            if contract.kind == kind:
                lines += _table(contract)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(write_dictionary(), end="")
