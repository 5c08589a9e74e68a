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
from schemas.instrument import load_instruments
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
    """An instrument, form or coding that is not the declared one is refused, never scored."""
    instruments = load_instruments()
    unknown_form, length, beyond = pl.lit(True), pl.lit(False), pl.lit(False)
    answers = pl.col("answers")
    for instrument in instruments.values():
        for version, form in instrument.forms.items():
            this = (pl.col("instrument") == instrument.id) & (pl.col("form_version") == version)
            unknown_form = unknown_form & ~this
            length = length | (this & (answers.list.len() != len(form.items)))
            beyond = beyond | (this & _beyond_codes([frozenset(instrument.points(version, i)) for i in form.items]))
    known = pl.col("instrument").is_in(list(instruments))
    return {
        "instrument:unknown": ~known, "form_version:unknown": known & unknown_form, "answers:length": length, "answers:range": beyond,
    }  # fmt: skip


def _beyond_codes(codes: list[frozenset[int]]) -> pl.Expr:
    """True where an answer is none of the codes its item allows; nulls are unanswered, not wrong."""
    answers = pl.col("answers")
    if len(set(codes)) == 1:
        return answers.list.eval(~pl.element().is_in(sorted(codes[0]))).list.any()
    each = [~answers.list.get(i, null_on_oob=True).is_in(sorted(allowed)) for i, allowed in enumerate(codes)]
    return pl.any_horizontal([e.fill_null(False) for e in each])


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
    content = [c.staged_name for c in contract.columns]
    key_columns = [contract.column(k).staged_name for k in contract.key]
    facts = facts.with_columns(
        fingerprint(facts, content).reinterpret(signed=True),  # Delta tables know no unsigned numbers
        fingerprint(facts, key_columns).rename("_key").reinterpret(signed=True),
        _known_at=_known_at(contract, origin).cast(UTC_US),
        _load=pl.lit(origin.load, dtype=pl.Int64), _file=pl.lit(origin.file), _registers=pl.lit(origin.registers),
        _bin=pl.lit(None, dtype=pl.String),
    )  # fmt: skip
    return Validated(facts.select(list(staged_schema(contract))), refused)
