# SPDX-License-Identifier: Apache-2.0
"""Which devices the patients of a block have: model, activation, end and its reason, and replacement by a second device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from simulator.columns import days_us, instants, labels, with_missing
from simulator.plan import DAY_US, HOUR_US, MINUTE_US, NEVER_US, Array, Plan
from simulator.population import AURICULAR, CERVICAL, IMPLANTED, MODALITIES, NO_DEVICE, STAYS, People

MODELS: Final = ("102", "103", "105", "106", "1000", "8103", "SAPPHIRE", "NEMOS", "PARASYM")
_OF_MODALITY: Final = {IMPLANTED: (0, 6), CERVICAL: (6, 7), AURICULAR: (7, 9)}
AUTOSTIM_MODELS: Final = (MODELS.index("106"), MODELS.index("1000"))
SCHEDULED_MODEL: Final = MODELS.index("1000")
CODE_MODELS: Final = (MODELS.index("102"),)  # report impedance as a code, not in ohms
END_REASONS: Final = ("explant", "replaced", "end_of_service", "returned")
EXPLANT, REPLACED, END_OF_SERVICE, RETURNED = range(4)


@dataclass(frozen=True)
class Devices:
    """The devices of one block, sorted by patient; `ended_us` is `NEVER_US` while in use, `reason` -1 then.

    `followed_us` is when anybody last looks at the device. `is_second` marks the one that took the place of another.
    """

    ids: pl.Series
    patient: Array
    model: Array
    modality: Array
    activated_us: Array
    ended_us: Array
    followed_us: Array
    reason: Array
    is_second: Array
    prescribed_min: Array

    def __len__(self) -> int:
        return len(self.patient)

    def of(self, *modalities: int) -> Array:
        """Row numbers of the devices of these modalities."""
        return np.flatnonzero(np.isin(self.modality, modalities))


def _model(rng: np.random.Generator, modality: Array) -> Array:
    low, high = (np.array([_OF_MODALITY[m][k] for m in modality], np.int64) for k in (0, 1))
    return low + (rng.random(len(modality)) * (high - low)).astype(np.int64)


def _ends(plan: Plan, people: People, owner: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """End and reason of first devices: some are replaced (at least one of the first block), a few explanted or returned."""
    n = len(owner)
    implanted = people.modality[owner] == IMPLANTED
    often = np.where(implanted, 1.5, 1.0)  # batteries end
    replaced = (rng.random(n) < often * plan.rates["device_replaced"]) & (people.withdrawal[owner] == STAYS)
    removed = ~replaced & (rng.random(n) < 0.03)
    start, last = people.activated_us[owner], people.followed_us[owner]
    end = start + ((0.35 + 0.4 * rng.random(n)) * np.maximum(0, last - start)).astype(np.int64)
    long_enough = end > start + 10 * DAY_US
    able = np.flatnonzero(long_enough & (people.withdrawal[owner] == STAYS))
    if people.first == 0 and plan.rates["device_replaced"] > 0 and len(able) and not replaced[able].any():
        replaced[able[0]], removed[able[0]] = True, False
    replaced, removed = replaced & long_enough, removed & long_enough
    reason = np.where(replaced, np.where(implanted & (rng.random(n) < 0.7), END_OF_SERVICE, REPLACED), -1)
    reason = np.where(removed, np.where(implanted, EXPLANT, RETURNED), reason)
    return np.where(replaced | removed, end, NEVER_US), reason


def draw_devices(plan: Plan, people: People, block: int) -> Devices:
    """Draw the devices of a block; a second one is activated at the end of the first or up to ten days later."""
    rng = plan.rng(block, "devices")
    first = np.flatnonzero((people.modality != NO_DEVICE) & (people.activated_us < people.followed_us))
    ended, reason = _ends(plan, people, first, rng)
    again = np.flatnonzero(np.isin(reason, (REPLACED, END_OF_SERVICE)))
    wait = days_us(np.where(rng.random(len(again)) < 0.3, 0.0, rng.uniform(0, 10, len(again))))
    patient = np.concatenate([first, first[again]])
    order = np.argsort(patient, kind="stable")
    second = np.arange(len(patient)) >= len(first)
    model = _model(rng, people.modality[patient])
    prescribed = np.select(
        [people.modality[patient] == CERVICAL, people.modality[patient] == AURICULAR], [8, rng.choice([120, 180, 240], len(patient))], 0
    )
    suffix = pl.Series(np.where(second, "-B", "-A"))
    return Devices(
        ids=pl.select("D" + people.ids.gather(pl.Series(patient)).str.slice(1) + suffix).to_series().gather(pl.Series(order)),
        patient=patient[order], model=model[order], modality=people.modality[patient][order],
        activated_us=np.concatenate([people.activated_us[first], ended[again] + wait])[order],
        ended_us=np.concatenate([ended, np.full(len(again), NEVER_US)])[order], followed_us=people.followed_us[patient][order],
        reason=np.concatenate([reason, np.full(len(again), -1)])[order], is_second=second[order], prescribed_min=prescribed[order],
    )  # fmt: skip


def devices_frame(devices: Devices, people: People, rng: np.random.Generator) -> pl.DataFrame:
    """One row per device as the registry exports it: an end that is known is in the row."""
    n = len(devices)
    recorded = devices.activated_us + rng.integers(MINUTE_US, 8 * HOUR_US, n)
    open_end = devices.ended_us == NEVER_US
    return pl.DataFrame({
        "device_id": devices.ids, "patient_id": people.ids.gather(pl.Series(devices.patient)),
        "model": labels(MODELS, devices.model), "modality": labels(MODALITIES, devices.modality),
        "activated_at": instants(devices.activated_us), "ended_at": instants(np.where(open_end, 0, devices.ended_us), open_end),
        "end_reason": with_missing(labels(END_REASONS, np.maximum(0, devices.reason)), open_end),
        "prescribed_min_per_day": with_missing(devices.prescribed_min, devices.modality == IMPLANTED),
        "recorded_at": instants(recorded), "_patient": devices.patient, "_receipt": recorded, "_replaces": devices.is_second,
    })  # fmt: skip
