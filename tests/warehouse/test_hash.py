# SPDX-License-Identifier: Apache-2.0
import random

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from window_parts import INDEX, dose_day, load_files, patient, score, workspace

from schemas.errors import UsageError
from schemas.load import CompleteLoad
from warehouse.hash import COMBINED, DEFAULT_MARTS, content_hash
from warehouse.publish import candidate

pytestmark = pytest.mark.cluster  # needs no server, but half a minute


def window(ws, people, scores, shards=1, shuffle=0):
    def spread(rows):
        mixed = random.Random(shuffle).sample(rows, len(rows))
        return {n: mixed[n::shards] for n in range(shards)}

    days = [dose_day(1, 1, INDEX.date())]
    files = load_files(ws, 1, {"patients": spread(people), "scores": spread(scores), "dose_daily": spread(days)}, [])
    return candidate(ws, files, CompleteLoad(0, {}))


PEOPLE = [patient(n, disorders=["depression", "ptsd"][: n % 3], cbt_started_at=None) for n in range(1, 6)]
SCORES = [score(10 * n + v, n, 90 * v, 20 - v) for n in range(1, 6) for v in range(3)]


@pytest.mark.parametrize(("shards", "shuffle"), [(1, 1), (4, 2), (3, 3)])
def test_order_and_files_do_not_matter(tmp_path, shards, shuffle):
    plain = content_hash(window(workspace(tmp_path / "a"), PEOPLE, SCORES))
    other = content_hash(window(workspace(tmp_path / "b"), PEOPLE, SCORES, shards, shuffle))
    assert plain == other
    assert list(plain) == [*DEFAULT_MARTS, COMBINED]


@pytest.mark.parametrize(
    "change",
    [
        {"site": "B"}, {"site": None}, {"site": ""}, {"failed_trials": 1}, {"disorders": []}, {"disorders": ["ptsd,depression"]},
        {"ect": True}, {"index_at": INDEX.replace(microsecond=1)}, {"arm": "cbt"}, {"cbt_started_at": INDEX},
    ],
)  # fmt: skip
def test_any_other_value_is_another_hash(ws, change):
    before = content_hash(window(ws, PEOPLE, SCORES))
    after = content_hash(window(ws, [PEOPLE[0] | change, *PEOPLE[1:]], SCORES))
    assert after["patients"] != before["patients"]
    assert after[COMBINED] != before[COMBINED]
    assert after["scores"] == before["scores"]


def test_null_is_not_empty_text(ws):
    absent = content_hash(window(ws, [patient(1, site=None)], []), "patients")
    empty = content_hash(window(ws, [patient(1, site="")], []), "patients")
    assert absent != empty


def test_a_row_that_is_there_twice_or_four_times_is_not_forgotten(ws):
    seen = {n: content_hash(window(ws, [patient(1)] * n, []), "patients")["patients"] for n in range(5)}
    assert len(set(seen.values())) == 5


def test_bookkeeping_does_not_count_and_minus_zero_is_zero(tmp_path):
    def of(sql):
        path = tmp_path / "one.duckdb"
        path.unlink(missing_ok=True)
        with duckdb.connect(str(path)) as connection:
            connection.execute(f"create table t as {sql}")
        return content_hash(path, "t")["t"]

    assert of("select 1 as a, 2 as _load") == of("select 1 as a, 3 as _load")
    assert of("select -0.0::double as a") == of("select 0.0::double as a")
    assert of("select 0.1::double + 0.2::double as a") != of("select 0.3::double as a")
    assert of("select 'a' as x, 'bc' as y") != of("select 'ab' as x, 'c' as y")
    assert of("select 1 as a") != of("select 1 as b")


def test_the_hash_is_the_one_it_always_was(tmp_path):
    """Written by this code under DuckDB 1.5.5 and 2.0.0: it may only change with the rules in the module's own words."""
    path = tmp_path / "one.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("set TimeZone = 'America/New_York'")
        connection.execute("""create table t as select * from (values
            (1::bigint, 0.1::double, 'a', ['x', null], date '2025-01-02', timestamptz '2025-01-02 03:04:05.000006+00', true),
            (null, 1e300, '', [], null, null, null)) as v (i, d, s, l, day, seen, b)""")
    assert content_hash(path, "t") == {"t": "0461ea35ff7c715f6531f85cae3ae9981c74748aeb6d89c6a27a4a1529822f23"}


def test_other_tables_only_when_named(ws):
    path = window(ws, PEOPLE, SCORES)
    assert list(content_hash(path, "ledger")) == ["ledger"]
    with pytest.raises(UsageError, match=r"has no table nope; there are: .*dispositions, dose_daily"):
        content_hash(path, "nope")


def test_nothing_published_is_said(ws):
    with pytest.raises(UsageError, match="nothing was published yet"):
        content_hash(ws)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(5)), st.integers(1, 5))
def test_law_any_permutation_in_any_number_of_shards(ws, order, shards):
    path = window(ws, [PEOPLE[i] for i in order], SCORES, shards)
    assert content_hash(path, "patients") == content_hash(window(ws, PEOPLE, SCORES), "patients")
