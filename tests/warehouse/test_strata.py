# SPDX-License-Identifier: Apache-2.0
import pytest
from window_parts import load_files, patient, score

from schemas.code_lists import history_flags
from schemas.load import CompleteLoad
from warehouse.publish import candidate
from warehouse.sql import query


@pytest.fixture
def path(ws):
    """Six patients: two disorders, one, none; arms; one without follow-up; one remitted without a response (6 to 4)."""
    people = [
        patient(1, disorders=["depression", "ptsd"], arm="vns", ect=True), patient(2, disorders=["depression"], arm="vns"),
        patient(3, disorders=[], arm="vns_cbt"), patient(4, disorders=["depression"], arm="vns_cbt", ect=True),
        patient(5, disorders=["depression"], arm="neither"), patient(6, disorders=["ptsd"], arm="vns"),
    ]  # fmt: skip
    ends = {1: (20, 10), 2: (20, 11), 3: (20, 2), 4: (6, 4), 5: (20, None)}
    scores = [score(10 * n, n, 0, a) for n, (a, _) in ends.items()] + [score(10 * n + 1, n, 91, b) for n, (_, b) in ends.items()]
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
        """with pairs as (select regexp_replace(stratum, '^no_', '') as flag, arm, visit, definition, sum(n) as n, sum(k) as k
            from strata where stratifier = 'history' group by all)
        from pairs join strata as s
            on s.stratifier = 'all' and s.arm = pairs.arm and s.visit = pairs.visit and s.definition = pairs.definition
        where s.n <> pairs.n or s.k <> pairs.k""",
    )
    assert wrong.num_rows == 0


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [  # computed independently; 61/97 and 23/59: McAllister-Williams 2020, 205/328 and 108/271: Kumar 2019
        (61, 97, 52.9538, 71.8376), (23, 59, 27.5794, 51.7337), (205, 328, 57.1445, 67.5661), (108, 271, 34.2043, 45.7842),
        (0, 12, 0, 24.2494), (10, 10, 72.2467, 100),
    ],
)  # fmt: skip
def test_wilson(path, k, n, low, high):
    (row,) = query(path, f"select 100 * wilson({k}, {n}).low as low, 100 * wilson({k}, {n}).high as high").to_pylist()
    assert (row["low"], row["high"]) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilson_of_nothing_is_null_and_z_can_be_chosen(path):
    assert query(path, "select wilson(0, 0) as w").to_pylist() == [{"w": None}]
    (row,) = query(path, "select wilson(61, 97, z := 1.0).low as narrow, wilson(61, 97).low as wide").to_pylist()
    assert row["narrow"] > row["wide"]
