# SPDX-License-Identifier: Apache-2.0
import itertools
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipelines.load import rebuild_known_by, stage_load
from schemas.contract import load_contracts
from schemas.errors import UsageError
from tests.small_world import SECRET, files, live_tables, load_all, read_table, workspace

MARTS = ("patients", "scores", "dose_daily", "dose_outcomes")
NAMES = sorted(files())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory):
    """All files in one load, one shard: what every other way must equal."""
    ws = workspace(tmp_path_factory.mktemp("one"), shards=1)
    loads = load_all(ws, [NAMES])
    return ws, loads, {m: read_table(ws, loads, f"marts/{m}") for m in MARTS}


def bins(loads, source: str) -> dict[str, int]:
    ledger = pl.concat([x.ledger for x in loads]).filter(pl.col("source") == source)
    return dict(ledger.group_by("bin").agg(pl.col("rows").sum()).filter(pl.col("rows") > 0).iter_rows())


def test_every_row_is_in_the_bin_it_should_be_in(undisturbed):
    _, loads, _ = undisturbed
    assert bins(loads, "patients") == {"accepted": 5, "superseded": 1, "withdrawn": 1}  # P6 erased, P1 revised
    assert bins(loads, "devices") == {"accepted": 5, "superseded": 1}  # D2 is P3's in its latest revision
    assert bins(loads, "device_settings") == {"accepted": 4, "duplicate": 1, "superseded": 1, "pending": 1}
    assert bins(loads, "stimulation_sessions") == {"accepted": 22, "duplicate": 1, "superseded": 1}
    # 27 rows of six known patients and two of P7 nobody knows; P6 erased (4), P5 stops at day 45 (2 of 4)
    assert bins(loads, "survey_responses") == {
        "accepted": 18, "duplicate": 1, "superseded": 1, "pending": 2, "quarantined": 3, "withdrawn": 6,
    }  # fmt: skip


def test_ledger_balances_per_file(undisturbed):
    _, loads, _ = undisturbed
    per_file = loads[0].ledger.group_by("file").agg(pl.col("rows").sum(), pl.col("read").first())
    assert per_file.filter(pl.col("rows") != pl.col("read")).is_empty()
    assert per_file.height == len(NAMES)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(NAMES), cuts=st.lists(st.integers(1, len(NAMES) - 1), max_size=3, unique=True),
    shards=st.sampled_from([1, 2, 5]),
)  # fmt: skip
@example(order=NAMES[::-1], cuts=[7], shards=64)
def test_any_order_any_split_any_number_of_shards_gives_the_same_marts(undisturbed, tmp_path_factory, order, cuts, shards):
    ws = workspace(tmp_path_factory.mktemp("any"), shards=shards)
    ends = [0, *sorted(cuts), len(order)]
    loads = load_all(ws, [order[a:b] for a, b in itertools.pairwise(ends)])
    for mart in MARTS:
        assert_frame_equal(read_table(ws, loads, f"marts/{mart}"), undisturbed[2][mart])


@pytest.mark.cluster  # long
def test_two_workers_give_the_same_marts(undisturbed, tmp_path: Path):
    ws = workspace(tmp_path, shards=4, workers=2)
    loads = load_all(ws, [NAMES])
    for mart in MARTS:
        assert_frame_equal(read_table(ws, loads, f"marts/{mart}"), undisturbed[2][mart])


def test_the_same_files_again_change_no_table(tmp_path: Path):
    ws = workspace(tmp_path, shards=2)
    loads = load_all(ws, [NAMES, NAMES])
    first, second = loads[0].files.replaced, loads[1].files.replaced
    assert {t: dict(s) for t, s in second.items()} == {t: {n: first[t][n] for n in s} for t, s in second.items()}  # content names
    again = loads[1].ledger.group_by("bin").agg(pl.col("rows").sum())
    assert dict(again.iter_rows())["accepted"] == 0


def test_known_by_reproduces_what_was_published_then(tmp_path: Path):
    ws = workspace(tmp_path, shards=3)
    cut = len(NAMES) // 2
    early, late = NAMES[::2], NAMES[1::2]
    assert cut
    loads = load_all(ws, [early, late])
    past = rebuild_known_by(ws, 1_770_000_000_000_001, 2, live_tables(loads), SECRET)
    for mart in MARTS:
        then = read_table(ws, loads[:1], f"marts/{mart}")
        parts = [pl.read_parquet(ws.home / p, hive_partitioning=False) for p in past.replaced[f"marts/{mart}"].values()]
        now = pl.concat(parts)
        assert_frame_equal(now.sort(now.columns[:2]), then.sort(then.columns[:2]), check_row_order=False)
        assert not then.equals(read_table(ws, loads, f"marts/{mart}"))  # or the test could not fail


def test_shards_cannot_shrink_under_staged_data(tmp_path: Path):
    loads = load_all(workspace(tmp_path, shards=8), [NAMES])
    with pytest.raises(UsageError, match=r"workspace\.shards"):
        stage_load(workspace(tmp_path, shards=2), [], 2, live_tables(loads), SECRET)


def test_every_source_has_a_contract():
    from schemas.contract import SOURCES

    assert set(SOURCES) == {n for n, c in load_contracts().items() if c.kind == "source"}
