# SPDX-License-Identifier: Apache-2.0
"""From a contract to the checks of its table: nothing that a contract says is written down a second time.

| contract | check |
|---|---|
| `required` | not null |
| `primaryKey` | unique, all key columns together |
| `minimum`, `maximum` | between, both ends included |
| `validValues` | in the set |
| `pattern` | matches, from the first to the last character |
| table rule with a query | the query returns no row |

Null breaks `required` only; every other check looks at values that are there. Elements of arrays are checked where rows are staged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.contract import Column, Contract, Severity
from warehouse.columns import MartColumn, mart_columns

QUERY = "unexpected_rows_expectation"  # passes when the query returns no row


@dataclass(frozen=True)
class Check:
    """One expectation, and the query that lists the keys of all rows failing it, with `{batch}` for the table."""

    table: str
    rule: str
    severity: Severity
    meaning: str
    expectation: str
    arguments: dict[str, Any] = field(hash=False)
    query: str
    failing: str = ""
    """Of a check of single rows: the condition a failing row meets."""

    @property
    def sql(self) -> str:
        """The query as anyone can run it."""
        return self.query.replace("{batch}", self.table)


def all_at_once(checks: Sequence[Check]) -> str:
    """One query, with `{batch}` for the table, that returns a row exactly when at least one of the checks of a table fails.

    Conditions on single rows are asked in one pass over the table, which is most of them.
    """
    conditions = [f"({c.failing})" for c in checks if c.failing]
    parts = [f"select 1 from {{batch}} where {' or '.join(conditions)}"] if conditions else []
    parts += [f"select 1 from ({c.query})" for c in checks if not c.failing]
    return f"select 1 as broken from ({' union all '.join(parts)}) limit 1"


def which_fail(checks: Sequence[Check]) -> str:
    """One query, with `{batch}` for the table, that returns a row: for each of the checks of a table, in their order, whether it fails."""
    columns = [f"coalesce(bool_or({c.failing}), false)" if c.failing else f"exists (select 1 from ({c.query}))" for c in checks]
    return f"select {', '.join(f'{column} as c{i}' for i, column in enumerate(columns))} from {{batch}}"


def checks_of(contract: Contract, windows_days: tuple[int, ...]) -> tuple[Check, ...]:
    """All checks of a mart, in the order of its columns, then its key, then its rules."""
    found = [check for column in mart_columns(contract, windows_days) for check in _column_checks(contract, column)]
    if contract.key:
        found.append(_unique(contract))
    found += [
        Check(contract.name, r.name, r.severity, r.failure, QUERY, {"unexpected_rows_query": r.query}, r.query)
        for r in contract.rules
        if r.query
    ]
    return tuple(found)


def _column_checks(contract: Contract, mart: MartColumn) -> Iterator[Check]:
    column, name = mart.column, mart.name
    if column.required:
        meaning = column.failure or f"{name} is required: {column.description}"
        not_null = ("expect_column_values_to_not_be_null", {"column": name})
        yield _check(contract, column, f"{name}:null", meaning, *not_null, f'"{name}" is null')
    if column.type.startswith("array"):
        return
    for rule, expectation, arguments, failing in _value_checks(name, column):
        meaning = column.failure or f"{name} is outside what its contract allows: {column.description}"
        yield _check(contract, column, f"{name}:{rule}", meaning, expectation, {"column": name} | arguments, failing)


def _value_checks(name: str, column: Column) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    low, high = column.minimum, column.maximum
    if low is not None or high is not None:
        bounds = [f'"{name}" < {_literal(low)}'] * (low is not None) + [f'"{name}" > {_literal(high)}'] * (high is not None)
        yield "range", "expect_column_values_to_be_between", {"min_value": low, "max_value": high}, " or ".join(bounds)
    if column.valid_values:
        values = list(column.valid_values)
        listed = ", ".join(_literal(v) for v in values)
        yield "enum", "expect_column_values_to_be_in_set", {"value_set": values}, f'"{name}" not in ({listed})'
    if column.pattern:
        # DuckDB 1.5 matches the whole value and 2.0 a part of it, so only an anchored pattern means the same in both
        anchored = f"^(?:{column.pattern.removeprefix('^').removesuffix('$')})$"
        failing = f'not regexp_full_match("{name}", {_literal(anchored)})'
        yield "pattern", "expect_column_values_to_match_regex", {"regex": anchored}, failing


def _check(contract: Contract, column: Column, rule: str, meaning: str, expectation: str, arguments: dict[str, Any], failing: str) -> Check:
    query = f"select {_keys(contract)} from {{batch}} where {failing}"
    return Check(contract.name, rule, column.severity, meaning, expectation, arguments, query, failing)


def _unique(contract: Contract) -> Check:
    """Grouping five million rows by three columns takes three times as long as counting distinct hashes.

    Rows that are equal have equal hashes, so nothing is missed; only where hashes repeat are the rows themselves compared.
    """
    keys = _keys(contract)
    repeated = f"(select count(*) > count(distinct hash({keys})) from {{batch}})"
    query = f"select {keys} from {{batch}} where {repeated} group by {keys} having count(*) > 1"
    meaning = f"The table has {contract.grain}; a second row would be counted twice in every join."
    return Check(contract.name, "key:unique", "critical", meaning, QUERY, {"unexpected_rows_query": query}, query)


def _keys(contract: Contract) -> str:
    return ", ".join(f'"{name}"' for name in contract.key)


def _literal(value: float | str | None) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
