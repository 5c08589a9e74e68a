# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from mart_world import answer, rows_of, world
from scipy.stats import chi2, chi2_contingency, fisher_exact
from statsmodels.stats.contingency_tables import Table2x2
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint
from window_parts import load_files, patient, score, workspace

from schemas.code_lists import history_flags
from schemas.load import CompleteLoad
from warehouse.publish import candidate
from warehouse.sql import query

COMPARATORS = {"vns": "neither", "vns_cbt": "cbt"}
METHODS = {"observed": "responded", "locf": "responded_locf", "nri": "responded_nri"}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Six patients: two disorders, one, none; arms; one without follow-up; one remitted without a response (6 to 4)."""
    people = [
        patient(1, disorders=["depression", "ptsd"], arm="vns", ect=True), patient(2, disorders=["depression"], arm="vns"),
        patient(3, disorders=[], arm="vns_cbt"), patient(4, disorders=["depression"], arm="vns_cbt", ect=True),
        patient(5, disorders=["depression"], arm="neither"), patient(6, disorders=["ptsd"], arm="vns"),
    ]  # fmt: skip
    ends = {1: (20, 10), 2: (20, 11), 3: (20, 2), 4: (6, 4), 5: (20, None)}
    scores = [score(10 * n, n, 0, a) for n, (a, _) in ends.items()] + [score(10 * n + 1, n, 91, b) for n, (_, b) in ends.items()]
    ws = workspace(tmp_path_factory.mktemp("strata"))
    files = load_files(ws, 1, {"patients": {0: people}, "scores": {0: scores}}, [])
    return candidate(ws, files, CompleteLoad(0, {}))


@pytest.mark.parametrize(
    ("stratum", "arm", "expected"),  # n_patients, n, k, n_undetermined, k_remission
    [
        ("all", "all", (5, 4, 2, 1, 2)),
        ("all", "vns", (2, 2, 1, 0, 0)),
        ("all", "vns_cbt", (2, 2, 1, 0, 2)),
        ("all", "neither", (1, 0, 0, 1, 0)),
        ("depression", "all", (4, 3, 1, 1, 1)),
        ("ptsd", "all", (1, 1, 1, 0, 0)),  # patient 6 was never asked
        ("none_recorded", "all", (1, 1, 1, 0, 1)),
        ("ect", "all", (2, 2, 1, 0, 1)),
        ("no_ect", "all", (3, 2, 1, 1, 1)),
        ("no_psychotherapy", "all", (5, 4, 2, 1, 2)),
    ],
)
def test_counts(path, stratum, arm, expected):
    where = f"stratum = '{stratum}' and arm = '{arm}' and visit = 'm3' and instrument = 'PHQ-9' and definition = 'drop_50'"
    where += " and method = 'observed'"
    (row,) = query(path, f"from strata where {where}").to_pylist()
    assert tuple(row[c] for c in ("n_patients", "n", "k", "n_undetermined", "k_remission")) == expected
    assert row["rate"] == (row["k"] / row["n"] if row["n"] else None)
    assert (row["low"] is None) == (row["n"] == 0)
    if row["n"]:
        assert row["low"] <= row["rate"] <= row["high"]


def test_every_history_flag_is_a_pair_of_strata(path):
    found = query(path, "select distinct stratum from strata where stratifier = 'history' order by 1").column(0).to_pylist()
    flags = {flag.name for flag in history_flags()}
    assert {name.removeprefix("no_") for name in found} == flags


def test_both_strata_of_a_flag_add_up_to_all(path):
    wrong = query(
        path,
        """with pairs as (select regexp_replace(stratum, '^no_', '') as flag, arm, instrument, subscale, visit, definition,
                method, sum(n) as n, sum(k) as k
            from strata where stratifier = 'history' group by all)
        from pairs join strata as s
            on s.stratifier = 'all' and s.arm = pairs.arm and s.visit = pairs.visit and s.definition = pairs.definition
            and s.instrument = pairs.instrument and s.subscale = pairs.subscale and s.method = pairs.method
        where s.n <> pairs.n or s.k <> pairs.k""",
    )
    assert wrong.num_rows == 0



def trial(k1, n1, k2, n2):
    """A registry of two arms as patients and their answers."""
    arms = ["vns"] * n1 + ["neither"] * n2
    said = [i < k1 for i in range(n1)] + [i < k2 for i in range(n2)]
    people = [patient(i, arm=a, modality="implanted" if a == "vns" else None) for i, a in enumerate(arms)]
    return people, [answer(i, r, arm=a, modality=p["modality"]) for i, (a, r, p) in enumerate(zip(arms, said, people, strict=True))]


@pytest.mark.parametrize(
    ("counts", "difference", "odds_ratio", "statistic"),
    [
        ((61, 97, 23, 59), (0.239035, 0.077407, 0.384006), (2.652174, 1.362730, 5.161717), 8.43454),  # McAllister-Williams 2020
        ((205, 328, 108, 271), (0.226476, 0.146559, 0.302349), (2.515432, 1.807838, 3.499980), 30.50732),  # Kumar 2019
    ],
)
def test_published_counts_give_the_stated_effect(counts, difference, odds_ratio, statistic):
    people, answers = trial(*counts)
    with world(["strata"], patients=people, responders=answers) as connection:
        (row,) = rows_of(connection, "from strata where stratifier = 'all' and arm = 'vns' and method = 'observed'")
    assert (row["k"], row["n"], row["k_comparator"], row["n_comparator"]) == counts
    found = [row[f"risk_difference{e}"] for e in ("", "_low", "_high")] + [row[f"odds_ratio{e}"] for e in ("", "_low", "_high")]
    assert found == pytest.approx([*difference, *odds_ratio], abs=5e-7)
    assert row["p"] == pytest.approx(chi2.sf(statistic, 1), rel=1e-5)
    assert (row["reason"], row["caution"]) == (None, "confounded by indication")


@pytest.mark.parametrize(
    ("counts", "reason", "has_odds", "has_difference"),
    [
        ((0, 0, 1, 3), None, False, False),  # nobody in the arm: no row at all
        ((1, 1, 0, 1), None, False, True),  # one patient each: the odds are infinite, the difference is not
        ((1, 3, 0, 0), "no_comparator", False, False),
        ((0, 3, 0, 3), "no_event", False, True),
        ((3, 3, 3, 3), "no_non_event", False, True),
        ((2, 4, 1, 4), None, True, True),
    ],
)
def test_small_and_empty_cells_give_null_with_a_reason(counts, reason, has_odds, has_difference):
    people, answers = trial(*counts)
    with world(["strata"], patients=people, responders=answers) as connection:
        rows = rows_of(connection, "from strata where stratifier = 'all' and arm = 'vns' and method = 'observed'")
    assert len(rows) == (counts[1] > 0)
    for row in rows:
        assert (row["reason"], row["odds_ratio"] is not None, row["risk_difference"] is not None) == (reason, has_odds, has_difference)
        assert "small cells" in row["caution"]


def test_who_is_seen_by_no_method_is_a_stratum_without_patients():
    with world(["strata"], patients=[patient(1)], responders=[answer(1, None, responded_locf=None, responded_nri=None)]) as connection:
        rows = rows_of(connection, "from strata where stratifier = 'all' and arm = 'vns'")
    assert {(r["method"], r["n_patients"], r["n"], r["rate"], r["reason"]) for r in rows} == {
        (m, 1, 0, None, "no_patients") for m in METHODS
    }


@pytest.mark.parametrize(
    ("instrument", "visit", "definition", "caution"),
    [
        ("PHQ-9", "m6", "drop_50", "confounded by indication; small cells"),
        ("PHQ-9", "m3", "drop_50", "confounded by indication; immortal time; small cells"),  # day 61 comes before the landmark
        ("PHQ-9", "m12", "first_response", "confounded by indication; immortal time; unequal follow-up; small cells"),
        ("DERS-36", "m6", "drop_50", "confounded by indication; scale does not start at 0; small cells"),
        ("DERS-36", "m6", "reliable_change", "confounded by indication; small cells"),
    ],
)
def test_cautions(instrument, visit, definition, caution):
    told = {"instrument": instrument, "visit": visit, "definition": definition}
    answers = [answer(n, n % 2 == 0, arm=a, **told) for n, a in enumerate(["vns", "vns", "neither", "neither"])]
    with world(["strata"], patients=[patient(n) for n in range(4)], responders=answers) as connection:
        found = rows_of(connection, "select arm, caution from strata where stratifier = 'all' and method = 'observed' order by arm")
    assert found == [{"arm": "all", "caution": None}, {"arm": "neither", "caution": None}, {"arm": "vns", "caution": caution}]


people = st.lists(
    st.tuples(
        st.sets(st.sampled_from(["depression", "ptsd", "ocd"])), st.booleans(), st.sampled_from(["vns", "neither", "vns_cbt", "cbt"]),
        st.sampled_from(["female", "male", None]), st.sampled_from(["mild", "severe", None]),
        st.lists(st.tuples(*[st.sampled_from([None, False, True, True, False])] * 3), min_size=3, max_size=3),
    ),
    min_size=1, max_size=60,
)  # fmt: skip


def strata_of(disorders, ect, sex, band):
    """Strata of a patient, each with the group it is tested in."""
    found = {("all", "all", None), ("history", "ect" if ect else "no_ect", "ect"), ("sex", sex or "unknown", "sex")}
    found |= {("disorder", d, d) for d in disorders or {"none_recorded"}}
    return found | ({("baseline_severity", band, "baseline_severity")} if band else set())


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(people)
def test_every_number_is_what_plain_counting_gives(crowd):
    rows = [patient(n, disorders=sorted(d), ect=e, arm=a, sex=s) for n, (d, e, a, s, _, _) in enumerate(crowd)]
    answers = [
        answer(n, o, arm=a, definition=name, baseline_band=b, responded_locf=c, responded_nri=i)
        for n, (_, _, a, _, b, said) in enumerate(crowd)
        for name, (o, c, i) in zip(["drop_50", "drop_30", "remission"], said, strict=True)
    ]
    with world(["strata"], patients=rows, responders=answers) as connection:
        asked = "stratifier in ('all', 'disorder', 'sex', 'baseline_severity') or stratum in ('ect', 'no_ect')"
        found = rows_of(connection, f"from strata where {asked}")
    where = [strata_of(d, e, s, b) for d, e, _, s, b, _ in crowd]
    for row in found:
        verdicts = [a[METHODS[row["method"]]] for a in answers if a["definition"] == row["definition"]]

        def cell(stratum, arm, verdicts=verdicts, outside=False):
            inside = [v for v, strata, person in zip(verdicts, where, crowd, strict=True)
                      if (stratum in {s[:2] for s in strata}) != outside and arm in ("all", person[2])]  # fmt: skip
            return sum(v is True for v in inside), sum(v is not None for v in inside), len(inside)

        stratum = (row["stratifier"], row["stratum"])
        k, n, n_patients = cell(stratum, row["arm"])
        assert (row["k"], row["n"], row["n_patients"], row["n_undetermined"]) == (k, n, n_patients, n_patients - n)
        if n:
            assert (row["low"], row["high"]) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-9)
        if comparator := COMPARATORS.get(row["arm"]):
            check_effect(row, k, n, *cell(stratum, comparator)[:2])
            check_heterogeneity(row, *tables(row, stratum, where, cell, comparator))
    check_adjusted(found)


def tables(row, stratum, where, cell, comparator):
    """The fourfold tables a row is tested over: strata of its group, or with the disorder and without."""
    group = next(s[2] for strata in where for s in strata if s[:2] == stratum)
    if row["stratifier"] == "disorder":
        return [(*cell(stratum, row["arm"], outside=o)[:2], *cell(stratum, comparator, outside=o)[:2]) for o in (False, True)],
    together = sorted({s[:2] for strata in where for s in strata if s[2] == group and group})
    return [(*cell(s, row["arm"])[:2], *cell(s, comparator)[:2]) for s in together],


def check_effect(row, k1, n1, k2, n2):
    assert (row["k_comparator"], row["n_comparator"]) == (k2, n2)
    if not (n1 and n2):
        assert row["risk_difference"] is row["odds_ratio"] is row["p"] is None
        return
    assert row["risk_difference"] == pytest.approx(k1 / n1 - k2 / n2, abs=1e-12)
    low, high = confint_proportions_2indep(k1, n1, k2, n2, compare="diff", method="newcomb")
    assert (row["risk_difference_low"], row["risk_difference_high"]) == pytest.approx((low, high), abs=1e-9)
    cells = [[k1, n1 - k1], [k2, n2 - k2]]
    if min(map(min, cells)) > 0:
        table = Table2x2(cells, shift_zeros=False)
        expected = (table.oddsratio, *table.oddsratio_confint())
        assert (row["odds_ratio"], row["odds_ratio_low"], row["odds_ratio_high"]) == pytest.approx(expected, rel=1e-9)
    few = min(k1 + k2, n1 + n2 - k1 - k2) * min(n1, n2) < 5 * (n1 + n2)
    p = fisher_exact(cells).pvalue if few else chi2_contingency(cells, correction=False).pvalue
    assert row["p"] == pytest.approx(p, rel=1e-6)


def check_heterogeneity(row, cells):
    told = [(k1, n1, k2, n2) for k1, n1, k2, n2 in cells if n1 and n2 and 0 < k1 + k2 < n1 + n2]
    up, down = (sum(a * b / (n1 + n2) for a, b, n1, n2 in part) for part in (
        [(k1, n2 - k2, n1, n2) for k1, n1, k2, n2 in told], [(n1 - k1, k2, n1, n2) for k1, n1, k2, n2 in told]))  # fmt: skip
    if len(told) < 2 or not up or not down:
        assert row["heterogeneity"] is row["heterogeneity_p"] is None
        return
    off, variances = [], []
    for k1, n1, k2, n2 in told:
        fitted = fit(up / down, n1, n2, k1 + k2)
        off.append(k1 - fitted)
        variances.append(1 / sum(1 / cell for cell in (fitted, k1 + k2 - fitted, n1 - fitted, n2 - k1 - k2 + fitted)))
    expected = sum(o * o / v for o, v in zip(off, variances, strict=True)) - sum(off) ** 2 / sum(variances)
    assert row["heterogeneity_df"] == len(told) - 1
    assert (row["heterogeneity"], row["heterogeneity_p"]) == pytest.approx((expected, chi2.sf(expected, len(told) - 1)), rel=1e-6, abs=1e-9)


def fit(odds, n1, n2, m):
    """The k1 whose table has these odds, by halving."""
    low, high = max(0, m - n2), min(n1, m)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if middle * (n2 - m + middle) > odds * (n1 - middle) * (m - middle) else (middle, high)
    return (low + high) / 2


def check_adjusted(rows):
    """Families hold strata of every stratifier; only these are asked for, so the adjusted values are bounded, not recomputed."""
    for row in rows:
        if row["p"] is None or row["stratifier"] == "all":
            assert row["p_adjusted"] is None
        else:
            assert row["p"] <= row["p_adjusted"] <= 1


def test_p_values_are_adjusted_over_all_strata_of_an_outcome_and_arm():
    people = [patient(n, arm=("vns", "neither")[n % 2], ect=n % 3 == 0, disorders=["ocd"] if n % 5 else []) for n in range(90)]
    answers = [answer(n, n % 7 < 3 + n % 2, arm=p["arm"]) for n, p in enumerate(people)]
    with world(["strata"], patients=people, responders=answers) as connection:
        rows = rows_of(connection, "from strata where arm = 'vns' and stratifier <> 'all' and method = 'nri' and p is not null")
    assert len(rows) > 10
    assert [r["p_adjusted"] for r in rows] == pytest.approx(list(multipletests([r["p"] for r in rows], method="fdr_bh")[1]), rel=1e-9)
