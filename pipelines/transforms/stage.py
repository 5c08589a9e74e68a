# SPDX-License-Identifier: Apache-2.0
"""Beam shells around `stage_files` and the re-placing of known facts: one element is a shard, or one fact file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam

from pipelines.replace import FactFile, ReplacePlan, replace_facts
from pipelines.stage import ShardWork, StagePlan, stage_files


class _Stage(beam.DoFn):  # type: ignore[misc]
    def __init__(self, plan: StagePlan) -> None:
        self.plan = plan

    def process(self, work: ShardWork) -> Iterable[dict[str, Any]]:
        yield asdict(stage_files(work, self.plan))


@dataclass(eq=False)  # Beam keeps notes on its transforms, so not frozen
class StageShards(beam.PTransform):  # type: ignore[misc]
    """Derive every shard from its facts; one result each."""

    plan: StagePlan

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        """Beam's hook: shards in, results of `stage_files` as plain dicts out."""
        return shards | "StageFiles" >> beam.ParDo(_Stage(self.plan))


class _Replace(beam.DoFn):  # type: ignore[misc]
    def __init__(self, plan: ReplacePlan) -> None:
        self.plan = plan

    def process(self, file: FactFile) -> Iterable[list[dict[str, Any]]]:
        yield [asdict(ref) for ref in replace_facts(file, self.plan)]


@dataclass(eq=False)  # Beam keeps notes on its transforms, so not frozen
class ReplaceFacts(beam.PTransform):  # type: ignore[misc]
    """Send facts that are already staged to the shard where they belong by other knowledge; one result per file."""

    plan: ReplacePlan

    def expand(self, files: beam.PCollection) -> beam.PCollection:
        """Beam's hook: fact files in, spill references as plain dicts out."""
        return files | "ReplaceFacts" >> beam.ParDo(_Replace(self.plan))
