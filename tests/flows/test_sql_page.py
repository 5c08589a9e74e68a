# SPDX-License-Identifier: Apache-2.0
"""Every query of docs/sql.md is run on a published study, as a reader of the file runs it."""

import re
from pathlib import Path

import pytest

from flows.answer import as_text
from flows.terminal import fitting
from warehouse.sql import query

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FUNCTIONS = (ROOT / "docs" / "functions.md").read_text(encoding="utf-8")
SURVIVAL = (ROOT / "warehouse" / "report" / "survival.sql").read_text(encoding="utf-8")
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
QUESTIONS = dict(re.findall(r"^### \d+\. (.+?)\n\n```sql\n(.+?)```", PAGE, re.MULTILINE | re.DOTALL))


def test_there_are_thirteen():
    assert len(QUESTIONS) == 13


def within_five_months(sql: str) -> str:
    """The same question of an earlier visit: the study of the tests is short."""
    return sql.replace("'m12'", "'m3'").replace("'m6'", "'m3'")


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered(study, question: str):
    assert query(study / "marts.duckdb", QUESTIONS[question]).column_names
    answer = query(study / "marts.duckdb", within_five_months(QUESTIONS[question]))
    assert answer.num_rows or question.startswith("My own stratum")  # 80 patients may hold none
    assert as_text(answer, "csv")


def test_the_example_of_the_functions_pools_each_patient_once(study):
    (sql,) = re.findall(r"```sql\n(with .+?);\n```", FUNCTIONS, re.DOTALL)
    assert query(study / "marts.duckdb", sql).num_rows == 1
    pooled = f"{within_five_months(sql).partition(') select')[0].rpartition('select odds_ratio')[0]} select sum(n1 + n2) as n from t"
    everybody = """select sum(n + n_comparator) as n from strata where stratifier = 'all' and arm = 'vns' and comparator = 'neither'
        and instrument = 'PHQ-9' and subscale = 'total' and visit = 'm3' and definition = 'drop_50' and method = 'observed'"""
    assert 0 < query(study / "marts.duckdb", pooled)["n"][0].as_py() <= query(study / "marts.duckdb", everybody)["n"][0].as_py()


def test_responses_last_as_long_as_in_the_report(study):
    exact = QUESTIONS["How long does a response last?"].replace("round(time_d, 1)", "time_d")
    compared = 0
    for arm in ("vns", "cbt", "vns_cbt", "neither"):
        asked = query(study / "marts.duckdb", exact.replace("'vns'", f"'{arm}'")).to_pylist()
        drawn = query(study / "marts.duckdb", f"""with drawn as ({SURVIVAL}) select day, survival, low, high from drawn
            where definition = 'retained_40' and instrument = 'PHQ-9' and subscale = 'total' and disorder = 'all' and arm = '{arm}'""")
        for point in drawn.to_pylist():
            losses = [a for a in asked if a["days_in_response"] <= point["day"]]
            if losses and point["low"] is not None:
                told = [losses[-1][c] for c in ("still_in_response", "low", "high")]
                assert told == pytest.approx([point[c] for c in ("survival", "low", "high")], abs=0.0006)
                compared += 1
    assert compared > 10


def test_the_example_of_the_readme_answers_in_few_columns(study):
    (sql,) = re.findall(r'^vnsight sql "(.+?)" --home study', README, re.MULTILINE | re.DOTALL)
    answer = query(study / "marts.duckdb", within_five_months(sql))
    assert answer.num_rows
    assert fitting(answer.column_names, [tuple(r.values()) for r in answer.to_pylist()], 80) == answer.num_columns


def test_the_python_of_the_page_runs(study):
    code = re.search(r"```python\n(.+?)```", PAGE, re.DOTALL)[1].replace("study/marts.duckdb", str(study / "marts.duckdb"))
    names: dict = {}
    exec(code, names)
    assert names["frame"].columns == ["stratum", "k", "n", "rate"]
