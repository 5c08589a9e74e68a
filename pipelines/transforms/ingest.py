# SPDX-License-Identifier: Apache-2.0
"""Beam shell around `ingest_piece`: one element is a piece of a landed file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam

from pipelines.ingest import IngestPlan, Piece, ingest_piece


class _Ingest(beam.DoFn):  # type: ignore[misc]
    def __init__(self, plan: IngestPlan) -> None:
        self.plan = plan

    def process(self, piece: Piece) -> Iterable[dict[str, Any]]:
        yield asdict(ingest_piece(piece, self.plan))


@dataclass(eq=False)  # Beam keeps notes on its transforms, so not frozen
class IngestPieces(beam.PTransform):  # type: ignore[misc]
    """Turn every piece of the landed files into spilled facts and quarantine parts; one result each."""

    plan: IngestPlan

    def expand(self, pieces: beam.PCollection) -> beam.PCollection:
        """Beam's hook: pieces in, results of `ingest_piece` as plain dicts out."""
        return pieces | "IngestPiece" >> beam.ParDo(_Ingest(self.plan))
