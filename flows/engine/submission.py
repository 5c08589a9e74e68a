# SPDX-License-Identifier: Apache-2.0
"""Hand a streaming job to a cluster: what it reads, how it looks, what it begins with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cluster import Cluster
from flows.engine.job import kafka_of, staged_facts
from pipelines.updates import begin_books
from schemas.workspace import Stream, Workspace

if TYPE_CHECKING:
    from pipelines.transforms.stream import StreamOptions

Place = tuple[str, int, int]


def hand_over(ws: Workspace, cluster: Cluster, name: str, options: Stream, places: Sequence[Place], resume: str | Path | None) -> None:
    """Submit the job under a name, to go on from a savepoint or checkpoint, or (None) at `places` with the facts that are staged."""
    from pipelines.transforms.kafka_source import KafkaOptions
    from pipelines.transforms.submit import submit

    topics = kafka_of(ws)
    table = next(t for t in ws.sources if t["name"] == topics.name)
    source = KafkaOptions(
        {k: v for k, v in topics.config.items() if k != "sasl.password"}, table.get("sasl_password_env"),
        table.get("sasl_password_file"), options.lag_s, options.idle_s if options.idle_s >= 0 else None,
    )  # fmt: skip
    arguments = cluster.beam_arguments(checkpoint_ms=options.checkpoint_ms, resume=resume)
    staged = staged_facts(ws)
    if resume is None:
        begin_books(ws.home, staged)
    submit(name, list(places), source, _stream_options(ws, options), staged, arguments)


def _stream_options(ws: Workspace, options: Stream) -> StreamOptions:
    from pipelines.core.cells import CellOptions
    from pipelines.core.segments import DoseOptions
    from pipelines.core.units import DAY_MS
    from pipelines.transforms.stream import StreamOptions

    s = ws.settings
    dose = DoseOptions(s.carry_limit_days * DAY_MS, s.charge_convention)
    cells = CellOptions(options.cells, s.windows_days, dose)
    return StreamOptions(str(ws.home), kafka_of(ws).prefix, cells, options.settle_s, options.remember_days or None)
