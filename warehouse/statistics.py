# SPDX-License-Identifier: Apache-2.0
"""The statistics that every window file carries as SQL functions: one file each below `functions/`, with its assertions."""

from __future__ import annotations

from importlib.resources import files as resources

import duckdb

FUNCTIONS = (  # each after those it is made of: DuckDB looks names up when a function is created
    "arithmetic", "normal", "gamma", "beta", "two_groups", "wilson", "clopper_pearson", "newcombe", "risk_difference", "risk_ratio",
    "odds_ratio", "number_needed_to_treat", "chi_square", "fisher_exact", "poisson_rate", "interaction_contrast", "reliable_change",
    "mantel_haenszel", "breslow_day", "cochran_armitage", "benjamini_hochberg", "kaplan_meier",
)  # fmt: skip


def function_text(name: str) -> str:
    """Text of a file of `functions/`, without its ending named."""
    return (resources("warehouse") / "functions" / f"{name}.sql").read_text(encoding="utf-8")


def create_functions(connection: duckdb.DuckDBPyConnection) -> None:
    """Create all functions in the current database of a connection."""
    for name in FUNCTIONS:
        connection.execute(function_text(name))
