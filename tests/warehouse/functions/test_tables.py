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
    """Up to eight strata: empty groups, single patients, nobody, everybody, and up to 60."""
    many = int(rng.integers(1, 9))
    n1, n2 = rng.integers(0, 60, many), np.where(rng.random(many) < 0.2, 1, rng.integers(0, 60, many))
    share = [np.where(rng.random(many) < 0.15, rng.integers(0, 2, many), rng.random()) for _ in "ab"]
    return {"stratum": np.arange(many), "k1": rng.binomial(n1, share[0]), "n1": n1, "k2": rng.binomial(n2, share[1]), "n2": n2}


def used(s: dict[str, np.ndarray]) -> list[np.ndarray]:
    """k1, n1, k2, n2 of the strata that say something: nobody's group is empty."""
    say = (s["n1"] > 0) & (s["n2"] > 0)
    return [s[c][say].astype(float) for c in ("k1", "n1", "k2", "n2")]


def check_mantel_haenszel(found: dict, s: dict[str, np.ndarray]) -> None:
    k1, n1, k2, n2 = used(s)
    assert found["strata"] == len(n1)
    if not len(n1):
        assert found["odds_ratio"]["estimate"] is found["risk_difference"]["estimate"] is found["cmh"] is None
        return
    expected = StratifiedTable(np.array([[k1, n1 - k1], [k2, n2 - k2]]))
    low, high = expected.oddsratio_pooled_confint()
    assert near(found["odds_ratio"]["estimate"], expected.oddsratio_pooled)
    assert near(found["odds_ratio"]["low"], low)
    assert near(found["odds_ratio"]["high"], high)
    assert near(found["risk_ratio"]["estimate"], expected.riskratio_pooled)
    cmh = expected.test_null_odds(correction=False)
    assert near((found["cmh"] or {}).get("statistic"), cmh.statistic)
    assert near((found["cmh"] or {}).get("p"), cmh.pvalue)
    assert near(found["risk_difference"]["low"], plain_difference(k1, n1, k2, n2)[1])
    assert near(found["risk_ratio"]["high"], plain_ratio(k1, n1, k2, n2)[1])


def plain_difference(k1, n1, k2, n2) -> tuple[float, float]:
    """Pooled risk difference and its lower limit by Sato."""
    n, weight = n1 + n2, (n1 * n2 / (n1 + n2)).sum()
    difference = ((k1 * n2 - k2 * n1) / n).sum() / weight
    p = ((n1**2 * k2 - n2**2 * k1 + n1 * n2 * (n2 - n1) / 2) / n**2).sum()
    q = ((k1 * (n2 - k2) + k2 * (n1 - k1)) / (2 * n)).sum()
    return difference, difference - stats.norm.isf(0.025) * math.sqrt(max((difference * p + q) / weight**2, 0))


def plain_ratio(k1, n1, k2, n2) -> tuple[float, float]:
    """Pooled risk ratio and its upper limit by Greenland and Robins; NaN where there is none."""
    n = n1 + n2
    r, t = (k1 * n2 / n).sum(), (k2 * n1 / n).sum()
    if not r or not t:
        return math.nan, math.nan
    half = stats.norm.isf(0.025) * math.sqrt(((n1 * n2 * (k1 + k2) - k1 * k2 * n) / n**2).sum() / r / t)
    return r / t, r / t * math.exp(half)


def check_breslow_day(found: dict, s: dict[str, np.ndarray]) -> None:
    k1, n1, k2, n2 = used(s)
    say = (k1 + k2 > 0) & (k1 + k2 < n1 + n2)
    k1, n1, k2, n2 = k1[say], n1[say], k2[say], n2[say]
    n = n1 + n2
    up, down = (k1 * (n2 - k2) / n).sum(), ((n1 - k1) * k2 / n).sum()
    if len(n) < 2 or not up or not down:
        assert found["statistic"] is found["tarone_p"] is None
        return
    fitted = bisected(n1, n2, k1 + k2, up / down)
    variance = 1 / (1 / fitted + 1 / (k1 + k2 - fitted) + 1 / (n1 - fitted) + 1 / (n2 - k1 - k2 + fitted))
    plain = ((k1 - fitted) ** 2 / variance).sum()
    tarone = plain - (k1 - fitted).sum() ** 2 / variance.sum()
    assert found["df"] == len(n) - 1
    for name, statistic in (("", plain), ("tarone_", tarone)):
        assert near(found[f"{name}statistic"], statistic)
        assert near(found[f"{name}p"], stats.chi2.sf(statistic, len(n) - 1))
    if abs(up / down - 1) > 1e-3:  # nearer to 1 the formula of statsmodels divides nothing by nothing
        expected = StratifiedTable(np.array([[k1, n1 - k1], [k2, n2 - k2]]))
        assert near(found["statistic"], expected.test_equal_odds().statistic, 1e-7)
        assert near(found["tarone_statistic"], expected.test_equal_odds(adjust=True).statistic, 1e-7)


def bisected(n1, n2, m, psi: float) -> np.ndarray:
    """The k1 with the margins of each stratum and the odds ratio psi, by halving what is left 60 times."""
    low, high = np.maximum(0, m - n2), np.minimum(n1, m)
    for _ in range(60):
        middle = (low + high) / 2
        small = middle * (n2 - m + middle) < psi * (n1 - middle) * (m - middle)
        low, high = np.where(small, middle, low), np.where(small, high, middle)
    return middle


def lives_of(rng: np.random.Generator) -> dict[str, np.ndarray]:
    many = int(rng.integers(1, 120))
    return {"time": rng.integers(0, 40, many).astype(float), "event": rng.random(many) < rng.choice([0, 0.1, 0.6, 1])}


def check_kaplan_meier(found: list[dict], s: dict[str, np.ndarray]) -> None:
    at, alive = {r["time"]: r for r in found}, Fraction(1)
    assert sorted(at) == sorted(set(s["time"].tolist()))
    for time in sorted(at):
        risk, events = int((s["time"] >= time).sum()), int(((s["time"] == time) & s["event"]).sum())
        alive *= Fraction(risk - events, risk)
        assert (at[time]["n_at_risk"], at[time]["n_events"]) == (risk, events)
        assert near(at[time]["survival"], float(alive))
    if not s["event"].any():
        return
    expected = SurvfuncRight(s["time"], s["event"].astype(int))
    for time, survival, error in zip(expected.surv_times, expected.surv_prob, expected.surv_prob_se, strict=True):
        if 1e-9 < survival < 1:
            spread = stats.norm.isf(0.025) * error / survival / math.log(survival)
            assert near(at[time]["low"], survival ** math.exp(-spread))
            assert near(at[time]["high"], survival ** math.exp(spread))


def trend_of(rng: np.random.Generator) -> dict[str, np.ndarray]:
    groups = int(rng.integers(1, 7))
    n = rng.integers(0, 50, groups)
    return {"score": rng.choice([0.0, 0.5, 1, 2, 3.5, 10], groups), "k": rng.binomial(n, rng.choice([0, rng.random(), 1])), "n": n}


def check_trend(found: dict, s: dict[str, np.ndarray]) -> None:
    z = plain_trend([("all", *row) for row in zip(*s.values(), strict=True)])
    assert near(found["z"], z)
    assert near(found["p"], 2 * stats.norm.sf(abs(z)))


def stratified_trend_of(rng: np.random.Generator) -> dict[str, np.ndarray]:
    many = int(rng.integers(2, 20))
    n = rng.integers(0, 30, many)
    return {"stratum": rng.integers(0, 4, many), "score": rng.integers(0, 4, many).astype(float), "k": rng.binomial(n, 0.3), "n": n}


def check_stratified_trend(found: dict, s: dict[str, np.ndarray]) -> None:
    assert near(found["z"], plain_trend(list(zip(*s.values(), strict=True))))


FUNCTIONS = {
    "mantel_haenszel": (strata_of, lambda found, s: check_mantel_haenszel(*found, s)),
    "breslow_day": (strata_of, lambda found, s: check_breslow_day(*found, s)),
    "cochran_armitage": (trend_of, lambda found, s: check_trend(*found, s)),
    "cochran_armitage_stratified": (stratified_trend_of, lambda found, s: check_stratified_trend(*found, s)),
    "kaplan_meier": (lives_of, check_kaplan_meier),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("many", [100, pytest.param(10_000, marks=[pytest.mark.cluster, pytest.mark.timeout(1200)])])
def test_random_tables(connection, function, many):
    make, check = FUNCTIONS[function]
    rng = np.random.default_rng(many)
    with connection.cursor() as cursor:
        types = ", ".join(f"{c} {'boolean' if c == 'event' else 'double' if v.dtype == float else 'bigint'}" for c, v in make(rng).items())
        cursor.execute(f"create or replace temp table mine ({types})")
        cursor.execute(f"prepare question as from {function}('mine')")  # planned once
        for _ in range(many):
            table = make(rng)
            cursor.execute("delete from mine")
            cursor.register("given", pa.table(table))
            cursor.execute("insert into mine from given")
            answer = cursor.execute("execute question").fetchall()
            check([dict(zip([c[0] for c in cursor.description], row, strict=True)) for row in answer], table)


def test_ten_thousand_strata_are_pooled_as_by_hand(connection):
    rng = np.random.default_rng(0)
    n1, n2 = rng.integers(0, 30, 10_000), rng.integers(0, 30, 10_000)
    s = {"stratum": np.arange(10_000), "k1": rng.binomial(n1, 0.4), "n1": n1, "k2": rng.binomial(n2, 0.3), "n2": n2}
    [found] = ask(connection, "from mantel_haenszel('mine')", **s)
    check_mantel_haenszel(found, s)
    assert near(found["risk_difference"]["estimate"], plain_difference(*used(s))[0])
    assert 0.09 < found["risk_difference"]["estimate"] < 0.11


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
