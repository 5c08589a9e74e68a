# SPDX-License-Identifier: Apache-2.0
"""Put the faults into the records of a block and lay the rows out in files."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from schemas.contract import load_contract
from simulator.block import Block
from simulator.faults.copies import send_revised, send_twice
from simulator.faults.daylight import move_to_change
from simulator.faults.devices_and_people import break_clocks, label_replaced, label_withdrawn
from simulator.faults.draw import Chosen, draw_faults
from simulator.faults.labels import add_labels, as_labels, label, record_text
from simulator.faults.row_faults import ANSWERED, LEAVES, SESSIONS, RowFault
from simulator.layout import add_periods, arrange, period_of
from simulator.plan import Plan


def _of_people(plan: Plan, block: Block, source: str) -> pl.DataFrame:
    """Faults that belong to a patient, a device or a night, before those of single rows."""
    rng = plan.rng(block.number, f"faults of {source}")
    contract = load_contract(source)
    frame = add_labels(block.frames[source], contract, block.people)
    if source == SESSIONS:
        frame = break_clocks(plan, block.devices, block.people, frame, rng)
    if source == "devices" and plan.rates["device_replaced"] > 0:
        frame = label_replaced(frame)
    if source == ANSWERED:
        for back in (True, False):
            frame = move_to_change(plan, frame, back, rng, block.number == 0)
    frame = label_withdrawn(frame, contract, block.people)
    # a clock that is off has moved the device's start, which is part of a session's key; faults of rows may take the key away
    return add_periods(plan, source, frame.with_columns(_record=record_text(contract)))


def _apply(rows: pl.DataFrame, fault: RowFault) -> pl.DataFrame:
    if fault.name == "exact_duplicate":
        return send_twice(rows)
    if fault.name == "changed_duplicate":
        return send_revised(rows, fault.source)
    return rows.with_columns(**fault.columns, **as_labels(fault.name, fault.bin, fault.rule))


def _into_rows(plan: Plan, frame: pl.DataFrame, source: str, faults: list[RowFault], chosen: Chosen) -> pl.DataFrame:
    mine = {n: rows for (s, n), rows in chosen.items() if s == source and len(rows)}
    sound = np.ones(frame.height, bool)
    for rows in mine.values():
        sound[rows] = False
    parts = [frame.filter(pl.Series(sound)), *(_apply(frame[rows], faults[n]) for n, rows in mine.items())]
    joined = pl.concat(parts)
    moved = pl.max_horizontal(period_of(plan), pl.col("_period") + pl.col("_later"))
    return joined.with_columns(
        _period=pl.when(pl.col("_later") | (pl.col("_fault") == "late_upload")).then(moved).otherwise(pl.col("_period")),
        _order=pl.when(pl.col("_fault") == "late_upload").then(pl.col("_receipt")).otherwise(pl.col("_order")),
    )


def _last_lines(frame: pl.DataFrame) -> pl.DataFrame:
    """Last lines of NDJSON files that nothing is wrong with so far."""
    last = pl.col("_line") == pl.col("_line").max().over("_file")
    return frame.with_row_index("_row").filter(last & pl.col("_free") & pl.col("_file").str.contains(".ndjson", literal=True))


def _truncate(plan: Plan, frames: dict[str, pl.DataFrame], block: int) -> None:
    """Cut the last line of some files short; at least one in the first block."""
    rng, rate = plan.rng(block, "truncated files"), plan.rates["truncated_file"]
    cuts = 0
    for source in reversed([s for s in frames if s in LEAVES]):
        rows = _last_lines(frames[source])["_row"].to_numpy()
        chosen = rows[rng.random(len(rows)) < rate]
        if block == 0 and rate > 0 and not cuts and not len(chosen):
            chosen = rows[:1]
        cuts += len(chosen)
        here = np.zeros(frames[source].height, bool)
        here[chosen] = True
        frame = label(frames[source], here, "truncated_file", "quarantined", "line:truncated")
        frames[source] = frame.with_columns(_damage=pl.when(pl.Series(here)).then(pl.lit("end")).otherwise(pl.col("_damage")))


def inject(plan: Plan, block: Block) -> Mapping[str, pl.DataFrame]:
    """Return the rows of every source as they are sent: in files and lines (`_file`, `_line`), labelled where faulty.

    `_damage` says what becomes of the line as text: `cut` in the middle, too many `cells`, `utf8` broken, cut at the `end` of the
    file; null otherwise.
    """
    frames = {source: _of_people(plan, block, source) for source in block.frames}
    faults, chosen = draw_faults(plan, frames, block.number)
    done = {}
    for source, frame in frames.items():
        done[source] = arrange(plan, source, _into_rows(plan, frame, source, faults, chosen), block.number)
    _truncate(plan, done, block.number)
    return done


def canonical(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that must end accepted."""
    return frame.filter(pl.col("_bin").is_null() | (pl.col("_bin") == "accepted"))
