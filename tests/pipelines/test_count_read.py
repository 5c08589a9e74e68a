# SPDX-License-Identifier: Apache-2.0
"""Rows a commit counts as read: every message once, however often its receipt is written."""

from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipelines.messages import RECEIPTS
from pipelines.updates import begin_positions, count_read, note_positions


def receipts(partition: int, offsets: list[int]) -> pl.DataFrame:
    columns = {"topic": "t", "partition": partition, "offset": offsets, "source": "visits"}
    return pl.DataFrame(columns | {"records": [o + 1 for o in offsets], "quarantined": [o % 2 for o in offsets]}, schema=RECEIPTS)


@given(cuts=st.lists(st.tuples(st.integers(0, 8), st.integers(1, 4)), max_size=6))
def test_a_replay_that_is_cut_differently_counts_nothing_twice(cuts: list[tuple[int, int]], tmp_path_factory):
    home: Path = tmp_path_factory.mktemp("home")
    begin_positions(home, {})
    reached, read, quarantined = 0, 0, 0
    for back, more in cuts:
        offsets = list(range(max(0, reached - back), reached + more))
        both = pl.concat([receipts(0, offsets), receipts(0, offsets), receipts(1, [])])
        found = count_read(home, both)
        note_positions(home, both)
        read, quarantined, reached = read + found["read"], quarantined + found["quarantined"], reached + more
    assert (read, quarantined) == (sum(range(1, reached + 1)), sum(o % 2 for o in range(reached)))


def test_a_job_that_begins_anew_counts_what_it_reads_again(tmp_path: Path):
    both = receipts(0, [0, 1])
    (tmp_path / "stream").mkdir()
    note_positions(tmp_path, both)
    assert count_read(tmp_path, both)["read"] == 0
    begin_positions(tmp_path, {"t/0": 0})
    assert count_read(tmp_path, both) == {"read": 3, "quarantined": 1}
