# SPDX-License-Identifier: Apache-2.0
"""An answer of `vnsight sql` on paper: what fits is a table, what does not loses no header, and every type has a text."""

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from flows import answer
from flows.answer import as_text, show_answer
from flows.terminal import OUT, fitting, text_of
from schemas.errors import UsageError
from warehouse.sql import query

ODD = """select {'estimate': 0.6288659793814433, 'low': {'is': null::int, 'of': [1, 2]}} as w,
    interval '1 month 2 days' as away, [true, false] as truths, [{'x': 1}] as structs, [[1], [2]] as nested, map {'a': 1} as named,
    'a|b' || chr(10) || 'c' as wrapped, 'ab'::blob as bytes, true as yes,
    timestamptz '2025-01-01 00:00:00+00' as at, timestamp '2025-01-01 01:02:03.25' as here, sum(7) as hugeint, 1.25 as exact,
    {'b': 'x'::blob, 'i': interval 1 day} as inside, null as nothing, date '2025-01-02' as day"""


@pytest.fixture
def window(tmp_path):
    duckdb.connect(str(tmp_path / "marts.duckdb")).close()
    return tmp_path / "marts.duckdb"


@pytest.fixture
def printed(monkeypatch, capsys):
    def show(table: pa.Table, width: int) -> list[str]:
        monkeypatch.setattr(OUT, "width", width)
        show_answer(table, width)
        return capsys.readouterr().out.splitlines()

    return show


def test_csv_has_a_column_per_field_and_text_for_the_rest(window):
    (row,) = csv.DictReader(io.StringIO(as_text(query(window, ODD), "csv")))
    assert row == {
        "w.estimate": "0.6288659793814433", "w.low.is": "", "w.low.of": "1;2", "away": "1 month 2 days", "truths": "true;false",
        "structs": '[{"x": 1}]', "nested": "[[1], [2]]", "named": row["named"], "wrapped": "a|b\nc", "bytes": "ab", "yes": "true",
        "at": "2025-01-01T00:00:00+00:00", "here": "2025-01-01T01:02:03.250", "hugeint": "7", "exact": "1.25",
        "inside": row["inside"], "nothing": "", "day": "2025-01-02",
    }  # fmt: skip
    assert "a" in row["named"]
    assert "1 day" in row["inside"]


def test_json_keeps_structs_and_numbers(window):
    (row,) = json.loads(as_text(query(window, ODD), "json"))
    assert row["w"] == {"estimate": 0.6288659793814433, "low": {"is": None, "of": [1, 2]}}
    assert (row["away"], row["hugeint"], row["exact"], row["yes"], row["bytes"]) == ("1 month 2 days", 7, 1.25, True, "ab")
    assert (row["at"], row["here"]) == ("2025-01-01T00:00:00+00:00", "2025-01-01T01:02:03.250")


def test_a_markdown_table_stays_a_table(window):
    head, rule, body = as_text(query(window, ODD), "markdown").splitlines()
    assert head.count(" | ") == rule.count(" | ") == body.count(" | ") == 15
    assert "| estimate 0.6289, low is ?, of 1, 2 |" in body
    assert "a\\|b<br>c" in body


@pytest.mark.parametrize("format", ["csv", "json", "markdown"])
def test_no_rows_and_no_value_are_written_too(window, format):
    assert as_text(query(window, "select {'a': 1, 'i': interval 1 day} as s, null::struct(b int) as t where false"), format)
    assert as_text(query(window, "select null::struct(b int) as t, null::interval as i"), format)


def test_numbers_as_people_read_them():
    shown = [text_of(v) for v in (123456.7, 1e300, Decimal("1.23456"), {"low": 0.1, "high": None}, [1, 2.0], b"\xff")]
    assert shown == ["123,457", "1e+300", "1.235", "low 0.1, high ?", "1, 2", "\\xff"]
    assert text_of(datetime(2025, 1, 2, tzinfo=UTC)) == "2025-01-02 00:00:00"


WIDE = {f"a_column_with_a_long_name_{i}": [f"{i} text of some length here"] * 9 for i in range(12)}


@pytest.mark.parametrize("width", [80, 100, 160])
def test_many_wide_rows_are_the_columns_that_fit_and_the_names_of_the_rest(printed, width):
    lines = printed(pa.table(WIDE), width)
    shown = fitting(list(WIDE), [tuple(w[0] for w in WIDE.values())] * 9, width)
    assert 0 < shown < 12
    assert lines[1].split() == list(WIDE)[:shown]
    assert all(cell_len(line) <= width for line in lines)
    said = " ".join(lines[lines.index("9 rows") + 1 :])
    assert f"+ {12 - shown} columns" in said
    assert all(name in said for name in list(WIDE)[shown:])


def test_few_wide_rows_are_records(printed):
    lines = printed(pa.table(WIDE).slice(0, 2), 80)
    assert [line.split()[0] for line in lines[1:13]] == list(WIDE)
    assert lines[0].startswith("── row 1 ")
    assert lines[-1] == "2 rows"
    assert not any(line.startswith("+") for line in lines)


def test_what_fits_is_a_table_and_long_texts_are_wrapped(printed):
    lines = printed(pa.table({"name": ["a"], "meaning": ["word " * 60], "n": [1234567]}), 80)
    assert lines[1].split() == ["name", "meaning", "n"]
    assert all(cell_len(line) <= 80 for line in lines)
    assert lines[-1] == "1 row"


def test_only_some_rows_are_shown_and_it_is_said(printed):
    lines = printed(pa.table({"n": list(range(answer.SHOWN + 1))}), 80)
    assert lines[-1] == "201 rows, the first 200 shown; --format csv gives all"


NAMES = st.text("abc_", min_size=1, max_size=30)


@given(st.dictionaries(NAMES, st.text("xy z", max_size=60), min_size=1, max_size=9), st.integers(40, 200))
def test_a_table_never_cuts_a_header(columns, width):
    from rich.console import Console

    names, row = list(columns), tuple(columns.values())
    shown = fitting(names, [row], width)
    written = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.terminal.OUT", Console(file=written, width=width, highlight=False, markup=False, emoji=False))
        answer.print_table("", names[:shown], [row[:shown]])
    assert written.getvalue().splitlines()[1].split() == names[:shown]


def test_a_table_of_ours_on_a_narrow_terminal_leaves_nothing_out(monkeypatch, capsys):
    monkeypatch.setattr(OUT, "width", 60)
    answer.print_table("", list(WIDE)[:5], [[f"cell{i}{j}" for i in range(5)] for j in range(2)])
    said = "".join(capsys.readouterr().out.split())
    assert all(f"cell{i}{j}" in said for i in range(5) for j in range(2))


@pytest.mark.parametrize(("sql", "said"), [("", "the query is empty"), ("select 1; select 2", "with t as (select ...)")])
def test_other_than_one_statement_says_what_to_write(window, sql, said):
    with pytest.raises(UsageError) as error:
        query(window, sql)
    assert said in str(error.value)
