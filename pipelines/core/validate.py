# SPDX-License-Identifier: Apache-2.0
"""From parsed rows to facts: instants, row rules, pseudonyms, repaired clocks, fingerprints; refused rows keep their reasons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import polars as pl
import polars.selectors as cs

from pipelines.core.clocks import repair_session_clock
from pipelines.core.fingerprint import fingerprint
from pipelines.core.instants import parse_instants
from pipelines.core.pseudonym import replace_identifiers
from pipelines.core.rows import Parsed
from schemas.contract import Contract, load_contract
from schemas.frames import UTC_US, staged_schema
from schemas.instrument import Instrument, load_instruments
from schemas.instrument_parts import Form
from schemas.rules import Rules, row_rules


@dataclass(frozen=True)
class Provenance:
    """Where the rows of a chunk come from: goes with every fact. `registers`: its patients need no row of their own."""

    load: int
    file: str
    landed_us: int
    trust_receipt: bool = False
    registers: bool = False


@dataclass(frozen=True)
class Validated:
    """Facts ready to be staged, and per refused row its line, rules and (raw) record id."""

    facts: pl.DataFrame
    refused: pl.DataFrame  # _line, rules, record_id


@lru_cache(maxsize=256)
def _rules(source: str, models: frozenset[str]) -> Rules:
    contract = load_contract(source)
    return row_rules(contract, models) | (_survey_rules() if source == "survey_responses" else {})


def _survey_rules() -> Rules:
    """An instrument, form or coding that is not the declared one is refused, never scored; nor is a total beyond its range."""
    forms = [(i, version, form) for i in load_instruments().values() for version, form in i.forms.items()]
    instrument, answers, known = pl.col("instrument"), pl.col("answers"), pl.col("instrument").is_in(list(load_instruments()))
    items = pl.concat_str(instrument, pl.col("form_version"), separator="\n").replace_strict(
        {f"{i.id}\n{version}": len(form.items) for i, version, form in forms}, default=None, return_dtype=pl.Int64
    )  # null: there is no such form
    beyond, off = pl.lit(False), pl.lit(False)
    for legal, alike in _forms_by_coding(forms).items():
        this = pl.any_horizontal([(instrument == id) & (pl.col("form_version") == version) for id, version in alike])
        beyond = beyond | (this & _beyond_codes(legal))
    for one in load_instruments().values():
        for given in (s.range for s in one.subscales.values() if s.operation == "given"):
            off = off | ((instrument == one.id) & ~pl.col("source_score").is_between(given.minimum, given.maximum))
    named, scores = pl.col("source_subscales"), pl.col("source_subscale_scores")
    parts = pl.any_horizontal([
        (instrument == one.id) & ~named.list.eval(pl.element().is_in(one.parts)).list.all() for one in load_instruments().values()
    ])  # fmt: skip
    return {
        "source_subscales:unknown": parts, "source_subscales:repeated": named.list.n_unique() != named.list.len(),
        "source_subscale_scores:length": named.list.len().fill_null(0) != scores.list.len().fill_null(0),
        "source_subscale_scores:not_finite": scores.list.eval(~pl.element().is_finite()).list.any(),
        "instrument:unknown": ~known, "form_version:unknown": known & items.is_null(),
        "answers:length": answers.list.len() != items, "answers:range": beyond, "source_score:range": off,
    }  # fmt: skip


ItemCodes = tuple[frozenset[int], ...]  # codes that each item of a form allows, in form order


def _forms_by_coding(forms: list[tuple[Instrument, str, Form]]) -> dict[ItemCodes, list[tuple[str, str]]]:
    """Instrument and version of the forms that share a coding; where all items do, forms of any length share it."""
    found: dict[ItemCodes, list[tuple[str, str]]] = {}
    for instrument, version, form in forms:
        codes = tuple(frozenset(instrument.points(version, item)) for item in form.items)
        if codes:
            found.setdefault(codes[:1] if len(set(codes)) == 1 else codes, []).append((instrument.id, version))
    return found


def _beyond_codes(codes: ItemCodes) -> pl.Expr:
    """True where an answer is none of the codes its item allows (one entry: all items alike); nulls are unanswered, not wrong."""
    if len(codes) == 1:
        return _any_beyond(pl.col("answers"), codes[0])
    places = {legal: [i for i, own in enumerate(codes) if own == legal] for legal in codes}
    return pl.any_horizontal(
        [_any_beyond(pl.col("answers").list.gather(at, null_on_oob=True), legal) for legal, at in places.items()]
    )


def _any_beyond(answers: pl.Expr, legal: frozenset[int]) -> pl.Expr:
    low, high = min(legal), max(legal)
    if len(legal) == high - low + 1:  # no gaps, so the ends say it; several times as fast
        return (answers.list.min() < low) | (answers.list.max() > high)
    return answers.list.eval(~pl.element().is_in(sorted(legal))).list.any()


def split_by_rules(frame: pl.DataFrame, contract: Contract, time_rules: Rules) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows that break no rule, and the others with all the `rules` they break; names are only worked out for those few.

    frame and time_rules: as `parse_instants` gives them; the text decides whether an instant is missing, so its rules come last.
    """
    models = frozenset(frame["model"].unique().drop_nulls()) if "model" in frame.columns else frozenset[str]()
    rules = {name: rule for name, rule in (_rules(contract.name, models) | time_rules).items() if not _is_idle(name, frame)}
    broken = frame.lazy().select(any=pl.any_horizontal([rule.fill_null(False) for rule in rules.values()])).collect()["any"]
    bad = frame.filter(broken)
    named = [pl.when(rule.fill_null(False)).then(pl.lit(name)) for name, rule in rules.items()]
    return frame.filter(~broken), bad.with_columns(rules=pl.concat_list(named).list.drop_nulls())


def _is_idle(rule: str, frame: pl.DataFrame) -> bool:
    """Whether a rule about values of one column has none to look at."""
    column, _, kind = rule.partition(":")
    return kind in ("range", "grid", "pattern", "enum") and column in frame.columns and frame[column].null_count() == frame.height


def _known_at(contract: Contract, origin: Provenance) -> pl.Expr:
    """Landing time, or the source's own receipt time where it is trusted; never later than landing."""
    landed = pl.lit(origin.landed_us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.min_horizontal(pl.col(contract.receipt), landed) if origin.trust_receipt and contract.receipt else landed


def validate(parsed: Parsed, contract: Contract, origin: Provenance, secret: bytes) -> Validated:
    """Apply the contract to parsed rows.

    Rows that break no rule become facts in the staged schema (`_bin` is null until staging decides); the others are listed with every
    rule they break. Nothing is coerced and nothing is dropped: `facts.height + refused.height == parsed.frame.height`.
    """
    frame, time_rules = parse_instants(parsed.frame, contract)
    good, bad = split_by_rules(frame, contract, time_rules)
    record_id = pl.concat_str([pl.col(k).cast(pl.String) for k in contract.key], separator="/")
    refused = bad.select("_line", "rules", record_id=record_id)
    facts = good.with_columns(cs.float() + 0.0).drop([n for n in good.columns if n.endswith("\0")])
    facts = replace_identifiers(facts, contract, secret)
    if contract.name == "stimulation_sessions":
        facts = repair_session_clock(facts)
    content = [c.staged_name for c in contract.columns if not c.since]
    later = [c.staged_name for c in contract.columns if c.since]
    key_columns = [contract.column(k).staged_name for k in contract.key]
    facts = facts.with_columns(
        fingerprint(facts, content, later).reinterpret(signed=True),  # Delta tables know no unsigned numbers
        fingerprint(facts, key_columns).rename("_key").reinterpret(signed=True),
        _known_at=_known_at(contract, origin).cast(UTC_US),
        _load=pl.lit(origin.load, dtype=pl.Int64), _file=pl.lit(origin.file), _registers=pl.lit(origin.registers),
        _bin=pl.lit(None, dtype=pl.String),
    )  # fmt: skip
    return Validated(facts.select(list(staged_schema(contract))), refused)
