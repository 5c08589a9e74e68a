# SPDX-License-Identifier: Apache-2.0
"""The one committer of a streaming pipeline: updates that workers left in the workspace become a load, are audited and published.

A commit is a load like any other: the same Delta commit with the ledger last, the same audit and gate, the same rename. Updates are
removed once their load is complete; a crash in between commits them again under the next number, where they change nothing, because
of every patient only the newest snapshot is shown.
"""

from __future__ import annotations

from dataclasses import replace

from flows.books import stream_part, with_books_opened
from flows.outdated import require_current
from flows.plan import pass_plan_on
from flows.steps import Candidate, Outcome, Progress, audit_candidate, publish_or_hold
from pipelines.load import StagedLoad
from pipelines.secret import read_secret
from pipelines.updates import begun, count_read, drop_updates, merge_updates, note_positions, waiting_updates
from schemas.load import LoadFiles
from schemas.milestones import milestone
from schemas.workspace import Workspace
from warehouse import publish as shop
from warehouse.delta import last_complete, live_tables

MOST = 500  # updates in one commit: memory stays bounded after a long pause


def commit_updates(ws: Workspace, progress: Progress) -> Outcome | None:
    """Commit what waits, at most `MOST` updates; None when nothing does. To be called by the holder of the workspace's lock.

    A commit that the audit holds back leaves its updates where they are.
    """
    waiting = waiting_updates(ws.home)[:MOST]
    if not waiting:
        return None
    require_current(ws, live_tables(ws, last_complete(ws)))
    base = shop.refresh(ws)
    read_secret(ws)  # a workspace without one would have been streamed into by mistake
    load = base.load + 1
    pass_plan_on(ws, load)
    state = begun(ws.home)
    merged = merge_updates(waiting, frozenset(state.older) if state else frozenset())
    milestone("stream:merged")
    appended = {
        f"streamed/{name}": (stream_part(ws, f"streamed/{name}", frame, load),) for name, frame in merged.tables.items() if frame.height
    }  # fmt: skip
    files = LoadFiles(load, appended=appended)
    files = with_books_opened(ws, replace(files, dropped=shop.superseded(ws, files, base)), base, state)
    staged = StagedLoad(files, None, ())
    progress("candidate", 0, 1)
    candidate = Candidate(base, staged, shop.candidate(ws, staged.files, base))
    outcome = publish_or_hold(ws, candidate, audit_candidate(ws, candidate))
    milestone("stream:committed")
    if outcome.state == "held":
        return outcome
    rows: dict[str, int] = {}
    if "receipts" in merged.tables:
        rows = count_read(ws.home, merged.tables["receipts"])
        note_positions(ws.home, merged.tables["receipts"])
    drop_updates(merged.taken)
    return replace(outcome, rows=rows)
