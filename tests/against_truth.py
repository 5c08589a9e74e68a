# SPDX-License-Identifier: Apache-2.0
"""Compare a published workspace with the truth of the simulator: every labelled fault in its bin, every dose to the picocoulomb."""

from pathlib import Path

import duckdb
import polars as pl

from pipelines.core.pseudonym import key_of, key_text

AMOUNTS = ("charge_pc", "pulses_milli", "on_ms", "sessions", "charge_pc_high", "on_ms_high")


def ask(home: Path, sql: str) -> pl.DataFrame:
    with duckdb.connect(str(home / "marts.duckdb"), read_only=True) as connection:
        return pl.DataFrame(pl.from_arrow(connection.sql(sql).to_arrow_table()))


def wrong_bins(home: Path) -> pl.DataFrame:
    """Labelled faults that are not where their label says, by bin or by rule."""
    faults = pl.read_parquet(home / "truth" / "faults.parquet")
    fates = ask(home, "select source, file, line, bin, rules from dispositions")
    found = faults.join(fates, on=["source", "file", "line"], how="left").with_columns(pl.col("bin").fill_null("accepted"))
    rule = (pl.col("expected_rule") == "") | pl.col("rules").list.contains(pl.col("expected_rule")).fill_null(False)
    return found.filter((pl.col("bin") != pl.col("expected_bin")) | ~rule)


def unlabelled(home: Path) -> pl.DataFrame:
    """Rows that were not accepted although no fault was planted in them."""
    faults = pl.read_parquet(home / "truth" / "faults.parquet")
    return ask(home, "select source, file, line, bin, rules from dispositions").join(faults, on=["source", "file", "line"], how="anti")


def wrong_doses(home: Path, secret: bytes) -> tuple[int, pl.DataFrame]:
    """How many responses were compared, and those whose dose differs in any window and amount."""
    truth = pl.read_parquet(home / "truth" / "expected_doses.parquet")
    truth = truth.with_columns(response_key=pl.Series([key_text(key_of(secret, "response", r)) for r in truth["response_id"]]))
    marts = ask(home, "select * from dose_outcomes where subscale = 'total'")
    wrong = []
    for days in (7, 28, 90):
        both = truth.filter(pl.col("window_days") == days).join(marts, on="response_key", how="left")
        differs = pl.any_horizontal([~pl.col(a).eq_missing(pl.col(f"{a}_{days}d")) for a in AMOUNTS])
        wrong.append(both.filter(pl.col("patient_key").is_null() | differs).select("response_id", "window_days"))
    return truth["response_id"].n_unique(), pl.concat(wrong)
