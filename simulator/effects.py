# SPDX-License-Identifier: Apache-2.0
"""The true effects: how much of the severity goes at full dose, per disorder and history, alone and with psychotherapy.

All numbers are invented for the simulation. They are the truth an analysis of the simulated data should find again, and say
nothing about real patients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from simulator.plan import Array


@dataclass(frozen=True)
class DisorderEffect:
    """Share of the severity removed at full dose after months: by stimulation, by psychotherapy, and by both on top."""

    name: str
    share: float
    codes: tuple[str, ...]
    vns: float
    cbt: float
    synergy: float


@dataclass(frozen=True)
class HistoryEffect:
    """How a history changes the response; `share` of patients have it, `events` are the least and most of its kind."""

    kind: str
    share: float
    events: tuple[int, int]
    vns_factor: float
    cbt_factor: float
    flag_from: int = 1


DISORDERS: Final = (
    DisorderEffect("depression", 0.34, ("F33.1", "F33.2", "F32.2", "F34.1"), 0.42, 0.20, 0.12),
    DisorderEffect("bipolar", 0.14, ("F31.32", "F31.81", "F31.4"), 0.36, 0.16, 0.10),
    DisorderEffect("anxiety", 0.14, ("F41.1", "F41.0", "F40.10"), 0.28, 0.26, 0.14),
    DisorderEffect("ptsd", 0.12, ("F43.10", "F43.12"), 0.24, 0.24, 0.22),
    DisorderEffect("ocd", 0.07, ("F42.2", "F42.9"), 0.12, 0.26, 0.06),
    DisorderEffect("bpd", 0.07, ("F60.3",), 0.18, 0.22, 0.18),
    DisorderEffect("epilepsy", 0.12, ("G40.219", "G40.919"), 0.34, 0.12, 0.08),
)
NO_EFFECTS: Final = tuple(replace(d, vns=0.0, cbt=0.0, synergy=0.0) for d in DISORDERS)  # only placebo and chance are left
HISTORIES: Final = (
    HistoryEffect("failed_trial", 0.85, (1, 9), 0.72, 0.85, flag_from=4),
    HistoryEffect("ect", 0.22, (1, 2), 1.15, 1.0),
    HistoryEffect("tms", 0.18, (1, 3), 0.85, 1.0),
    HistoryEffect("esketamine", 0.10, (1, 3), 0.85, 1.0),
    HistoryEffect("hospitalisation", 0.35, (1, 5), 0.92, 0.95),
    HistoryEffect("suicide_attempt", 0.25, (1, 3), 0.95, 0.95),
    HistoryEffect("childhood_adversity", 0.33, (1, 4), 0.80, 1.20),
    HistoryEffect("psychotherapy", 0.45, (1, 4), 1.0, 1.05),
)
PLACEBO: Final = 0.12
PLACEBO_WEEKS: Final = 6.0
CBT_WEEKS: Final = 8.0
DOSE_WEEKS: Final = 4.0  # the body follows the dose with this lag
HALF_DOSE: Final = 0.5  # at this share of the target dose half of the largest effect is reached
RESPONSE_SD: Final = 0.14


def saturate(dose: Array) -> Array:
    """Return the share of the full effect at a dose given as a share of the target: 0 at 0 and 1 at 1, levelling off above.

    >>> import numpy as np
    >>> saturate(np.array([0.0, 0.5, 1.0])).tolist()
    [0.0, 0.75, 1.0]
    """
    return (1 + HALF_DOSE) * dose / (dose + HALF_DOSE)


def effects_table() -> pl.DataFrame:
    """Every true parameter as rows of `group`, `name`, `parameter` and `value`."""
    rows = [("disorder", d.name, p, getattr(d, p)) for d in DISORDERS for p in ("share", "vns", "cbt", "synergy")]
    rows += [("history", h.kind, p, getattr(h, p)) for h in HISTORIES for p in ("share", "vns_factor", "cbt_factor")]
    rows += [("history", h.kind, "flag_from", float(h.flag_from)) for h in HISTORIES]
    shape = {"placebo": PLACEBO, "placebo_weeks": PLACEBO_WEEKS, "cbt_weeks": CBT_WEEKS, "dose_weeks": DOSE_WEEKS,
             "half_dose": HALF_DOSE, "response_sd": RESPONSE_SD}  # fmt: skip
    rows += [("shape", "all", name, value) for name, value in shape.items()]
    return pl.DataFrame(rows, schema=["group", "name", "parameter", "value"], orient="row")
