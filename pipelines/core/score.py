# SPDX-License-Identifier: Apache-2.0
"""Score surveys: coded answers in, one score with its status per response and subscale out.

All rules are data (`schemas.instrument`); this module knows only how to look points up, add parts and prorate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from schemas.errors import VNSightError
from schemas.instrument import Instrument, Instruments
from schemas.instrument_parts import Subscale

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

IDENTITY = ("response_key", "patient_key", "instrument", "form_version")
SCORE_COLUMNS = (*IDENTITY, "subscale", "completed_at", "score", "status", "reason", "n_answered", "n_items", "source_score")


@dataclass(frozen=True)
class SubscaleScores:
    """One subscale of many responses: score (NaN: none), whether nothing was prorated, parts and items answered.

    `given`: the score is the total that the source sent, so it was neither complete nor prorated here.
    """

    score: Floats
    whole: npt.NDArray[np.bool_]
    parts_answered: Counts
    items_answered: Counts
    n_parts: int
    needed: int
    given: bool = False

    def to_columns(self) -> dict[str, pl.Series]:
        """Columns score, status, reason and n_answered; a score is null exactly where the status is unscorable."""
        absent = np.isnan(self.score)
        # texts are gathered by number: numpy strings would be copied one by one
        status = np.where(absent, 3, 2 if self.given else np.where(self.whole, 0, 1))
        sentences = [f"answered {k} of {self.n_parts}, needs {self.needed}" for k in range(self.n_parts + 1)]
        if self.given:
            sentences[0] = "no total from the source"
        reason = np.where(absent, self.parts_answered, self.n_parts + 1)
        return {
            "score": pl.Series(self.score, dtype=pl.Float64).fill_nan(None),
            "status": pl.Series(["complete", "prorated", "from_source", "unscorable"]).gather(status),
            "reason": pl.Series([*sentences, None], dtype=pl.String).gather(reason),
            "n_answered": pl.Series(self.items_answered, dtype=pl.Int64),
        }


def to_points(answers: pl.Series, instrument: Instrument, version: str) -> Floats:
    """Turn lists of form codes into points, one row per response and one column per item of the form; NaN is unanswered.

    Offset, reversal and recoding happen here, by table lookup. `VNSightError` if a list has another length than the form or a
    code is not legal: such rows are refused before they are scored, so reaching this is a fault of the caller.
    """
    items = instrument.forms[version].items
    place = f"instrument {instrument.id}, form {version}"
    if (answers.list.len().fill_null(-1) != len(items)).any():
        raise VNSightError(f"{place}: a response does not hold {len(items)} answers (answers:length)")
    if not items:  # a form of totals
        return np.empty((len(answers), 0))
    codes = answers.explode(empty_as_null=False).to_numpy().astype(np.float64).reshape(-1, len(items))
    legal = [instrument.points(version, item) for item in items]
    low, high = min(min(p) for p in legal), max(max(p) for p in legal)
    table = np.array([[p.get(code, np.nan) for code in range(low, high + 1)] for p in legal])
    answered = ~np.isnan(codes)
    position = np.clip(np.where(answered, codes - low, 0), 0, high - low).astype(np.int64)
    points = np.where(answered, table[np.arange(len(items)), position], np.nan)
    outside = answered & (np.isnan(points) | (codes < low) | (codes > high))
    if outside.any():
        raise VNSightError(f"{place}: {int(outside.sum())} answers lie outside its coding (answers:range)")
    return points


def score_subscale(points: Floats, columns: Mapping[str, int], subscale: Subscale) -> SubscaleScores:
    """Score a `sum` or `mean` subscale. With all parts answered it is complete; with at least the needed number, prorated:
    sum * parts / answered (a mean is the mean of the answered parts); with fewer there is no score. `columns` says where the
    items of the form stand; an item of a group that the form does not print is none of its part."""
    printed = [[columns[i] for i in part if i in columns] for part in subscale.parts]
    parts = np.column_stack([_part(points[:, part], subscale.of_group) for part in printed])
    answered = np.asarray((~np.isnan(parts)).sum(axis=1), dtype=np.int64)
    n, needed = parts.shape[1], subscale.missing.needed(parts.shape[1])
    enough = (answered >= needed) & (answered > 0)
    scale = subscale.times * (1 if subscale.operation == "mean" else n)
    # one multiplication before the only division: a complete sum of whole numbers stays a whole number
    score = np.divide(np.nansum(parts, axis=1) * scale, answered, out=np.full(len(parts), np.nan), where=enough)
    return SubscaleScores(score, answered == n, answered, _items_answered(points, columns, subscale), n, needed)


def _part(points: Floats, of_group: str) -> Floats:
    """Points of one part: greatest or first answered item of a group; NaN if none is answered."""
    if of_group == "max":
        return np.asarray(np.fmax.reduce(points, axis=1), dtype=np.float64)
    first = np.argmax(~np.isnan(points), axis=1)
    return np.asarray(points[np.arange(len(points)), first], dtype=np.float64)


def _items_answered(points: Floats, columns: Mapping[str, int], subscale: Subscale) -> Counts:
    return np.asarray((~np.isnan(points[:, [columns[i] for i in subscale.items if i in columns]])).sum(axis=1), dtype=np.int64)


def _score_weighted(done: Mapping[str, SubscaleScores], subscale: Subscale, items: Counts) -> SubscaleScores:
    """Weighted sum of other subscales; it needs all of them, and a prorated one makes it prorated."""
    used = [done[name] for name in subscale.weights]
    score = np.sum([s.score * w for s, w in zip(used, subscale.weights.values(), strict=True)], axis=0)
    whole = np.logical_and.reduce([s.whole for s in used])
    scored = np.zeros(len(items), dtype=np.int64) + sum((~np.isnan(s.score)).astype(np.int64) for s in used)
    return SubscaleScores(score, whole, scored, items, len(used), len(used))


def _score_form(rows: pl.DataFrame, instrument: Instrument, version: str) -> Iterator[tuple[str, SubscaleScores]]:
    points = to_points(rows["answers"], instrument, version)
    columns: dict[str, int] = {item: i for i, item in enumerate(instrument.forms[version].items)}
    done: dict[str, SubscaleScores] = {}
    plain_first = sorted(instrument.subscales.items(), key=lambda pair: pair[1].operation == "weighted")
    for name, subscale in plain_first:
        if subscale.operation == "weighted":
            done[name] = _score_weighted(done, subscale, _items_answered(points, columns, subscale))
        elif subscale.operation == "given":
            total = rows["source_score"].cast(pl.Float64).fill_null(np.nan).to_numpy()
            there = ~np.isnan(total)
            items = _items_answered(points, columns, subscale)
            done[name] = SubscaleScores(total, there, there.astype(np.int64), items, 1, 1, given=True)
        else:
            done[name] = score_subscale(points, columns, subscale)
    return iter((name, done[name]) for name in instrument.subscales)


def score_responses(responses: pl.DataFrame, instruments: Instruments) -> pl.DataFrame:
    """Score every response on every subscale of its instrument, in order of response_key and of the subscales in the file.

    `responses`: response_key, patient_key, instrument, form_version, completed_at, answers (list of form codes in form
    order, null where unanswered), source_score, and (both or neither) source_subscales, source_subscale_scores. Result: the columns
    of the mart `scores`. A score is null exactly where the status is `unscorable`, and then `reason` says why. `source_score` is what
    the source computed for that subscale, null where it sent nothing.
    Where the licence keeps the items out, that total is the score and the status says `from_source`.
    Instrument, form, number of answers and codes were checked before; `VNSightError` otherwise.
    """
    frames = [_empty(responses)]
    for (id, version), rows in responses.partition_by("instrument", "form_version", as_dict=True).items():
        if id not in instruments or version not in instruments[id].forms:
            raise VNSightError(f"instrument {id}, form {version}: not known (instrument:unknown or form_version:unknown)")
        for position, (name, scores) in enumerate(_score_form(rows, instruments[id], version)):
            frames.append(rows.select(
                *IDENTITY, pl.lit(name).alias("subscale"), "completed_at", _source_score(rows, name).alias("source_score"),
                pl.lit(_n_items(instruments[id], version, name), pl.Int64).alias("n_items"), pl.lit(position).alias("position"),
            ).with_columns(**scores.to_columns()).select(*SCORE_COLUMNS, "position"))  # fmt: skip
    return pl.concat(frames).sort("response_key", "completed_at", "position", maintain_order=True).drop("position")


def _source_score(rows: pl.DataFrame, name: str) -> pl.Expr:
    """What the source computed for one subscale."""
    if name == "total":
        return pl.col("source_score").cast(pl.Float64)
    if "source_subscales" not in rows.columns or rows["source_subscales"].null_count() == rows.height:
        return pl.lit(None, pl.Float64)
    is_it = pl.col("source_subscales").list.eval((pl.element() == name).cast(pl.Int8))
    place = pl.when(is_it.list.max() == 1).then(is_it.list.arg_max())
    return pl.col("source_subscale_scores").list.get(place, null_on_oob=True).cast(pl.Float64)


def _n_items(instrument: Instrument, version: str, name: str) -> int:
    """Items of the subscale that the form prints; all of them where the form prints none."""
    subscale = instrument.subscales[name]
    return sum(item in instrument.forms[version].items for item in subscale.items) or subscale.n


def _empty(responses: pl.DataFrame) -> pl.DataFrame:
    """No rows, in the types of the result: a load without surveys still publishes a table."""
    known = responses.schema
    given = {name: known[name] for name in (*IDENTITY, "completed_at")}
    made = {"subscale": pl.String, "score": pl.Float64, "status": pl.String, "reason": pl.String, "source_score": pl.Float64}
    counts = {"n_answered": pl.Int64, "n_items": pl.Int64, "position": pl.Int32}
    return pl.DataFrame(schema={**given, **made, **counts}).select(*SCORE_COLUMNS, "position")


def source_disagreements(scores: pl.DataFrame) -> pl.DataFrame:
    """Scores where the source computed another number, or any number where we have none (`difference` null).

    Columns response_key, subscale, instrument, form_version, completed_at, status, score, source_score, difference = source - own.
    Equal means within 1e-6 points, so that a source which rounds in its last binary digit does not disagree.
    """
    difference = pl.col("source_score") - pl.col("score")
    differs = (difference.abs() > 1e-6) | pl.col("score").is_null()
    told = scores.filter(pl.col("source_score").is_not_null() & differs)
    columns = ("response_key", "subscale", "instrument", "form_version", "completed_at", "status", "score", "source_score")
    return told.select(*columns, difference.alias("difference"))
