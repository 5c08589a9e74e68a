# SPDX-License-Identifier: Apache-2.0
"""What analysts may hand to the functions by mistake or in good faith: impossible numbers, every type, any column name, every clause."""

import math
import re

import duckdb
import pytest
from scipy import stats
from statsmodels.stats import proportion

from warehouse.statistics import function_text

NAN, INFINITE = "'nan'::double", "'inf'::double"
IMPOSSIBLE = ("null", NAN, "1e300")

# function -> a call with one hole for each argument, and good arguments for the holes
SCALAR = {
    "wilson": ["3", "10"], "clopper_pearson": ["3", "10"], "poisson_rate": ["3", "10"],
    "risk_difference": ["3", "10", "2", "9"], "newcombe": ["3", "10", "2", "9"], "risk_ratio": ["3", "10", "2", "9"],
    "odds_ratio": ["3", "10", "2", "9"], "number_needed_to_treat": ["3", "10", "2", "9"], "chi_square": ["3", "10", "2", "9"],
    "fisher_exact": ["3", "10", "2", "9"], "interaction_contrast": ["8", "10", "5", "11", "4", "12", "3", "13"],
}  # fmt: skip
WITH_LEVEL = sorted(set(SCALAR) - {"chi_square", "fisher_exact"})
CASES = [
    (f"{name}({', '.join([*good[:i], bad, *good[i + 1 :]])})", None)
    for name, good in SCALAR.items() for i in range(len(good)) for bad in IMPOSSIBLE if (name, i, bad) != ("poisson_rate", 1, "1e300")
]  # fmt: skip
CASES += [(f"{name}({', '.join(SCALAR[name])}, level := {bad})", None) for name in WITH_LEVEL for bad in ("null", "0", "95")]
CASES += [(f"{name}({', '.join(['11', *good[1:]])})", None) for name, good in SCALAR.items() if name != "poisson_rate"]  # k above n
CASES += [(f"{name}({', '.join(['0', '0', *good[2:]])})", None) for name, good in SCALAR.items()]  # an empty group
CASES += [
    (call, None) for call in (
        "clopper_pearson(2.5, 10)", "clopper_pearson(2, 10.5)", "fisher_exact(2.5, 10, 2, 9)", "fisher_exact(2, 10, 2, 9.5)",
        "poisson_rate(2.5, 10)", "fisher_exact(5, 1000000000, 5, 1000000000)", f"reliable_change({NAN}, 9, 6.1, 0.84)",
        f"reliable_change(9, {INFINITE}, 6.1, 0.84)", f"reliable_change(9, 5, {INFINITE}, 0.84)", f"reliable_change(9, 5, 6.1, {NAN})",
        "reliable_change(9, 5, -1, 0.84)", "reliable_change(9, 5, 6.1, 1)",
        f"reliable_change_class(9, 5, 6.1, 0.84, {NAN}, 'higher_is_worse')",
        "reliable_change_class(9, 5, 6.1, 0.84, 8, null)", "reliable_change_class(9, 5, 6.1, 0.84, 8, 'higher_is_worse', level := 1)",
        "benjamini_hochberg([0.1, 1.1])", "benjamini_hochberg([0.1, -0.1])", f"benjamini_hochberg([0.1, {NAN}])",
        "benjamini_hochberg(null)",
        f"normal_cdf({NAN})", f"two_sided_p({NAN})", "normal_quantile(0)", f"normal_quantile({NAN})", "two_sided_z(0)",
        "chi_square_tail(null, 1)", f"chi_square_tail({NAN}, 1)", f"chi_square_tail({NAN}, 2)", f"chi_square_tail(3, {NAN})",
        "chi_square_tail(3, 0)", "chi_square_tail(3, null)",
    )
]  # fmt: skip
CASES += [
    ("normal_cdf('inf'::double)", 1.0), ("normal_cdf('-inf'::double)", 0.0), ("two_sided_p('-inf'::double)", 0.0),
    ("chi_square_tail('inf'::double, 1)", 0.0), ("chi_square_tail('inf'::double, 3)", 0.0), ("chi_square_tail(-1, 1)", 1.0),
    ("benjamini_hochberg([null]::double[])", [None]), ("benjamini_hochberg(['0.1', '0.2'])", [0.2, 0.2]),
    ("wilson(5, 20, 0.9) = wilson(5, 20, level := 0.9)", True), ("wilson(5, 20, level := 0.9::float)::varchar is not null", True),
    ("wilson(2.5, 10.5).estimate", 2.5 / 10.5), ("odds_ratio(0 + 0.5, 10 + 1, 2 + 0.5, 9 + 1).estimate", (0.5 / 10.5) / (2.5 / 7.5)),
    ("risk_difference(1 + 1, 5 * 2, 9 - 7, 20 - 10).estimate", 0.0), ("wilson(7 - 4, 2 + 8) = wilson(3, 10)", True),
    ("wilson('3', '10') = wilson(3, 10)", True), ("wilson(true, 2).estimate", 0.5), ("poisson_rate(3, 2 + 2).estimate", 0.75),
]  # fmt: skip


def same(found: object, expected: object) -> bool:
    """As near as rounding allows, and null only where it is meant."""
    return math.isclose(found, expected, rel_tol=1e-12) if isinstance(found, float) and isinstance(expected, float) else found == expected


def test_what_cannot_be_is_null_and_what_can_has_a_value(connection):
    """As literals, which DuckDB works out while it plans; columns are below."""
    wrong = [(call, found) for call, expected in CASES if not same(found := connection.execute(f"select {call}").fetchone()[0], expected)]
    assert wrong == []


@pytest.mark.parametrize("name", SCALAR)
def test_columns_with_impossible_rows_among_good_ones(connection, name):
    good, columns = SCALAR[name], [f"c{i}" for i in range(len(SCALAR[name]))]
    rows = [good] + [[*good[:i], bad, *good[i + 1 :]] for i in range(len(good)) for bad in ("null", NAN, INFINITE, "-1")] + [good]
    values = ", ".join(f"({', '.join(f'({v})::double' for v in row)})" for row in rows)
    found = connection.execute(f"select {name}({', '.join(columns)}) from (values {values}) as v ({', '.join(columns)})").fetchall()
    expected = connection.execute(f"select {name}({', '.join(good)})").fetchone()
    assert found == [expected, *[(None,)] * (len(rows) - 2), expected]


LARGE = {name: [("101", "127")[i % 2] for i in range(len(good))] for name, good in SCALAR.items()}  # two groups of 127 are no TINYINT
OVER_COUNTS = ("mantel_haenszel", "breslow_day", "cochran_armitage", "cochran_armitage_stratified")


@pytest.fixture(scope="module")
def as_doubles(connection) -> dict[str, list]:
    """What the functions say to large numbers that are doubles."""
    found = {name: connection.execute(f"select {name}({', '.join(v + 'e0' for v in large)})").fetchall() for name, large in LARGE.items()}
    with connection.cursor() as cursor:
        return found | over_counts(cursor, "double")


def over_counts(cursor: duckdb.DuckDBPyConnection, kind: str) -> dict[str, list]:
    columns = "stratum, k1::{0} as k1, 127::{0} as n1, 99::{0} as k2, 127::{0} as n2, stratum as score, k1::{0} as k, 127::{0} as n"
    cursor.execute(
        f"create or replace temp table counts as select {columns.format(kind)} from (values (1, 101), (2, 90)) as v (stratum, k1)"
    )
    return {name: cursor.execute(f"from {name}('counts')").fetchall() for name in OVER_COUNTS}


@pytest.mark.parametrize("kind", ["tinyint", "utinyint", "smallint", "ubigint", "hugeint", "float", "decimal(4, 1)", "decimal(38, 2)"])
def test_every_type_of_number(connection, as_doubles, kind):
    calls = {name: ", ".join(f"{v}::{kind}" for v in large) for name, large in LARGE.items()}
    found = {name: connection.execute(f"select {name}({given})").fetchall() for name, given in calls.items()}
    with connection.cursor() as cursor:
        assert found | over_counts(cursor, kind) == as_doubles


def test_integers_whose_sum_is_none(connection):
    with connection.cursor() as cursor:
        cursor.execute(
            "create or replace temp table billions as select 1 as stratum, 1000000000 as k1, 2000000000 as n1, 999 as k2, 2000000000 as n2"
        )
        assert cursor.execute("select n from mantel_haenszel('billions')").fetchall() == [(4_000_000_000,)]


@pytest.mark.parametrize("name", SCALAR)
def test_a_column_may_have_any_name(connection, name):
    """A column that is called as the parameter of a lambda was once taken for it: wilson(z_, 10) was the interval of z."""
    good, written = SCALAR[name], function_text(name) + function_text("two_groups")
    expected = connection.execute(f"select {name}({', '.join(good)})").fetchall()
    for column in {"k", "n", "z", "level", *re.findall(r"lambda (\w+)", written)}:
        asked = f"select {name}({', '.join([column, *good[1:]])}) from (values ({good[0]}::integer), ({good[0]})) as v ({column})"
        assert connection.execute(asked).fetchall() == expected * 2, asked


IN_CLAUSES = [
    "select wilson(k, n) from mine where g = 0",
    "select wilson(sum(k), sum(n)) from mine where g = 0 group by g",
    "select wilson(sum(k), sum(n)) from mine group by g having wilson(sum(k), sum(n)).low < 0.2",
    "select distinct wilson(sum(k) over (partition by g), sum(n) over (partition by g)) from mine where g = 0",
    "select max(wilson(k, n)) over () from mine where g = 0",
    "select w from mine, lateral (select wilson(mine.k, mine.n) as w) where g = 0",
    "select wilson((select sum(k) from mine as m where m.g = o.g), (select 10 from mine as m where m.g = o.g)) from mine as o where g = 0",
    "with w as (select wilson(k, n) as w from mine where g = 0) from w",
    "select unnest(list_transform([3], lambda k: wilson(k, 10)))",
    "select unnest(list_transform([3], lambda g_: wilson(g_, 10)))",
    "select unnest([wilson(x, 10) for x in [3]])",
    "select wilson(count(*) filter (i < 3), count(*)) from range(10) as r (i)",
    "select wilson(k, n) from mine where g = 0 order by wilson(k, n).low",
    "select case when g = 0 then wilson(k, n) end from mine where wilson(k, n).estimate < 0.5",
    "from lower_shares",
]


@pytest.mark.parametrize("asked", IN_CLAUSES)
def test_every_clause(connection, asked):
    with connection.cursor() as cursor:
        cursor.execute("create or replace temp table mine as from (values (0, 3, 10), (1, 9, 10)) as v (g, k, n)")
        cursor.execute("create or replace temp view lower_shares as select wilson(k, n) from mine where g = 0")
        assert cursor.execute(asked).fetchall() == cursor.execute("select wilson(3, 10)").fetchall()


@pytest.mark.parametrize("name", SCALAR)
def test_having(connection, name):
    """DuckDB takes a field of a lambda's parameter for a column there, unless it is written in brackets."""
    values, columns = ", ".join(SCALAR[name]), [f"c{i}" for i in range(len(SCALAR[name]))]
    sums = ", ".join(f"sum({c})" for c in columns)
    asked = f"select 1 from (values ({values})) as v ({', '.join(columns)}) having {name}({sums}) is not null"
    assert connection.execute(asked).fetchall() == [(1,)]


@pytest.mark.parametrize("name", SCALAR)
def test_subqueries_as_arguments(connection, name):
    asked = f"select {name}({', '.join(f'(select {v})' for v in SCALAR[name])})"
    assert connection.execute(asked).fetchall() == connection.execute(f"select {name}({', '.join(SCALAR[name])})").fetchall()


MANY = [(k, n) for n in (10**6, 10**9, 10**12, 10**15) for k in (0, 1, 1000, n // 3)] + [(10**6 - 5, 10**6), (10**9, 10**9)]
ENDS = "c.low, c.high, p.low, p.high, w.low, w.high"


def intervals(connection, rows: list[tuple], level: str = "0.95") -> list[tuple]:
    """Ends of three intervals of rows (k, n), asked at once: it is planning them that takes the time."""
    calls = ", ".join(
        f"{f}(k, {n}, level := {level}) as {f[0]}" for f, n in (("clopper_pearson", "n"), ("poisson_rate", "1"), ("wilson", "n"))
    )
    return connection.execute(
        f"select {ENDS} from (select {calls} from (values {', '.join(map(str, rows))}) as v (k, n, level))"
    ).fetchall()


def test_many_patients(connection):
    """The tails of scipy at our limits: its own beta quantiles are twice too large at 1,000 of 1e9."""
    for (k, n), found in zip(MANY, intervals(connection, [(k, n, 0.95) for k, n in MANY]), strict=True):
        low, high, rate_low, rate_high, *wilson = found
        share = proportion.proportion_confint(k, n, method="wilson")
        assert wilson == [pytest.approx(share[0], rel=1e-12, abs=1e-14 / n), pytest.approx(share[1], rel=1e-12)], (k, n)
        assert low == 0 if k == 0 else stats.binom.sf(k - 1, n, low) == pytest.approx(0.025, rel=1e-6), (k, n)
        assert high == 1 if k == n else stats.binom.cdf(k, n, high) == pytest.approx(0.025, rel=1e-6), (k, n)
        assert rate_low == (pytest.approx(stats.gamma.ppf(0.025, k), rel=1e-12) if k else 0), (k, n)
        assert rate_high == pytest.approx(stats.gamma.isf(0.025, k + 1), rel=1e-12), (k, n)


def test_every_level(connection):
    rows = [(k, n, level) for k, n in ((0, 10), (3, 10), (10, 10), (300, 1000)) for level in (1e-6, 0.5, 0.999999, 1 - 2**-53)]
    for (k, n, level), found in zip(rows, intervals(connection, rows, "level::double"), strict=True):
        tail = (1 - level) / 2
        expected = (stats.beta.ppf(tail, k, n - k + 1) if k else 0, stats.beta.isf(tail, k + 1, n - k) if k < n else 1,
                    stats.gamma.ppf(tail, k) if k else 0, stats.gamma.isf(tail, k + 1))  # fmt: skip
        assert found[:4] == pytest.approx(expected, rel=1e-9), (k, n, level)


ROWS = {
    "mantel_haenszel": ("stratum, k1, n1, k2, n2", ["(1, 3, 10, 2, 10)", "(2, 4, 12, 1, 9)"]),
    "breslow_day": ("stratum, k1, n1, k2, n2", ["(1, 3, 10, 2, 10)", "(2, 4, 12, 1, 9)"]),
    "cochran_armitage": ("score, k, n", ["(0, 1, 10)", "(1, 4, 10)"]),
    "cochran_armitage_stratified": ("score, k, n, stratum", ["(0, 1, 10, 'a')", "(1, 4, 10, 'a')"]),
    "kaplan_meier": ("time, event", ["(1, true)", "(2, false)"]),
}
FOURFOLD = [("(3, null, 10, 2, 10)", "no fourfold"), ("(3, 11, 10, 2, 10)", "no fourfold"), (f"(3, 1, {NAN}, 2, 10)", "no fourfold"),
            (f"(3, 1, {INFINITE}, 2, 10)", "no fourfold"), ("(3, -1, 10, 2, 10)", "no fourfold"), ("(3, 1, 10, 2, null)", "no fourfold"),
            ("(2, 1, 10, 2, 10)", "two rows")]  # fmt: skip
GROUPS = [(f"({row}, 'a')", "no group") for row in ("null, 1, 10", f"{NAN}, 1, 10", f"{INFINITE}, 1, 10", "2, null, 10", "2, 11, 10",
                                                   "2, -1, 10", f"2, 1, {NAN}", "2, 1, null")]  # fmt: skip
LIVES = [("(-1, true)", "negative"), (f"({NAN}, 1)", "not finite"), (f"({INFINITE}, 1)", "not finite"), ("(1, 2)", "neither true"),
         ("(1, 0.4)", "neither true"), (f"(1, {NAN})", "neither true")]  # fmt: skip
FILES = {"cochran_armitage_stratified": "cochran_armitage"}
NOT_STRATIFIED = [(row.replace(", 'a'", ""), said) for row, said in GROUPS]
BAD_ROWS = {"mantel_haenszel": FOURFOLD, "breslow_day": FOURFOLD, "cochran_armitage": NOT_STRATIFIED, "cochran_armitage_stratified": GROUPS,
            "kaplan_meier": LIVES}  # fmt: skip
REFUSED = [(function, row, said) for function, rows in BAD_ROWS.items() for row, said in rows]


def table(cursor: duckdb.DuckDBPyConnection, name: str, function: str, *more: str) -> None:
    columns, rows = ROWS[function]
    if function == "kaplan_meier" and "true" not in "".join(more):
        rows = [r.replace("true", "1").replace("false", "0") for r in rows]
    cursor.execute(f"create or replace temp table {name} as from (values {', '.join([*rows, *more])}) as v ({columns})")


@pytest.mark.parametrize(("function", "row", "said"), REFUSED)
def test_a_row_that_cannot_be_is_refused_by_the_function_that_was_asked(connection, function, row, said):
    with connection.cursor() as cursor:
        table(cursor, "mine", function, row)
        with pytest.raises(duckdb.InvalidInputException, match=f"Error: {function}: .*{said}"):
            cursor.execute(f"from {function}('mine')").fetchall()


@pytest.mark.parametrize("function", ["mantel_haenszel", "kaplan_meier"])
@pytest.mark.parametrize("level", ["null", "0", "1", "95", NAN])
def test_a_level_that_cannot_be_is_refused(connection, function, level):
    with connection.cursor() as cursor:
        table(cursor, "mine", function)
        with pytest.raises(duckdb.InvalidInputException, match=f"{function}: level must lie between 0 and 1"):
            cursor.execute(f"from {function}('mine', level := {level})").fetchall()


@pytest.mark.parametrize("function", ROWS)
def test_a_table_may_have_any_name_and_more_columns(connection, function):
    """Names of steps inside the functions among them."""
    with connection.cursor() as cursor:
        table(cursor, "mine", function)
        expected = cursor.execute(f"from {function}('mine')").fetchall()
        more = [
            "a",
            "b",
            "c",
            "d",
            "f",
            "m",
            "psi",
            "r",
            "up",
            "times",
            "one",
            "two",
            "successes",
            "patients",
            "step",
            "level",
            "survival",
            "z",
        ]
        wide = f"select *, {', '.join(f'99 as {c}' for c in more)} from mine"
        steps = re.findall(r"^(?:with )?(\w+) as (?:materialized )?\(", function_text(FILES.get(function, function)), re.MULTILINE)
        assert len(steps) > 1
        for name in (*steps, "t", '"My Strata"', "UPPER"):
            cursor.execute(f"create or replace temp table {name} as {wide}")
            assert cursor.execute(f"from {function}('{name}')").fetchall() == expected, name
            cursor.execute(f"drop table {name}")
        cursor.execute("create or replace temp view seen as from mine")
        cursor.execute("attach if not exists ':memory:' as elsewhere")
        cursor.execute("create schema if not exists elsewhere.their; create or replace table elsewhere.their.own as from mine")
        for call in ("from {}('seen')", "from {}('temp.mine')", "from {}('elsewhere.their.own')", "with w as (from mine) from {}('w')"):
            assert cursor.execute(call.format(function)).fetchall() == expected, call


@pytest.mark.parametrize("function", ROWS)
def test_nobody_a_null_stratum_and_one_row(connection, function):
    with connection.cursor() as cursor:
        table(cursor, "mine", function)
        cursor.execute("create or replace temp table nobody as from mine limit 0")
        assert {v for row in cursor.execute(f"from {function}('nobody')").fetchall() for v in row if not isinstance(v, dict)} <= {None, 0}
        cursor.execute("create or replace temp table single as from mine limit 1")
        assert len(cursor.execute(f"from {function}('single')").fetchall()) == 1
        if "stratum" in ROWS[function][0]:
            expected = cursor.execute(f"from {function}('mine')").fetchall()
            cursor.execute("update mine set stratum = null where stratum::varchar in ('1', 'a')")
            assert cursor.execute(f"from {function}('mine')").fetchall() == expected


def test_scores_far_from_zero_and_events_as_numbers(connection):
    with connection.cursor() as cursor:
        table(cursor, "mine", "cochran_armitage")
        expected = cursor.execute("from cochran_armitage('mine')").fetchall()
        for offset in ("2020", "1700000000", "1e15"):
            cursor.execute(f"create or replace temp table far as select score + {offset} as score, k, n, 1 as stratum from mine")
            assert cursor.execute("from cochran_armitage('far')").fetchall() == expected
            assert cursor.execute("select z from cochran_armitage_stratified('far')").fetchall() == [expected[0][:1]]
        lives = "create or replace temp table lives as select time, event{} as event from (values (1, true), (2, false)) as v (time, event)"
        answers = [
            cursor.execute(lives.format(cast)).execute("from kaplan_meier('lives')").fetchall()
            for cast in ("", "::int", "::double", "::varchar")
        ]
        assert answers == [answers[0]] * 4
