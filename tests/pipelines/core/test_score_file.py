# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from pipelines.core.score_file import score_file
from schemas.errors import UsageError, VNSightError
from schemas.instrument import load_instruments

HEADER = "id,q1,q2,q3,q4,q5,q6,q7\n"


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="survey.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_file


def test_codes_in_file_order(write):
    scores = score_file(write(HEADER + "b,0,1,2,3,0,1,2\na,3,3,3,3,3,NA,9999\n"), "GAD-7", id="id", missing=("NA", "9999"))
    assert scores.columns == ["id", "instrument", "subscale", "score", "status", "n_answered", "band", "reason"]
    assert scores.rows() == [
        ("b", "GAD-7", "total", 9, "complete", 7, "mild", None), ("a", "GAD-7", "total", 21, "prorated", 5, "severe", None),
    ]  # fmt: skip


def test_a_score_has_its_band_and_an_absent_one_its_reason(write):
    answered = {"minimal": "1,1,1,1,0,0,0", "mild": "1,1,1,1,1,0,0", "moderate": "2,2,2,2,2,0,0", "severe": "3,3,3,3,3,0,0"}
    lines = [f"{band},{answers}\n" for band, answers in answered.items()]
    scores = score_file(write(HEADER + "".join(lines) + "none,3,,,,,,\n" + lines[0]), "GAD-7", id="id")
    *told, absent, again = scores.select("id", "score", "band", "reason").rows()
    assert told == [(band, score, band, None) for band, score in zip(answered, (4, 5, 10, 15), strict=True)]
    assert absent[:3] == ("none", None, None)
    assert absent[3].startswith("answered 1 of 7, needs ")
    assert again == told[0]


def test_without_published_bands_there_is_no_band(write):
    header = ",".join(f"d{i}" for i in range(1, 37))
    assert score_file(write(header + "\n" + ",".join(["1"] * 36) + "\n"), "DERS-36", items="d{}")["band"].unique().to_list() == [None]


def test_without_an_id_the_row_number_stands_for_it_and_equal_ids_stay_apart(write):
    rows = HEADER + "x,1,1,1,1,1,1,1\nx,2,2,2,2,2,2,2\n"
    assert score_file(write(rows), "GAD-7").select("id", "score").rows() == [("1", 7), ("2", 14)]
    assert score_file(write(rows), "GAD-7", id="id").select("id", "score").rows() == [("x", 7), ("x", 14)]


def test_labels_are_recognised(write):
    row = "a," + ",".join(["Not at all", "Several days", "Over half the days", "Nearly every day", "", "NA", "several days"])
    assert score_file(write(HEADER + row), "GAD-7", missing=("NA",))["score"].to_list() == [7 * 7 / 5]


def test_every_subscale_is_a_row(write):
    header = ",".join(f"d{i}" for i in range(1, 37))
    scores = score_file(write(header + "\n" + ",".join(["1"] * 36) + "\n"), "DERS-36", items="d{}")
    assert dict(scores.select("subscale", "score").rows()) == {
        "nonacceptance": 6, "goals": 9, "impulse": 10, "awareness": 30, "strategies": 12, "clarity": 13, "total": 80, "total_30": 50,
    }  # fmt: skip


FORMS = [(one.id, version) for one in load_instruments().values() for version, form in one.forms.items() if form.items]


@pytest.mark.parametrize(("name", "version"), FORMS)
def test_every_form_that_ships_can_be_scored(write, name, version):
    one = load_instruments()[name]
    legal = [sorted(one.points(version, item)) for item in one.forms[version].items]
    rows = [[codes[0] for codes in legal], [codes[-1] for codes in legal], [codes[0] for codes in legal[:-1]] + [""]]
    lines = [["id", *(f"q{i}" for i in range(1, len(legal) + 1))], *([n, *row] for n, row in enumerate(rows, start=1))]
    scores = score_file(write("\n".join(",".join(map(str, line)) for line in lines)), name, id="id", form_version=version)
    assert scores.select("id", "subscale").rows() == [(id, s) for id in "123" for s in one.subscales]
    for row in scores.rows(named=True):
        ends = one.subscales[row["subscale"]].range
        assert (row["score"] is None) is (row["status"] == "unscorable")
        assert row["score"] is None or ends.minimum <= row["score"] <= ends.maximum
    assert scores.filter(pl.col("id") != "3")["status"].unique().to_list() == ["complete"]
    for s in one.subscales:  # all lowest and all highest codes mirror each other, whatever is reversed
        first, second = scores.filter(pl.col("subscale") == s, pl.col("id") != "3")["score"]
        assert first + second == one.subscales[s].range.minimum + one.subscales[s].range.maximum


@pytest.mark.parametrize("name", ["BDI-II", "QOLIE-31"])
def test_an_instrument_kept_as_a_total_says_that_there_is_nothing_to_add_up(write, name):
    with pytest.raises(UsageError, match=f"{name} has no form standard; there are: totals"):
        score_file(write(HEADER + "a,0,1,2,3,0,1,2\n"), name)
    with pytest.raises(UsageError, match=f"{name}, form totals has no items to score: it is kept as the total of the source"):
        score_file(write(HEADER + "a,0,1,2,3,0,1,2\n"), name, form_version="totals")


def test_tab_separated_and_parquet_give_the_same(write, tmp_path):
    text = HEADER + "007,0,1,2,3,0,1,2\n008,0,1,2,3,0,,\n"
    expected = score_file(write(text), "GAD-7", id="id")
    assert expected["id"].to_list() == ["007", "008"]
    assert score_file(write(text.replace(",", "\t"), "survey.tsv"), "GAD-7", id="id").equals(expected)
    table = pl.read_csv(tmp_path / "survey.csv", schema_overrides={"id": pl.String, "q6": pl.Float64})
    table.write_parquet(tmp_path / "survey.parquet")
    assert score_file(tmp_path / "survey.parquet", "GAD-7", id="id").equals(expected)


def test_a_byte_order_mark_blank_lines_and_quoted_line_breaks_do_no_harm(write):
    text = b"\xef\xbb\xbf" + (HEADER + '"a\nb",1,1,1,1,1,1,1\n\n"c",2,2,2,2,2,2,2\n\n').encode()
    assert score_file(write(text), "GAD-7", id="id").select("id", "score").rows() == [("a\nb", 7), ("c", 14)]


def test_a_file_with_a_header_only_has_no_scores(write):
    assert score_file(write(HEADER), "GAD-7", id="id").is_empty()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,0,1,2,4,0,1,2\n", r"survey.csv line 2, q4, range: .*form version.* 1 such cells in 1 of 1 rows"),
        ('"a\nb",0,0,0,0,0,0,0\n\nc,0,0,x,0,0,0,0\n', r"survey.csv line 5, q3, type: not a whole number"),
        ("a,0,1,2,3,0,1\n", r"survey.csv line 2: 7 cells where the header has 8 \(line:columns\)"),
        ("a,0,1,2,3,0,1,2,3\n", r"survey.csv line 2: 9 cells"),
        ("a,1,2,3,4,1,2,3\n" * 9, r"survey.csv, file:coding: declared 0-3, but codes 1 to 4 occur .*looks like 1-4"),
        (b"a,\xff,1,2,3,0,1,2\n", "survey.csv cannot be read as a table: .*utf-8"),
    ],
)
def test_what_cannot_be_read_is_named_and_nothing_is_scored(write, rows, message):
    text = HEADER.encode() + (rows if isinstance(rows, bytes) else rows.encode())
    with pytest.raises(VNSightError, match=message):
        score_file(write(text), "GAD-7", id="id")


def test_a_rare_label_is_counted_but_not_repeated(write):
    common, own_words = "a," + ",".join(["Always"] * 7) + "\n", "b," + ",".join(["Several days"] * 6) + ",my own words\n"
    with pytest.raises(VNSightError) as error:
        score_file(write(HEADER + common * 2 + own_words + own_words.replace("my own words", "") * 3), "GAD-7")
    assert "15 such cells in 3 of 6 rows" in str(error.value)
    assert "'Always' in 14 cells" in str(error.value)
    assert "my own words" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("survey.csv", {"instrument": "GAD-8"}, "no instrument is called GAD-8; there are: .*GAD-7"),
        ("survey.csv", {"items": "Item{}"}, "survey.csv: no column is called Item1; it has id, q1"),
        ("survey.csv", {"items": "q"}, "the template 'q' must hold {} once"),
        ("survey.csv", {"id": "ID"}, "no column is called ID"),
        ("survey.csv", {"form_version": "v2"}, "GAD-7 has no form v2; there are: standard"),
        ("survey.xlsx", {}, "the ending says neither CSV, TSV nor Parquet"),
    ],
)
def test_a_wrong_call_says_what_there_is(write, name, options, message):
    with pytest.raises(UsageError, match=message):
        score_file(write(HEADER, name), **{"instrument": "GAD-7", **options})


def test_a_missing_empty_or_ambiguous_file(write, tmp_path):
    with pytest.raises(UsageError, match=r"nowhere.csv is not a file"):
        score_file(tmp_path / "nowhere.csv", "GAD-7")
    with pytest.raises(VNSightError, match=r"survey.csv is empty"):
        score_file(write(""), "GAD-7")
    with pytest.raises(VNSightError, match=r"line 1: two columns are called 'q1'"):
        score_file(write("q1,q1\n1,2\n"), "GAD-7")
    with pytest.raises(VNSightError, match=r"broken.parquet cannot be read"):
        score_file(write("no parquet", "broken.parquet"), "GAD-7")
