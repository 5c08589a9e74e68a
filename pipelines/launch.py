# SPDX-License-Identifier: Apache-2.0
"""Run a Beam graph on this machine: the runner named, its data-losing timer off, every element accounted for.

Beam 2.77's local runner flushes its streams from a timer that drops whatever is written between two of its steps, silently
(measured: up to 2 million of 20 million rows). `DATA_BUFFER_TIME_LIMIT_MS = 0` switches the timer off, and `run_graph` fails unless
each input element gives exactly one result.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers

from schemas.errors import VNSightError

Progress = Callable[[str, int, int], None]


def silent(_step: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


class _Collect(beam.DoFn):  # type: ignore[misc]
    """Write all results as one JSON document, so that only what a successful attempt gave is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def process(self, keyed: tuple[None, Iterable[Any]]) -> Iterable[None]:
        temporary = Path(f"{self.path}.{uuid.uuid4().hex}")
        temporary.write_text(json.dumps(list(keyed[1])))
        temporary.replace(self.path)
        return ()


class _Tick(beam.DoFn):  # type: ignore[misc]
    """Leave one byte per finished element for whoever watches; a retried element may tick twice."""

    def __init__(self, path: str) -> None:
        self.path = path

    def process(self, result: Any) -> Iterable[tuple[None, Any]]:
        with Path(self.path).open("ab") as stream:
            stream.write(b".")
        yield None, result


def _options(workers: int) -> PipelineOptions:
    mode = "in_memory" if workers == 1 else "multi_processing"
    return PipelineOptions([f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"])


def _watch(path: Path, step: str, total: int, progress: Progress, done: threading.Event) -> None:
    while not done.wait(0.3):
        progress(step, min(path.stat().st_size if path.exists() else 0, total), total)


def run_graph(
    step: str, elements: Sequence[Any], transform: beam.PTransform, folder: Path, workers: int, progress: Progress = silent
) -> list[Any]:
    """Send `elements` through `transform` (one JSON-able result each) and return the results, in no particular order.

    folder: where the run leaves its result file. Errors inside a step surface as they are raised; a lost or doubled element is a
    `VNSightError`.
    """
    if not elements:
        return []
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0  # see above; tests/pipelines/test_launch.py holds the name to the installed Beam
    folder.mkdir(parents=True, exist_ok=True)
    result, ticks = folder / f"{step}.json", folder / f"{step}.progress"
    for stale in (result, ticks):
        stale.unlink(missing_ok=True)
    finished = threading.Event()
    watcher = threading.Thread(target=_watch, args=(ticks, step, len(elements), progress, finished), daemon=True)
    watcher.start()
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    try:
        with beam.Pipeline(runner=FnApiRunner(), options=_options(workers)) as pipeline:
            (
                pipeline
                | "Elements" >> beam.Create(list(elements), reshuffle=workers > 1)
                | transform
                | "Tick" >> beam.ParDo(_Tick(str(ticks)))
                | "Together" >> beam.GroupByKey()
                | "Collect" >> beam.ParDo(_Collect(str(result)))
            )
    finally:
        finished.set()
        watcher.join()
    results: list[Any] = json.loads(result.read_text())
    if len(results) != len(elements):
        raise VNSightError(f"{step}: {len(elements)} elements went in and {len(results)} results came out; nothing was published")
    progress(step, len(elements), len(elements))
    return results
