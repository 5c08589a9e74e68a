# SPDX-License-Identifier: Apache-2.0
"""Rules about a load as a whole: does its ledger balance, was anything accepted, and was too much refused.

1. ledger unbalanced (critical): a file whose bins do not add up to the rows read has lost or doubled rows.
2. nothing accepted (critical from 20 rows): every row of the load was refused. That is a source that changed altogether; publishing
   would look like a quiet night. A row that is a duplicate, pending, superseded or withdrawn was understood, so it counts against the rule.
3. quarantine rate of a source (severity of its contract): refused rows over rows read, when above the contract's maximum.

Rules 2 and 3 judge a source by a share of its rows, and of a handful a share says nothing: an epoch of a stream may bring a single row,
and that one may be a typing error. Below 20 rows (`ENOUGH`) their failure is a warning at most, unless a whole file was refused: it
counts as one row, however many it holds. Twenty rows that are refused one and
all are no chance, so a source that really changed is held back by the first load of that size: the next epoch of a busy stream. Until
then its rows lie in quarantine, where no reader sees them, and its freshness tells that nothing arrives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from quality.results import CheckResult
from schemas.contract import Contract, Severity
from warehouse.sql import query

TABLE = "load"
ENOUGH = 20  # rows read, from which a share of refused rows may hold a load back


def load_checks(candidate: Path, contracts: Mapping[str, Contract], load: int) -> tuple[CheckResult, ...]:
    """Check load `load` in the ledger of a candidate; a load without a ledger row (nothing arrived) passes."""
    counts = query(
        candidate,
        f"""select source, sum(rows)::bigint as read, coalesce(sum(rows) filter (bin = 'quarantined'), 0)::bigint as refused
        from ledger where load = {load} group by source order by source""",
    ).to_pylist()
    owner = contracts["mart.ledger"]
    whole = query(candidate, f"from ({_refused(load)}) where line = 0 limit 1").num_rows > 0
    return (_balanced(candidate, owner, load), _accepted(owner, load, counts, whole), *_rates(contracts, load, counts))


def _balanced(candidate: Path, owner: Contract, load: int) -> CheckResult:
    by_file = f"select source, file, sum(rows) as binned, max(read) as read from ledger where load = {load} group by source, file"
    lost = query(candidate, f"from ({by_file}) where binned <> read order by file").column("file").to_pylist()
    total = query(candidate, f"select count(*) as n from ({by_file})").column("n")[0].as_py()
    rule = next(r for r in owner.rules if r.name == "balanced")
    return CheckResult(
        TABLE, "ledger_balanced", rule.severity, not lost, len(lost), total, rule.failure, owner.owner, owner.channel,
        tuple(lost[:5]), f"from ({by_file}) where binned <> read",
    )  # fmt: skip


def _accepted(owner: Contract, load: int, counts: Sequence[Mapping[str, Any]], whole: bool) -> CheckResult:
    read, refused = sum(row["read"] for row in counts), sum(row["refused"] for row in counts)
    meaning = "Every row of the load was refused: a source changed its form, and publishing would look like a night without news."
    failed, severity = refused if refused == read else 0, "critical" if whole else _at_most("critical", read)
    return CheckResult(
        TABLE, "nothing_accepted", severity, failed == 0, failed, read, meaning, owner.owner, owner.channel,
        query=_refused(load),
    )  # fmt: skip


def _rates(contracts: Mapping[str, Contract], load: int, counts: Sequence[Mapping[str, Any]]) -> Iterator[CheckResult]:
    for row in counts:
        contract = contracts[row["source"]]
        for rule in contract.rules:
            if rule.max_quarantine_rate is not None:
                failed = row["refused"] if row["refused"] > rule.max_quarantine_rate * row["read"] else 0
                yield CheckResult(
                    TABLE, f"{rule.name}:{contract.name}", _at_most(rule.severity, row["read"]), failed == 0, failed, row["read"],
                    rule.failure, contract.owner, contract.channel, query=f"{_refused(load)} and source = '{contract.name}'",
                )  # fmt: skip


def _at_most(severity: Severity, read: int) -> Severity:
    """The severity of a failure among so many rows."""
    return "warning" if severity == "critical" and read < ENOUGH else severity


def _refused(load: int) -> str:
    return f"select source, file, line, rules from dispositions where bin = 'quarantined' and load = {load}"
