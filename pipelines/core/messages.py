# SPDX-License-Identifier: Apache-2.0
"""Streamed messages to columns, by the same parsers as files: runs of JSON messages in one go, Arrow messages one by one.

A table of messages is both what a consumer hands over and what landing keeps (`.messages`, Arrow IPC): value and headers are the bytes
as they arrived. Every record of a message has a line: records are counted through the table, and a message that cannot be read takes
one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pipelines.core.parse_arrow import FileRefused, check_arrow_schema, parse_arrow
from pipelines.core.parse_json import parse_json
from pipelines.core.rows import KEPT_BYTES, Broken, Parsed, TextChunk
from schemas.contract import Contract
from schemas.envelope import ARROW, JSON, is_readable_version

# `appended`: the broker stamped the message when it came in (LogAppendTime), so its timestamp can be trusted
SCHEMA = pa.schema([
    ("partition", pa.int32()), ("offset", pa.int64()), ("timestamp_ms", pa.int64()), ("appended", pa.bool_()), ("key", pa.binary()),
    ("value", pa.large_binary()), ("content_type", pa.string()), ("schema", pa.string()),
])  # fmt: skip
MAX_ARROW = 64 << 20  # bytes of an Arrow message; producers cut larger uploads
_ANY_JSON = msgspec.json.Decoder(msgspec.Raw)


@dataclass(frozen=True)
class MessageRows:
    """Parsed rows of neighbouring messages and what they were parsed from."""

    parsed: Parsed
    origin: TextChunk | pa.Table | None


def records_of(table: pa.Table, contract: Contract) -> tuple[Iterator[MessageRows], npt.NDArray[np.int64]]:
    """Parse a table of messages; return the rows as they are read and, complete once they are, the first line of each message."""
    first = np.zeros(table.num_rows, np.int64)
    return _read(table, contract, first), first


def _read(table: pa.Table, contract: Contract, first: npt.NDArray[np.int64]) -> Iterator[MessageRows]:
    run: list[bytes] = []
    start = line = 1
    columns = (table[c].to_pylist() for c in ("value", "content_type", "schema"))
    for i, (value, content_type, version) in enumerate(zip(*columns, strict=True)):
        kind = _kind(value, content_type, version, contract)
        if kind != JSON and run:
            yield _json_run(run, start, contract)
            run = []
        first[i] = line
        if kind == JSON:
            start = start if run else line
            run.append(_one_line(value))
            line += run[-1].count(b"\n") + 1
            continue
        rows = _arrow(value, line, contract) if kind == ARROW else _refused(value or b"", line, kind)
        line += rows.parsed.frame.height + len(rows.parsed.broken)
        yield rows
    if run:
        yield _json_run(run, start, contract)


def _kind(value: bytes | None, content_type: str | None, version: str | None, contract: Contract) -> str:
    """How to read a message: JSON, ARROW, or the rule it breaks."""
    if not is_readable_version(version, contract):
        return "message:schema"
    if value is None or not value.strip():
        return "message:empty"
    kind = (content_type or JSON).partition(";")[0].strip().lower()
    return kind if kind in (JSON, ARROW) else "message:content_type"


def _one_line(value: bytes) -> bytes:
    """A JSON message without blank ends; an object printed over several lines becomes one (a newline in it is only white space)."""
    value = value.strip()
    if b"\n" in value:
        try:
            _ANY_JSON.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return value  # several objects, or something that is refused line by line
        return value.replace(b"\n", b" ")
    return value


def _json_run(run: list[bytes], start: int, contract: Contract) -> MessageRows:
    chunk = TextChunk(b"\n".join(run), start)
    return MessageRows(parse_json(chunk, contract), chunk)


def _arrow(value: bytes, line: int, contract: Contract) -> MessageRows:
    if len(value) > MAX_ARROW:
        return _refused(value, line, "message:too_long")
    try:
        with pa.ipc.open_stream(value) as stream:
            check_arrow_schema(stream.schema, contract)
            table = stream.read_all()
        table.validate(full=True)  # offsets that point outside would be read without a check
    except FileRefused:
        return _refused(value, line, "message:columns")
    except (pa.ArrowException, OSError, ValueError):
        return _refused(value, line, "message:arrow")
    if not table.num_rows:
        return _refused(value, line, "message:empty")
    return MessageRows(parse_arrow(table, line, contract), table)


def _refused(value: bytes, line: int, rule: str) -> MessageRows:
    return MessageRows(Parsed(pl.DataFrame(), [Broken(line, value[:KEPT_BYTES], (rule,))]), None)
