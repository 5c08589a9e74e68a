# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from window_parts import workspace

from schemas.workspace import Workspace


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return workspace(tmp_path / "it's a home")
