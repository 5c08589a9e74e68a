# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest

from flows.engine.job import Options
from schemas.errors import UsageError
from schemas.workspace import open_workspace


def opened(home: Path, toml: str):
    (home / "vnsight.toml").write_text(toml)
    return open_workspace(home)


def test_what_is_chosen_for_this_time_wins_over_what_is_declared(tmp_path: Path):
    ws = opened(tmp_path, "[stream]\nsettle_s = 60\nidle_s = -1\nremember_days = 400\n")
    options = Options.declared(ws, settle_s=None, idle_s=5.0, commit_s=2.0)
    assert (options.settle_s, options.idle_s, options.remember_days, options.commit_s, options.cells) == (60, 5.0, 400, 2.0, 16)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[stream]\nsetle_s = 60\n", "stream.setle_s: not a setting; there are: away_s, cells"),
        ("[stream]\ncells = 2.5\n", "stream.cells: 2.5 is no whole number"),
        ('[stream]\nlag_s = "5"\n', "stream.lag_s: '5' is no number"),
        ("[stream]\nsettle_s = -1\n", "stream.settle_s: -1 is below 0"),
        ("[stream]\ncells = 5000\n", "stream.cells: 5000 is above 4096"),
        ("[stream]\nsettle_s = inf\n", "stream.settle_s: inf is not within 1,000,000,000"),
        ("[stream]\nremember_days = nan\n", "stream.remember_days: nan is not within"),
        ("[stream]\nidle_s = -1e30\n", "stream.idle_s: -1e+30 is not within"),
        ("stream = 5\n", "vnsight.toml, stream: 5 is no table"),
        ("workspace = 'x'\n", "vnsight.toml, workspace: 'x' is no table"),
        ("source = 5\n", "vnsight.toml, source: write [[source]] on a line of its own"),
        ("[source]\nname = 'x'\n", "vnsight.toml, source: write [[source]] on a line of its own"),
        ("[workspace]\nshard = 4\n", "workspace.shard: not a setting"),
        ("[streams]\n", "[streams]: not a table it knows; there are: [workspace], [stream] and [[source]]"),
    ],
)
def test_a_setting_that_cannot_be_is_named(tmp_path: Path, toml: str, said: str):
    with pytest.raises(UsageError, match=re.escape(said)):
        opened(tmp_path, toml)
