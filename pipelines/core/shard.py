# SPDX-License-Identifier: Apache-2.0
"""One shard from facts to marts: the unit of work of every runner, and a pure function of the shard's facts.

A shard is all patients with `patient_key mod S` equal; nothing in it depends on S, so any number of shards gives the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from pipelines.core.canonical import Canonical, canonicalise, rule_of
from pipelines.core.daily import dose_daily
from pipelines.core.patients import describe_patients
from pipelines.core.pseudonym import key_texts
from pipelines.core.score import score_responses
from pipelines.core.segments import DoseOptions, build_segments
from pipelines.core.units import DAY_MS, to_ms
from pipelines.core.versions import patient_versions
from pipelines.core.windows import dose_in_windows
from schemas.contract import SOURCES, load_contract
from schemas.frames import mart_schema, staged_schema, window_names
from schemas.instrument import load_instruments


@dataclass(frozen=True)
class StagedShard:
    """Everything one shard gives: facts with bins, segments, marts (keys as text), and what became of this load's rows.

    `dispositions`: source, file, line, record_id, bin, rules of the rows of `load` that were not accepted.
    `bins`: source, file, bin, rows over all rows of `load`.
    """

    facts: Mapping[str, pl.DataFrame]
    segments: pl.DataFrame
    marts: Mapping[str, pl.DataFrame]
    dispositions: pl.DataFrame
    bins: pl.DataFrame


def stage_shard(
    facts: Mapping[str, pl.DataFrame], owners: pl.DataFrame, load: int, options: DoseOptions, windows: tuple[int, ...]
) -> StagedShard:
    """Derive the shard from its facts (old and new together, staged schema); see `canonicalise` for `owners`."""
    canonical, segments, marts = derive(facts, owners, options, windows)
    fates = pl.concat([_fates(canonical, source, load) for source in SOURCES])
    return StagedShard(
        facts={s: canonical.facts[s].select(list(staged_schema(load_contract(s)))).sort("_key", "_fingerprint") for s in SOURCES},
        segments=segments,
        marts=marts,
        dispositions=fates.filter(pl.col("bin") != "accepted").sort("source", "file", "line"),
        bins=fates.group_by("source", "file", "bin").agg(rows=pl.len().cast(pl.Int64)).sort("source", "file", "bin"),
    )


def derive(
    facts: Mapping[str, pl.DataFrame], owners: pl.DataFrame, options: DoseOptions, windows: tuple[int, ...]
) -> tuple[Canonical, pl.DataFrame, dict[str, pl.DataFrame]]:
    """Facts to what is believed of them, the segments of stimulation, and the marts: what batch and stream have in common."""
    canonical = canonicalise(facts, owners)
    segments = build_segments(
        canonical.accepted("devices"), canonical.accepted("device_settings"), canonical.accepted("interrogations"),
        canonical.accepted("stimulation_sessions"), options,
    )  # fmt: skip
    return canonical, segments, _marts(canonical, segments, windows, owners)


def _record_id(frame: pl.DataFrame, source: str) -> pl.Series:
    """The key of a record as text: its pseudonym, or for composite keys the parts joined by a slash."""
    contract = load_contract(source)
    parts = []
    for column in (contract.column(k) for k in contract.key):
        values = frame[column.staged_name]
        parts.append(key_texts(values) if column.identifier else values.cast(pl.String).rename(column.name))
    return pl.select(pl.concat_str(parts, separator="/").alias("record_id")).to_series()


def _fates(canonical: Canonical, source: str, load: int) -> pl.DataFrame:
    """Bin and rule of every row of this load."""
    contract = load_contract(source)
    columns = ["_load", "_file", "_line", "_bin", *(contract.column(k).staged_name for k in contract.key)]
    both = [canonical.facts[source].select(columns), canonical.duplicates[source].select(columns)]
    mine = pl.concat(both).filter(pl.col("_load") == load)
    return mine.select(
        pl.lit(source).alias("source"), file="_file", line="_line", record_id=_record_id(mine, source), bin="_bin",
        rules=pl.concat_list(rule_of(contract)),
    )  # fmt: skip


def _horizon(canonical: Canonical) -> pl.DataFrame:
    """The last instant a patient was heard of: daily rows end there, because later nothing is known yet."""
    heard = {
        "survey_responses": "completed_at", "stimulation_sessions": "started_at", "interrogations": "interrogated_at",
        "physiology": "measured_at",
    }  # fmt: skip
    seen = [canonical.accepted(s).select("patient_key", at=to_ms(column)) for s, column in heard.items()]
    return pl.concat(seen).group_by("patient_key").agg(horizon_ms=pl.col("at").max()).sort("patient_key")


def _elapsed_days(responses: pl.DataFrame) -> pl.Series:
    """Days from activation to completion, null before it; divided in numpy, because Polars multiplies by the reciprocal of a
    constant and the last bit would depend on how many rows a shard has."""
    elapsed = responses.select(
        pl.when(pl.col("activated_ms") <= pl.col("completed_ms")).then(pl.col("completed_ms") - pl.col("activated_ms"))
    )
    ms = elapsed.to_series()
    return pl.Series(ms.fill_null(0).to_numpy() / DAY_MS).set(ms.is_null(), None)


def attach_exposures(canonical: Canonical, scores: pl.DataFrame, segments: pl.DataFrame, windows: tuple[int, ...]) -> pl.DataFrame:
    """Scores with the dose, therapy and device their patient had had by then."""
    devices = canonical.accepted("devices").sort("activated_at", "device_key")
    first = devices.group_by("patient_key", maintain_order=True).agg(
        pl.col("modality").first(), activated_ms=to_ms("activated_at").first()
    )
    responses = canonical.accepted("survey_responses").select("response_key", "patient_key", completed_ms=to_ms("completed_at"))
    responses = responses.sort("response_key").join(first, on="patient_key", how="left", maintain_order="left")
    cbt = canonical.accepted("therapy_sessions").filter(pl.col("therapy") == "cbt").select("patient_key", at=to_ms("started_at"))
    recent = responses.join(cbt, on="patient_key", how="inner").filter(
        (pl.col("at") < pl.col("completed_ms")) & (pl.col("at") >= pl.col("completed_ms") - 90 * DAY_MS)
    )
    counts = recent.group_by("response_key").agg(cbt_sessions_90d=pl.len().cast(pl.Int64))
    exposed = responses.join(counts, on="response_key", how="left", maintain_order="left").select(
        "response_key", "modality", pl.col("cbt_sessions_90d").fill_null(0), days_since_activation=_elapsed_days(responses)
    )
    doses = dose_in_windows(segments, responses, first.select("patient_key", "activated_ms"), windows)
    exposed = pl.concat([exposed, doses], how="horizontal")
    return scores.join(exposed, on="response_key", how="left", maintain_order="left")


def _marts(
    canonical: Canonical, segments: pl.DataFrame, windows: tuple[int, ...], owners: pl.DataFrame
) -> dict[str, pl.DataFrame]:
    scores = score_responses(canonical.accepted("survey_responses"), load_instruments())
    marts = {
        "patients": describe_patients(canonical, scores),
        "scores": scores,
        "dose_daily": dose_daily(segments, canonical.accepted("devices"), _horizon(canonical)),
        "dose_outcomes": attach_exposures(canonical, scores, segments, windows),
        "patient_versions": patient_versions(canonical.facts, owners),
    }
    return {name: publishable(frame, name, windows) for name, frame in marts.items()}


def publishable(frame: pl.DataFrame, mart: str, windows: tuple[int, ...]) -> pl.DataFrame:
    """The contract's columns in its order, sorted by its key, keys as text."""
    contract = load_contract(f"mart.{mart}")
    frame = frame.sort(contract.key)
    texts = [key_texts(frame[c]) for c in frame.columns if c.endswith("_key")]
    return frame.with_columns(texts).select(pl.col(name).cast(kind) for name, kind in mart_schema(contract, window_names(windows)).items())
