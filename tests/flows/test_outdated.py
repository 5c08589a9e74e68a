# SPDX-License-Identifier: Apache-2.0
"""A workspace of an older version, or from before a change of settings: a run derives anew what today asks for, and says so."""

from pathlib import Path

import polars as pl
import pytest

from flows import nightly
from flows.committer import commit_updates
from flows.outdated import outdated, require_current
from flows.steps import live_tables
from pipelines.launch import silent
from pipelines.stage import read_facts
from schemas.errors import UsageError, VNSightError
from schemas.workspace import Workspace, open_workspace
from simulator import simulate
from tests.flows.conftest import vnsight
from warehouse.delta import last_complete
from warehouse.hash import content_hash

pytestmark = pytest.mark.cluster  # needs no server, but half a minute

SETTINGS = "[workspace]\nshards = 4\n"


@pytest.fixture(autouse=True)
def _unaudited(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(nightly._STEPS, "audit", lambda ws, candidate: ())


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """A published study."""
    simulate(tmp_path / "home", 12, 40, 3, faults=1.0)
    (tmp_path / "home" / "vnsight.toml").write_text(SETTINGS)
    made = open_workspace(tmp_path / "home")
    nightly.run_steps(made, silent)
    return made


def live(ws: Workspace):
    return live_tables(ws, last_complete(ws))


def strip(ws: Workspace, table: str, column: str) -> None:
    """Make the live parts of a table those of a version that did not know a column."""
    for path in live(ws)[table].values():
        pl.read_parquet(ws.home / path, hive_partitioning=False).drop(column).write_parquet(ws.home / path)


def test_a_current_workspace_has_nothing_to_derive(ws):
    assert outdated(ws, live(ws)) == []
    require_current(ws, live(ws))
    assert nightly.run_steps(ws, silent).state == "idle"


def test_a_mart_of_an_older_version_is_derived_anew_by_the_next_run(ws):
    before = content_hash(ws)
    strip(ws, "marts/patients", "n_disorders")
    (ws.home / "marts.duckdb").unlink()
    assert outdated(ws, live(ws)) == ["marts/patients (n_disorders)"]
    outcome = nightly.run_steps(ws, silent)
    assert (outcome.state, outcome.load) == ("published", 2)
    assert "derived anew, because the columns changed: marts/patients (n_disorders)" in outcome.notes
    assert content_hash(ws) == before
    assert outdated(ws, live(ws)) == []


def test_another_window_is_a_change_of_columns(ws, tmp_path):
    toml = ws.home / "vnsight.toml"
    toml.write_text(SETTINGS + "windows_days = [7, 28]\n")
    changed = open_workspace(ws.home)
    assert outdated(changed, live(changed))[0].startswith("marts/dose_outcomes (charge_")
    assert nightly.run_steps(changed, silent).state == "published"
    simulate(tmp_path / "fresh", 12, 40, 3, faults=1.0)
    (tmp_path / "fresh" / "vnsight.toml").write_text(toml.read_text())
    (tmp_path / "fresh" / "secret.key").write_bytes((ws.home / "secret.key").read_bytes())
    fresh = open_workspace(tmp_path / "fresh")
    nightly.run_steps(fresh, silent)
    assert content_hash(changed) == content_hash(fresh)


def test_facts_without_a_column_that_may_be_missing_have_none_in_it(ws):
    strip(ws, "staged/patients", "site")
    assert outdated(ws, live(ws)) == ["staged/patients (site)"]
    nightly.run_steps(ws, silent)
    assert outdated(ws, live(ws)) == []
    assert pl.read_parquet(ws.home / "marts/patients/_shard=*/*.parquet", hive_partitioning=False)["site"].null_count() > 0


def test_facts_without_a_column_that_must_be_there_are_not_guessed(ws):
    path = next(p for p in live(ws)["staged/devices"].values())
    strip(ws, "staged/devices", "model")
    with pytest.raises(VNSightError, match=r"lacks model, which devices must have now; load the files of .*landing into a new workspace"):
        read_facts(ws.home, path, "devices")


def test_nothing_is_built_on_old_columns(ws):
    strip(ws, "marts/scores", "status")
    said = vnsight("refresh", "--home", ws.home, code=2)
    assert "the columns have changed since these were written: marts/scores (status); first: vnsight run" in " ".join(said.split())
    (ws.home / "stream" / "updates").mkdir(parents=True)
    assert commit_updates(ws, silent) is None  # nothing waits: nothing is asked
    with pytest.raises(UsageError, match="first: vnsight run"):
        require_current(ws, live(ws))
