# SPDX-License-Identifier: Apache-2.0
"""What a person is told about a rule: bounds as they are declared, never a bound that is not there."""

from dataclasses import replace

import pytest

from schemas.contract import SOURCES, load_contracts
from schemas.rules import explain, row_rules


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



@pytest.mark.parametrize(
    ("source", "rule", "said"),
    [
        ("patients", "index_at:null", "column index_at is required and missing."),
        ("survey_responses", "answers:length", "column answers holds more or fewer answers than the form has items."),
        ("stimulation_sessions", "step_intensities:null_item", "column step_intensities holds an item that is null."),
        ("survey_responses", "form_version:null", "column form_version is required and missing."),
    ],
)
def test_a_rationale_that_is_about_another_rule_is_left_out(source, rule, said):
    assert explain(load_contracts()[source], rule) == said


@pytest.mark.parametrize(
    ("source", "rule", "why"),
    [
        ("patients", "index_at:range", "An instant outside 1990 to 2100 comes from a broken clock, not from a patient."),
        ("patients", "patient_id:null", "Without a readable patient_id the record cannot be told from another."),
        ("stimulation_sessions", "step_offsets_ms:order", "Steps out of order or beyond the end cannot be integrated."),
        ("adverse_events", "serious:null", "Seriousness decides who must be told, and how soon."),
    ],
)
def test_a_rationale_that_fits_is_told(source, rule, why):
    assert explain(load_contracts()[source], rule).endswith(why)


def test_an_unknown_instrument_is_pointed_to_the_list():
    assert "docs/instruments.md" in explain(load_contracts()["survey_responses"], "instrument:unknown")


def test_every_rule_of_every_contract_has_words():
    for contract in (load_contracts()[s] for s in SOURCES):
        for rule in row_rules(contract):
            name, _, kind = rule.partition(":")
            said = explain(contract, rule)
            assert said.startswith(f"column {name} ")
            assert not said.startswith(f"column {name} {kind}")  # the name of a rule is no sentence
