# SPDX-License-Identifier: Apache-2.0
import io
import json

import polars as pl
import pyarrow as pa
import pytest

from pipelines.core.messages import SCHEMA, records_of
from schemas.contract import load_contract
from schemas.envelope import ARROW
from tests.small_world import response

CONTRACT = load_contract("survey_responses")


def arrow(rows: list[dict[str, object]]) -> bytes:
    sink = io.BytesIO()
    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def messages(*values: bytes | None, content_type: str | None = None, schema: str | None = None) -> pa.Table:
    rows = [
        {"partition": 0, "offset": i, "timestamp_ms": 0, "appended": False, "key": None, "value": v, "content_type": content_type,
         "schema": schema}
        for i, v in enumerate(values)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, SCHEMA)


def read(table: pa.Table) -> tuple[list[str], list[tuple[int, str]], list[int]]:
    """Ids that were read, (line, rule) of what was not, and the first line of every message."""
    rows, first = records_of(table, CONTRACT)
    parts = [r.parsed for r in rows]
    ids = [i for p in parts if p.frame.height for i in p.frame["response_id"]]
    return ids, [(b.line, b.rules[0]) for p in parts for b in p.broken], first.tolist()


def one(n: int) -> bytes:
    return json.dumps(response(n, 30, 1)).encode()


def test_an_object_several_lines_and_a_printed_object_are_all_read():
    printed = json.dumps(response(4, 30, 1), indent=2).encode()
    ids, refused, first = read(messages(one(1), one(2) + b"\n" + one(3) + b"\n", printed))
    assert ids == ["R1-30", "R2-30", "R3-30", "R4-30"]
    assert refused == []
    assert first == [1, 2, 4]


def test_arrow_messages_are_read_between_json_ones():
    table = pa.concat_tables([
        messages(one(1)), messages(arrow([response(2, 30, 1), response(3, 30, 1)]), content_type=ARROW), messages(one(4)),
    ])  # fmt: skip
    ids, refused, first = read(table)
    assert ids == ["R1-30", "R2-30", "R3-30", "R4-30"]
    assert refused == []
    assert first == [1, 2, 4]


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        (messages(one(1), schema="2.0.0"), "message:schema"),
        (messages(None), "message:empty"),
        (messages(b" \n "), "message:empty"),
        (messages(one(1), content_type="text/csv"), "message:content_type"),
        (messages(one(1), content_type=ARROW), "message:arrow"),
        (messages(arrow([response(1, 30, 1)])[:-200], content_type=ARROW), "message:arrow"),
        (messages(arrow([response(1, 30, 1) | {"patient_id": 7}]), content_type=ARROW), "message:columns"),
        (messages(b"\x00\xff"), "line:nul"),
        (messages(b'{"a":' * 100_000), "line:too_deep"),
        (messages(b'{"a":"' + b"x" * (2 << 20) + b'"}'), "line:too_long"),
        (messages(b"null"), "line:not_object"),
    ],
)  # fmt: skip
def test_a_poison_message_takes_one_line_and_its_neighbours_live(table: pa.Table, rule: str):
    whole = pa.concat_tables([messages(one(1)), table, messages(one(2))])
    ids, refused, first = read(whole)
    assert ids == ["R1-30", "R2-30"]
    assert refused == [(2, rule)]
    assert first == [1, 2, 3]


def test_versions_of_the_same_major_are_read():
    assert read(messages(one(1), schema="1"))[0] == read(messages(one(1), schema="1.7.2"))[0] == ["R1-30"]


def test_no_line_is_lost_however_messages_are_cut():
    values = [one(n) for n in range(1, 7)]
    together = read(messages(b"\n".join(values)))
    apart = read(messages(*values))
    assert together[0] == apart[0]
    assert pl.Series(apart[2]).to_list() == [1, 2, 3, 4, 5, 6]
