# SPDX-License-Identifier: Apache-2.0
"""The short way from the simulator to the marts gives what a run over files gives; the tables count what they say; and on a few small
studies the estimates lie around what is true."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.truth import Study
from bench.truth_marts import build_marts, differing_rows, write_marts
from bench.truth_report import adjusted, against_truth, coverage, findings, null_table
from bench.truth_values import Share, combined, true_values
from flows import nightly
from pipelines.launch import silent
from schemas.workspace import open_workspace
from simulator import simulate
from simulator.block import draw_block
from simulator.plan import Plan, fault_rates
from warehouse.sql import query

pytestmark = pytest.mark.cluster  # long

TABLES = ("patients", "scores", "dose_outcomes", "responders", "durability", "strata", "dose_response", "synergy")


def test_the_short_way_gives_what_a_run_gives(tmp_path, monkeypatch):
    plan = Plan(60, 150, 4, rates=fault_rates(0))
    whole, short = tmp_path / "whole", tmp_path / "short"
    simulate(whole, plan.patients, plan.days, plan.seed, format="parquet", faults=0)
    (whole / "vnsight.toml").write_text("[workspace]\nshards = 2\nwindows_days = [28]\n")
    monkeypatch.setenv("VNSIGHT_SECRET", secret := "a secret for people who do not exist")
    monkeypatch.setitem(nightly._STEPS, "audit", lambda ws, candidate: ())
    nightly.run_steps(open_workspace(whole), silent)
    instruments = ("PHQ-9", "GAD-7", "DERS-16", "DERS-36")
    write_marts((draw_block(plan, b) for b in plan.blocks), short, instruments, secret.encode())
    window = build_marts(short)
    ours = {t: _table(window, t) for t in TABLES}
    theirs = {t: _table(whole / "marts.duckdb", t) for t in TABLES}
    assert differing_rows(ours, theirs) == dict.fromkeys(TABLES, 0)
    assert all(frame.height > 0 for frame in ours.values())


def _table(window: Path, name: str) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(query(window, f"select * from {name}")))


def test_one_changed_row_is_seen():
    frame = pl.DataFrame({"key": ["a", "b", None], "value": [1.0, None, 3.0]})
    other = frame.with_columns(value=pl.Series([1.0, None, 4.0]), more=pl.lit(1))
    assert differing_rows({"t": frame}, {"t": frame.reverse()}) == {"t": 0}
    assert differing_rows({"t": frame}, {"t": other}) == {"t": 2}


def test_the_worked_example_of_benjamini_and_hochberg():
    """Their table of fifteen p-values: four are rejected at 0.05, where Bonferroni rejects three."""
    p = np.array([0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0])
    assert (adjusted(p) <= 0.05).tolist() == [True] * 4 + [False] * 11
    mixed = np.random.default_rng(1).permutation(15)
    assert np.array_equal(adjusted(p[mixed]), adjusted(p)[mixed])
    assert adjusted(p)[3] == pytest.approx(0.0095 * 15 / 4)


def test_a_difference_of_shares_of_the_same_patients():
    one, other = np.array([1.0, 1, 0, np.nan, 1]), np.array([0.0, 1, 0, 1, np.nan])
    weight = np.array([1.0, 2, 3, 4, 5])
    value, error = combined((1, -1), (Share.of(one, weight), Share.of(other, weight)))
    assert value == pytest.approx(8 / 11 - 6 / 10)
    equal, none = combined((1, -1), (Share.of(one, weight), Share.of(one, weight)))
    assert (equal, none) == (0, 0)
    assert error > 0


def _answers(**columns) -> pl.DataFrame:
    base = {"family": "effects", "stratifier": "disorder", "stratum": "ocd", "item": "ocd: vns", "visit": "m6", "within": "vns", "n": 9,
            "estimate": 0.1, "low": 0.0, "high": 0.2, "p": 0.5, "p_adjusted": 0.9, "seed": 1}  # fmt: skip
    length = max(len(v) for v in columns.values())
    return pl.DataFrame({name: columns.get(name, [value] * length) for name, value in base.items()})


def test_coverage_counts_intervals_that_hold_the_truth_ends_included():
    true = pl.DataFrame({"family": ["effects"], "item": ["ocd: vns"], "visit": ["m6"], "target": ["effect"], "true": [0.2], "error": [0.0]})
    seeds = _answers(seed=[1, 2, 3, 4], low=[0.0, 0.1, 0.21, 0.2], high=[0.2, 0.19, 0.3, 0.3])
    found = against_truth(seeds, true)
    assert found["miss"].to_list() == [0, -1, 1, 0]
    row = coverage(found, "family", "target").row(0, named=True)
    assert (row["share"], row["intervals"], row["below"], row["seeds"]) == (0.5, 4, 0.25, 4)
    assert against_truth(_answers(stratifier=["sex"]), true).is_empty()  # what is true was worked out for disorders


def test_findings_are_counted_per_set_of_tests():
    own = _answers(stratum=["ocd", "bpd"], p=[0.001, 0.04], p_adjusted=[0.3, 0.04])
    assert findings(own).select("tests", "below", "found").row(0) == (2, 2, 1)  # the mart's adjustment, not ours
    bands = _answers(family=["dose"] * 3, item=["low", "middle", "high"], p=[0.03] * 3, p_adjusted=[None] * 3)
    assert findings(bands.cast({"p_adjusted": pl.Float64})).select("tests", "below", "found").row(0) == (1, 1, 1)
    two = _answers(family=["synergy"] * 2, stratum=["ocd", "bpd"], p=[0.03, 0.9], p_adjusted=[None] * 2).cast({"p_adjusted": pl.Float64})
    assert findings(two)["found"].to_list() == [0]  # 0.03 x 2
    assert findings(_answers(stratifier=["all"])).is_empty()
    assert null_table(findings(own))[1] is False
    assert null_table(findings(two))[1] is True


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> pl.DataFrame:
    home = tmp_path_factory.mktemp("few")
    return pl.concat([Study("effects", 400, seed).answers(home / str(seed)) for seed in range(3)])


def test_estimates_of_a_few_small_studies_lie_around_the_truth(few):
    true = true_values(8_000, worn_every=4)
    found = against_truth(few, true).filter(pl.col("target") == "compared")
    assert set(found["family"]) == {"effects", "synergy", "dose"}
    held = coverage(found, "family")
    assert held["share"].min() > 0.85
    wide = found.with_columns(distance=(pl.col("estimate") - pl.col("true")) / (pl.col("high") - pl.col("low")))
    assert wide.group_by("family").agg(pl.col("distance").mean().abs())["distance"].max() < 0.15
    effects = true.filter((pl.col("family") == "effects") & (pl.col("visit") == "m12") & (pl.col("target") == "effect"))
    ranked = dict(effects.select("item", "true").iter_rows())
    assert ranked["depression: vns"] > ranked["epilepsy: vns"] > ranked["ocd: vns"] > 0  # 0.42, 0.34 and 0.12 of the severity
