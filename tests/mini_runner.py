# SPDX-License-Identifier: Apache-2.0
"""A runner for the keyed steps of the stream that does what a cluster does at its worst: it calls the real DoFns with state and timers
of its own, keeps checkpoints, dies, and starts again from the last one while what was written stays written."""

import copy
from collections import defaultdict

import apache_beam as beam
import polars as pl

from pipelines.core.blocks import Block, pack
from pipelines.core.cells import DEVICE_SOURCES, split
from pipelines.transforms.keyed import JoinDoseToOutcomes, RouteDeviceFacts
from pipelines.transforms.stream_options import StreamOptions
from schemas.contract import MARTS, load_contract
from schemas.frames import mart_schema, window_names


class Bag(list):
    add, read = list.append, list.copy


class Cell:
    def __init__(self):
        self.value = None

    def read(self):
        return self.value

    def write(self, value):
        self.value = value

    def clear(self):
        self.value = None


class Timers(dict):
    def set(self, at, dynamic_timer_tag=""):
        self[dynamic_timer_tag] = float(at)


class Keyed:
    """State and timers of one key of one step."""

    def __init__(self):
        self.facts, self.devices, self.told, self.news, self.copies, self.timers = Bag(), Cell(), Cell(), Cell(), Cell(), Timers()


class MiniRunner:
    def __init__(self, options: StreamOptions):
        self.options, self.route, self.join = options, RouteDeviceFacts(options), JoinDoseToOutcomes(options)
        self.keys = defaultdict(Keyed)
        self.watermark = float("-inf")
        self.written = []  # (mart, rows), durable: survives every crash
        self.held = []  # rows of the books, as durable
        self.checkpoint()

    def checkpoint(self):
        self.saved = copy.deepcopy((self.keys, self.watermark))

    def crash(self):
        """Back to the last checkpoint; caches of the process are gone, what was written is not."""
        self.keys, self.watermark = copy.deepcopy(self.saved)
        self.route, self.join = RouteDeviceFacts(self.options), JoinDoseToOutcomes(self.options)

    def hear(self, source: str, facts: pl.DataFrame, time_ms: int):
        of_device = source in (*DEVICE_SOURCES, "devices")
        for key, block in split(Block(source, time_ms, facts), "device_key" if of_device else "patient_key", self.options.cells.cells):
            if not of_device:
                self._to_cell(key, pack(block))
                continue
            s = self.keys["route", key]
            for cell, part in self.route.process((key, pack(block)), s.facts, s.devices, s.news, s.copies, s.timers):
                self._to_cell(cell, part)

    def _to_cell(self, cell, block):
        s = self.keys["join", cell]
        assert not list(self.join.process((cell, block), s.facts, s.news, s.copies, s.timers) or ())

    def advance(self, to_s: float):
        """Move the watermark and fire every timer it passes."""
        self.watermark = max(self.watermark, to_s)
        for (step, key), s in sorted(self.keys.items()):
            for tag in sorted((t for t, at in s.timers.items() if at <= self.watermark), key=lambda t: s.timers[t]):
                del s.timers[tag]
                if step == "join":
                    said = list(self.join.look(key, s.facts, s.told, s.news, s.copies))
                    self.written += [o for o in said if o[0] != "held"]
                else:
                    out = list(self.route.tidy(key, s.facts, s.devices, s.news, s.copies))
                    assert all(isinstance(o, beam.pvalue.TaggedOutput) for o in out)
                    said = [o.value for o in out]
                self.held += [rows for name, rows in said if name == "held"]

    def read(self) -> dict[str, pl.DataFrame]:
        """What a reader sees: of every patient the snapshot with the greatest version."""
        found = defaultdict(list)
        for n, (mart, rows) in enumerate(self.written):
            found[mart].append(rows.with_columns(_n=pl.lit(n // len(MARTS))))
        names = window_names(self.options.cells.windows)
        empty = {m: pl.DataFrame(schema=mart_schema(load_contract(f"mart.{m}"), names)) for m in MARTS}
        if not found:
            return empty
        assert all((rows["version"] == rows["_version"]).all() for rows in found["patient_versions"])
        order = ["_version", "_facts", "_n"]
        newest = pl.concat(found["patient_versions"]).sort(order).group_by("patient_key").last().select("patient_key", *order)
        return {m: pl.concat(found[m]).join(newest, on=["patient_key", *order], how="semi") for m in MARTS}
