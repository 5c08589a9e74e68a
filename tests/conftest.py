# SPDX-License-Identifier: Apache-2.0
import os
import time
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["TZ"] = "UTC"
os.environ["COLUMNS"] = "160"  # tables as wide as this, whatever terminal the tests run in
time.tzset()
settings.register_profile("ours", deadline=None)  # a busy machine is no failure
settings.load_profile("ours")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real public data beside the project; the test skips where it is absent."""
    for parent in Path(__file__).resolve().parents:
        if (parent / "shared" / "data" / "README.md").exists():
            return parent / "shared" / "data"
    pytest.skip("the public data folder is not beside this checkout")
