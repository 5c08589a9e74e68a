# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable, Iterator

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from warehouse.statistics import create_functions

Ask = Callable[..., dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with the functions and nothing else."""
    with duckdb.connect() as here:
        create_functions(here)
        yield here


@pytest.fixture
def ask(connection) -> Ask:
    """Ask one expression or query of columns; the answer's columns as arrays, NULL as NaN."""

    def ask(select: str, **columns: np.ndarray) -> dict[str, np.ndarray]:
        with connection.cursor() as cursor:
            cursor.register("t", pa.table(columns))
            answer = cursor.sql(select).to_arrow_table()
        return {name: answer[name].to_numpy().astype(float) for name in answer.column_names}

    return ask


@pytest.fixture(scope="module")
def groups() -> dict[str, np.ndarray]:
    """10,000 pairs of groups: empty ones, single patients, nobody, everybody, and up to 100,000."""
    rng, many = np.random.default_rng(7), 10_000
    n1, n2 = (
        np.where(rng.random(many) < 0.5, rng.integers(0, 40, many), np.exp(rng.uniform(0, np.log(1e5), many)).astype(int)) for _ in "ab"
    )
    share = [np.where(rng.random(many) < 0.2, rng.integers(0, 2, many), rng.random(many)) for _ in "ab"]
    return {"k1": rng.binomial(n1, share[0]), "n1": n1, "k2": rng.binomial(n2, share[1]), "n2": n2}
