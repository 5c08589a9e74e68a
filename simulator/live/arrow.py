# SPDX-License-Identifier: Apache-2.0
"""JSON records as one Arrow IPC stream, exactly: what Arrow would change or refuse stays JSON."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.json as pj

from schemas.contract import Contract, load_contract
from schemas.frames import arrow_schema, wire_schema

_PYTHON = {
    "string": str, "timestamp": str, "date": str, "integer": int, "number": float, "boolean": bool,
    "array<integer>": list[int | None], "array<number>": list[float | None], "array<string>": list[str | None],
}  # fmt: skip


@cache
def _formats(source: str) -> tuple[pa.Schema, msgspec.json.Decoder[Any]]:
    """A source's columns as Arrow takes them from JSON, and a decoder of exactly such rows."""
    contract = load_contract(source)
    fields = [(c.name, _PYTHON[c.type] | None) for c in contract.columns]
    return arrow_schema(wire_schema(contract)), msgspec.json.Decoder(msgspec.defstruct(source, fields, forbid_unknown_fields=True))


def _is_row(text: bytes, row: msgspec.json.Decoder[Any]) -> bool:
    try:
        row.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return text.startswith(b"{")  # a bare `null` would end pyarrow's reader with a crash


def _table(texts: Sequence[bytes], wire: pa.Schema) -> pa.Table | None:
    """The rows as columns, or None when Arrow refuses one of them or takes it for several."""
    data = b"\n".join(texts)
    try:
        table = pj.read_json(
            io.BytesIO(data),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pj.ParseOptions(explicit_schema=wire, unexpected_field_behavior="error"),
        )
    except pa.ArrowException:
        return None
    return table.select(wire.names) if table.num_rows == len(texts) else None


def _with_instants(table: pa.Table, contract: Contract) -> pa.Table:
    """Timestamps as instants; a column in which any has no zone stays text, for a local time is no instant."""
    for column in contract.columns:
        if column.type == "timestamp":
            place = table.schema.get_field_index(column.name)
            try:
                table = table.set_column(place, column.name, table[column.name].cast(pa.timestamp("us", "UTC")))
            except pa.ArrowInvalid:
                continue
    return table


def to_arrow(texts: Sequence[bytes], contract: Contract) -> tuple[bytes | None, list[bytes]]:
    """Return an Arrow IPC stream of the records that fit the contract's columns (None if none does), and the records that do not."""
    wire, row = _formats(contract.name)
    fits = [_is_row(text, row) for text in texts]
    sound = [text for text, good in zip(texts, fits, strict=True) if good]
    left = [text for text, good in zip(texts, fits, strict=True) if not good]
    table = _table(sound, wire) if sound else None
    if table is None and len(sound) > 1:  # one of them is more than meets the eye: judge each alone
        alone = [_table([text], wire) for text in sound]
        left += [text for text, single in zip(sound, alone, strict=True) if single is None]
        singles = [single for single in alone if single is not None]
        table = pa.concat_tables(singles) if singles else None
    elif table is None:
        left += sound
    if table is None:
        return None, left
    table = _with_instants(table, contract).combine_chunks()
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue(), left
