# SPDX-License-Identifier: Apache-2.0
"""NDJSON to columns: a whole chunk at once, line by line only where something in the chunk is broken; never a silent coercion."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.json as pj

from pipelines.core.rows import KEPT_BYTES, MAX_LINE, Broken, Parsed, TextChunk
from schemas.contract import Contract, load_contract
from schemas.frames import arrow_schema, wire_schema

_PYTHON = {
    "string": str, "timestamp": str, "integer": int, "number": float, "boolean": bool, "date": str,
    "array<integer>": list[int | None], "array<number>": list[float | None], "array<string>": list[str | None],
}  # fmt: skip
_TEXT_TYPES = {"string", "timestamp", "date"}


class _Refused(ValueError):
    """A line breaks a rule of its own; the message is the rule."""


@cache
def _wire(source: str) -> tuple[dict[str, pl.DataType], pa.Schema, msgspec.json.Decoder[Any]]:
    contract = load_contract(source)
    fields = [(c.name, _PYTHON[c.type] | None, None) for c in contract.columns]
    schema = wire_schema(contract)
    return schema, arrow_schema(schema), msgspec.json.Decoder(msgspec.defstruct(source, fields))


def parse_json(chunk: TextChunk, contract: Contract) -> Parsed:
    """Parse the lines of a chunk by the types of the contract.

    Fields the contract does not name are ignored; an absent field is null. A line that is not one JSON object of the right types,
    repeats a key of the contract, nests too deep, holds NUL, NaN or bytes that are not UTF-8 becomes `Broken` with its rule.
    """
    lines = chunk.lines()
    frame = _parse_fast([line for _, line in lines], contract)
    if frame is not None and frame.height == len(lines):
        return Parsed(frame.with_columns(_line=pl.Series([n for n, _ in lines], dtype=pl.Int64)))
    decoder = _wire(contract.name)[2]
    sound = [(n, line) for n, line in lines if _is_sound(line, decoder)]
    frame = _parse_fast([line for _, line in sound], contract)
    if frame is None or frame.height != len(sound):
        return _parse_lines(lines, chunk.cut, contract)  # what the fast path saw and the decoder did not
    taken = {n for n, _ in sound}
    rest = _parse_lines([(n, line) for n, line in lines if n not in taken], chunk.cut, contract, last=lines[-1][0])
    numbered = frame.with_columns(_line=pl.Series([n for n, _ in sound], dtype=pl.Int64))
    return Parsed(pl.concat([numbered, rest.frame]), rest.broken)


def _is_sound(line: bytes, decoder: msgspec.json.Decoder[Any]) -> bool:
    if len(line) > MAX_LINE or b"\0" in line:
        return False
    try:
        decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _parse_fast(lines: list[bytes], contract: Contract) -> pl.DataFrame | None:
    """All lines in one go, or None when any of them needs a closer look."""
    schema, wire, _ = _wire(contract.name)
    if not lines or not all(line.lstrip().startswith(b"{") for line in lines):  # a bare `null` kills pyarrow 25 with SIGSEGV
        return None
    data = b"\n".join(lines)
    if max(map(len, lines)) > MAX_LINE or b"\0" in data or b"NaN" in data or b"Infinity" in data:
        return None
    try:
        data.decode("utf-8")
        table = pj.read_json(
            io.BytesIO(data),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pj.ParseOptions(explicit_schema=wire, unexpected_field_behavior="ignore"),
        ).select(list(schema))
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    if _may_repeat(data, table):
        return None
    return pl.DataFrame(pl.from_arrow(table), schema=schema)


def _may_repeat(data: bytes, table: pa.Table) -> bool:
    """Whether a line may hold a key twice: keys are written more often than rows have fields. Absent fields are written never.

    Counting all keys settles almost every chunk; keys of other names, or text that looks like one, need a count per field.
    """
    filled = sum(table.num_rows - c.null_count for c in table.itercolumns())
    if data.count(b'":') == filled + data.count(b'":null') + data.count(b'": null'):
        return False
    for name in table.column_names:
        key = name.encode()
        explicit = data.count(b'"%b":null' % key) + data.count(b'"%b": null' % key)
        if data.count(b'"%b"' % key) != table.num_rows - table[name].null_count + explicit:
            return True
    return False


def _parse_lines(lines: list[tuple[int, bytes]], cut: bool, contract: Contract, last: int | None = None) -> Parsed:
    """Line by line, with a reason for every refusal. What becomes of a line depends on that line alone, never on its neighbours."""
    schema = _wire(contract.name)[0]
    rows, numbers, broken = [], [], []
    last = last if last is not None else (lines[-1][0] if lines else 0)
    frames = []
    for number, line in lines:
        if (alone := _parse_fast([line], contract)) is not None and alone.height == 1:
            frames.append(alone.with_columns(_line=pl.lit(number, dtype=pl.Int64)))  # sound by itself, whatever stands beside it
            continue
        try:
            row = _object(line, schema)
            rules = [rule for c in contract.columns if (rule := _type_rule(c.name, c.type, row.get(c.name)))]
        except _Refused as refusal:
            rule = str(refusal)
            cut_off = cut and number == last and rule == "line:malformed"
            kept = line[:KEPT_BYTES] if rule == "line:too_long" else line
            broken.append(Broken(number, kept, ("line:truncated" if cut_off else rule,)))
            continue
        if rules:
            broken.append(Broken(number, line, tuple(rules), _readable_id(row, contract)))
        else:
            rows.append(row)
            numbers.append(number)
    frame = pl.DataFrame({n: pl.Series([r.get(n) for r in rows], dtype=t) for n, t in schema.items()}, schema=schema)
    frames.append(frame.with_columns(_line=pl.Series(numbers, dtype=pl.Int64)))
    return Parsed(pl.concat(frames).sort("_line"), broken)


def _object(line: bytes, fields: Mapping[str, Any]) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise _Refused("line:too_long")
    if b"\0" in line:
        raise _Refused("line:nul")
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=_Pairs)
        if b"\\u" in line:  # half of a surrogate pair is an escape that stands for no character
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError as error:
        raise _Refused("line:utf8") from error
    except RecursionError as error:
        raise _Refused("line:too_deep") from error
    except ValueError as error:
        raise _Refused("line:malformed") from error
    if not isinstance(value, _Pairs):
        raise _Refused("line:not_object")
    names = [name for name, _ in value if name in fields]
    if len(set(names)) != len(names):
        raise _Refused("line:duplicate_key")
    return dict(value)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it was written, so that a repeated key can still be seen."""


def _type_rule(name: str, kind: str, value: Any) -> str | None:
    """The rule that a decoded value breaks by its type; integers count as numbers, booleans do not."""
    if value is None:
        return None
    if kind.startswith("array"):
        if not isinstance(value, list) or isinstance(value, _Pairs):
            return f"{name}:type"
        inner = kind[6:-1]
        return next((rule for v in value if (rule := _type_rule(name, inner, v))), None)
    if kind in _TEXT_TYPES:
        return None if isinstance(value, str) else f"{name}:type"
    if kind == "boolean":
        return None if isinstance(value, bool) else f"{name}:type"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{name}:type"
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - only NaN differs from itself
        return f"{name}:not_finite"
    if kind == "integer" and not (isinstance(value, int) and -(2**63) <= value < 2**63):
        return f"{name}:type"
    return None


def _readable_id(row: dict[str, Any], contract: Contract) -> str | None:
    """The record's id when every part of its key is there as text or a whole number."""
    parts = [row.get(k) for k in contract.key]
    return "/".join(str(p) for p in parts) if all(isinstance(p, str | int) for p in parts) else None
