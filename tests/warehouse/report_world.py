# SPDX-License-Identifier: Apache-2.0
"""A small published study for the report: people and scores by the real SQL, comparisons of arms written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from window_parts import disposition, ledger_row, load_files, patient, score

from quality.results import CheckResult
from schemas.contract import load_contract
from schemas.load import CompleteLoad
from schemas.workspace import Workspace
from warehouse.columns import create_table, mart_columns
from warehouse.connection import write_window
from warehouse.publish import candidate
from warehouse.window import add_results

Row = Mapping[str, Any]
NASTY = "</script><img src=x onerror=alert(1)>&amp;'\"{{js}}"
ARMS = ("vns", "vns_cbt", "cbt", "neither")


def people() -> tuple[list[Row], list[Row]]:
    """48 patients, 12 per arm, with PHQ-9 from 20 to 10 or 16, a later loss for some, and no follow-up for every eleventh."""
    disorders = ([], ["depression"], ["depression", "ptsd"], ["anxiety"])
    patients, scores = [], []
    for n in range(1, 49):
        arm = ARMS[n % 4]
        device = {} if arm.startswith("vns") else {"modality": None, "activated_at": None}
        flags = {"ect": n % 3 == 0, "hospitalised": n % 5 == 0}
        patients.append(patient(n, arm=arm, disorders=list(disorders[n % 7 % 4]), n_disorders=len(disorders[n % 7 % 4]), **device, **flags))
        scores.append(score(10 * n, n, -1, 20))
        if n % 11:
            scores.append(score(10 * n + 1, n, 60 + n, 10 if n % 3 else 16))
            scores.append(score(10 * n + 2, n, 150 + n, 18 if n % 5 == 0 else 9))
    return patients, scores


def stratum(name: str, arm: str, k: int, n: int, bare: tuple[int, int] | None = None, **over: Any) -> Row:
    row = {"stratifier": "disorder", "stratum": name, "arm": arm, "instrument": "PHQ-9", "subscale": "total", "visit": "m6"}
    row |= {"definition": "drop_50", "method": "observed", "n_patients": n + 1, "n": n, "k": k, "rate": k / n if n else None}
    row |= {"low": 0.1, "high": 0.9, "n_undetermined": 1, "coverage": 0.75}
    if bare:
        row |= {"comparator": "neither", "k_comparator": bare[0], "n_comparator": bare[1], "risk_difference": k / n - bare[0] / bare[1]}
        row |= {"risk_difference_low": -0.05, "risk_difference_high": 0.45, "p_adjusted": 0.0312, "heterogeneity_p": 0.5}
        row |= {"caution": "confounded by indication; overlapping strata"}
    return row | over


STRATA = [
    stratum("all", "all", 30, 80, stratifier="all"),
    stratum("all", "vns", 20, 50, (10, 50), stratifier="all", p_adjusted=None),
    stratum("depression", "vns", 15, 30, (6, 30)),
    stratum("anxiety", "vns", 2, 12, (3, 12)),
    stratum("epilepsy", "vns", 3, 3, (0, 4)),  # too few to be named in the answer
    stratum(NASTY, "vns", 5, 20, (4, 20), stratifier="site"),
    stratum("all", "vns", 20, 59, (10, 59), stratifier="all", method="nri", n_undetermined=0),
]
SYNERGY = [
    {"stratifier": "all", "stratum": "all", "instrument": "PHQ-9", "subscale": "total", "visit": "m6", "definition": "drop_50",
     "method": "observed", "n_vns": 50, "k_vns": 20, "rate_vns": 0.4, "n_cbt": 40, "k_cbt": 12, "rate_cbt": 0.3, "n_both": 40, "k_both": 30,
     "rate_both": 0.75, "n_neither": 50, "k_neither": 10, "rate_neither": 0.2, "interaction": 0.25, "interaction_low": 0.02,
     "interaction_high": 0.46, "interaction_p": 0.03, "n": 180, "k": 72, "caution": "confounded by indication"},
]  # fmt: skip
BAND = {
    "modality": "implanted", "banding": "tertile", "stratifier": "all", "stratum": "all", "instrument": "PHQ-9", "subscale": "total",
    "visit": "m6", "definition": "drop_50", "method": "observed", "coverage": 0.9, "caution": "association only",
}  # fmt: skip
DOSES = [
    BAND | {"band": band, "band_rank": rank, "charge_mc_per_day_min": mc, "charge_mc_per_day_mean": mc + 5.0,
            "charge_mc_per_day_max": mc + 9.0, "measure": "charge", "n": 20, "k": k, "rate": k / 20, "low": 0.05, "high": 0.6,
            "trend_p": 0.005986}
    for band, rank, mc, k in (("low", 1, 10.0, 4), ("middle", 2, 30.0, 6), ("high", 3, 60.0, 9))
]  # fmt: skip
HARMS = [
    {"term": term, "modality": "implanted", "band": "low", "stratifier": "all", "stratum": "all", "definition": "any_onset",
     "method": "patient_time", "n": 20, "k": 3, "events": 4, "patient_years": 8.5, "rate": 47.0588, "low": 12.8, "high": 120.5,
     "serious": 1, "related": 2, "withdrawn": 0, "caution": "association only"}
    for term in ("any", "hoarseness")
]  # fmt: skip
FAILED = CheckResult("scores", "score_range", "warning", False, 2, 99, NASTY, "clinic", "clinic-data")


def fill_mart(path: Path, name: str, rows: Sequence[Row]) -> None:
    """Put hand-made rows in place of a mart's; columns that are not named are null."""
    columns = mart_columns(load_contract(f"mart.{name}"), (7, 28, 90))
    names = [c.name for c in columns]
    with write_window(path, "test") as connection:
        connection.execute(f"drop table if exists {name}")
        connection.execute(create_table(name, columns))
        marks = ", ".join("?" * len(names))
        for row in rows:
            assert set(row) <= set(names)
            connection.execute(f"insert into {name} values ({marks})", [row.get(c) for c in names])


def published(ws: Workspace) -> Path:
    """The window of the study, in the workspace's own place."""
    patients, scores = people()
    ledger = [ledger_row(1, "devices/a.csv", 7, read=9), ledger_row(1, "devices/a.csv", 2, bin="quarantined", read=9)]
    kept_out = [disposition(1, 3, rules=["model:unknown"]), disposition(1, 4, rules=["model:unknown", "current_ma:range"])]
    files = load_files(ws, 1, {"patients": {0: patients}, "scores": {0: scores}}, ledger, dispositions=kept_out)
    path = candidate(ws, files, CompleteLoad(0, {}))
    for name, rows in (("strata", STRATA), ("dose_response", DOSES), ("safety", HARMS), ("synergy", SYNERGY)):
        fill_mart(path, name, rows)
    add_results(path, 1, [FAILED, CheckResult("scores", "fine", "critical", True, 0, 99, "fine", "clinic", "clinic-data")])
    return path.replace(ws.window)
