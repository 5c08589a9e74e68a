# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import pytest

from schemas.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parents[1] / "warehouse"))  # the hand-made parts are shared


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    from window_parts import workspace

    return workspace(tmp_path / "home")
