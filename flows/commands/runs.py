# SPDX-License-Identifier: Apache-2.0
"""Commands that run and say how things stand: run, status."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.commands import Home, check_out, find_workspace
from flows.terminal import OUT, Watch, print_table, watch
from schemas.errors import UsageError
from schemas.workspace import Workspace

if TYPE_CHECKING:
    from flows.steps import Outcome

BINS = ("accepted", "duplicate", "superseded", "pending", "quarantined", "withdrawn")


def parse_instant(text: str, option: str) -> datetime:
    """An instant with an offset, or a date meaning its first instant in UTC; `UsageError` otherwise."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: is no instant; write 2025-03-01T00:00:00Z") from error
    if instant.tzinfo is None:
        if len(text) > 10:
            raise UsageError(f"{option} {text}: has no zone; write 2025-03-01T00:00:00Z")
        instant = instant.replace(tzinfo=UTC)
    return instant


def run(
    *, home: Home = None, known_by: str | None = None, out: Path | None = None, rebuild: bool = False, reread: str | None = None,
    direct: bool = False,
) -> int:  # fmt: skip
    """Run the nightly flow: pull, validate and stage, join, audit, publish. What a crash left half-done is finished first.

    Examples: vnsight run --home study; vnsight run --known-by 2025-06-01T00:00:00Z

    Parameters
    ----------
    known_by
        Show the marts as they were known at an instant (nothing is pulled or committed); the next run shows today again.
    out
        With --known-by: write that database here and leave marts.duckdb alone.
    rebuild
        Derive every shard anew, after a change of settings.
    reread
        Read landed files again whose name matches a pattern such as "clinic/*.csv", after a mapping or a contract was mended.
    direct
        Run the same steps in this process without Prefect.
    """
    ws = find_workspace(home)
    if known_by is not None:
        return _show_known_by(ws, parse_instant(known_by, "--known-by"), out)
    if out is not None:
        raise UsageError("--out goes with --known-by")
    if reread is not None:
        from flows.plan import ask_again

        OUT.print(f"{ask_again(ws, reread):,} landed files are read again")
    with watch() as shown:
        outcome = _run_direct(ws, shown, rebuild) if direct else _run_flow(ws, shown, rebuild)
    report(ws, outcome)
    return 3 if outcome.state == "held" else 0


def _run_direct(ws: Workspace, shown: Watch, rebuild: bool) -> Outcome:
    from flows.lock import only_run
    from flows.nightly import run_steps

    with only_run(ws):
        return run_steps(ws, shown, rebuild=rebuild)


def _run_flow(ws: Workspace, shown: Watch, rebuild: bool) -> Outcome:
    from flows.prefect_run import run_nightly

    return run_nightly(ws, shown, rebuild)


def _show_known_by(ws: Workspace, instant: datetime, out: Path | None) -> int:
    from flows.lock import only_run
    from flows.steps import show_known_by

    check_out(out)
    with only_run(ws), watch() as shown:
        show_known_by(ws, round(instant.timestamp() * 1_000_000), shown, out.resolve() if out else None)
    place = out or ws.window
    OUT.print(f"{place} shows what was known by {instant.isoformat()}", soft_wrap=True)
    if out is None:
        OUT.print(f"Today's marts come back with the next run: vnsight run --home {ws.home}", soft_wrap=True)
    return 0


def report(ws: Workspace, outcome: Outcome) -> None:
    """Say how a run ended: the ledger, what was found, where the answers are, what to do next."""
    if outcome.state == "idle":
        shown = f"marts.duckdb shows load {outcome.load}" if outcome.load else f"put files into {ws.inbox}/<source>/ and run again"
        OUT.print(f"nothing new to load; {shown}", soft_wrap=True)
        return
    if outcome.ledger is not None:
        _print_ledger(outcome.load, outcome.ledger)
        _print_reasons(ws, outcome)
    for note in outcome.notes:
        OUT.print(f"note: {note}", soft_wrap=True)
    for check in outcome.failed:
        counted = "" if check.failed_rows is None else f" ({check.failed_rows:,} of {check.total_rows or 0:,})"
        OUT.print(f"{check.severity}: {check.name}{counted}. {check.meaning} Owner: {check.owner}", soft_wrap=True)
    if outcome.state == "held":
        fates = {True: "told", False: "not reached, message kept in reports/undelivered"}
        told = ", ".join(f"{d.owner} ({fates[d.delivered]})" for d in outcome.deliveries)
        OUT.print(f"HELD BACK: load {outcome.load} was not published; readers keep what they had. Owners: {told}", soft_wrap=True)
        place = ws.home / "reports" / "held" / f"load-{outcome.load}.duckdb"
        OUT.print(f"Look at it: {place}. Mend the data or the settings, then run again", soft_wrap=True)
        return
    flagged = " with a flag" if outcome.state == "flagged" else ""
    OUT.print(f"published load {outcome.load}{flagged}: {ws.window}", soft_wrap=True)


def _print_ledger(load: int, ledger: Any) -> None:
    wide = ledger.pivot("bin", index="source", values="rows", aggregate_function="sum").sort("source")
    rows = [(r["source"], sum(r[b] for b in BINS), *(r[b] for b in BINS)) for r in wide.iter_rows(named=True)]
    total = ("all", *(sum(row[i] for row in rows) for i in range(1, len(BINS) + 2)))
    files = ledger["file"].n_unique()
    print_table(f"ledger of load {load}: {files} files, balanced", ("source", "read", *BINS), [*rows, total])


def _print_reasons(ws: Workspace, outcome: Outcome) -> None:
    """Why rows were refused, the commonest reasons first, in the words of the contract."""
    from schemas.contract import load_contract
    from schemas.rules import explain
    from warehouse.sql import query

    place = ws.home / "reports" / "held" / f"load-{outcome.load}.duckdb" if outcome.state == "held" else ws.window
    found = query(place, f"""
        select source, unnest(rules) as rule, count(*) as refused, arg_min(file || ' line ' || line, line) as example from dispositions
        where load = {outcome.load} and bin = 'quarantined' group by source, rule order by refused desc, source, rule limit 12""")
    rows = [(r["source"], r["rule"], r["refused"], r["example"], explain(load_contract(r["source"]), r["rule"])) for r in found.to_pylist()]
    if rows:
        print_table("why rows were refused", ("source", "rule", "rows", "for example", "meaning"), rows)


def show_strata(ws: Workspace, visit: str = "m3") -> None:
    """Print the first answer: response by disorder and by history at one visit."""
    from warehouse.sql import query

    answer = query(ws, f"""
        select stratifier, stratum, instrument, n, k as responders, printf('%.0f %%', 100 * rate) as rate,
            printf('%.0f to %.0f %%', 100 * low, 100 * high) as interval_95, n_undetermined as undetermined
        from strata
        where definition = 'drop_50' and method = 'observed' and arm = 'all' and subscale = 'total' and visit = '{visit}' and n > 0
            and instrument in ('PHQ-9', 'DERS-16') and stratifier in ('all', 'disorder', 'history')
        order by instrument desc, stratifier, stratum""")
    rows = [tuple(r.values()) for r in answer.to_pylist()]
    print_table(f"responders (drop of at least 50 %) at visit {visit}, all arms", answer.column_names, rows)


def refresh(*, home: Home = None) -> None:
    """Build marts.duckdb anew from the last complete load, after the folder was moved or the file was lost; no data is touched.

    Example: vnsight refresh --home study
    """
    from flows.lock import only_run
    from flows.outdated import require_current
    from warehouse.delta import last_complete, live_tables
    from warehouse.publish import refresh as build_anew

    ws = find_workspace(home)
    with only_run(ws):
        require_current(ws, live_tables(ws, last_complete(ws)))
        complete = build_anew(ws, force=True)
    if complete.load:
        OUT.print(f"{ws.window} shows load {complete.load}", soft_wrap=True)
    else:
        OUT.print(f"nothing has been published yet; next: vnsight run --home {ws.home}", soft_wrap=True)


def status(*, home: Home = None) -> None:
    """Say how the workspace stands: what is published, what waits, how fresh each source is, what was found.

    Example: vnsight status --home study
    """
    from flows.plan import waiting_files
    from warehouse.delta import last_complete
    from warehouse.sql import query

    ws = find_workspace(home)
    complete = last_complete(ws)
    waiting = waiting_files(ws, complete.load)
    OUT.print(f"workspace {ws.home}", soft_wrap=True)
    OUT.print(f"last complete load: {complete.load or 'none yet'}; landed files waiting: {len(waiting)}")
    _show_stream(ws)
    held = sorted((ws.home / "reports" / "held").glob("load-*.duckdb"))
    if held:
        OUT.print(f"held back: {held[-1]}", soft_wrap=True)
    if not ws.window.exists():
        OUT.print(f"nothing is published yet; next: vnsight run --home {ws.home}", soft_wrap=True)
        return
    meta = query(ws, "from vnsight_meta").to_pylist()[0]
    for name, value in meta.items():
        if name != "versions" and value not in (None, "", []):
            OUT.print(f"  {name}: {value}")
    fresh = query(ws, "from freshness order by source")
    patients = query(ws, "select count(*) as n from streamed").to_pylist()[0]["n"]
    if patients:
        OUT.print(f"the rows of {patients:,} patients come from the stream; freshness and ledger count them after the next nightly run")
    print_table("freshness", fresh.column_names, [tuple(r.values()) for r in fresh.to_pylist()])


def _show_stream(ws: Workspace) -> None:
    """A line on the stream, if there ever was one."""
    from flows.lock import stream_at_work
    from flows.stream.status import one_line, read_status

    said = read_status(ws)
    if said is not None:
        alive = stream_at_work(ws) or said["state"] in ("stopped", "held")
        OUT.print(f"stream: {said['state'] if alive else 'ended without a word'} at {said['updated_at']}; {one_line(said)}", soft_wrap=True)
