# SPDX-License-Identifier: Apache-2.0
"""What is to be simulated: how many patients, how long, which faults; and one random stream per block and part."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from schemas.errors import UsageError

Array = npt.NDArray[Any]

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US
# 2025-03-01T00:00Z: within 40 days clocks are set forward in New York and Berlin and back in Sydney, so short runs have both
START_US: Final = 1_740_787_200 * SECOND_US
NEVER_US: Final = 1 << 62
FORMATS: Final = ("ndjson", "parquet", "mixed")
TRUTH_PATIENTS: Final = 2_000
MANY_PATIENTS: Final = 20_000  # above it the files are half-yearly and, by default, Parquet

# share of the rows that could carry the fault; of devices for the clocks and replacement, of patients for consent, of files for
# truncation; and of the responses within ten days of a clock change for the two of daylight saving
DEFAULT_RATES: Final[Mapping[str, float]] = {
    "exact_duplicate": 0.002, "changed_duplicate": 0.002, "late_upload": 0.002, "out_of_order": 0.002,
    "unit_ma_as_ua": 0.001, "off_seconds_as_minutes": 0.001, "off_grid": 0.001,
    "item_missing": 0.01, "item_out_of_range": 0.002, "wrong_form_version": 0.002,
    "unknown_device": 0.001, "null_id": 0.001, "malformed_line": 0.001, "bad_utf8": 0.001, "truncated_file": 0.08,
    "clock_local_time": 0.02, "clock_drift": 0.02, "dst_ambiguous": 0.03, "dst_nonexistent": 0.03,
    "device_replaced": 0.05, "withdrawn_consent": 0.02,
}  # fmt: skip


def fault_rates(faults: float | Mapping[str, float]) -> Mapping[str, float]:
    """Return the rate of every fault: the defaults times a number (0: none), or the named rates only.

    >>> fault_rates({"off_grid": 0.5})["off_grid"], fault_rates(0)["off_grid"]
    (0.5, 0.0)
    """
    if not isinstance(faults, Mapping):
        return {name: min(1.0, rate * faults) for name, rate in DEFAULT_RATES.items()}
    unknown = sorted(set(faults) - set(DEFAULT_RATES))
    if unknown:
        raise UsageError(f"faults, {unknown[0]}: not a fault the simulator knows; there are: {', '.join(DEFAULT_RATES)}")
    return {name: float(faults.get(name, 0.0)) for name in DEFAULT_RATES}


@dataclass(frozen=True)
class Plan:
    """One simulation. Everything that is random in it follows from `seed`, the block and the name of the part."""

    patients: int
    days: int
    seed: int
    format: str = "mixed"
    rates: Mapping[str, float] = field(default_factory=lambda: DEFAULT_RATES)

    def __post_init__(self) -> None:
        if self.patients < 1 or self.days < 1 or self.seed < 0:
            raise UsageError("simulate: patients and days must be at least 1 and the seed not negative")
        if self.format not in FORMATS:
            raise UsageError(f"simulate, format: {self.format!r} is none of {', '.join(FORMATS)}")

    @property
    def end_us(self) -> int:
        """End of the study, UTC microseconds."""
        return START_US + self.days * DAY_US

    @property
    def block_size(self) -> int:
        """Patients generated and held in memory at a time."""
        return 4_000 if self.patients > MANY_PATIENTS else 2_000

    @property
    def blocks(self) -> range:
        """Numbers of the blocks."""
        return range(-(-self.patients // self.block_size))

    @property
    def months_per_file(self) -> int:
        """How many months of one source a file holds."""
        return 6 if self.patients > MANY_PATIENTS else 1

    def rng(self, block: int, part: str) -> np.random.Generator:
        """Return the random stream of one part of one block, independent of all others."""
        return np.random.default_rng(np.random.SeedSequence([self.seed, block, zlib.crc32(part.encode())]))
