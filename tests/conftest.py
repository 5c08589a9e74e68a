# SPDX-License-Identifier: Apache-2.0
import os
import time
from pathlib import Path

import pytest

os.environ["TZ"] = "UTC"
time.tzset()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real public data beside the project; the test skips where it is absent."""
    for parent in Path(__file__).resolve().parents:
        if (parent / "shared" / "data" / "README.md").exists():
            return parent / "shared" / "data"
    pytest.skip("the public data folder is not beside this checkout")
