# SPDX-License-Identifier: Apache-2.0
"""Commands that make a workspace: init, simulate, demo."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from flows.commands import Home, find_workspace
from flows.commands.live import LiveOptions, replay
from flows.terminal import OUT, print_table, watch
from schemas.errors import UsageError
from schemas.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from simulator import Summary

TEMPLATE = """\
# Settings of this workspace. Every value is part of the meaning of the marts.
[workspace]
shards = {shards}                 # fixed once data is staged; 64 to 256 above 50,000 patients
workers = 1                 # 2 pay above some 50 million rows
windows_days = [7, 28, 90]  # look-back windows that end at a response
carry_limit_days = 180      # how long settings are believed without an interrogation
charge_convention = "on_only"

# Files in inbox/<source>/ are always pulled. Other places are declared like this:
# [[source]]
# name = "clinic"
# connector = "folder"
# path = "exports"
# pattern = "*.csv"
# contract = "survey_responses"
# [source.wide]               # one column per item
# instrument = "PHQ-9"
# response_id = "record_id"
# patient_id = "subject"
# completed_at = "date_completed"
# items = "phq_{{}}"
# missing = ["9999", "NA"]

# A Kafka is read by every run, and all the time by: vnsight stream (docs/streaming.md)
# [[source]]
# name = "stream"
# connector = "kafka"
# servers = "127.0.0.1:9092"

# How a job on Flink reads and remembers (vnsight stream --engine flink); these are the defaults:
# [stream]
# settle_s = 3600             # event time after which news is looked at
# idle_s = 60                 # after which a silent partition holds the others up no more; negative: never
# remember_days = 0           # after which the facts of a patient of whom nothing came are let go; 0: for ever
"""


def make_workspace(home: Path, shards: int = 16, secret: str | None = None) -> Workspace:
    """Create folder, settings, secret and inbox; what is there already stays."""
    from pipelines.secret import create_secret
    from schemas.contract import SOURCES

    home.mkdir(parents=True, exist_ok=True)
    settings = home / "vnsight.toml"
    if not settings.exists():
        settings.write_text(TEMPLATE.format(shards=shards), encoding="utf-8")
    ws = open_workspace(home)
    create_secret(ws, secret)
    for source in SOURCES:
        (ws.inbox / source).mkdir(parents=True, exist_ok=True)
    return ws


def init(home: Path) -> None:
    """Make a workspace: settings, a secret for the pseudonyms, and an inbox with a folder per source.

    Example: vnsight init study

    Parameters
    ----------
    home
        Folder to make; one that exists is completed, nothing in it is changed.
    """
    ws = make_workspace(home)
    OUT.print(f"workspace {ws.home}\n  settings  vnsight.toml\n  secret    {ws.settings.secret_file} (back it up apart from the data)")
    OUT.print(f"Next: put files into {ws.inbox}/<source>/ and run\n  vnsight run --home {home}")
    OUT.print(f"(all the time: vnsight stream --home {home}; data to try it with: vnsight simulate --help)")


def definitions(*, home: Home = None) -> None:
    """Show by which definitions and in which visit windows outcomes are judged, and put them where they can be changed.

    The files it writes, definitions/outcomes.yaml and definitions/visits.yaml, are the shipped ones; those that are there stay. What is
    changed in them holds from the next run or `vnsight refresh` on, and the tables outcome_definitions and visit_windows say so.

    Example: vnsight definitions --home study

    Parameters
    ----------
    home
        Folder of the workspace; by default the current one, if it holds vnsight.toml.
    """
    from schemas.definition import OUTCOMES, VISITS, definitions_of, own_file, shipped_text, visits_of

    ws = find_workspace(home)
    for name in (OUTCOMES, VISITS):
        path = own_file(ws.home, name)
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_text(shipped_text(name), encoding="utf-8")
    own, visits = definitions_of(ws.home), visits_of(ws.home)
    print_table(
        "", ("definition", "what it means", "numbers"),
        [(name, one.label, ", ".join(f"{k} {v:g}" for k, v in one.parameters.items())) for name, one in own.definitions.items()],
    )  # fmt: skip
    windows = [(name, w.target_d, w.from_d, w.to_d) for name, w in visits.visits.items()]
    print_table("days after the index date", ("visit", "target", "from", "to"), windows)
    OUT.print(f"change them in {own_file(ws.home, '')}, then: vnsight refresh --home {ws.home}", soft_wrap=True)


def _simulate(home: Path, patients: int, days: int, seed: int, form: str, faults: bool) -> Summary:
    from simulator import simulate as simulate_population

    if patients < 1 or days < 1:
        raise UsageError("--patients and --days: give at least 1")
    make_workspace(home, 16 if patients <= 20_000 else 64, f"secret of the simulated population {seed}")
    with watch() as shown:
        shown("simulate", 0, 0)
        return simulate_population(
            home, patients, days, seed, format=form, faults=1.0 if faults else 0.0,
            progress=lambda p: shown("simulate", p.block, p.blocks),
        )  # fmt: skip


Token = Annotated[str, Parameter(env_var="VNSIGHT_CLOUD_TOKEN")]


def simulate(  # noqa: PLR0913 - options of a command line
    home: Path, *, patients: int = 1000, days: int = 365, seed: int = 1, format: Literal["mixed", "ndjson", "parquet"] | None = None,
    faults: bool = True, serve: bool = False, port: int = 8765, token: Token = "simulated", how: LiveOptions | None = None,
) -> int:  # fmt: skip
    """Simulate a population with known truth and labelled faults: HOME/inbox is what a run pulls, HOME/truth what is true.

    Examples: vnsight simulate study --patients 2000 --days 365 --seed 1; vnsight simulate study --serve;
    vnsight simulate study --live --speed 1000 --kafka 127.0.0.1:9092

    Parameters
    ----------
    home
        Workspace to write into; made if it is not there.
    patients
        How many people take part.
    days
        How many days they are followed.
    seed
        The same arguments write the same bytes.
    format
        mixed (NDJSON, CSV, Parquet, packed or not), ndjson or parquet; parquet above 20,000 patients.
    faults
        With labelled faults in truth/faults.parquet, or without any.
    serve
        Serve the device records of the inbox as a paged device-cloud API on 127.0.0.1 until stopped.
    port
        Port to serve on.
    token
        Bearer token that the API asks for.
    """
    how = how or LiveOptions()
    how.check(serve)
    if not ((serve or how.live) and (home / "truth").exists()):
        began = time.monotonic()
        form = format or ("mixed" if patients <= 20_000 else "parquet")
        done = _simulate(home, patients, days, seed, form, faults)
        rows, faulty, seconds = sum(done.rows.values()), sum(done.faults.values()), time.monotonic() - began
        OUT.print(f"{done.patients:,} patients, {done.days} days, made in {seconds:.0f} s")
        OUT.print(f"{rows:,} rows in {done.files} files, {faulty:,} labelled faults")
        print_table("", ("source", "rows"), sorted(done.rows.items()))
        if not how.live:
            OUT.print(f"Next: vnsight run --home {home}")
    if serve:
        _serve(home, port, token)
    return replay(home, seed, how) if how.live else 0


def _serve(home: Path, port: int, token: str) -> None:
    from simulator.device_cloud import serve as serve_cloud

    cloud = serve_cloud(home, port, token=token)
    OUT.print(f"device cloud at {cloud.url} (GET /v1/records/<source>?cursor=&limit=, bearer token); stop with Ctrl-C")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        cloud.shutdown()


def demo(*, home: Path = Path("demo"), patients: int = 200, days: int = 180) -> int:
    """See it work in a minute: simulate a small study with faults, run it, and answer who responded.

    Example: vnsight demo

    Parameters
    ----------
    home
        Throwaway workspace; the demo of before is replaced, any other folder is left alone.
    patients
        How many people take part.
    days
        How many days they are followed.
    """
    import shutil

    from flows.commands.runs import run, show_strata

    if home.exists() and any(home.iterdir()) and not (home / ".demo").exists():
        raise UsageError(f"{home} is not a demo of before; name another folder with --home, or remove it yourself")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / ".demo").touch()
    simulate(home, patients=patients, days=days)
    code = run(home=home)
    if code == 0:
        show_strata(open_workspace(home))
        OUT.print(f"\nThe answers are in {home.resolve() / 'marts.duckdb'}: open it with any DuckDB client, or try\n"
                  f'  vnsight sql "select stratum, arm, k, n, rate, low, high from strata where stratifier = \'disorder\''
                  " and visit = 'm3' and instrument = 'PHQ-9' and subscale = 'total' and definition = 'drop_50' and method = 'observed'\""
                  f" --home {home}\n"
                  f"  vnsight trace P000007 --home {home}\n  vnsight status --home {home}", soft_wrap=True)  # fmt: skip
    return code
