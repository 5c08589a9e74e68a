# SPDX-License-Identifier: Apache-2.0
"""The mart `patients`: one row per patient with what answers are stratified by, nothing that names a person."""

from __future__ import annotations

import polars as pl

from pipelines.core.canonical import Canonical
from schemas.code_lists import disorder_of, history_flags, history_responses, is_intractable, polarities
from schemas.definition import load_visits
from schemas.instrument import load_instrument


def _base(canonical: Canonical) -> pl.DataFrame:
    """Registered patients, and those whom a survey source brings along without a registry; withdrawn ones are gone."""
    registered = canonical.accepted("patients").select("patient_key", "birth_year", "sex", "site", "index_at")
    surveys = canonical.accepted("survey_responses").filter("_registers").select("patient_key").unique()
    return pl.concat([registered, surveys.join(registered, on="patient_key", how="anti")], how="diagonal").sort("patient_key")


def _age_band(birth_year: pl.Expr, at: pl.Expr) -> pl.Expr:
    """Ten-year band of the age in the year of `at`; 90 and over is one band, an impossible age is null."""
    decade = (at.dt.year() - birth_year) // 10
    band = (decade * 10).cast(pl.String) + "-" + (decade * 10 + 9).cast(pl.String)
    band = pl.when(decade == 0).then(pl.lit("00-09")).otherwise(band)
    return pl.when(decade >= 9).then(pl.lit("90+")).when(decade >= 0).then(band)


def _disorders(recorded: pl.DataFrame, base: pl.DataFrame) -> pl.DataFrame:
    """Disorders of each patient at the index date, whether epilepsy is intractable, their earliest dated onset, codes of no disorder.

    What ended before the index date is past, what began after it was not what anybody was treated for; undated, it counts.
    """
    dated = recorded.join(base.select("patient_key", "index_at"), on="patient_key", how="inner")
    over = (pl.col("onset_at") > pl.col("index_at")) | (pl.col("abated_at") < pl.col("index_at"))
    conditions = dated.filter(~over.fill_null(False))
    codes = conditions["code"].unique().to_list()
    named = conditions.with_columns(
        disorder=pl.col("code").replace_strict({c: disorder_of(c) for c in codes}, return_dtype=pl.String),
        epilepsy_intractable=pl.col("code").replace_strict({c: is_intractable(c) for c in codes}, return_dtype=pl.Boolean),
    )
    ours = pl.col("disorder").is_not_null()
    return named.group_by("patient_key").agg(
        pl.col("epilepsy_intractable").max(), disorders=pl.col("disorder").drop_nulls().unique().sort(),
        onset_at=pl.col("onset_at").filter(ours).min(), n_other_codes=pl.col("code").filter(~ours).n_unique().cast(pl.Int64),
    )  # fmt: skip


def _polarity() -> pl.Expr:
    found: pl.Expr = pl.lit(None, pl.String)
    for name, disorders in polarities().items():
        found = pl.when(pl.col("disorders").list.set_intersection(list(disorders)).list.len() > 0).then(pl.lit(name)).otherwise(found)
    return found


def _history(events: pl.DataFrame, base: pl.DataFrame) -> pl.DataFrame:
    """Flags, responses and the number of failed trials, from events before the index date; undated events count as before it."""
    dated = events.join(base.select("patient_key", "index_at"), on="patient_key", how="inner")
    before = dated.filter(pl.col("happened_at").is_null() | pl.col("index_at").is_null() | (pl.col("happened_at") < pl.col("index_at")))
    flags = {f.name: pl.col("kind").is_in(f.kinds).sum() >= f.at_least for f in history_flags()}
    helped = {r.name: pl.col("responded").filter(pl.col("kind").is_in(r.kinds)).max() for r in history_responses()}
    return before.group_by("patient_key").agg(failed_trials=(pl.col("kind") == "failed_trial").sum().cast(pl.Int64), **flags, **helped)


def _asked(scores: pl.DataFrame) -> pl.DataFrame:
    """Flags that a questionnaire of the past gives: one column each, true for a patient with a case, no row without an answer."""
    told = scores.select("patient_key").unique()
    for flag in (f for f in history_flags() if f.asked):
        instrument, name = flag.asked or ("", "")
        cuts = [(s, c) for s, one in load_instrument(instrument).subscales.items() for c in one.caseness if c.name == name]
        case = pl.any_horizontal([(pl.col("subscale") == s) & (pl.col("score") >= c.value) for s, c in cuts])
        found = scores.filter((pl.col("instrument") == instrument) & case.fill_null(False)).select("patient_key").unique()
        told = told.with_columns(pl.col("patient_key").is_in(found["patient_key"].implode()).alias(f"asked_{flag.name}"))
    return told


def _first_device(devices: pl.DataFrame) -> pl.DataFrame:
    ordered = devices.sort("activated_at", "device_key")
    return ordered.group_by("patient_key", maintain_order=True).agg(pl.col("modality").first(), pl.col("activated_at").first())


def _cbt_start(therapy: pl.DataFrame, base: pl.DataFrame) -> pl.DataFrame:
    cbt = therapy.filter(pl.col("therapy") == "cbt").join(base.select("patient_key", "index_at"), on="patient_key", how="inner")
    return cbt.filter(pl.col("started_at") >= pl.col("index_at")).group_by("patient_key").agg(cbt_started_at=pl.col("started_at").min())


def _arm() -> pl.Expr:
    """Arm at the landmark, the instant itself included: decided there, never with hindsight."""
    landmark = pl.col("index_at") + pl.duration(days=load_visits().landmark.day)
    vns = (pl.col("activated_at") <= landmark).fill_null(False)
    cbt = (pl.col("cbt_started_at") <= landmark).fill_null(False)
    return (
        pl.when(vns & cbt).then(pl.lit("vns_cbt")).when(vns).then(pl.lit("vns")).when(cbt).then(pl.lit("cbt"))
        .otherwise(pl.lit("neither"))
    )  # fmt: skip


def describe_patients(canonical: Canonical, scores: pl.DataFrame) -> pl.DataFrame:
    """One row per patient with an accepted fact of their own: keys still 64-bit, columns of contract `mart.patients`.

    `scores`: patient_key, instrument, subscale, score of the mart of that name. Unknown stays null (age bands, sex, site, modality,
    polarity, responses); a history flag is false when no event and no questionnaire says otherwise.
    """
    base = _base(canonical)
    frame = base
    for part in (
        _first_device(canonical.accepted("devices")), _disorders(canonical.accepted("conditions"), base),
        _history(canonical.accepted("history_events"), base), _cbt_start(canonical.accepted("therapy_sessions"), base), _asked(scores),
    ):  # fmt: skip
        frame = frame.join(part, on="patient_key", how="left", maintain_order="left")
    return frame.with_columns(
        _age_band(pl.col("birth_year"), pl.col("index_at")).alias("age_band"),
        _age_band(pl.col("birth_year"), pl.col("onset_at")).alias("age_at_onset_band"),
        pl.col("disorders").fill_null([]), pl.col("disorders").list.len().fill_null(0).cast(pl.Int64).alias("n_disorders"),
        _polarity().alias("polarity"), pl.col("failed_trials", "n_other_codes").fill_null(0),
        *(pl.any_horizontal(pl.col(f.name), *[f"asked_{f.name}"] * bool(f.asked)).fill_null(False) for f in history_flags()),
        arm=_arm(),
    )  # fmt: skip
