# SPDX-License-Identifier: Apache-2.0
"""What the owner of data that held a load back is told: one message per owner and held load, worst first.

It names tables, rules, counts and keys (pseudonyms, or file and line), never a value: a message leaves the site.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quality.results import CheckResult, worst_first


@dataclass(frozen=True)
class OwnerMessage:
    """A message and whom it is for: the owner and the channel of a contract."""

    owner: str
    channel: str
    title: str
    body: str


def held_messages(results: Sequence[CheckResult], load: int, seen: int, held: str) -> tuple[OwnerMessage, ...]:
    """One message for every owner with a critical failure, which also lists that owner's lesser failures.

    `seen` is the load readers still see (0: none yet), `held` the path of the window that was held back, for looking.
    """
    failed = worst_first(results)
    owners = dict.fromkeys(r.owner for r in failed if r.severity == "critical")
    return tuple(held_message([r for r in failed if r.owner == owner], load, seen, held) for owner in owners)


def held_message(failed: Sequence[CheckResult], load: int, seen: int, held: str) -> OwnerMessage:
    """The message to the owner of these failed checks (at least one, worst first)."""
    worst = failed[0]
    others = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    title = f"[{worst.severity.upper()}] VNSight load {load} held back: {worst.name} ({_share(worst)}){others}"
    still = f"readers still see load {seen}" if seen else "nothing is published yet"
    opening = (
        f"Load {load} was held back: {still}. Nothing is lost; the files stay in landing/ and the next run takes them up again, under "
        "the contracts of that day."
    )
    look = (
        f"How to look: open {held} read-only with any DuckDB client and run the queries above. Every check of the load is in its table "
        "quality_results. Where a record ended: vnsight trace ID."
    )
    return OwnerMessage(worst.owner, worst.channel, title, "\n\n".join([opening, *map(_paragraph, failed), look]))


def _paragraph(result: CheckResult) -> str:
    lines = [f"[{result.severity}] {result.name}: {_share(result)}", f"Why it matters: {result.meaning}"]
    if result.sample:
        lines.append(f"For example: {'; '.join(result.sample)}")
    if result.query:
        lines.append(f"To see all: {' '.join(result.query.split())}")
    return "\n".join(lines)


def _share(result: CheckResult) -> str:
    if result.failed_rows is None or result.total_rows is None:
        return "failed"
    return f"{result.failed_rows:,} of {result.total_rows:,}"
