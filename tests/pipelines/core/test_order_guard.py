# SPDX-License-Identifier: Apache-2.0
"""Which order of a form a whole file has, told from which answers resemble each other."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipelines.core.coding_guard import chance_at_most
from pipelines.core.order_guard import EITHER_RATE, refuse_order
from schemas.instrument import load_instrument, load_instruments

CERQ = load_instrument("CERQ-36")
BRIEF = settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.generate])


def drawn(rows, version, seed, alike=1.0):
    """Answers 1-5 on a form: of one subscale they share a person's value with weight `alike`."""
    rng = np.random.default_rng(seed)
    of_item = {item: rng.normal(size=rows) for one in CERQ.subscales.values() for item in one.items}
    for one in CERQ.subscales.values():
        shared = rng.normal(size=rows)
        of_item |= {item: alike * shared + of_item[item] for item in one.items}
    return np.clip(np.rint(3 + np.column_stack([of_item[item] for item in CERQ.forms[version].items])), 1, 5)


@pytest.mark.parametrize(("true", "declared", "named"), [
    ("standard", "standard", None), ("blocked", "blocked", None), ("blocked", "standard", "blocked"), ("standard", "blocked", "standard"),
])  # fmt: skip
def test_the_order_is_told_from_the_answers(true, declared, named):
    refused = refuse_order(drawn(100, true, 1), CERQ, declared)
    assert (refused is None) is (named is None)
    if refused:
        assert refused.rule == "file:item_order"
        assert f"order of form {declared}, but" in refused.message
        assert f"of 100 rows fit that of form {named} better" in refused.message


@given(st.integers(0, 2**32), st.sampled_from(["standard", "blocked"]), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 400))
@BRIEF
def test_the_right_order_is_never_refused_not_even_if_nothing_holds_together(seed, version, alike, rows):
    assert refuse_order(drawn(rows, version, seed, alike), CERQ, version) is None


def test_a_few_rows_prove_nothing():
    least = next(n for n in range(1, 99) if chance_at_most(n, n, EITHER_RATE) < 1e-6)
    assert least == 28  # if every single row speaks for the other order
    assert refuse_order(drawn(least - 1, "blocked", 2, alike=3), CERQ, "standard") is None
    assert refuse_order(drawn(60, "blocked", 2, alike=3), CERQ, "standard") is not None


def test_rows_with_a_gap_or_one_answer_everywhere_say_nothing():
    telling = drawn(60, "blocked", 3, alike=3)
    gaps, straight = drawn(500, "standard", 4), np.repeat(np.arange(500) % 5 + 1.0, 36).reshape(500, 36)
    gaps[:, 7] = np.nan
    whole = refuse_order(np.vstack([telling, gaps, straight]), CERQ, "standard")
    assert whole == refuse_order(telling, CERQ, "standard") is not None
    assert refuse_order(np.vstack([gaps, straight]), CERQ, "standard") is None


def test_an_item_everybody_answers_alike_does_no_harm():
    codes = drawn(100, "blocked", 5)
    codes[:, 0] = 4
    assert refuse_order(codes, CERQ, "standard") is not None
    assert refuse_order(codes, CERQ, "blocked") is None


@pytest.mark.parametrize("name", sorted(set(load_instruments()) - {"CERQ-36", "BDI-II", "QOLIE-31"}))
def test_forms_that_differ_in_coding_or_one_item_only_cannot_be_mistaken(name):
    one, rng = load_instrument(name), np.random.default_rng(6)
    for version, form in one.forms.items():
        codes = np.column_stack([rng.choice(sorted(one.points(version, item)), 300).astype(float) for item in form.items])
        assert refuse_order(codes, one, version) is None
