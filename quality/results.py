# SPDX-License-Identifier: Apache-2.0
"""Outcome of an audit as plain values, and its file beside the reports; nothing heavy is imported here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from schemas.contract import Severity
from schemas.workspace import Workspace

RANK: dict[Severity, int] = {"critical": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class CheckResult:
    """One check of one table. `failed_rows` and `total_rows` are None where a check does not count rows.

    `sample` holds keys only (pseudonyms, or file and line), never values; `query` shows all failing rows, empty without any.
    """

    table: str
    rule: str
    severity: Severity
    success: bool
    failed_rows: int | None
    total_rows: int | None
    meaning: str
    owner: str
    channel: str
    sample: tuple[str, ...] = ()
    query: str = ""

    @property
    def name(self) -> str:
        """How the check is called in flags and messages."""
        return f"{self.table}: {self.rule}"


def worst_first(results: Sequence[CheckResult]) -> list[CheckResult]:
    """Failed checks, critical before warning before info, then by most failed rows, then by name."""
    failed = [r for r in results if not r.success]
    return sorted(failed, key=lambda r: (RANK[r.severity], -(r.failed_rows or 0), r.name))


def save_results(ws: Workspace, load: int, results: Sequence[CheckResult]) -> None:
    """Keep the results of a load in `reports/quality/`, from where a window can be built again."""
    folder = ws.home / "reports" / "quality"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".load-{load}.json"
    temporary.write_text(json.dumps([asdict(r) for r in results], indent=1), encoding="utf-8")
    temporary.replace(folder / f"load-{load}.json")


def read_results(ws: Workspace, load: int) -> tuple[CheckResult, ...]:
    """Results of a load; none when they were not kept."""
    path = ws.home / "reports" / "quality" / f"load-{load}.json"
    if not path.exists():
        return ()
    rows = json.loads(path.read_text(encoding="utf-8"))
    return tuple(CheckResult(**(row | {"sample": tuple(row["sample"])})) for row in rows)
