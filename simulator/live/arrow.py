# SPDX-License-Identifier: Apache-2.0
"""JSON records as one Arrow IPC stream, exactly: what Arrow would change or refuse stays JSON."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.json as pj

from schemas.contract import Contract
from schemas.frames import arrow_schema, wire_schema


def _table(texts: Sequence[bytes], wire: pa.Schema) -> pa.Table | None:
    """The records as columns, or None when any of them is no object of exactly these columns."""
    data = b"\n".join(texts)
    if not all(t.startswith(b"{") for t in texts):  # a bare `null` ends pyarrow's reader with a crash
        return None
    try:
        data.decode("utf-8")
        table = pj.read_json(
            io.BytesIO(data),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pj.ParseOptions(explicit_schema=wire, unexpected_field_behavior="error"),
        )
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    return table.select(wire.names) if table.num_rows == len(texts) and set(wire.names) <= set(table.column_names) else None


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
    wire = arrow_schema(wire_schema(contract))
    left: list[bytes] = []
    table = _table(texts, wire)
    if table is None:
        judged = [(text, _table([text], wire) is not None) for text in texts]
        left = [text for text, sound in judged if not sound]
        sound = [text for text, fits in judged if fits]
        table = _table(sound, wire) if sound else None
        left += sound if table is None else []
    if table is None:
        return None, left
    table = _with_instants(table, contract).combine_chunks()
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue(), left
