# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from pipelines.core.coding_guard import CodeCounts
from pipelines.core.wide import map_wide
from pipelines.core.wide_mapping import read_mapping
from schemas.errors import UsageError
from schemas.instrument import load_instruments

BASE = {
    "instrument": "GAD-7", "response_id": "id", "patient_id": "person", "items": "q{}", "completed_at": "when",
    "time_zone": "Europe/Rome", "missing": ["9999", "NA"], "source_score": "sum",
}  # fmt: skip


def make_table(*rows):
    """rows: the seven answers as text; id, person, when and sum are filled in."""
    columns = {f"q{i + 1}": [row[i] for row in rows] for i in range(7)}
    n = len(rows)
    own = {"id": [f"r{i}" for i in range(n)], "person": ["p"] * n, "when": ["2025-03-01 09:00"] * n, "sum": [None] * n}
    return pl.DataFrame({**own, **columns, "free_text": ["x"] * n}, schema_overrides=dict.fromkeys([*own, *columns], pl.String))


def mapped(*rows, **changes):
    return map_wide(make_table(*rows), read_mapping({**BASE, **changes}), load_instruments())


def answers_of(result):
    return result.responses["answers"].to_list()


GOOD = ["0", "1", "2", "3", "0", "1", "2"]


def with_first(cell):
    return [cell, *GOOD[1:]]


def test_a_row_becomes_a_response_in_the_columns_of_the_contract():
    (row,) = mapped(GOOD, id_prefix="gad.").responses.rows(named=True)
    assert row == {
        "row": 0, "response_id": "gad.r0", "patient_id": "p", "instrument": "GAD-7", "form_version": "standard",
        "completed_at": "2025-03-01 09:00", "time_zone": "Europe/Rome", "uploaded_at": "2025-03-01 09:00",
        "answers": [0, 1, 2, 3, 0, 1, 2], "source_score": None, "source_subscales": None, "source_subscale_scores": None,
    }  # fmt: skip


DASS = BASE | {"instrument": "DASS-21", "source_score": None, "missing": ["NA"]}


def with_subscales(*cells):
    own = {"id": "r", "person": "p", "when": "2025-03-01 09:00", "dep": cells[0], "anx": cells[1]}
    frame = pl.DataFrame([own | {f"q{n}": "1" for n in range(1, 22)}], schema_overrides=dict.fromkeys(own, pl.String))
    given = {"depression": "dep", "anxiety": "anx"}
    return map_wide(frame, read_mapping({**DASS, "source_subscales": given}), load_instruments())


def test_scores_of_subscales_come_along_with_their_names():
    responses = with_subscales("14", "NA").responses
    assert responses.select("source_subscales", "source_subscale_scores").row(0) == (["depression", "anxiety"], [14.0, None])


@pytest.mark.parametrize(("cell", "reason"), [("high", "dep:type"), ("inf", "dep:not_finite")])
def test_a_score_of_a_subscale_that_is_no_number_refuses_the_row(cell, reason):
    assert with_subscales(cell, "14").bad["reasons"].to_list() == [[reason]]


@pytest.mark.parametrize(
    ("instrument", "given", "message"),
    [
        ("DASS-21", {"sadness": "dep"}, "DASS-21 has no subscale sadness; it has depression, anxiety, stress"),
        ("PHQ-9", {"total": "dep"}, "PHQ-9 has no subscale total; it has none besides the total, whose column is source_score"),
    ],
)
def test_a_mapping_names_only_subscales_that_are_there(instrument, given, message):
    with pytest.raises(UsageError, match=message):
        mapped(GOOD, instrument=instrument, source_score=None, source_subscales=given)


@pytest.mark.parametrize(
    ("cell", "answer"),
    [
        ("3", 3),
        (" 3 ", 3),
        ("+3", 3),
        ("3.0", 3),  # how many tools write a whole number beside a missing cell
        ("03", 3),
        ("", None),
        (None, None),
        ("  ", None),
        ("9999", None),  # declared to mean missing
        ("NA", None),
    ],
)
def test_a_cell_that_can_be_read(cell, answer):
    result = mapped(with_first(cell))
    assert answers_of(result) == [[answer, 1, 2, 3, 0, 1, 2]]
    assert result.bad.is_empty()


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("4", "q1:range"),
        ("-1", "q1:range"),
        ("999999999999999999999", "q1:range"),  # beyond 64 bits, still a number
        ("2.5", "q1:type"),
        ("two", "q1:type"),
        ("na", "q1:type"),  # sentinels are matched exactly
        ("1e0", "q1:type"),
        ("NaN", "q1:type"),
        ("\N{ARABIC-INDIC DIGIT THREE}", "q1:type"),
    ],
)
def test_a_cell_that_cannot_be_read_refuses_its_row_only(cell, reason):
    result = mapped(GOOD, with_first(cell), GOOD)
    assert result.bad.rows() == [(1, "r1", [reason])]
    assert result.responses["row"].to_list() == [0, 2]


def test_all_reasons_of_a_row_are_named():
    assert mapped(["7", "x", *GOOD[2:]]).bad["reasons"].to_list() == [["q1:range", "q2:type"]]


@pytest.mark.parametrize(
    ("cell", "score", "reason"),
    [
        ("9", 9.0, None),
        ("9.5", 9.5, None),
        ("NA", None, None),
        ("", None, None),
        ("nine", None, "sum:type"),
        ("inf", None, "sum:not_finite"),
    ],
)
def test_the_source_score_is_a_number_of_its_own(cell, score, reason):
    result = map_wide(make_table(GOOD).with_columns(sum=pl.lit(cell)), read_mapping(BASE), load_instruments())
    assert result.responses["source_score"].to_list() == ([] if reason else [score])
    assert result.bad["reasons"].to_list() == ([[reason]] if reason else [])


def test_labels_are_matched_whatever_their_case_but_never_guessed():
    words = ["Not at all", "several days", "More than half the days", " Nearly every day ", "Over half the days", "NA", ""]
    result = mapped(words, [*words[:6], "Nearly"], [*words[:6], "3"], coding="labels")
    assert answers_of(result) == [[0, 1, 2, 3, 2, None, None]]
    assert result.bad.rows() == [(1, "r1", ["q7:label"]), (2, "r2", ["q7:label"])]
    assert result.unknown_labels == {"3": 1, "Nearly": 1}
    assert (result.counts, result.refused) == (CodeCounts(), None)


def test_a_mapping_may_add_labels():
    result = mapped(["Nearly"] * 7, coding="labels", labels={"Nearly": 3})
    assert answers_of(result) == [[3] * 7]


def test_a_declared_coding_is_shifted_to_that_of_the_form():
    result = mapped(["1", "2", "3", "4", "1", "2", "3"], ["0", *["2"] * 6], declared={"minimum": 1, "maximum": 4})
    assert answers_of(result) == [[0, 1, 2, 3, 0, 1, 2]]
    assert result.bad["reasons"].to_list() == [["q1:range"]]
    assert result.counts.cells == {0: 1, 1: 2, 2: 8, 3: 2, 4: 1}  # as the file writes them


def test_counts_of_parts_add_up_to_the_counts_of_the_whole():
    rows = [GOOD, with_first("4"), with_first(None), [None] * 7, with_first("x"), with_first("123456789")]
    parts = [mapped(*rows[:2]).counts, mapped(*rows[2:]).counts, CodeCounts()]
    assert sum(parts, CodeCounts()) == mapped(*rows).counts
    assert (mapped(*rows).counts.rows, mapped(*rows).counts.rows_outside) == (5, 2)
    assert max(mapped(*rows).counts.cells) == 10_000  # a column of long numbers is not kept number by number


def test_explicit_columns_and_constants():
    columns = ["q7", "q6", "q5", "q4", "q3", "q2", "q1"]
    table = make_table(GOOD)
    mapping = read_mapping({
        "instrument": "GAD-7", "response_id": "id", "patient_id": "id", "items": columns,
        "completed_at_constant": "2025-01-01T00:00:00Z", "uploaded_at_constant": "2025-01-02T00:00:00Z",
    })  # fmt: skip
    (row,) = map_wide(table, mapping, load_instruments()).responses.rows(named=True)
    assert row["answers"] == [2, 1, 0, 3, 2, 1, 0]
    assert (row["completed_at"], row["uploaded_at"]) == ("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z")
    assert (row["patient_id"], row["time_zone"], row["source_score"]) == ("r0", None, None)


def test_a_missing_column_refuses_the_file():
    result = map_wide(make_table(GOOD).drop("q3", "when"), read_mapping(BASE), load_instruments())
    assert result.refused.rule == "file:columns"
    assert "column when is not in the file (2 columns missing)" in result.refused.message
    assert result.responses.schema == mapped(GOOD).responses.schema
    assert (result.responses.height, result.bad.height) == (0, 0)


def test_an_empty_table_gives_nothing():
    result = mapped()
    assert (result.responses.height, result.bad.height, result.counts, result.refused) == (0, 0, CodeCounts(), None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instrument": "BDI"}, "instrument: BDI is not known; there are: BDI-II"),
        ({"form_version": "draft"}, "form_version: GAD-7 has standard"),
        ({"instrument": "ERQ", "items": "q{}"}, "ERQ has no total to stand beside it, only reappraisal, suppression; leave it out"),
        ({"instrument": "BDI-II", "form_version": "totals", "items": [], "source_score": None}, "BDI-II is kept as the total"),
        ({"items": "q"}, "the template 'q' must hold"),
        ({"items": ["q1", "q2"]}, "2 different columns are listed, the form has 7"),
        ({"items": ["q1"] * 7}, "1 different columns are listed"),
        ({"declared": {"minimum": 1, "maximum": 5}}, "declared: 1-5 cannot be shifted to the coding 0-3"),
        ({"declared": {"minimum": 1, "maximum": 4}, "coding": "labels"}, "with labels map each label"),
        ({"labels": {"Often": 4}, "coding": "labels"}, "'Often' has code 4, outside the coding 0-3"),
        ({"completed_at_constant": "2025-01-01"}, "either completed_at"),
        ({"uploaded_at": "when", "uploaded_at_constant": "2025-01-01"}, "not both"),
        ({"coding": "text"}, "wide.coding: expected one of codes, labels"),
        ({"missing": "NA"}, "wide.missing: expected a list"),
        ({"missing": [9999]}, r"wide.missing\[0\]: expected text"),
        ({"item": "q{}"}, "wide.item: not a key it knows; there are: .*items"),
    ],
)
def test_a_mapping_that_does_not_fit_says_why(changes, message):
    with pytest.raises(UsageError, match=message):
        mapped(GOOD, **changes)
