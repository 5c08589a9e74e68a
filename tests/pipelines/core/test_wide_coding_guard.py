# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.coding_guard import CHANCE, CodeCounts, chance_at_most, refuse_coding
from pipelines.core.score import score_responses
from pipelines.core.wide import map_wide
from pipelines.core.wide_mapping import read_mapping
from schemas.instrument import Instrument
from schemas.instrument_parts import Coding
from schemas.typed import read_typed

ZERO_TO_THREE, ONE_TO_FOUR = Coding(minimum=0, maximum=3), Coding(minimum=1, maximum=4)
PAPER = {"source": "domain 3.2", "confidence": "K+"}
SCALES = {
    "depression": ([3, 5, 10, 13, 16, 17, 21], [10, 14, 21, 28]),
    "anxiety": ([2, 4, 7, 9, 15, 19, 20], [8, 10, 15, 20]),
    "stress": ([1, 6, 8, 11, 12, 14, 18], [15, 19, 26, 34]),
}


def make_dass():
    def scale(items, cuts):
        ends = dict(zip(("normal", "mild", "moderate", "severe", "extreme"), [0, *cuts], strict=True))
        return {
            "operation": "sum", "times": 2, "items": items, "n": 7, "range": {"minimum": 0, "maximum": 42},
            "missing": {"rule": "prorate", "minimum": 6, **PAPER}, "bands": {"ends": ends, **PAPER},
        }  # fmt: skip

    node = {
        "id": "DASS-21", "title": "DASS-21", **PAPER, "licence": {"name": "public domain", **PAPER},
        "direction": "higher_is_worse", "items": {"minimum": 0, "maximum": 3},
        "forms": {"standard": {"items": list(range(1, 22)), "coding": {"minimum": 0, "maximum": 3}, **PAPER}},
        "subscales": {name: scale(*parts) for name, parts in SCALES.items()},
    }  # fmt: skip
    return read_typed(Instrument, node, "dass-21")


@pytest.fixture(scope="module")
def dass_file(shared_data):
    folder = shared_data / "groundhog_day"
    if not folder.exists():
        pytest.skip("the DASS-21 files are not there")
    return folder


def map_dass(folder, **changes):
    mapping = {"instrument": "DASS-21", "response_id": "user_id", "patient_id": "user_id", "items": "dass21_{}"}
    table = pl.read_csv(folder / "dass21_items.csv", infer_schema=False)
    return map_wide(table, read_mapping({**mapping, "completed_at_constant": "2020-01-01", **changes}), {"DASS-21": make_dass()})


def test_the_real_dass_21_declared_zero_to_three_is_refused_though_150_rows_pass_the_row_check(dass_file):
    result = map_dass(dass_file)
    assert result.counts == CodeCounts({1: 1443, 2: 2067, 3: 1194, 4: 357}, 241, 91)
    assert (result.bad.height, result.responses.height) == (91, 150)
    assert result.refused.rule == "file:coding"
    for part in ("declared 0-3", "codes 1 to 4 occur", "4 in 357 of 5,061 cells", "91 of 241 rows", "0 in none", "looks like 1-4"):
        assert part in result.refused.message


def test_the_real_dass_21_declared_one_to_four_scores_as_published(dass_file):
    result = map_dass(dass_file, declared={"minimum": 1, "maximum": 4})
    assert result.refused is None
    keyed = result.responses.with_columns(response_key="row", patient_key=pl.lit(0))
    scores = score_responses(keyed, {"DASS-21": make_dass()})
    published = pl.read_csv(dass_file / "dass21_scores.csv")
    expected = {
        "depression": ([76, 38, 74, 24, 29], 14.290456, 9.380758, 0, 42),
        "anxiety": ([89, 26, 44, 32, 50], 11.850622, 9.192982, 0, 40),
        "stress": ([76, 49, 49, 50, 17], 19.717842, 8.353845, 0, 42),
    }
    for name, (bands, mean, sd, low, high) in expected.items():
        own, scale = scores.filter(subscale=name)["score"], make_dass().subscales[name]
        found = [scale.band(x) for x in own]
        assert [found.count(b) for b in scale.bands.ends] == bands
        assert (round(own.mean(), 6), round(own.std(), 6), own.min(), own.max()) == (mean, sd, low, high)
        assert (published[f"dass21_{name}"] == own / 2 + 7).all()  # theirs is the plain sum of seven items coded 1-4


@pytest.mark.parametrize(
    ("cells", "rows", "outside", "declared", "looks"),
    [
        ({1: 100, 2: 90, 3: 70, 4: 10}, 30, 7, ZERO_TO_THREE, "looks like 1-4"),  # no zero, fours in 7 of 30 rows
        ({0: 9000, 1: 900, 2: 90, 3: 10}, 1111, 900, ONE_TO_FOUR, "looks like 0-3"),
        ({1: 9900, 2: 50, 3: 20, 0: 30}, 1111, 30, ONE_TO_FOUR, "looks like 0-3"),  # 97 % of rows pass a row check
        ({0: 500, 1: 500, 2: 500, 3: 500, 4: 400}, 300, 200, ZERO_TO_THREE, "wider scale"),
        ({0: 500, 1: 500, 2: 500, 3: 500, 9: 400}, 300, 200, ZERO_TO_THREE, "9 may stand for a missing answer"),
        ({0: 500, 1: 500, 2: 500, -1: 400}, 300, 200, ZERO_TO_THREE, "wider scale"),  # not a scale from -1 to 2
        ({3: 40}, 5, 5, Coding(minimum=0, maximum=2), "looks like 1-3"),
    ],
)
def test_codes_that_contradict_the_declaration(cells, rows, outside, declared, looks):
    refused = refuse_coding(CodeCounts(cells, rows, outside), declared)
    assert refused.rule == "file:coding"
    assert looks in refused.message
    assert f"declared {declared}" in refused.message


@pytest.mark.parametrize(
    ("cells", "rows", "outside", "declared"),
    [
        ({}, 0, 0, ZERO_TO_THREE),  # nothing answered
        ({1: 1000, 2: 1000}, 222, 0, ZERO_TO_THREE),  # nobody chose the ends
        ({3: 900}, 100, 0, ZERO_TO_THREE),  # everybody chose the worst
        ({1: 100, 2: 100, 3: 69, 4: 1}, 30, 1, ZERO_TO_THREE),  # one typing error among severe cases
        ({1: 9000, 2: 9000, 3: 9000, 4: 15, 5: 8, 33: 7}, 3000, 30, ZERO_TO_THREE),  # 1 % typing errors, of every kind
        ({0: 10, 1: 9000, 2: 9000, 3: 9000, 4: 200}, 3000, 200, ZERO_TO_THREE),  # 7 % bad rows, but zeros occur: row by row
        ({1: 100, 2: 100, 3: 68, 4: 2}, 30, 2, ZERO_TO_THREE),  # and two
        ({0: 9000, 3: 9000, 9: 300}, 2000, 150, ZERO_TO_THREE),  # 7 % undeclared sentinels: row by row
        ({4: 18}, 2, 2, ZERO_TO_THREE),  # two rows prove nothing; their row check refuses them
    ],
)
def test_codes_that_do_not(cells, rows, outside, declared):
    assert refuse_coding(CodeCounts(cells, rows, outside), declared) is None


@given(st.dictionaries(st.integers(0, 3), st.integers(1, 10**6), min_size=1), st.integers(1, 10**6))
def test_a_file_that_keeps_to_its_coding_is_never_refused(cells, rows):
    assert refuse_coding(CodeCounts(cells, rows, 0), ZERO_TO_THREE) is None


counts = st.builds(CodeCounts, st.dictionaries(st.integers(-5, 9), st.integers(1, 99)), st.integers(0, 99), st.integers(0, 99))


@given(counts, counts, counts)
def test_counts_add_in_any_order(a, b, c):
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + CodeCounts() == a


@pytest.mark.parametrize("rate", [0.01, 0.10])
@pytest.mark.parametrize("rows", [5, 40, 400])
def test_the_bound_is_never_below_the_binomial_tail(rows, rate):
    from math import comb

    for outside in range(rows + 1):
        tail = sum(comb(rows, k) * rate**k * (1 - rate) ** (rows - k) for k in range(outside, rows + 1))
        assert chance_at_most(rows, outside, rate) >= min(1.0, tail) - 1e-12
    assert chance_at_most(rows, rows, rate) <= CHANCE or rows < 7
