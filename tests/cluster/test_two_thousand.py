# SPDX-License-Identifier: Apache-2.0
"""2,000 simulated patients for a year, all faults: every label in its bin, every dose to the picocoulomb, every file balanced."""

from pathlib import Path

import pytest

from pipelines.secret import read_secret
from schemas.workspace import open_workspace
from tests.against_truth import ask, unlabelled, wrong_bins, wrong_doses
from tests.flows.conftest import vnsight

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


def test_two_thousand_patients_for_a_year(tmp_path: Path):
    home = tmp_path / "home"
    vnsight("simulate", home, "--patients", 2000, "--days", 365, "--seed", 1)
    vnsight("run", "--home", home, "--direct")
    assert wrong_bins(home).rows() == []
    assert unlabelled(home).rows() == []
    compared, wrong = wrong_doses(home, read_secret(open_workspace(home)))
    assert wrong.rows() == []
    assert compared > 90_000
    unbalanced = "select file from ledger group by source, file having sum(rows) <> max(read)"
    assert ask(home, unbalanced).rows() == []
    before = vnsight("hash", "--home", home)
    assert "nothing new to load" in vnsight("run", "--home", home, "--direct")
    assert vnsight("hash", "--home", home) == before
    print(f"{compared:,} responses compared")
