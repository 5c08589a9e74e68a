# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.score import SCORE_COLUMNS, score_responses, source_disagreements
from schemas.contract import load_contract
from schemas.errors import VNSightError
from schemas.instrument import Instrument, load_instruments
from schemas.typed import read_typed

PAPER = {"source": "a test", "confidence": "K+"}
NONE = {"rule": "none", **PAPER}
SHIPPED = load_instruments()
AT = datetime(2025, 3, 1, tzinfo=UTC)


def make_instrument(names, low, high, subscales, **more):
    names = names if isinstance(names, list) else list(range(1, names + 1))
    form = {"items": names, "coding": {"minimum": low, "maximum": high}, **PAPER}
    node = {
        "id": "T", "title": "T", **PAPER, "licence": {"name": "free", **PAPER}, "direction": "higher_is_worse",
        "items": {"minimum": low, "maximum": high}, "forms": {"standard": form}, "subscales": subscales, **more,
    }  # fmt: skip
    return read_typed(Instrument, node, "test")


def subscale(items, low, high, missing=NONE, operation="sum", **more):
    items = [*items]
    ends = {"minimum": low, "maximum": high}
    return {"operation": operation, "items": items, "n": len(items), "range": ends, "missing": missing, **more}


def prorate(minimum):
    return {"rule": "prorate", "minimum": minimum, **PAPER}


def make_responses(rows, instrument="T", form="standard"):
    """rows: answers, or (answers, source_score)."""
    pairs = [row if isinstance(row, tuple) else (row, None) for row in rows]
    return pl.DataFrame(
        {
            "response_key": range(1, len(pairs) + 1), "patient_key": [7] * len(pairs), "instrument": [instrument] * len(pairs),
            "form_version": [form] * len(pairs), "completed_at": [AT] * len(pairs), "answers": [a for a, _ in pairs],
            "source_score": [s for _, s in pairs],
        },
        schema_overrides={"response_key": pl.Int64, "answers": pl.List(pl.Int64), "source_score": pl.Float64},
    )  # fmt: skip


def results(instrument, rows, form="standard"):
    scored = score_responses(make_responses(rows, form=form), {"T": instrument})
    return {n: scored.filter(pl.col("subscale") == n).select("score", "status", "n_answered").rows() for n in instrument.subscales}


# --- the operations other instruments need (domain section 3) ----------------------------------------------------------


def test_doubled_sum_with_one_missing_allowed_as_dass_21():
    instrument = make_instrument(7, 0, 3, {"stress": subscale(range(1, 8), 0, 42, prorate(6), times=2)})
    rows = [[1] * 7, [3, 3, 3, 3, 3, 3, None], [3] * 5 + [None] * 2]
    assert results(instrument, rows)["stress"] == [(14, "complete", 7), (42, "prorated", 6), (None, "unscorable", 5)]


def test_sum_times_four_none_missing_as_who_5():
    instrument = make_instrument(5, 0, 5, {"total": subscale(range(1, 6), 0, 100, times=4)}, direction="lower_is_worse")
    assert results(instrument, [[5] * 5, [1, 2, 3, 4, None]])["total"] == [(100, "complete", 5), (None, "unscorable", 4)]


def test_mean_of_the_answered_as_erq():
    parts = {
        "reappraisal": subscale([1, 3, 5, 7, 8, 10], 1, 7, prorate(5), "mean"),
        "suppression": subscale([2, 4, 6, 9], 1, 7, NONE, "mean"),
    }
    got = results(make_instrument(10, 1, 7, parts), [[7, 1, 6, 1, 5, 1, 4, 3, 2, None]])
    assert got == {"reappraisal": [(5, "prorated", 5)], "suppression": [(1.25, "complete", 4)]}


def test_greatest_of_a_group_then_sum_as_qids():
    groups = [[1, 2, 3, 4], [6, 7, 8, 9], [15, 16]]
    instrument = make_instrument(16, 0, 3, {"total": subscale(range(1, 17), 0, 27, NONE, groups=groups)})
    full = [1, 3, 0, 2, 1, 0, 2, None, None, 1, 1, 1, 1, 1, None, 3]
    no_sleep = [None] * 4 + [1] * 12
    assert results(instrument, [full, [3] * 16, no_sleep])["total"] == [
        (3 + 1 + 2 + 5 + 3, "complete", 13),  # a domain is missing only if all its items are
        (27, "complete", 16),
        (None, "unscorable", 12),
    ]


def test_first_answered_of_two_and_items_of_their_own_range_as_hamilton():
    instrument = make_instrument(
        ["1", "16a", "16b"], 0, 4,
        {"total": subscale(["1", "16a", "16b"], 0, 6, NONE, groups=[["16a", "16b"]], of_group="first")},
        item_exceptions={"16a": {"minimum": 0, "maximum": 2}, "16b": {"minimum": 0, "maximum": 2}},
    )  # fmt: skip
    assert results(instrument, [[4, 1, 2], [4, None, 2], [4, None, None]])["total"] == [
        (5, "complete", 3), (6, "complete", 2), (None, "unscorable", 1),
    ]  # fmt: skip
    scored = score_responses(make_responses([[4, 1, 2]]), {"T": instrument})
    assert scored["n_items"].to_list() == [3]
    with pytest.raises(VNSightError, match="answers:range"):
        results(instrument, [[4, 3, 0]])  # 3 is a code of the form, but not of this item


def test_points_that_are_not_the_code_and_a_weighted_total_as_qolie_and_pedsql():
    points = {"minimum": 0, "maximum": 4, "points": {0: 100, 1: 75, 2: 50, 3: 25, 4: 0}}
    parts = {
        "total": subscale(range(1, 5), 0, 100, NONE, "weighted", weights={"worry": 0.25, "mood": 0.75}),
        "worry": subscale([1, 2], 0, 100, prorate(1), "mean"),
        "mood": subscale([3, 4], 0, 100, NONE, "mean"),
    }
    instrument = make_instrument(4, 0, 4, parts, items=points)
    assert results(instrument, [[0, 2, 4, 4], [1, None, 0, 0], [1, 1, None, 0]])["total"] == [
        (0.25 * 75, "complete", 4), (0.25 * 75 + 75, "prorated", 3), (None, "unscorable", 3),
    ]  # fmt: skip
    reasons = score_responses(make_responses([[1, 1, None, 0]]), {"T": instrument})["reason"].to_list()
    assert reasons == ["answered 1 of 2, needs 2", None, "answered 1 of 2, needs 2"]


def test_a_total_the_source_computed_where_the_licence_forbids_items_as_bdi():
    instrument = make_instrument(3, 0, 3, {"total": subscale([1, 2, 3], 0, 63, NONE, "given")})
    assert results(instrument, [([None] * 3, 17.0), ([None] * 3, None)])["total"] == [
        (17, "from_source", 0),
        (None, "unscorable", 0),
    ]
    forms = {"totals": {"items": [], "coding": {"minimum": 0, "maximum": 3}, **PAPER}}
    totals = make_instrument(3, 0, 3, {"total": subscale([1, 2, 3], 0, 63, NONE, "given")}, forms=forms)
    scored = score_responses(make_responses([([], 17.0), ([], None)], form="totals"), {"T": totals})
    assert scored.select("score", "status", "reason", "n_answered", "n_items", "source_score").rows() == [
        (17, "from_source", None, 0, 3, 17), (None, "unscorable", "no total from the source", 0, 3, None),
    ]  # fmt: skip


def test_a_form_in_another_item_order_scores_the_same_items():
    forms = {
        "standard": {"items": [1, 2, 3, 4], "coding": {"minimum": 1, "maximum": 5}, **PAPER},
        "blocked": {"items": [1, 3, 2, 4], "coding": {"minimum": 1, "maximum": 5}, **PAPER},
        "zero_based": {"items": [1, 2, 3, 4], "coding": {"minimum": 0, "maximum": 4}, **PAPER},
    }
    parts = {"odd": subscale([1, 3], 2, 10), "even": subscale([2, 4], 2, 10)}
    instrument = make_instrument(4, 1, 5, parts, forms=forms, reverse=[4])
    expected = {"odd": [(4, "complete", 2)], "even": [(2 + (6 - 5), "complete", 2)]}
    assert results(instrument, [[1, 2, 3, 5]]) == expected
    assert results(instrument, [[1, 3, 2, 5]], form="blocked") == expected
    assert results(instrument, [[0, 1, 2, 4]], form="zero_based") == expected


# --- laws --------------------------------------------------------------------------------------------------------------


SCORED = {name: one for name, one in SHIPPED.items() if all(form.items for form in one.forms.values())}  # not the totals


def answers_of(name, forms=("standard",)):
    """Strategy: instrument, form version, and answers that the form allows, a fifth of them missing."""
    instrument = SCORED[name]

    def on(version):
        legal = [st.sampled_from(sorted(instrument.points(version, item))) for item in instrument.forms[version].items]
        cells = [st.one_of(code, code, code, code, st.none()) for code in legal]
        return st.tuples(st.just(name), st.just(version), st.tuples(*cells).map(list))

    return st.sampled_from([v for v in instrument.forms if forms is None or v in forms]).flatmap(on)


REVERSED = {
    "DERS-36": {1, 2, 6, 7, 8, 10, 17, 20, 22, 24, 34}, "DERS-18": {1, 4, 6}, "S-DERS": {2, 6, 11, 16, 19}, "PSS-10": {4, 5, 7, 8},
    "CTQ-28": {2, 5, 7, 13, 19, 26, 28},
}  # fmt: skip


def by_hand(name, version, answers):
    """Points per item as a person would write them beside the answers; the keys are those of the papers, not of the files."""
    instrument = SHIPPED[name]
    first, last = instrument.items.minimum, instrument.items.maximum
    given = {i: a for i, a in zip(instrument.forms[version].items, answers, strict=True) if a is not None}
    if (name, version) == ("DASS-21", "one_based"):
        given = {i: a - 1 for i, a in given.items()}
    turned = {str(i) for i in REVERSED.get(name, ())}
    return {i: last - (a - first) if i in turned else a for i, a in given.items()}


def brute_force(name, version, answers):
    """One response in plain Python, from the rules as a person would read them."""
    given = by_hand(name, version, answers)
    for subscale_name, rule in SHIPPED[name].subscales.items():
        items = list(rule.items)
        if name == "QIDS-SR16":
            domains = [items[0:4], items[4:5], items[5:9], *([i] for i in items[9:14]), items[14:16]]
        elif name == "HAM-D-17":
            domains = [*([i] for i in items[:15]), ["16a", "16b"], ["17"]]
        else:
            domains = [[i] for i in items]
        values = [[given[i] for i in domain if i in given] for domain in domains]
        found = [max(v) if name == "QIDS-SR16" else v[0] for v in values if v]
        n, k = len(domains), len(found)
        answered, needed = sum(map(len, values)), n if rule.missing.minimum is None else rule.missing.minimum
        weight = {"DASS-21": 2, "WHO-5": 4, "ERQ": Fraction(1, n)}.get(name, 1)
        if k < needed:
            yield subscale_name, None, "unscorable", f"answered {k} of {n}, needs {needed}", answered
        else:
            score = float(Fraction(sum(found) * n, k) * weight)
            yield subscale_name, score, "complete" if k == n else "prorated", None, answered


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(sorted(SCORED)).flatmap(lambda i: answers_of(i, None)), min_size=1, max_size=12))
def test_equals_a_person_with_a_pencil(responses):
    frames = [make_responses([a], i, v).with_columns(pl.lit(k).alias("response_key")) for k, (i, v, a) in enumerate(responses)]
    expected = [(k, *row) for k, response in enumerate(responses) for row in brute_force(*response)]
    got = score_responses(pl.concat(frames), SHIPPED)
    assert got.select("response_key", "subscale", "score", "status", "reason", "n_answered").rows() == expected
    for name, subscale_name, score in got.drop_nulls("score").select("instrument", "subscale", "score").rows():
        ends = SHIPPED[name].subscales[subscale_name].range
        assert ends.minimum - 1e-9 <= score <= ends.maximum + 1e-9


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(set(SCORED) - {"QIDS-SR16"})).flatmap(lambda i: answers_of(i, None)))
def test_answering_the_other_way_round_mirrors_every_score_in_its_range(pair):
    name, version, answers = pair  # not for QIDS-SR16: the greatest of the mirrored is the mirrored least
    instrument = SHIPPED[name]
    codes = [sorted(instrument.points(version, item)) for item in instrument.forms[version].items]
    mirrored = [None if a is None else legal[0] + legal[-1] - a for a, legal in zip(answers, codes, strict=True)]
    rows = score_responses(make_responses([answers, mirrored], name, version), SHIPPED)
    for (one, status), (other, status_2), rule in zip(
        rows.filter(response_key=1).select("score", "status").rows(),
        rows.filter(response_key=2).select("score", "status").rows(), instrument.subscales.values(), strict=True,
    ):  # fmt: skip
        assert status == status_2
        assert one is other is None or one + other == pytest.approx(rule.range.minimum + rule.range.maximum, abs=1e-9)


@pytest.mark.parametrize(("name", "subscale_name", "needed"), [
    (name, s, rule.missing.needed(len(rule.parts))) for name, one in SCORED.items() for s, rule in one.subscales.items()
])  # fmt: skip
def test_the_missing_rule_at_its_exact_boundary(name, subscale_name, needed):
    instrument = SCORED[name]
    rule, items = instrument.subscales[subscale_name], instrument.forms["standard"].items
    parts = [[i for i in part if i in items] for part in rule.parts]

    def status(answered):
        there = {item for part in parts[:answered] for item in part[-1:]}  # of a group its last item alone
        answers = [min(instrument.points("standard", i)) if i in there else None for i in items]
        rows = score_responses(make_responses([answers], name), SHIPPED)
        return rows.filter(pl.col("subscale") == subscale_name)["status"].item()

    assert status(len(parts)) == "complete"
    assert status(needed) == ("complete" if needed == len(parts) else "prorated")
    assert status(needed - 1) == "unscorable"


@settings(max_examples=40, deadline=None)
@given(st.lists(answers_of("PHQ-9"), min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(pairs, random):
    frame = make_responses([a for *_, a in pairs], "PHQ-9")
    order = list(range(frame.height))
    random.shuffle(order)
    assert score_responses(frame[order], SHIPPED).equals(score_responses(frame, SHIPPED))


@given(st.integers(0, 3), st.integers(7, 9))
def test_prorating_equal_answers_changes_nothing(code, answered):
    (row,) = score_responses(make_responses([[code] * answered + [None] * (9 - answered)], "PHQ-9"), SHIPPED).rows(named=True)
    assert (row["score"], row["n_answered"]) == (9 * code, answered)


# --- the shape of the result -------------------------------------------------------------------------------------------


def test_columns_are_those_of_the_mart_and_the_order_is_fixed():
    frame = pl.concat(
        [
            make_responses([[1] * 36], "DERS-36"),
            make_responses([[1] * 9], "PHQ-9").with_columns(response_key=pl.lit(0, pl.Int64)),
        ]
    )
    scored = score_responses(frame, SHIPPED)
    assert tuple(scored.columns) == SCORE_COLUMNS
    assert set(scored.columns) == {c.name for c in load_contract("mart.scores").columns}
    assert scored["response_key"].to_list() == [0] + [1] * 8
    assert scored["subscale"].to_list() == ["total", *SHIPPED["DERS-36"].subscales]
    assert scored["n_items"].to_list() == [9, 6, 5, 6, 6, 8, 5, 36, 30]


def test_no_responses_give_no_rows_of_the_same_types():
    some = make_responses([[1] * 9], "PHQ-9")
    assert score_responses(some.clear(), SHIPPED).schema == score_responses(some, SHIPPED).schema
    assert score_responses(some.clear(), SHIPPED).is_empty()


@pytest.mark.parametrize(("answers", "message"), [
    ([1] * 8, "answers:length"), ([], "answers:length"), (None, "answers:length"),
    ([4] + [1] * 8, "1 answers lie outside"), ([-1] + [1] * 8, "answers:range"), ([2**62] * 9, "9 answers lie outside"),
])  # fmt: skip
def test_what_validation_should_have_refused_is_never_scored(answers, message):
    with pytest.raises(VNSightError, match=f"instrument PHQ-9, form standard: .*{message}"):
        score_responses(make_responses([[1] * 9, answers], "PHQ-9"), SHIPPED)


def test_an_unknown_instrument_or_form_is_never_scored():
    with pytest.raises(VNSightError, match="instrument BDI"):
        score_responses(make_responses([[1]], "BDI"), SHIPPED)
    with pytest.raises(VNSightError, match="form draft"):
        score_responses(make_responses([[1]], "PHQ-9", "draft"), SHIPPED)


def test_source_disagreements_are_kept_apart_from_the_score():
    rows = [
        ([1] * 9, 9.0),
        ([1] * 9, 10.0),
        ([1] * 9, None),
        ([1] * 5 + [None] * 4, 5.0),
        ([1] * 8 + [None], 8.0),
        ([1] * 9, 9.0000000001),
    ]
    scored = score_responses(make_responses(rows, "PHQ-9"), SHIPPED)
    found = source_disagreements(scored).select("response_key", "status", "score", "source_score", "difference").rows()
    assert found == [(2, "complete", 9, 10, 1), (4, "unscorable", None, 5, None), (5, "prorated", 9, 8, -1)]
    assert scored["score"].to_list() == [9, 9, 9, None, 9, 9]


def test_a_score_of_a_subscale_by_the_source_stands_beside_ours():
    rows = make_responses([[1] * 21] * 4, "DASS-21").with_columns(
        source_subscales=pl.Series([["stress", "depression"], ["anxiety"], None, []], dtype=pl.List(pl.String)),
        source_subscale_scores=pl.Series([[14.0, 7.0], [None], None, []], dtype=pl.List(pl.Float64)),
    )
    scored = score_responses(rows, SHIPPED)
    told = scored.filter(pl.col("source_score").is_not_null()).select("response_key", "subscale", "score", "source_score").rows()
    assert told == [(1, "depression", 14, 7), (1, "stress", 14, 14)]
    assert source_disagreements(scored).select("response_key", "subscale", "difference").rows() == [(1, "depression", -7)]


def test_the_source_score_stands_on_the_total_only():
    scored = score_responses(make_responses([([1] * 36, 81.0)], "DERS-36"), SHIPPED)
    assert dict(scored.filter(pl.col("source_score").is_not_null()).select("subscale", "source_score").rows()) == {"total": 81}
    assert source_disagreements(scored)["difference"].to_list() == [1]
