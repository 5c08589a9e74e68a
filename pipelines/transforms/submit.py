# SPDX-License-Identifier: Apache-2.0
"""Hand the streaming graph to a cluster."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.transforms.kafka_source import KafkaOptions, Place, ReadKafka
from pipelines.transforms.stream import StreamMarts, StreamOptions


def submit(
    name: str, partitions: Sequence[Place], source: KafkaOptions, options: StreamOptions, staged: Sequence[tuple[str, str]],
    arguments: Sequence[str],
) -> None:  # fmt: skip
    """Submit the job under a name and return once the runner has it; it runs on without this process.

    staged: (source, fact file) of what is known already.
    arguments: Beam's own, which name the runner and its environment; to go on from a savepoint they name that too.
    """
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    # Beam would list the packages of this machine with pip, which an environment of uv has not
    own = [f"--job_name={name}", "--max_cache_memory_usage_mb=200", "--experiments=disable_logging_submission_environment"]
    pipeline = beam.Pipeline(options=PipelineOptions([*arguments, *own]))
    pipeline | "Kafka" >> ReadKafka(list(partitions), source) | "Marts" >> StreamMarts(options, staged)
    pipeline.run()
