# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import duckdb
import pytest

import warehouse
from warehouse.statistics import FUNCTIONS, create_functions, function_text


def test_every_file_is_created():
    folder = Path(warehouse.__file__).parent / "functions"
    assert sorted(FUNCTIONS) == sorted(f.stem for f in folder.iterdir())


def test_every_function_says_what_it_is(connection):
    asked = "select function_name, comment, parameters from duckdb_functions() where not internal"
    said = {name: comment for name, comment, _ in connection.execute(asked).fetchall()}
    assert {n for n, comment in said.items() if not comment} == set()
    assert {"wilson", "clopper_pearson", "newcombe", "risk_difference", "risk_ratio", "odds_ratio", "mantel_haenszel", "breslow_day",
            "cochran_armitage", "cochran_armitage_stratified", "kaplan_meier", "benjamini_hochberg", "reliable_change", "poisson_rate",
            "reliable_change_class", "number_needed_to_treat", "chi_square", "fisher_exact",
            "interaction_contrast"} <= set(said)  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_asserted_below_it_holds(name: str):
    with duckdb.connect() as connection:
        create_functions(connection)
        if name == "breslow_day":  # it looks at the tables of the pooled effects again
            _given(connection, "mantel_haenszel")
        _given(connection, name)
        asserted = [line.removeprefix("-- assert: ") for line in function_text(name).splitlines() if line.startswith("-- assert: ")]
        assert asserted
        wrong = [line for line in asserted if connection.execute(f"select {line}").fetchall() != [(True,)]]
    assert wrong == []


def _given(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    for line in function_text(name).splitlines():
        if line.startswith("-- given: "):
            connection.execute(line.removeprefix("-- given: "))


def test_the_functions_work_in_a_file_that_is_opened_read_only_or_attached(tmp_path: Path):
    with duckdb.connect(str(tmp_path / "marts.duckdb")) as made:
        create_functions(made)
        made.execute("create table doses as from (values (0, 10, 40), (1, 15, 40), (2, 22, 40)) as t (score, k, n)")
    with duckdb.connect(str(tmp_path / "marts.duckdb"), read_only=True) as reader:
        assert reader.execute("select round(z, 6) from cochran_armitage('doses')").fetchall() == [(2.748572,)]
        reader.execute("create temp table mine as from (values (0, 1, 40), (1, 15, 40), (2, 39, 40)) as t (score, k, n)")
        assert reader.execute("select z > 5 from cochran_armitage('mine')").fetchall() == [(True,)]
    with duckdb.connect() as elsewhere:
        elsewhere.execute(f"attach '{tmp_path / 'marts.duckdb'}' as study (read_only)")
        elsewhere.execute("create table mine as from (values (0, 1, 40), (1, 15, 40), (2, 39, 40)) as t (score, k, n)")
        with pytest.raises(duckdb.CatalogException, match="one_group does not exist"):  # looked up where the connection looks
            elsewhere.execute("select study.wilson(61, 97)")
        elsewhere.execute("set search_path = 'memory,study'")
        asked = "select round(wilson(61, 97).low, 6), z > 5 from cochran_armitage('mine')"
        assert elsewhere.execute(asked).fetchall() == [(0.529538, True)]
