# SPDX-License-Identifier: Apache-2.0
"""Staged segments of a synthetic population for the join benchmark: sorted, sharded, with the sums that staging stores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from pipelines.core.kernel import Ints
from pipelines.core.segments import RISING_COLUMNS, SEGMENTS_SCHEMA, add_cumulative
from pipelines.core.units import DAY_MS, with_cycle

SEGMENTS_PER_PATIENT = 1_000  # a year of a patient-driven device: 2.7 pieces of constant intensity a day
UNKNOWN_PER_PATIENT = 20
FIRST_DAY = 19_723  # 2024-01-01
SHARD_ROWS = 400_000  # small enough that a shard of 13 columns and its answers stay in 40 MB


@dataclass(frozen=True)
class Case:
    """One size of the benchmark and where its files are."""

    rows: int
    responses: int
    folder: Path

    @property
    def shards(self) -> int:
        """At least 64, more when a shard would outgrow `SHARD_ROWS`."""
        return max(64, -(-self.rows // SHARD_ROWS))

    def segments(self, shard: int | str = "*") -> Path:
        """File of one shard, or the pattern of all."""
        return self.folder / "segments" / (f"{shard:05d}.parquet" if isinstance(shard, int) else f"{shard}.parquet")

    def asked(self, shard: int | str = "*") -> Path:
        """Responses of one shard: response, patient_key, completed_ms; sorted by patient."""
        return self.folder / "responses" / (f"{shard:05d}.parquet" if isinstance(shard, int) else f"{shard}.parquet")


def case(rows: int, responses: int, data: Path) -> Case:
    """Name the folder of a size, and fill it unless it is complete."""
    wanted = Case(rows, responses, data / f"join-{rows}-{responses}")
    if not (wanted.folder / "complete").exists():
        for shard in range(wanted.shards):
            _write(_segments(wanted, shard), wanted.segments(shard))
            _write(_responses(wanted, shard, pl.read_parquet(wanted.segments(shard), columns=["patient_key"])), wanted.asked(shard))
        (wanted.folder / "complete").touch()
    return wanted


def _share(total: int, shards: int, shard: int) -> int:
    return total * (shard + 1) // shards - total * shard // shards


def _write(frame: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rising = [c for c in RISING_COLUMNS if c in frame.columns]
    repeating = [c for c in frame.columns if c not in rising]
    pq.write_table(
        frame.to_arrow(), path, compression="lz4", row_group_size=SHARD_ROWS,
        use_dictionary=repeating, column_encoding=dict.fromkeys(rising, "DELTA_BINARY_PACKED"),
    )  # fmt: skip


def _patients(n: int, shard: int, draw: np.random.Generator) -> Ints:
    """Sorted pseudonyms: 64 bits, distinct across shards because their low bits are the shard."""
    return np.sort(draw.choice(2**50, n, replace=False) * 2**13 + shard - 2**62)


def _segments(wanted: Case, shard: int) -> pl.DataFrame:
    n = _share(wanted.rows, wanted.shards, shard)
    draw = np.random.default_rng([7, wanted.rows, shard])
    patients = max(1, n // SEGMENTS_PER_PATIENT)
    owner = np.arange(n, dtype=np.int64) * patients // n
    place = np.arange(n, dtype=np.int64) - np.searchsorted(owner, owner)
    stream = np.where(place < SEGMENTS_PER_PATIENT - UNKNOWN_PER_PATIENT, 0, 3).astype(np.int8)
    first = (place == 0) | (place == SEGMENTS_PER_PATIENT - UNKNOWN_PER_PATIENT)
    length = draw.integers(60_000, 3 * 3_600_000, n)
    pause = draw.integers(0, 2, n) * draw.integers(1, 12 * 3_600_000, n)  # every other piece follows at once
    pace = np.where(stream == 3, SEGMENTS_PER_PATIENT // UNKNOWN_PER_PATIENT, 1)
    ends = np.cumsum((length + pause) * pace)
    begin = ends - length * pace
    start = FIRST_DAY * DAY_MS + begin - begin[np.maximum.accumulate(np.where(first, np.arange(n), 0))]
    key = _patients(patients, shard, draw)[owner]
    frame = pl.DataFrame({
        "patient_key": key, "device_key": key ^ 0x5DEECE66D, "stream": stream, "start_ms": start, "end_ms": start + length * pace,
        "current_ua": draw.integers(1, 51, n) * 100, "width_us": draw.choice([200, 250], n),
        "frequency_mhz": draw.choice([10_000, 20_000, 25_000], n), "on_ms": 30_000, "off_ms": draw.choice([30_000, 66_000, 300_000], n),
        "sessions": ((stream == 0) & (pause > 0)).astype(np.int8), "coverage": np.where(stream == 3, 2, 0).astype(np.int8),
        "charge_known": True, "rate_known": True,
    })  # fmt: skip
    return add_cumulative(with_cycle(frame)).select(pl.col(c).cast(t) for c, t in SEGMENTS_SCHEMA.items())


def _responses(wanted: Case, shard: int, owners: pl.DataFrame) -> pl.DataFrame:
    n = _share(wanted.responses, wanted.shards, shard)
    draw = np.random.default_rng([8, wanted.rows, shard])
    patient = np.sort(draw.choice(owners["patient_key"].unique().to_numpy(), n))
    number = np.arange(n, dtype=np.int64) + wanted.responses * shard // wanted.shards
    completed = FIRST_DAY * DAY_MS + draw.integers(30 * DAY_MS, 330 * DAY_MS, n)
    return pl.DataFrame({"response": number, "patient_key": patient, "completed_ms": completed})
