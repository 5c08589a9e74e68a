# SPDX-License-Identifier: Apache-2.0
"""What a person is told about a rule: bounds as they are declared, never a bound that is not there."""

from dataclasses import replace

import pytest

from schemas.contract import load_contracts
from schemas.rules import explain


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 3.5, "is outside 0.0 to 3.5"), (1, None, "is below 1"), (None, 9, "is above 9"), (None, None, "what its instrument allows")],
)
def test_bounds_are_told_as_declared(low, high, expected):
    column = next(c for c in load_contracts()["survey_responses"].columns if c.name == "answers")
    bounds = replace(column, minimum=low, maximum=high)
    assert expected in explain(replace(load_contracts()["survey_responses"], columns=(bounds,)), "answers:range")


def test_no_rule_speaks_of_a_bound_that_is_not_there():
    for contract in load_contracts().values():
        for column in contract.columns:
            assert "None" not in explain(contract, f"{column.name}:range")

