# SPDX-License-Identifier: Apache-2.0
"""The page of the functions: every call in it works, and none is missing."""

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "functions.md").read_text(encoding="utf-8")
CALLS = [call for row in re.findall(r"^\| (`.+?`) \|", PAGE, re.MULTILINE) for call in re.findall(r"`(.+?)`", row)]
COLUMNS = {
    "stratum, k1, n1, k2, n2": "(values (1, 5, 10, 3, 10), (2, 7, 12, 4, 11))", "score, k, n": "(values (0, 2, 9), (1, 5, 9))",
    "stratum, score, k, n": "(values (1, 0, 2, 9), (1, 1, 5, 9))", "time, event": "(values (1, true), (2, false))",
}  # fmt: skip


def test_every_call_gives_a_value(connection):
    over_tables = dict(re.findall(r"^\| `(from .+?)` \| (.+?) \|", PAGE, re.MULTILINE))
    assert len(over_tables) == 5
    for call, columns in over_tables.items():
        connection.execute(f"create or replace temp table t as from {COLUMNS[columns]} as t ({columns})")
        assert connection.execute(call).fetchall()[0][0] is not None, call
    for call in (c for c in CALLS if not c.startswith("from")):
        assert connection.execute(f"select {call}").fetchall()[0][0] is not None, call


def test_every_function_with_an_interval_or_a_table_is_on_the_page(connection):
    asked = """select distinct function_name from duckdb_functions() where not internal
        and (function_type = 'table_macro' or list_contains(parameters, 'level'))"""
    names = {name for (name,) in connection.execute(asked).fetchall()} - {"fourfold", "one_group", "two_groups", "two_sided_z", "table_z"}
    assert len(names) >= 13
    assert {n for n in names if f"{n}(" not in PAGE} == set()
