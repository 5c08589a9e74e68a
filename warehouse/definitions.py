# SPDX-License-Identifier: Apache-2.0
"""What the SQL of the marts is told as data: instruments, outcome definitions, visit windows, from the files in `schemas`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import duckdb

from schemas.definition import Definitions, Visits, Window, definitions_of, has_own, load_definitions, load_visits, visits_of
from schemas.instrument import Instrument, load_instruments
from schemas.instrument_parts import Confidence, Norm, ReliableChange, Subscale, Threshold

TABLES = ("instruments", "outcome_definitions")  # files of warehouse/tables that hold them


def fill_definitions(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill the tables of `TABLES`, which are there and empty, with what is shipped."""
    instruments = load_instruments().values()
    _fill(connection, "instruments", [_score_row(one, name) for one in instruments for name in one.subscales])
    _fill(connection, "severity_bands", [row for one in instruments for row in _band_rows(one)])
    _fill_parameters(connection, load_definitions(), load_visits())


def use_own(connection: duckdb.DuckDBPyConnection, home: Path) -> None:
    """Put definitions and visits of a workspace in place of the shipped ones, where it has its own; `UsageError` if they do not fit."""
    if has_own(home):
        _fill_parameters(connection, definitions_of(home), visits_of(home))


def _fill_parameters(connection: duckdb.DuckDBPyConnection, definitions: Definitions, visits: Visits) -> None:
    _fill(connection, "outcome_definitions", list(_definition_rows(definitions)))
    _fill(connection, "benefits", [
        (b.domain, b.instrument, b.subscale, b.value, b.unit, b.source, b.confidence) for b in definitions.domains
    ])  # fmt: skip
    _fill(connection, "visit_windows", list(_window_rows(visits)))


def _fill(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    connection.execute(f"delete from {table}")
    if rows:
        connection.executemany(f"insert into {table} values ({', '.join('?' * len(rows[0]))})", rows)


def _definition_rows(read: Definitions) -> Iterator[tuple[Any, ...]]:
    for name, one in read.definitions.items():
        yield name, one.label, one.rule, one.scores, dict(one.parameters), one.source, one.confidence


def _window_rows(read: Visits) -> Iterator[tuple[Any, ...]]:
    named: list[tuple[str, str, Window]] = [("baseline", "baseline", read.baseline)]
    named += [(name, "visit", window) for name, window in read.visits.items()]
    named += [(name, "period", window) for name, window in read.periods.items()]
    for name, kind, w in named:
        yield name, kind, w.target_d, w.from_d, w.to_d, w.when, w.source, w.confidence
    day = read.landmark.day
    yield "landmark", "landmark", day, day, day, "always", read.landmark.source, read.landmark.confidence


def _band_rows(one: Instrument) -> Iterator[tuple[Any, ...]]:
    for name, subscale in one.subscales.items():
        for band, end in subscale.bands.ends.items() if subscale.bands else ():
            yield one.id, name, band, end


def _threshold(thresholds: Sequence[Threshold], name: str) -> Threshold | None:
    return next((t for t in thresholds if t.name == name), None)


def _named(thresholds: Sequence[Threshold], name: str) -> float | None:
    found = _threshold(thresholds, name)
    return found.value if found else None


def _score_row(one: Instrument, name: str) -> tuple[Any, ...]:
    subscale, direction = one.subscales[name], one.direction_of(name)
    worse = {"higher_is_worse": True, "lower_is_worse": False}.get(direction) if one.is_outcome else None
    cut = next(iter(subscale.remission), None)
    change = used_reliable_change(subscale)
    cutoffs = cut_offs(subscale, worse)
    used, method = _used_cut_off(subscale, cutoffs)
    important = _threshold(subscale.change, "minimal_important") if worse is not None else None
    rated = _threshold(subscale.response, "response") if one.kind == "change" else None
    return (
        one.id, name, worse, name == "total" or "total" not in one.subscales,
        cut.comparison if cut else None, cut.value if cut else None,
        change.sd if change else None, change.sd_source if change else None, change.reliability if change else None,
        *cutoffs, used, method, _named(subscale.caseness, "nhs_caseness"), _named(subscale.change, "nhs_reliable"),
        None if change else _named(subscale.change, "reliable"), *((important.value, important.unit) if important else (None, None)),
        *((rated.comparison, rated.value) if rated else (None, None)), subscale.range.minimum, subscale.range.maximum,
    )  # fmt: skip


def used_reliable_change(subscale: Subscale) -> ReliableChange | None:
    """Of several inputs those with the SD of the clinical or functional norm, of these the most trusted, of these the first.

    An SD of another sample would judge change by one population and the cut-off by another.
    """
    trust: tuple[str, ...] = get_args(Confidence)
    own = {norm.sd for norm in subscale.norms if norm.population in ("clinical", "functional")}
    return min(subscale.reliable_change, key=lambda c: (c.sd not in own, trust.index(c.confidence)), default=None)


def cut_offs(subscale: Subscale, higher_is_worse: bool | None) -> tuple[float | None, float | None, float | None]:
    """Cut-offs a, b and c of Jacobson and Truax [points] from the clinical and the functional norm; None where one is missing.

    a lies two SDs from the clinical mean towards health, b two SDs from the functional mean towards illness, and a score at
    c = (SD_f M_c + SD_c M_f) / (SD_c + SD_f) is as likely clinical as functional. Source: Jacobson and Truax 1991.
    """
    norms: dict[str, Norm] = {norm.population: norm for norm in subscale.norms}
    ill, well = norms.get("clinical"), norms.get("functional")
    worse = {True: 1, False: -1}.get(higher_is_worse)  # type: ignore[arg-type]  # None has no direction
    if worse is None:
        return None, None, None
    a = ill.mean - worse * 2 * ill.sd if ill else None
    b = well.mean + worse * 2 * well.sd if well else None
    c = (well.sd * ill.mean + ill.sd * well.mean) / (ill.sd + well.sd) if ill and well else None
    return a, b, c


def _used_cut_off(subscale: Subscale, cutoffs: tuple[float | None, ...]) -> tuple[float | None, str | None]:
    a, b, c = cutoffs
    published = next((t.value for t in subscale.caseness if t.name == "suggested_cutoff"), None)
    healthy = next((t.value for t in subscale.functional if t.comparison == "at_most"), None)
    candidates = (("c", c), ("published", published), ("b", b), ("a", a), ("healthy_end", healthy))
    return next(((value, method) for method, value in candidates if value is not None), (None, None))
