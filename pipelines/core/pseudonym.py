# SPDX-License-Identifier: Apache-2.0
"""Keyed pseudonyms: the only identifiers beyond landing. HMAC-SHA256 with a key kept outside the data, cut to 64 bits.

Inside staged tables a key is a signed 64-bit integer; in marts and on screen the same bits are 16 hexadecimal characters, because
clients such as R read BIGINT as a double and would merge patients. At 10 million ids a collision has a chance of about 3 in a million.
"""

from __future__ import annotations

import hmac

import numpy as np
import polars as pl

from schemas.contract import Contract, Identifier


def key_of(secret: bytes, kind: Identifier, identifier: str) -> int:
    """Pseudonym of one identifier as a signed 64-bit integer.

    >>> key_text(key_of(b"secret", "patient", "P-1"))
    'eacdec8f4dfcfd2e'
    """
    digest = hmac.digest(secret, f"{kind}:{identifier}".encode(), "sha256")
    return int.from_bytes(digest[:8], "big", signed=True)


def key_text(key: int) -> str:
    """A key as 16 lower-case hexadecimal characters."""
    return f"{key & 0xFFFFFFFFFFFFFFFF:016x}"


def key_texts(keys: pl.Series) -> pl.Series:
    """Keys as 16 hexadecimal characters each, vectorised; null stays null."""
    raw = np.ascontiguousarray(keys.fill_null(0).to_numpy().astype(">i8")).view(np.uint8).reshape(-1, 8)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.empty((len(raw), 16), np.uint8)
    text[:, 0::2], text[:, 1::2] = digits[raw >> 4], digits[raw & 15]
    texts = pl.Series(keys.name, np.frombuffer(text.tobytes(), "S16").astype("U16"), dtype=pl.String)
    return texts.set(keys.is_null(), None)


def replace_identifiers(frame: pl.DataFrame, contract: Contract, secret: bytes) -> pl.DataFrame:
    """Replace every `x_id` of the contract by its key `x_key`, in place of the column; null stays null."""
    for column in contract.columns:
        if column.identifier:
            distinct = frame[column.name].unique().drop_nulls()
            keys = [key_of(secret, column.identifier, i) for i in distinct]
            table = pl.DataFrame({column.name: distinct, column.staged_name: pl.Series(keys, dtype=pl.Int64)})
            frame = frame.join(table, on=column.name, how="left", maintain_order="left")
    return frame.drop([c.name for c in contract.columns if c.identifier])
