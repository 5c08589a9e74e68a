# SPDX-License-Identifier: Apache-2.0
"""The steps of a run, in the words of the design: pull, stage, audit, publish. They know no Prefect and nothing of the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from flows.books import with_books_folded
from flows.outdated import outdated
from flows.plan import drop_plan, read_plan, waiting_files, write_plan
from flows.sources import connectors
from flows.sources.connector import pull
from pipelines.load import StagedLoad, rebuild_known_by, stage_load
from pipelines.secret import create_secret, read_secret
from pipelines.spill import write_part
from quality.alerts import Delivery, notify_owner
from quality.messages import held_messages
from quality.results import CheckResult
from schemas.contract import load_contracts
from schemas.errors import UsageError
from schemas.load import CompleteLoad, Landed, LoadFiles
from schemas.milestones import milestone
from schemas.workspace import Workspace
from warehouse import publish as shop
from warehouse.delta import last_complete, live_tables

Progress = Callable[[str, int, int], None]
AGREEMENT: dict[str, pl.DataType] = {"load": pl.Int64(), "mart": pl.String()} | dict.fromkeys(
    ("patients", "equal", "mismatched", "missing", "extra", "ahead", "behind"), pl.Int64()
)  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """A load that is written, with the database file that would be published."""

    base: CompleteLoad
    staged: StagedLoad
    window: Path


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `published`, `flagged` (published with warnings), `held`, or `idle` (nothing was waiting).

    rows: bin -> rows, of a commit of a streaming job, which has no ledger: `read` and `quarantined`, each message once.
    """

    state: str
    load: int
    ledger: pl.DataFrame | None = None
    notes: tuple[str, ...] = ()
    failed: tuple[CheckResult, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)


def pull_sources(ws: Workspace, progress: Progress) -> list[Landed]:
    """Land what is new at every place data comes from."""
    return [file for connector in connectors(ws) for file in pull(ws, connector, progress)]


def stage(ws: Workspace, progress: Progress, *, all_shards: bool = False) -> Candidate | None:
    """Stage the files that wait and build the candidate; None when nothing waits. Finishes a load that a crash cut off first.

    Tables with other columns than contracts and settings ask for are derived anew from the facts, whether files wait or not.
    """
    base = last_complete(ws)
    live = live_tables(ws, base)
    old = outdated(ws, live)
    if not old:
        shop.refresh(ws)
    if not base.load:
        create_secret(ws)
    secret = read_secret(ws)
    load = base.load + 1
    files = read_plan(ws, load)
    if files is None:
        files = waiting_files(ws, base.load)
        if not files and not (all_shards or old):
            return None
        write_plan(ws, load, files)
    milestone("load:planned")
    staged = stage_load(ws, files, load, live, secret, progress, all_shards=all_shards or bool(old))
    if old:
        staged = replace(staged, notes=(*staged.notes, f"derived anew, because the columns changed: {', '.join(old)}"))
    staged = reconciled(ws, staged, base)
    progress("candidate", 0, 1)
    return Candidate(base, staged, shop.candidate(ws, staged.files, base))


def reconciled(ws: Workspace, staged: StagedLoad, base: CompleteLoad) -> StagedLoad:
    """Compare a load with what was streamed before it, and let go of what it makes needless; nothing streamed: nothing changes."""
    found, needless = shop.reconcile(ws, staged.files, base)
    files = with_books_folded(ws, replace(staged.files, dropped=needless), base)
    if not found:
        return replace(staged, files=files)
    load = files.load
    book = write_part(pl.DataFrame([{"load": load} | row for row in found], schema=AGREEMENT), ws.home, f"ledger/agreement/_load={load}")
    files = replace(files, appended={**files.appended, "ledger/agreement": (book,)})
    wrong = sum(row["mismatched"] + row["missing"] + row["extra"] for row in found)
    note = f"agreement with the stream: {found[0]['patients']:,} patients compared, {wrong:,} rows differ"
    late = f"; of {found[0]['behind']:,} patients the stream knew less, of {found[0]['ahead']:,} more"
    return replace(staged, files=files, notes=(*staged.notes, note + late))


def audit_candidate(ws: Workspace, candidate: Candidate) -> tuple[CheckResult, ...]:
    """Check the candidate by the contracts and write what was found into it; return the failed checks, worst first."""
    from quality.audit import audit

    result = audit(candidate.window, load_contracts(), ws.settings, candidate.staged.files.load)
    shop.record(ws, candidate.window, candidate.staged.files, result.checks)
    return tuple(result.failed)


def publish_or_hold(ws: Workspace, candidate: Candidate, failed: Sequence[CheckResult]) -> Outcome:
    """Commit and publish a candidate, or hold it back and tell the owners once each: a critical failure holds."""
    load, ledger, notes = candidate.staged.files.load, candidate.staged.ledger, candidate.staged.notes
    if any(c.severity == "critical" for c in failed):
        place = shop.hold(ws, candidate.window, load)
        drop_plan(ws, load)
        messages = held_messages(failed, load, candidate.base.load, str(place.relative_to(ws.home)))
        told = tuple(notify_owner(ws, m.owner, m.channel, m.title, m.body) for m in messages)
        return Outcome("held", load, ledger, notes, tuple(failed), told)
    milestone("publish:audited")
    complete = shop.commit(ws, candidate.staged.files, candidate.base)
    milestone("publish:committed")
    shop.publish(ws, candidate.window, complete)
    return Outcome("flagged" if any(c.severity == "warning" for c in failed) else "published", load, ledger, notes, tuple(failed))


def show_known_by(ws: Workspace, known_by_us: int, progress: Progress, out: Path | None = None) -> LoadFiles:
    """Show the marts as known at an instant (UTC microseconds): in place of `marts.duckdb`, or in a file of its own."""
    base = shop.refresh(ws)
    if not base.load:
        raise UsageError("nothing has been published yet; run `vnsight run` first")
    files = rebuild_known_by(ws, known_by_us, base.load, live_tables(ws, base), read_secret(ws), progress)
    if out is not None:
        shop.candidate(ws, files, base, out)
        return files
    shop.publish(ws, shop.candidate(ws, files, base), base, known_by_us)
    return files
