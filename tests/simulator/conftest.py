# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from simulator import Summary, simulate


@dataclass(frozen=True)
class World:
    home: Path
    summary: Summary

    def truth(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.home / "truth" / f"{name}.parquet")


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    home = tmp_path_factory.mktemp("world")
    return World(home, simulate(home, 150, 70, 11, faults=3.0))
