# SPDX-License-Identifier: Apache-2.0
import os
import time
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["TZ"] = "UTC"
os.environ["COLUMNS"] = "160"  # tables as wide as this, whatever terminal the tests run in
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["POLARS_MAX_THREADS"] = "1"  # every core has a process of its own
time.tzset()
settings.register_profile("ours", deadline=None)  # a busy machine is no failure
settings.load_profile("ours")


LONG = ("test_stream_beam.py", "test_load.py", "test_cli.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, or one core waits for the other at the end."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real public data beside the project; the test skips where it is absent."""
    for parent in Path(__file__).resolve().parents:
        if (parent / "shared" / "data" / "README.md").exists():
            return parent / "shared" / "data"
    pytest.skip("the public data folder is not beside this checkout")
