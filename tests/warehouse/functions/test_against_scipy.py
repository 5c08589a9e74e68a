# SPDX-License-Identifier: Apache-2.0
"""Every function against scipy, statsmodels or the published formula in numpy, on 10,000 tables with empty cells among them."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import proportion
from statsmodels.stats.multitest import multipletests

Z = stats.norm.isf(0.025)
pytestmark = pytest.mark.filterwarnings("ignore:invalid value", "ignore:divide by zero")
ENDS = "q.estimate as estimate, q.low as low, q.high as high"


def agree(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-9) -> None:
    """Both are NaN at the same places, and else relatively or absolutely as near as that."""
    expected = np.asarray(expected, float)
    assert (np.isnan(found) == np.isnan(expected)).all(), np.flatnonzero(np.isnan(found) != np.isnan(expected))[:5]
    off = np.abs(found - expected) / np.maximum(1.0, np.abs(expected))
    assert np.nanmax(off) <= tolerance, (np.nanmax(off), np.nanargmax(off))


def where(condition: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.where(condition, values, np.nan)


@pytest.mark.parametrize("level", [0.95, 0.8, 0.999])
def test_wilson_and_clopper_pearson(ask, groups, level):
    k, n, some = groups["k1"], groups["n1"], groups["n1"] > 0
    for name, method in (("wilson", "wilson"), ("clopper_pearson", "beta")):
        found = ask(f"select {ENDS} from (select {name}(k1, n1, level := {level}) as q from t)", **groups)
        low, high = proportion.proportion_confint(k, np.maximum(n, 1), 1 - level, method)
        agree(found["estimate"], where(some, k / np.maximum(n, 1)))
        agree(found["low"], where(some, np.where(k == 0, 0, low)))
        agree(found["high"], where(some, np.where(k == n, 1, high)))


def shares(g):
    both = (g["n1"] > 0) & (g["n2"] > 0)
    return both, g["k1"] / np.maximum(g["n1"], 1), g["k2"] / np.maximum(g["n2"], 1)


def test_newcombe_and_risk_difference(ask, groups):
    both, p1, p2 = shares(groups)
    n1, n2 = np.maximum(groups["n1"], 1), np.maximum(groups["n2"], 1)
    found = ask(f"select {ENDS} from (select newcombe(k1, n1, k2, n2) as q from t)", **groups)
    low, high = proportion.confint_proportions_2indep(groups["k1"], n1, groups["k2"], n2, method="newcomb", compare="diff")
    agree(found["estimate"], where(both, p1 - p2))
    agree(found["low"], where(both, low))
    agree(found["high"], where(both, high))
    found = ask(f"select {ENDS} from (select risk_difference(k1, n1, k2, n2) as q from t)", **groups)
    half = Z * np.sqrt(p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2)
    agree(found["low"], where(both, p1 - p2 - half))
    agree(found["high"], where(both, p1 - p2 + half))


def test_risk_ratio_and_odds_ratio(ask, groups):
    both, p1, p2 = shares(groups)
    k1, n1, k2, n2 = (groups[c].astype(float) for c in ("k1", "n1", "k2", "n2"))
    found = ask(f"select {ENDS} from (select risk_ratio(k1, n1, k2, n2) as q from t)", **groups)
    se = np.sqrt(np.maximum(0, 1 / k1 - 1 / n1 + 1 / k2 - 1 / n2))
    ratio = p1 / p2
    agree(np.log(found["estimate"]), where(both & (k2 > 0), np.log(ratio)))
    agree(np.log(found["low"]), where(both & (k1 > 0) & (k2 > 0), np.log(ratio) - Z * se))
    agree(np.log(found["high"]), where(both & (k1 > 0) & (k2 > 0), np.log(ratio) + Z * se))
    found = ask(f"select {ENDS} from (select odds_ratio(k1, n1, k2, n2) as q from t)", **groups)
    full = both & (k1 > 0) & (k1 < n1) & (k2 > 0) & (k2 < n2)
    log = np.log(k1 * (n2 - k2) / (n1 - k1) / k2)
    se = np.sqrt(1 / k1 + 1 / (n1 - k1) + 1 / k2 + 1 / (n2 - k2))
    agree(np.log(found["estimate"]), where(both & (k1 < n1) & (k2 > 0), log))
    agree(np.log(found["low"]), where(full, log - Z * se))
    agree(np.log(found["high"]), where(full, log + Z * se))


def test_number_needed_to_treat(ask, groups):
    both, p1, p2 = shares(groups)
    n1, n2 = np.maximum(groups["n1"], 1), np.maximum(groups["n2"], 1)
    found = ask(f"select {ENDS} from (select number_needed_to_treat(k1, n1, k2, n2) as q from t)", **groups)
    low, high = proportion.confint_proportions_2indep(groups["k1"], n1, groups["k2"], n2, method="newcomb", compare="diff")
    agree(1 / found["estimate"], where(both & (p1 != p2), p1 - p2))
    agree(1 / found["low"], where(both & (low * high > 0), high))
    agree(1 / found["high"], where(both & (low * high > 0), low))


def test_chi_square_and_fisher(ask, groups):
    both, p1, p2 = shares(groups)
    k1, n1, k2, n2 = (groups[c].astype(float) for c in ("k1", "n1", "k2", "n2"))
    pooled = (k1 + k2) / (n1 + n2)
    statistic = (p1 - p2) ** 2 / (pooled * (1 - pooled) * (1 / n1 + 1 / n2))
    real = both & (k1 + k2 > 0) & (k1 + k2 < n1 + n2)
    found = ask("select q.statistic as statistic, q.p as p from (select chi_square(k1, n1, k2, n2) as q from t)", **groups)
    agree(found["statistic"], where(real, statistic))
    agree(found["p"], where(real, stats.chi2.sf(statistic, 1)))
    few = {c: v[:400] for c, v in groups.items()}
    few = {c: v[(few["n1"] < 2000) & (few["n2"] < 2000)] for c, v in few.items()}
    found = ask("select fisher_exact(k1, n1, k2, n2) as p from t", **few)
    tables = np.stack([few["k1"], few["n1"] - few["k1"], few["k2"], few["n2"] - few["k2"]], axis=1).reshape(-1, 2, 2)
    expected = [stats.fisher_exact(t)[1] if t.sum(axis=1).all() else np.nan for t in tables]
    assert len(expected) > 200
    agree(found["p"], np.array(expected))


def test_poisson_rate(ask):
    rng = np.random.default_rng(3)
    events = np.where(rng.random(10_000) < 0.5, rng.integers(0, 8, 10_000), np.exp(rng.uniform(0, 11, 10_000)).astype(int))
    years = np.where(rng.random(10_000) < 0.05, 0.0, rng.uniform(0.01, 5000, 10_000))
    found = ask(f"select {ENDS} from (select poisson_rate(events, years) as q from t)", events=events, years=years)
    agree(found["estimate"], where(years > 0, events / years))
    agree(found["low"] * years, where(years > 0, np.where(events == 0, 0, stats.chi2.ppf(0.025, 2 * np.maximum(events, 1)) / 2)))
    agree(found["high"] * years, where(years > 0, stats.chi2.ppf(0.975, 2 * events + 2) / 2))


def test_interaction_contrast_is_newcombe_for_four_groups(ask, groups):
    four = groups | {f"{c}{i + 2}": np.roll(groups[f"{c}{i}"], 1) for c in "kn" for i in (1, 2)}
    found = ask(f"select {ENDS} from (select interaction_contrast(k1, n1, k2, n2, k3, n3, k4, n4) as q from t)", **four)
    k, n = (np.stack([four[f"{c}{i}"] for i in (1, 2, 3, 4)]).astype(float) for c in "kn")
    p, (low, high) = k / n, proportion.proportion_confint(k.astype(int), np.maximum(n, 1).astype(int), 0.05, "wilson")
    below, above, sign = p - np.clip(low, 0, 1), np.clip(high, 0, 1) - p, np.array([1, -1, -1, 1])[:, None]
    real, estimate = (n > 0).all(axis=0), (sign * p).sum(axis=0)
    agree(found["estimate"], where(real, estimate))
    agree(found["low"], where(real, estimate - np.sqrt((np.where(sign > 0, below, above) ** 2).sum(axis=0))))
    agree(found["high"], where(real, estimate + np.sqrt((np.where(sign > 0, above, below) ** 2).sum(axis=0))))


@pytest.mark.parametrize("seed", range(20))
def test_benjamini_hochberg(connection, seed):
    rng = np.random.default_rng(seed)
    ps = np.round(rng.random(rng.integers(1, 200)) ** 3, 2 if seed % 2 else 12)  # with ties, and without
    found = connection.execute("select benjamini_hochberg(?)", [ps.tolist()]).fetchall()[0][0]
    agree(np.array(found), multipletests(ps, method="fdr_bh")[1], 1e-12)


def test_reliable_change(ask):
    rng = np.random.default_rng(5)
    pre, post = rng.integers(0, 28, 10_000).astype(float), rng.integers(0, 28, 10_000).astype(float)
    found = ask("select reliable_change(pre, post, 6.1, 0.84) as q from t", pre=pre, post=post)
    agree(found["q"], (post - pre) / (6.1 * np.sqrt(2) * np.sqrt(1 - 0.84)))


@pytest.mark.parametrize(("select", "expected"), [
    ("normal_cdf(z)", stats.norm.cdf), ("two_sided_p(z)", lambda z: 2 * stats.norm.sf(abs(z))),
])  # fmt: skip
def test_normal(ask, select, expected):
    z = np.random.default_rng(9).uniform(-9, 9, 10_000)
    found = ask(f"select {select} as q from t", z=z)["q"]
    agree(found / expected(z), np.ones(10_000))
