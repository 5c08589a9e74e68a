# SPDX-License-Identifier: Apache-2.0
"""What the steps of the streaming graph share."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.core.cells import CellOptions
from schemas.envelope import PREFIX

KEYED = tuple[int, bytes]


@dataclass(frozen=True)
class StreamOptions:
    """What the steps share. `settle_s`: event time after which news is looked at. `remember_days`: how long the facts of a patient of whom
    nothing comes are kept (None: for ever); what comes later is counted and left to the nightly run."""

    home: str
    prefix: str = PREFIX
    cells: CellOptions = field(default_factory=CellOptions)
    settle_s: float = 3600.0
    remember_days: float | None = None
    most_blocks: int = 64  # of a key, before they are made one per source when somebody looks
    least_bytes: int = 256 << 10  # that come to a key, before its blocks are made few without a look
