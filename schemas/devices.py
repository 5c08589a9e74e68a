# SPDX-License-Identifier: Apache-2.0
"""Device models and the parameter values they can be programmed to; data with source and confidence, not code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from schemas.code_lists import read_codes


@dataclass(frozen=True)
class Model:
    """One device model. `grid` maps a grid name (`current_ma`, `intensity` ...) to legal values in thousandths of its unit."""

    id: str
    name: str
    modality: str
    charge_known: bool
    why_unknown: str | None
    autostim: bool
    grid: Mapping[str, frozenset[int]]


def _thousandths(values: list[Any]) -> frozenset[int]:
    legal: set[int] = set()
    for value in values:
        if isinstance(value, dict):
            start, stop, step = (round(1000 * value[k]) for k in ("from", "to", "step"))
            legal.update(range(start, stop + 1, step))
        else:
            legal.add(round(1000 * value))
    return frozenset(legal)


@cache
def load_models() -> Mapping[str, Model]:
    """Read `schemas/codes/device_models.yaml`: model id -> `Model`."""
    document = read_codes("device_models.yaml")
    grids = {name: _thousandths(row["values"]) for name, row in document["grids"].items()}
    models = {}
    for model_id, row in document["models"].items():
        family = document["families"][row["family"]]
        grid = {column: grids[name] for column, name in family["grid"].items()}
        models[model_id] = Model(
            model_id, row["name"], family["modality"], family["charge_known"], family.get("why_unknown"), row["autostim"], grid
        )
    return models
