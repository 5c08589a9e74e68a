# SPDX-License-Identifier: Apache-2.0
"""Every query of docs/sql.md is run on a published study, as a reader of the file runs it."""

import re
from pathlib import Path

import duckdb
import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
QUESTIONS = dict(re.findall(r"^### \d+\. (.+?)\n\n```sql\n(.+?)```", PAGE, re.MULTILINE | re.DOTALL))


def test_there_are_twelve():
    assert len(QUESTIONS) == 12


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered(study, question: str):
    with duckdb.connect(str(study / "marts.duckdb"), read_only=True) as marts:
        *first, last = [one for one in QUESTIONS[question].split(";\n") if one.strip()]
        for statement in first:
            marts.execute(statement)
        marts.execute(last)
        seen = last.replace("'m12'", "'m3'").replace("'m6'", "'m3'")  # the study of the tests lasts five months
        rows = marts.execute(seen).fetchall()
    assert rows or question.startswith("My own stratum")  # 80 patients may hold none


def test_the_python_of_the_page_runs(study):
    code = re.search(r"```python\n(.+?)```", PAGE, re.DOTALL)[1].replace("study/marts.duckdb", str(study / "marts.duckdb"))
    names: dict = {}
    exec(code, names)
    assert names["frame"].columns == ["stratum", "k", "n", "rate"]
