# SPDX-License-Identifier: Apache-2.0
"""A job without end: five numbers a second to two keys, each key counted in its state; a line per number: key, count.

Called as a program: counting_job.py LINES [pipeline options]. Returns once the job is submitted.
"""

import sys
import time

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec


class Count(beam.DoFn):
    SEEN = beam.DoFn.StateParam(ReadModifyWriteStateSpec("seen", VarIntCoder()))

    def __init__(self, lines: str):
        self.lines = lines

    def process(self, element, seen=SEEN):
        key, _ = element
        count = (seen.read() or 0) + 1
        seen.write(count)
        with open(self.lines, "a") as stream:
            stream.write(f"{key} {count}\n")


if __name__ == "__main__":
    pipeline = beam.Pipeline(options=PipelineOptions([*sys.argv[2:], "--job_name=counting"]))
    numbers = pipeline | "Numbers" >> PeriodicImpulse(start_timestamp=time.time(), fire_interval=0.2)
    keyed = numbers | "Key" >> beam.Map(lambda at: (int(at * 5) % 2, 1)).with_output_types(tuple[int, int])
    keyed | "Count" >> beam.ParDo(Count(sys.argv[1]))
    pipeline.run()
