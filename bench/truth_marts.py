# SPDX-License-Identifier: Apache-2.0
"""From the simulator's own frames to the marts without a file in between: what a whole run gives when no record is faulty.

Left out are writing and reading files, validation, duplicates and consent, which change nothing where nothing is wrong. The kernel, the
scoring and the SQL are the real ones. `same_as_run` compares with a real workspace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from pipelines.core.canonical import Canonical
from pipelines.core.patients import describe_patients
from pipelines.core.pseudonym import replace_identifiers
from pipelines.core.score import score_responses
from pipelines.core.segments import DoseOptions, build_segments
from pipelines.core.shard import attach_exposures, publishable
from schemas.contract import load_contract
from schemas.frames import UTC_US, staged_schema
from schemas.instrument import load_instruments
from schemas.workspace import Settings, Workspace
from simulator.block import Block
from warehouse.window import WindowMeta, build_window

MARTS = ("patients", "scores", "dose_outcomes")
WINDOWS = (28,)  # the only one a mart of outcomes asks for
SECRET = b"pseudonyms of nobody"
SOURCES = (
    "patients", "devices", "conditions", "history_events", "therapy_sessions", "device_settings", "interrogations",
    "stimulation_sessions", "survey_responses",
)  # fmt: skip


def accepted(frame: pl.DataFrame, source: str, secret: bytes) -> pl.DataFrame:
    """The records of one source as staging keeps them, all of them accepted; the clocks of devices are good enough without faults."""
    contract = load_contract(source)
    absent = [pl.lit(None).alias(c.name) for c in contract.columns if c.name not in frame.columns]
    frame = frame.with_columns(absent).select([c.name for c in contract.columns] + ["_receipt"])
    number = pl.int_range(pl.len(), dtype=pl.Int64)
    book = {
        "_key": number, "_fingerprint": number, "_known_at": pl.col("_receipt").cast(UTC_US), "_load": pl.lit(1), "_file": pl.lit(""),
        "_line": number, "_registers": pl.lit(False), "_bin": pl.lit("accepted"),
    }  # fmt: skip
    if source == "stimulation_sessions":
        book |= {"started_at": pl.col("device_started_at"), "clock_method": pl.lit("device"), "clock_uncertainty_ms": pl.lit(0)}
    keyed = replace_identifiers(frame, contract, secret).with_columns(**book)
    return keyed.select(pl.col(name).cast(kind) for name, kind in staged_schema(contract).items())


def marts_of(block: Block, instruments: Sequence[str], secret: bytes = SECRET) -> dict[str, pl.DataFrame]:
    """The marts `patients`, `scores` and `dose_outcomes` of a block, of these instruments only."""
    frames = {source: block.frames[source] for source in SOURCES}
    frames["survey_responses"] = frames["survey_responses"].filter(pl.col("instrument").is_in(list(instruments)))
    facts = {source: accepted(frame, source, secret) for source, frame in frames.items()}
    canonical = Canonical(facts, {})
    segments = build_segments(
        facts["devices"], facts["device_settings"], facts["interrogations"], facts["stimulation_sessions"], DoseOptions()
    )
    scores = score_responses(facts["survey_responses"], load_instruments())
    marts = {
        "patients": describe_patients(canonical, scores), "scores": scores,
        "dose_outcomes": attach_exposures(canonical, scores, segments, WINDOWS),
    }  # fmt: skip
    return {name: publishable(frame, name, WINDOWS) for name, frame in marts.items()}


def write_marts(blocks: Iterator[Block], home: Path, instruments: Sequence[str] = ("PHQ-9",), secret: bytes = SECRET) -> None:
    """Write the marts of the blocks below `home`, one part each."""
    for block in blocks:
        for name, frame in marts_of(block, instruments, secret).items():
            part = home / "marts" / name / f"{block.number}.parquet"
            part.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(part, compression="zstd")


def build_marts(home: Path) -> Path:
    """Let the SQL of the marts build a window over what `write_marts` wrote; returns the window file."""
    files = {f"marts/{name}": sorted(str(p.relative_to(home)) for p in (home / "marts" / name).glob("*.parquet")) for name in MARTS}
    window = home / "window.duckdb"
    build_window(Workspace(home, Settings(windows_days=WINDOWS)), window, files, WindowMeta(1))
    return window


def differing_rows(ours: Mapping[str, pl.DataFrame], theirs: Mapping[str, pl.DataFrame]) -> dict[str, int]:
    """Per table, how many rows are on one side only; null equals null, and columns that `ours` lacks are not compared."""
    found = {}
    for name, frame in ours.items():
        other, columns = theirs[name].select(frame.columns), frame.columns
        apart = [a.join(b, on=columns, how="anti", nulls_equal=True).height for a, b in ((frame, other), (other, frame))]
        found[name] = sum(apart)
    return found
