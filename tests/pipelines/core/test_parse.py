# SPDX-License-Identifier: Apache-2.0
"""Bad input, line by line: the right rule, the right line, nothing lost, and good neighbours untouched."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.parse_csv import parse_csv, split_records
from pipelines.core.parse_json import parse_json
from pipelines.core.rows import KEPT_BYTES, TextChunk
from schemas.contract import load_contract

SURVEY = load_contract("survey_responses")
GOOD = {"response_id": "r", "patient_id": "p", "instrument": "PHQ-9", "form_version": "standard", "completed_at": "2025-01-01T00:00:00Z",
        "uploaded_at": "2025-01-01T00:00:00Z", "answers": [0, None, 3], "source_score": 3}  # fmt: skip

BAD_LINES = {
    b'{"response_id": "a", "response_id": "b"}': "line:duplicate_key",
    b'{"answers": [1], "answers" : [2]}': "line:duplicate_key",
    b'{"source_score": NaN}': "source_score:not_finite",
    b'{"source_score": -Infinity}': "source_score:not_finite",
    b'{"source_score": "3"}': "source_score:type",
    b'{"source_score": true}': "source_score:type",
    b'{"answers": [1, 99999999999999999999]}': "answers:type",
    b'{"answers": [1.5]}': "answers:type",
    b'{"answers": 3}': "answers:type",
    b'{"response_id": 7}': "response_id:type",
    b"[1]": "line:not_object",
    b"null": "line:not_object",
    b"{bad": "line:malformed",
    b"{} {}": "line:malformed",
    b"\xff\xfe": "line:utf8",
    b'{"response_id": "a\xff"}': "line:utf8",
    b'{"response_id": "a\0"}': "line:nul",
    b"[" * 100_000: "line:too_deep",
    b'{"response_id": "' + b"x" * (1 << 20) + b'"}': "line:too_long",
}


@pytest.mark.parametrize(("line", "rule"), BAD_LINES.items(), ids=lambda v: v[:30] if isinstance(v, bytes) else v)
def test_a_bad_line_is_refused_by_its_rule_and_harms_no_other(line: bytes, rule: str):
    good = json.dumps(GOOD).encode()
    parsed = parse_json(TextChunk(b"\n".join([good, b"", line, good, b""]), first_line=10), SURVEY)
    assert [(b.line, b.rules, b.raw) for b in parsed.broken] == [(12, (rule,), line[:KEPT_BYTES] if rule == "line:too_long" else line)]
    assert parsed.frame["_line"].to_list() == [10, 13]
    assert parsed.frame["answers"].to_list() == [[0, None, 3]] * 2


def test_a_line_cut_off_by_the_end_of_the_file_is_truncated_but_not_one_in_the_middle():
    broken = parse_json(TextChunk(b'{"a\n{"b', 1, cut=True), SURVEY).broken
    assert [(b.line, b.rules) for b in broken] == [(1, ("line:malformed",)), (2, ("line:truncated",))]


def test_unknown_fields_are_ignored_and_absent_ones_null():
    parsed = parse_json(TextChunk(b'{"response_id": "r", "extra": {"deep": [1, {"x": 2}]}}', 1), SURVEY)
    assert parsed.frame.row(0, named=True)["patient_id"] is None
    assert not parsed.broken


def test_a_text_that_looks_like_a_key_is_no_duplicate_key():
    line = json.dumps(GOOD | {"response_id": "answers", "patient_id": 'say "answers": yes'}).encode()
    parsed = parse_json(TextChunk(line, 1), SURVEY)
    assert parsed.frame["response_id"].to_list() == ["answers"]


@given(st.lists(st.one_of(st.just(json.dumps(GOOD).encode()), st.sampled_from(sorted(BAD_LINES)), st.binary(max_size=30)), max_size=12))
def test_no_line_is_lost_whatever_the_bytes(lines):
    lines = [line.replace(b"\n", b" ") for line in lines]
    parsed = parse_json(TextChunk(b"\n".join(lines), 1), SURVEY)
    seen = sorted([*parsed.frame["_line"], *(b.line for b in parsed.broken)])
    assert seen == [i for i, line in enumerate(lines, start=1) if line.strip()]


HEADER = ("response_id", "answers", "source_score")
CSV_LINES = {
    b"a,b": "line:columns",
    b"a,b,c,d": "line:columns",
    b'a,"[1,x]",3': "answers:type",
    b'a,"{1}",3': "answers:type",
    b"a,[1],three": "source_score:type",
    b"a,[1],nan": "source_score:not_finite",
    b"a,[1],1e": "source_score:type",
    b"a\0,[1],3": "line:nul",
    b"\xff,[1],3": "line:utf8",
}


@pytest.mark.parametrize(("line", "rule"), CSV_LINES.items())
def test_a_bad_csv_record_is_refused_by_its_rule(line: bytes, rule: str):
    chunk = TextChunk(b"\n".join([b'x,"[0,null]",1.5', line, b"y,[],"]), first_line=2)
    parsed = parse_csv(chunk, HEADER, SURVEY)
    assert [(b.line, b.rules, b.raw) for b in parsed.broken] == [(3, (rule,), line)]
    assert parsed.frame.select("_line", "answers", "source_score").rows() == [(2, [0, None], 1.5), (4, [], None)]


def test_a_newline_inside_quotes_does_not_end_a_record_and_lines_stay_right():
    assert split_records(b'a,"x\ny"\nb,c\n\nd,e', 5) == [(5, b'a,"x\ny"'), (7, b"b,c"), (9, b"d,e")]


def test_a_stray_quote_does_not_swallow_the_rest():
    assert [n for n, _ in split_records(b'a,"x\nb,c\nd,e', 1)] == [1, 2, 3]


@given(st.lists(st.tuples(st.text(), st.lists(st.one_of(st.none(), st.integers(0, 4)))), min_size=1, max_size=8))
def test_csv_round_trip(rows):
    import csv
    import io

    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([(i.replace("\0", "").replace("\r", ""), json.dumps(a), "") for i, a in rows])
    parsed = parse_csv(TextChunk(out.getvalue().encode("utf-8", "replace"), 2), HEADER, SURVEY)
    assert parsed.frame.height + len(parsed.broken) == len(rows)
    assert parsed.frame["answers"].to_list() == [a for _, a in rows][: parsed.frame.height] or parsed.broken


def test_both_text_formats_give_the_same_fingerprint():
    from pipelines.core.validate import Provenance, validate

    row = GOOD | {"answers": [0, None, 3, 1, 1, 1, 1, 1, 1]}
    as_json = parse_json(TextChunk(json.dumps(row).encode(), 1), SURVEY)
    cells = ",".join(f'"{json.dumps(v)}"' if isinstance(v, list) else str(v) for v in row.values())
    as_csv = parse_csv(TextChunk(cells.encode(), 2), tuple(row), SURVEY)
    prints = [validate(p, SURVEY, Provenance(1, "f", 0), b"s").facts["_fingerprint"].to_list() for p in (as_json, as_csv)]
    assert prints[0] == prints[1]


def test_fingerprints_do_not_change_between_versions():
    """Staged rows outlive library versions: these numbers must never move."""
    from pipelines.core.fingerprint import fingerprint

    frame = pl.DataFrame({"t": ["a", None, ""], "i": [1, None, 0], "f": [0.5, None, -0.0], "l": [[1, None], None, []]})
    assert fingerprint(frame, ["t", "i", "f", "l"]).to_list() == FINGERPRINTS


def test_a_column_gained_later_changes_only_the_fingerprints_of_rows_that_use_it():
    from pipelines.core.fingerprint import fingerprint

    rows = [([], None), (["a"], None), (None, [1.0]), (None, None)]
    columns = {"s": pl.List(pl.String), "x": pl.List(pl.Float64)}
    frame = pl.DataFrame(rows, schema=columns, orient="row").with_columns(t=pl.lit("a"))
    later = fingerprint(frame, ["t"], ["s", "x"]).to_list()
    assert later[3] == fingerprint(frame, ["t"]).to_list()[0]
    assert len(set(later)) == 4


SUBSCALES = [
    (["stress", "anxiety"], [14, None], []),
    ([], [], []),
    (None, None, []),
    (["sadness"], [1], ["source_subscales:unknown"]),
    (["total"], [1], ["source_subscales:unknown"]),
    (["stress", "stress"], [1, 2], ["source_subscales:repeated"]),
    (["stress"], [1, 2], ["source_subscale_scores:length"]),
    (["stress"], None, ["source_subscale_scores:length"]),
    (None, [1], ["source_subscale_scores:length"]),
]


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize(("named", "scores", "rules"), SUBSCALES)
def test_scores_of_subscales_belong_to_subscales_of_the_instrument(named, scores, rules, form):
    from pipelines.core.validate import Provenance, validate

    row = GOOD | {"instrument": "DASS-21", "answers": [1] * 21, "source_subscales": named, "source_subscale_scores": scores}
    if form == "json":
        parsed = parse_json(TextChunk(json.dumps(row).encode(), 1), SURVEY)
    else:
        cells = (json.dumps(v).replace('"', '""') if isinstance(v, list) else "" if v is None else str(v) for v in row.values())
        parsed = parse_csv(TextChunk(",".join(f'"{c}"' if c else "" for c in cells).encode(), 2), tuple(row), SURVEY)
    done = validate(parsed, SURVEY, Provenance(1, "f", 0), b"s")
    assert [r for rs in done.refused["rules"].to_list() for r in rs] == rules
    if not rules:
        assert done.facts.select("source_subscales", "source_subscale_scores").row(0) == (named, scores)


FINGERPRINTS = [7907178631178070771, 12450056923383463647, 8103695356590250841]


ODD_BUT_SOUND = [
    b'{"response_id": "a", "note": 1, "note": 2}', b'{"response_id": "a", "x": {"y": 1, "y": 2}}',
    b'{"response_id": "a", "source_score": -0}',
    b'{"response_id": "a", "x": ' + b"[" * 3000 + b"]" * 3000 + b"}", b'{"response_id": "a", "x": ' + b"9" * 5000 + b"}",
    b'{"response_id": "answers", "answers": null}', json.dumps(GOOD).encode(),
]  # fmt: skip


@given(st.lists(st.sampled_from([*ODD_BUT_SOUND, *sorted(BAD_LINES)]), min_size=1, max_size=5))
def test_what_becomes_of_a_line_does_not_depend_on_its_neighbours(lines):
    together = parse_json(TextChunk(b"\n".join(lines), 1), SURVEY)
    for number, line in enumerate(lines, start=1):
        alone = parse_json(TextChunk(line, number), SURVEY)
        assert together.frame.filter(pl.col("_line") == number).rows() == alone.frame.rows()
        assert [b for b in together.broken if b.line == number] == list(alone.broken)
