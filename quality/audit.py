# SPDX-License-Identifier: Apache-2.0
"""The audit of a candidate: every check of every contract by Great Expectations on DuckDB, and the verdict that follows.

The candidate is a window nobody reads yet. Its views are checked where they lie, without copying Parquet into tables. All checks
of a table are first asked together and without details, which takes one pass; only a check that fails is asked again, for the number
of its rows and a few of their keys.
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
from quality.suite import Check, checks_of
from schemas.contract import Contract, Severity
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
    """Ask Great Expectations, all checks of a table in one suite; failing check -> what went wrong if it could not be asked."""
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
            suite = gx.ExpectationSuite(name=table, expectations=[_expectation(i, check) for i, check in enumerate(own)])
            for answer in batch.validate(suite, result_format="BOOLEAN_ONLY").results:
                if not answer.success:
                    failing[own[answer.expectation_config.meta["check"]]] = _trouble(answer.exception_info)
    finally:
        source.get_execution_engine().close()
    return failing


def _expectation(number: int, check: Check) -> Any:
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
