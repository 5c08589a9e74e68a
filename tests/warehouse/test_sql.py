# SPDX-License-Identifier: Apache-2.0
import pytest
from window_parts import small_load

from schemas.errors import UsageError
from schemas.load import CompleteLoad
from warehouse.publish import candidate
from warehouse.sql import query


@pytest.fixture
def path(ws):
    return candidate(ws, small_load(ws, 1), CompleteLoad(0, {}))


@pytest.mark.parametrize(
    ("sql", "n"),
    [
        ("select * from patients", 3), ("from scores where score = 20", 3), ("with a as (from patients) select * from a;", 3),
        ("describe ledger", 6), ("show tables", 25), ("summarize patients", 27), ("explain from patients", 1),
    ],
)  # fmt: skip
def test_questions_are_answered(path, sql, n):
    assert query(path, sql).num_rows == n


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("selec 1", "this is not SQL: .*quote the whole query for your shell"),
        ("select 1; select 2", "one statement at a time: 2 were given"),
        ("", "the query is empty"),
        ("drop view patients", "the marts are read-only: DROP"),
        ("insert into ledger select * from ledger", "the marts are read-only: INSERT"),
        ("copy patients to 'x.csv'", "the marts are read-only: COPY"),
        ("attach 'other.duckdb'", "the marts are read-only: ATTACH"),
        ("from patient", r"there is no table patient \(did you mean patients\?\); there are: .*dispositions, "),
        ("from qqqqq", "there is no table qqqqq; there are: "),
        ("select charge from dose_daily", 'column "charge" not found.*describe TABLE'),
        ("select 1 / 'a'", "the query failed: Conversion Error"),
    ],
)
def test_everything_else_is_refused_in_words(path, sql, message):
    with pytest.raises(UsageError, match=message):
        query(path, sql)


def test_instants_come_in_utc(path):
    at = query(path, "select min(index_at) as at from patients").column("at")[0].as_py()
    assert at.isoformat() == "2025-03-01T00:00:00+00:00"
