# SPDX-License-Identifier: Apache-2.0
"""The audit of a candidate: every check of every contract by Great Expectations on DuckDB, and the verdict that follows.

The candidate is a window nobody reads yet. Its views are checked where they lie, without copying Parquet into tables. A table is first
asked whether any of its checks fails, in one pass; only where one does they are asked alone, those that fail as expectations of their
own, and of these the number of rows and a few of their keys. An audit spends most of its time around its queries, not in them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from quality.load_rules import load_checks
from quality.results import CheckResult, worst_first
from quality.suite import QUERY, Check, all_at_once, checks_of, which_fail
from schemas.contract import Contract, Severity
from schemas.errors import VNSightError
from schemas.workspace import Settings
from warehouse.sql import query

SAMPLE = 5  # keys of failing rows that are kept; the query shows all


@dataclass(frozen=True)
class AuditResult:
    """All checks of one candidate."""

    load: int
    checks: tuple[CheckResult, ...]

    @property
    def failed(self) -> list[CheckResult]:
        """Failed checks, worst first."""
        return worst_first(self.checks)


@dataclass(frozen=True)
class Verdict:
    """What the audit means: `publish`, `flag` (publish and say so) or `hold` (readers keep what they have)."""

    action: Literal["publish", "flag", "hold"]
    reasons: tuple[CheckResult, ...]

    @property
    def held(self) -> bool:
        """True when nothing may be published."""
        return self.action == "hold"


def gate(result: AuditResult) -> Verdict:
    """Decide by the worst failure: critical holds the load back, warning publishes with a flag, info is only recorded."""
    by: dict[Severity, tuple[CheckResult, ...]] = {
        s: tuple(c for c in result.failed if c.severity == s) for s in ("critical", "warning", "info")
    }
    if by["critical"]:
        return Verdict("hold", by["critical"])
    return Verdict("flag", by["warning"]) if by["warning"] else Verdict("publish", by["info"])


def audit(candidate: Path, contracts: Mapping[str, Contract], settings: Settings, load: int) -> AuditResult:
    """Check every mart of a candidate against its contract, and load `load` as a whole; `contracts` as `load_contracts()` gives them.

    Raises `VNSightError` when the candidate cannot be read; a check that cannot be carried out fails, it is never skipped.
    """
    marts = {c.name: c for c in contracts.values() if c.kind == "mart"}
    checks = [check for contract in marts.values() for check in checks_of(contract, settings.windows_days)]
    failing = _failing(candidate, checks)
    results = (_result(candidate, marts[check.table], check, failing.get(check)) for check in checks)
    return AuditResult(load, (*results, *load_checks(candidate, contracts, load)))


def _failing(candidate: Path, checks: Sequence[Check]) -> dict[Check, str]:
    """Ask Great Expectations, table by table; failing check -> what went wrong if it could not be asked."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx

    import quality.duckdb_engine  # noqa: F401  # registers the data source

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_duckdb("candidate", connection_string=f"duckdb:///{candidate}")
    failing: dict[Check, str] = {}
    try:
        for table in dict.fromkeys(check.table for check in checks):
            own = [check for check in checks if check.table == table]
            batch = source.add_table_asset(table, table_name=table).add_batch_definition_whole_table("all").get_batch()
            if not batch.validate(_expectation(_any_of(own)), result_format="BOOLEAN_ONLY").success:
                failing |= _each_alone(batch, _suspects(candidate, own))
    finally:
        source.get_execution_engine().close()
    return failing


def _any_of(checks: Sequence[Check]) -> Check:
    """One check that fails, or cannot be asked, when one of these does; no column may be missing, for each is named in it."""
    asked = all_at_once(checks).replace("{", "{{").replace("}", "}}").replace("{{batch}}", "{batch}")  # patterns have braces
    asked = asked.replace(":", r"\:")  # and colons, after which SQLAlchemy would look for the name of a parameter
    return Check(checks[0].table, "any", "critical", "No row breaks a rule.", QUERY, {"unexpected_rows_query": asked}, asked)


def _suspects(candidate: Path, checks: Sequence[Check]) -> list[Check]:
    """Those of a table's checks that fail; all of them when that cannot be told: one may name a column that is not there."""
    try:
        (answers,) = query(candidate, which_fail(checks).replace("{batch}", checks[0].table)).to_pylist()
    except VNSightError:
        return list(checks)
    return [check for check, fails in zip(checks, answers.values(), strict=True) if fails] or list(checks)


def _each_alone(batch: Any, checks: Sequence[Check]) -> dict[Check, str]:
    import great_expectations as gx

    suite = gx.ExpectationSuite(name=checks[0].table, expectations=[_expectation(check, i) for i, check in enumerate(checks)])
    answers = [a for a in batch.validate(suite, result_format="BOOLEAN_ONLY").results if not a.success]
    return {checks[a.expectation_config.meta["check"]]: _trouble(a.exception_info) for a in answers}


def _expectation(check: Check, number: int = 0) -> Any:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    return ExpectationConfiguration(
        type=check.expectation, kwargs=dict(check.arguments), meta={"check": number, "rule": check.rule, "meaning": check.meaning},
        description=check.meaning, severity=check.severity,
    ).to_domain_obj()  # fmt: skip


def _trouble(info: Any) -> str:
    """Why a check could not be carried out, in one line; empty if it was. Errors about data, not SQL, may hold values: cut."""
    found = [info] if "raised_exception" in info else list(info.values())
    messages = [str(one.get("exception_message")) for one in found if one.get("raised_exception")]
    line = messages[0].strip().split("\n", maxsplit=1)[0] if messages else ""
    return line if re.search(r"(Binder|Catalog|Parser) Error", line) else line.split(":", maxsplit=1)[0]


def _result(candidate: Path, contract: Contract, check: Check, trouble: str | None) -> CheckResult:
    """Count the failing rows of a check that failed (`trouble` is None for one that passed) and keep a few of their keys."""
    passed = CheckResult(
        check.table, check.rule, check.severity, True, 0, None, check.meaning, contract.owner, contract.channel, (), check.sql
    )
    if trouble is None:
        return passed
    if trouble:
        return replace(passed, success=False, failed_rows=None, meaning=f"The check could not be carried out: {trouble}. {check.meaning}")
    counts = query(candidate, f"select (select count(*) from ({check.sql})) as rows, (select count(*) from {check.table}) as total")
    found = query(candidate, f"from ({check.sql}) limit {SAMPLE}").to_pylist()
    sample = tuple(" ".join(f"{k}={v}" for k, v in row.items()) for row in found)
    rows, total = (counts.column(n)[0].as_py() for n in ("rows", "total"))
    return replace(passed, success=False, failed_rows=rows, total_rows=total, sample=sample)
