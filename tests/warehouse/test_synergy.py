# SPDX-License-Identifier: Apache-2.0
"""VNS and CBT together against each alone."""

import math

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from mart_world import answer, rows_of, world
from window_parts import patient

ARMS = ("vns", "cbt", "vns_cbt", "neither")


def build(counts):
    """Row of everybody; counts: (k, n) of each of ARMS."""
    said = [(arm, i < k) for arm, (k, n) in zip(ARMS, counts, strict=True) for i in range(n)]
    people = [patient(i, arm=arm) for i, (arm, _) in enumerate(said)]
    answers = [answer(i, r, arm=arm) for i, (arm, r) in enumerate(said)]
    with world(["strata", "synergy"], patients=people, responders=answers) as connection:
        (row,) = rows_of(connection, "from synergy where stratifier = 'all' and method = 'observed'")
    return row


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.lists(st.integers(0, 6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=4, max_size=4).filter(
    lambda counts: any(n for _, n in counts)))  # fmt: skip
def test_the_contrast_is_the_sum_of_the_four_rates(counts):
    row = build(counts)
    for name, (k, n) in zip(("vns", "cbt", "both", "neither"), counts, strict=True):
        assert (row[f"k_{name}"], row[f"n_{name}"]) == (k, n)
        assert row[f"rate_{name}"] == (pytest.approx(k / n) if n else None)
    assert (row["k"], row["n"]) == (sum(k for k, _ in counts), sum(n for _, n in counts))
    empty = [f"no_{name}" for name, (_, n) in zip(("vns", "cbt", "both", "neither"), counts, strict=True) if not n]
    assert row["reason"] == (empty[0] if empty else None)
    if empty:
        assert row["interaction"] is row["interaction_low"] is row["interaction_p"] is None
    else:
        vns, cbt, both, neither = (k / n for k, n in counts)
        assert row["interaction"] == pytest.approx(both - vns - cbt + neither, abs=1e-12)
        assert row["interaction_low"] <= row["interaction"] <= row["interaction_high"]
    assert row["caution"].startswith("confounded by indication")


def test_a_synergy_planted_is_found():
    row = build([(30, 100), (20, 100), (80, 100), (10, 100)])
    assert row["interaction"] == pytest.approx(0.4)
    assert row["interaction_low"] > 0.2
    assert row["interaction_p"] < 1e-4


def test_arms_without_spread_are_no_proof():
    """Found in a world without effects: one patient in one arm, nobody in two; plain Wald gives 7e-14."""
    row = build([(1, 8), (0, 5), (1, 1), (0, 7)])
    assert row["interaction_low"] < 0 < row["interaction_high"]
    assert row["interaction_p"] == pytest.approx(0.1177, abs=5e-5)


def test_the_p_value_by_hand():
    """With the halves 5.5, 3.5, 8.5 and 2.5 of 11: contrast 2 / 11, its square error (30.25 + 26.25 + 21.25 + 21.25) / 11^3."""
    row = build([(5, 10), (3, 10), (8, 10), (2, 10)])
    assert row["interaction_p"] == pytest.approx(math.erfc(2 / 11 / math.sqrt(99 / 11**3) / math.sqrt(2)))
