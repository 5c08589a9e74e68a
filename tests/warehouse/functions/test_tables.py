# SPDX-License-Identifier: Apache-2.0
"""The functions over a table of one's own, against statsmodels and a brute force, on 10,000 tables of strata or lives."""

import math
from fractions import Fraction

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight
from statsmodels.stats.contingency_tables import StratifiedTable

pytestmark = pytest.mark.filterwarnings("ignore:invalid value", "ignore:divide by zero", "ignore:overflow")


def ask(connection, query: str, **columns) -> list[dict]:
    with connection.cursor() as cursor:
        cursor.register("mine", pa.table(columns))
        return cursor.sql(query).to_arrow_table().to_pylist()


def near(found: float | None, expected: float, tolerance: float = 1e-9) -> bool:
    if found is None or not math.isfinite(expected):
        return found is None and not math.isfinite(expected)
    return abs(found - expected) <= tolerance * max(1.0, abs(expected))


def strata_of(rng: np.random.Generator) -> dict[str, np.ndarray]:
    many = int(rng.integers(2, 9))
    n1, n2 = rng.integers(1, 60, many), rng.integers(1, 60, many)
    return {"stratum": np.arange(many), "k1": rng.binomial(n1, rng.random()), "n1": n1, "k2": rng.binomial(n2, rng.random()), "n2": n2}


def sparse(s: dict[str, np.ndarray]) -> bool:
    """Whether statsmodels would divide by zero."""
    a, b, c, d = s["k1"], s["n1"] - s["k1"], s["k2"], s["n2"] - s["k2"]
    m, n = a + c, s["n1"] + s["n2"]
    return not ((a * d).sum() and (b * c).sum() and ((m > 0) & (m < n)).all())


@pytest.mark.parametrize("seed", range(60))
def test_mantel_haenszel_and_breslow_day(connection, seed):
    s = strata_of(np.random.default_rng(seed))
    if sparse(s):
        pytest.skip("statsmodels has no value here; the edge cases are below")
    [found] = ask(connection, "from mantel_haenszel('mine')", **s)
    tables = [np.array([[a, n - a], [c, m - c]], float) for a, n, c, m in zip(s["k1"], s["n1"], s["k2"], s["n2"], strict=True)]
    expected = StratifiedTable(tables)
    low, high = expected.oddsratio_pooled_confint()
    assert near(found["odds_ratio"]["estimate"], expected.oddsratio_pooled)
    assert near(found["odds_ratio"]["low"], low)
    assert near(found["odds_ratio"]["high"], high)
    assert near(found["risk_ratio"]["estimate"], expected.riskratio_pooled)
    cmh = expected.test_null_odds(correction=False)
    assert near(found["cmh"]["statistic"], cmh.statistic)
    assert near(found["cmh"]["p"], cmh.pvalue)
    [found] = ask(connection, "from breslow_day('mine')", **s)
    for name, adjusted in (("", False), ("tarone_", True)):
        test = expected.test_equal_odds(adjust=adjusted)
        assert near(found[f"{name}statistic"], test.statistic, 1e-8)
        assert near(found[f"{name}p"], test.pvalue, 1e-8)


def test_ten_thousand_strata_are_pooled_as_by_hand(connection):
    rng = np.random.default_rng(0)
    n1, n2 = rng.integers(0, 30, 10_000), rng.integers(0, 30, 10_000)
    s = {"stratum": np.arange(10_000), "k1": rng.binomial(n1, 0.4), "n1": n1, "k2": rng.binomial(n2, 0.3), "n2": n2}
    [found] = ask(connection, "from mantel_haenszel('mine')", **s)
    use = (n1 > 0) & (n2 > 0)
    k1, n1, k2, n2 = (s[c][use].astype(float) for c in ("k1", "n1", "k2", "n2"))
    n = n1 + n2
    difference = ((k1 * n2 - k2 * n1) / n).sum() / (n1 * n2 / n).sum()
    p = ((n1**2 * k2 - n2**2 * k1 + n1 * n2 * (n2 - n1) / 2) / n**2).sum()
    q = ((k1 * (n2 - k2) + k2 * (n1 - k1)) / (2 * n)).sum()
    half = stats.norm.isf(0.025) * math.sqrt((difference * p + q) / (n1 * n2 / n).sum() ** 2)
    assert near(found["risk_difference"]["estimate"], difference)
    assert near(found["risk_difference"]["low"], difference - half)
    r, t = k1 * n2 / n, k2 * n1 / n
    half = stats.norm.isf(0.025) * math.sqrt(((n1 * n2 * (k1 + k2) - k1 * k2 * n) / n**2).sum() / r.sum() / t.sum())
    assert near(found["risk_ratio"]["high"], r.sum() / t.sum() * math.exp(half))
    assert found["strata"] == use.sum()
    assert 0.09 < difference < 0.11


def test_trend(connection):
    rng = np.random.default_rng(1)
    for _ in range(40):
        groups = int(rng.integers(2, 7))
        n = rng.integers(0, 50, groups)
        k, score = rng.binomial(n, rng.random()), rng.choice([0.0, 0.5, 1, 2, 3.5, 10], groups)
        [found] = ask(connection, "from cochran_armitage('mine')", score=score, k=k, n=n)
        z = plain_trend([("all", s, a, b) for s, a, b in zip(score, k, n, strict=True)])
        assert near(found["z"], z)
        assert near(found["p"], 2 * stats.norm.sf(abs(z)))


def plain_trend(rows: list[tuple]) -> float:
    """By whole numbers and fractions."""
    top, below = Fraction(0), Fraction(0)
    for stratum in {r[0] for r in rows}:
        mine = [(Fraction(s), int(k), int(n)) for one, s, k, n in rows if one == stratum]
        total = sum(n for *_, n in mine)
        if not total:
            continue
        p = Fraction(sum(k for _, k, _ in mine), total)
        top += sum(s * (k - n * p) for s, k, n in mine)
        below += p * (1 - p) * (sum(n * s * s for s, _, n in mine) - sum(n * s for s, _, n in mine) ** 2 / Fraction(total))
    return float(top) / math.sqrt(below) if below > 0 else math.nan


def test_stratified_trend(connection):
    rng = np.random.default_rng(2)
    for _ in range(30):
        many = int(rng.integers(2, 20))
        n = rng.integers(0, 30, many)
        rows = {"stratum": rng.integers(0, 4, many), "score": rng.integers(0, 4, many).astype(float), "k": rng.binomial(n, 0.3), "n": n}
        [found] = ask(connection, "from cochran_armitage_stratified('mine')", **rows)
        assert near(found["z"], plain_trend(list(zip(*rows.values(), strict=True))))


@pytest.mark.parametrize("seed", range(30))
def test_kaplan_meier(connection, seed):
    rng = np.random.default_rng(seed)
    many = int(rng.integers(1, 300))
    time, event = rng.integers(0, 40, many).astype(float), rng.random(many) < rng.random()
    event[0] = True
    found = {r["time"]: r for r in ask(connection, "from kaplan_meier('mine')", time=time, event=event)}
    assert sorted(found) == sorted(set(time.tolist()))
    expected = SurvfuncRight(time, event.astype(int))
    for at, survival, error in zip(expected.surv_times, expected.surv_prob, expected.surv_prob_se, strict=True):
        row = found[at]
        assert near(row["survival"], survival)
        assert row["n_at_risk"] == (time >= at).sum()
        if 1e-9 < survival < 1:
            spread = stats.norm.isf(0.025) * error / survival / math.log(survival)
            assert near(row["low"], survival ** math.exp(-spread))
            assert near(row["high"], survival ** math.exp(spread))


def test_ten_thousand_lives(connection):
    rng = np.random.default_rng(11)
    time, event = np.round(rng.exponential(100, 10_000), 3), rng.random(10_000) < 0.6
    found = ask(connection, "select time, survival from kaplan_meier('mine') where n_events > 0", time=time, event=event)
    expected = SurvfuncRight(time, event.astype(int))
    assert [r["time"] for r in found] == expected.surv_times.tolist()
    assert np.abs(np.array([r["survival"] for r in found]) - expected.surv_prob).max() < 1e-9


SINGLE = {"stratum": [1], "k1": [0], "n1": [5], "k2": [0], "n2": [5]}
ONE_SIDED = {"stratum": [1, 2], "k1": [2, 3], "n1": [5, 5], "k2": [0, 0], "n2": [5, 5]}


@pytest.mark.parametrize(("columns", "query", "expected"), [
    (SINGLE, "select odds_ratio.estimate as o, cmh as c from mantel_haenszel('mine')", (None, None)),
    (SINGLE | {"n1": [0]}, "select strata as o, risk_difference.estimate as c from mantel_haenszel('mine')", (0, None)),
    (ONE_SIDED, "select risk_ratio.estimate as o, risk_ratio.low as c from mantel_haenszel('mine')", (None, None)),
    (ONE_SIDED | {"k1": [5, 5], "k2": [5, 5]}, "select statistic as o, p as c from breslow_day('mine')", (None, None)),
    (SINGLE | {"k1": [2], "k2": [3]}, "select statistic as o, df as c from breslow_day('mine')", (None, None)),
    ({"score": [1, 1], "k": [1, 2], "n": [5, 5]}, "select z as o, p as c from cochran_armitage('mine')", (None, None)),
    ({"score": [1, 2], "k": [5, 5], "n": [5, 5]}, "select z as o, n as c from cochran_armitage('mine')", (None, 10)),
    ({"time": [0.0], "event": [True]}, "select survival as o, high as c from kaplan_meier('mine')", (0.0, None)),
    ({"time": [3.0, None], "event": [False, True]}, "select survival as o, n_at_risk as c from kaplan_meier('mine')", (1.0, 1)),
])  # fmt: skip
def test_edges(connection, columns, query, expected):
    [row] = ask(connection, query, **columns)
    assert (row["o"], row["c"]) == expected


@pytest.mark.parametrize(("columns", "query", "said"), [
    ({"time": [-1.0, 2.0], "event": [True, True]}, "from kaplan_meier('mine')", "a time is negative"),
    ({"stratum": [1], "k1": [6], "n1": [5], "k2": [0], "n2": [5]}, "from mantel_haenszel('mine')", "no fourfold table"),
    ({"score": [1], "k": [6], "n": [5]}, "from cochran_armitage('mine')", "0 <= k <= n"),
])  # fmt: skip
def test_what_cannot_be_is_refused(connection, columns, query, said):
    with pytest.raises(duckdb.InvalidInputException, match=said):
        ask(connection, query, **columns)


def test_nobody_at_all(connection):
    nobody = {"time": pa.array([], pa.float64()), "event": pa.array([], pa.bool_())}
    assert ask(connection, "from kaplan_meier('mine')", **nobody) == []
