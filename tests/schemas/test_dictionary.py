# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from schemas.contract import load_contracts
from schemas.dictionary import write_dictionary
from schemas.frames import mart_schema, staged_schema, window_names


def test_the_dictionary_is_the_contracts_of_today():
    page = Path(__file__).resolve().parents[2] / "docs" / "data-dictionary.md"
    assert page.read_text() == write_dictionary(), "write it anew: python -m schemas.dictionary > docs/data-dictionary.md"


def test_every_contract_says_who_answers_and_what_a_failure_means():
    for name, contract in load_contracts().items():
        assert contract.owner and contract.channel and contract.columns, name
        assert all(c.description for c in contract.columns), name
        assert all(r.failure.endswith(".") for r in contract.rules), name
        if contract.kind == "source":
            assert contract.revision and contract.happened and contract.freshness_days, name
            assert "_fingerprint" in staged_schema(contract)


def test_per_window_columns_are_named_as_promised():
    columns = mart_schema(load_contracts()["mart.dose_outcomes"], window_names((7, 28, 90)))
    promised = {"charge_pc_28d", "on_ms_28d", "sessions_28d", "coverage_28d", "charge_pc_low_28d", "charge_pc_high_28d"}
    assert promised | {"charge_pc_since_activation"} <= set(columns)
