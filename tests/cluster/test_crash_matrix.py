# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every milestone of a run, on top of a published load, while a reader never stops reading.

The run is repeated afterwards, and its marts must be those of a run nobody disturbed. Readers may see the old world or the new one,
never an error and never a mixture.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from schemas.workspace import open_workspace
from tests.flows.conftest import vnsight
from warehouse.hash import content_hash

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[2]
# The steps of a run without the audit, which changes nothing on disk but the candidate and takes most of the time.
STEPS = """
import sys
from pathlib import Path
from flows.lock import only_run
from flows.steps import publish_or_hold, pull_sources, stage
from schemas.workspace import open_workspace
ws = open_workspace(Path(sys.argv[1]))
quiet = lambda step, done, total: None
with only_run(ws):
    pull_sources(ws, quiet)
    while candidate := stage(ws, quiet):
        publish_or_hold(ws, candidate, ())
"""
TOTALS = """select (select load from vnsight_meta), (select count(*) from scores), (select count(*) from dose_outcomes),
    (select coalesce(sum(charge_pc), 0) from dose_daily), (select sum(n_patients) from strata)"""


# killed elsewhere: tests/flows/test_cloud_source.py, tests/cluster/test_stream_crash.py (kafka, epoch), test_stream_faults.py (the rest)
ELSEWHERE = ("cloud:", "kafka:", "epoch:", "stream:", "engine:")


def milestones() -> list[str]:
    """Every name given to `milestone(...)` anywhere in the code, in the order of a run as far as names tell."""
    found = []
    for path in [*ROOT.glob("pipelines/**/*.py"), *ROOT.glob("flows/**/*.py"), *ROOT.glob("warehouse/**/*.py")]:
        found += re.findall(r'milestone\(f?"([^"]+)"\)', path.read_text())
    tables = ["staged/patients", "staged/stimulation_sessions", "staged/segments", "marts/dose_outcomes", "ledger/dispositions"]
    names = [re.sub("{.*}", t, n) for n in found for t in (tables if "{" in n else [""])]
    return sorted(n for n in set(names) if not n.startswith(ELSEWHERE))


def run(home: Path, kill_at: str = "") -> int:
    env = os.environ | {"PYTHONPATH": str(ROOT), "VNSIGHT_KILL_AT": kill_at}
    return subprocess.run([sys.executable, "-c", STEPS, str(home)], env=env, capture_output=True, timeout=300, check=False).returncode


READER = """
import json, sys, duckdb
seen, errors, reads = set(), [], 0
print("ready", flush=True)
import select
while not select.select([sys.stdin], [], [], 0)[0]:
    try:
        with duckdb.connect(sys.argv[1], read_only=True) as connection:
            seen.add(connection.execute(sys.argv[2]).fetchall()[0])
        reads += 1
    except duckdb.Error as error:
        errors.append(str(error))
print(json.dumps([sorted(map(str, seen)), errors, reads]))
"""


class Reader:
    """An analyst's process that opens the window again and again; a process of its own, because DuckDB shares instances inside one."""

    def __init__(self, window: Path) -> None:
        call = [sys.executable, "-c", READER, str(window), TOTALS]
        self.process = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def stop(self) -> tuple[list[str], list[str], int]:
        """What was seen, errors, and the number of reads."""
        out, _ = self.process.communicate("stop\n", timeout=60)
        seen, errors, reads = json.loads(out)
        return seen, errors, reads


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """A workspace with one published load and a second half of files waiting, and the hashes before and after that load."""
    home = tmp_path_factory.mktemp("crash") / "home"
    vnsight("simulate", home, "--patients", 24, "--days", 60, "--seed", 5)
    files = sorted(p for p in (home / "inbox").rglob("*") if p.is_file())
    aside = home.parent / "aside"
    for file in files[1::2]:
        (aside / file.relative_to(home)).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, aside / file.relative_to(home))
    assert run(home) == 0
    before = content_hash(open_workspace(home))["all"]
    shutil.copytree(aside, home, dirs_exist_ok=True)
    after_home = home.parent / "after"
    shutil.copytree(home, after_home)
    assert run(after_home) == 0
    after = content_hash(open_workspace(after_home))["all"]
    assert after != before  # or the test could not fail
    return home, before, after


def published_at(home: Path) -> tuple:
    with duckdb.connect(str(home / "marts.duckdb"), read_only=True) as connection:
        return connection.execute(TOTALS).fetchall()[0]


@pytest.mark.parametrize("name", milestones())
def test_a_kill_at(name: str, worlds, tmp_path: Path):
    origin, before, after = worlds
    home = tmp_path / "home"
    shutil.copytree(origin, home)
    from flows.steps import shop

    shop.refresh(open_workspace(home), force=True)  # the views name the copy's files
    old = published_at(home)
    reader = Reader(home / "marts.duckdb")
    assert run(home, kill_at=name) == -signal.SIGKILL, f"no run passes {name}"
    between = content_hash(open_workspace(home))["all"]
    assert between in (before, after)
    assert run(home) == 0
    seen, errors, reads = reader.stop()
    assert content_hash(open_workspace(home))["all"] == after
    assert errors == []
    assert reads > 0
    assert set(seen) <= {str(old), str(published_at(home))}
    assert not list(home.glob("*.wal"))
    print(f"{name:32} killed, marts {'old' if between == before else 'new'}, redone equal, {reads} reads without error")
