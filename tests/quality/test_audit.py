# SPDX-License-Identifier: Apache-2.0
"""The audit end to end: Great Expectations on a candidate with one planted fault each."""

import dataclasses
import subprocess
import sys

import pytest
from window_parts import INDEX, disposition, dose_day, dose_outcome, key, ledger_row, load_files, patient, score, small_load

from quality.audit import AuditResult, audit, gate
from quality.load_rules import load_checks
from quality.results import CheckResult, read_results, save_results, worst_first
from quality.suite import checks_of
from schemas.contract import load_contract, load_contracts
from schemas.frames import window_names
from schemas.load import CompleteLoad, LoadFiles
from schemas.workspace import Settings
from warehouse.publish import candidate
from warehouse.sql import query

WINDOWS = Settings().windows_days
pytestmark = pytest.mark.filterwarnings("default")  # Great Expectations and marshmallow warn about their own future


def contracts_of(*marts) -> dict:
    """The contracts with only these marts: an audit of all of them takes a second or two."""
    return {n: c for n, c in load_contracts().items() if c.kind != "mart" or c.name in (*marts, "ledger")}


def audited(ws, people=(), scores=(), days=()) -> AuditResult:
    """What is found in a candidate of these marts; those that are worked out in SQL are not asked here, and not built."""
    dose = [dose_outcome(s, window_names(WINDOWS)) for s in scores]
    marts = {"patients": people, "scores": scores, "dose_daily": days, "dose_outcomes": dose}
    files = load_files(ws, 1, {n: {0: r} for n, r in marts.items() if r}, [])
    shown = contracts_of(*(name for name, rows in marts.items() if rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warehouse.window.SQL_MARTS", ())
        return audit(candidate(ws, files, CompleteLoad(0, {})), shown, ws.settings, 1)


def failures(result: AuditResult) -> dict[str, int | None]:
    return {f"{c.table}.{c.rule}": c.failed_rows for c in result.failed}


def test_a_table_without_a_fault_is_asked_once(ws, monkeypatch):
    asked = []
    monkeypatch.setattr("quality.audit._each_alone", lambda _, checks: asked.append([c.rule for c in checks]) or {})
    audit(candidate(ws, small_load(ws, 1, n=30), CompleteLoad(0, {})), load_contracts(), ws.settings, 1)
    assert asked == []  # no pattern with braces or colons made the one question unanswerable
    audited(ws, people=[GOOD, patient(2, sex="male?")])
    assert asked == [["sex:enum"]]


def test_a_clean_candidate_and_an_empty_one_pass(ws):
    clean = audit(candidate(ws, small_load(ws, 1, n=30), CompleteLoad(0, {})), load_contracts(), ws.settings, 1)
    assert failures(clean) == {}
    assert gate(clean).action == "publish"
    assert len(clean.checks) > 150
    empty = audit(candidate(ws, LoadFiles(1), CompleteLoad(0, {})), load_contracts(), ws.settings, 1)
    assert failures(empty) == {}


DAY = INDEX.date()
GOOD = patient(1)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({"people": [GOOD, patient(2, sex=None)]}, {}),  # not required
        ({"people": [GOOD, patient(2, arm=None)]}, {"patients.arm:null": 1}),
        ({"people": [GOOD, patient(2, sex="male?")]}, {"patients.sex:enum": 1}),
        ({"people": [GOOD, patient(2, failed_trials=-1)]}, {"patients.failed_trials:range": 1}),
        ({"people": [GOOD, patient(2, patient_key="p-0002")]}, {"patients.patient_key:pattern": 1}),
        ({"people": [GOOD, patient(2, patient_key=key(2) + "f")]}, {"patients.patient_key:pattern": 1}),  # anchored
        ({"people": [GOOD, patient(2, age_band="40-50")]}, {"patients.age_band:pattern": 1}),
        ({"people": [GOOD, GOOD]}, {"patients.key:unique": 1}),
        ({"days": [dose_day(1, 1, DAY), dose_day(1, 2, DAY)]}, {}),
        ({"days": [dose_day(1, 1, DAY)] * 3}, {"dose_daily.key:unique": 1}),
        ({"days": [dose_day(1, 1, DAY, charge_pc=13)]}, {"dose_daily.bounds_hold": 1}),
        ({"days": [dose_day(1, 1, DAY, coverage=1.0), dose_day(1, 2, DAY, coverage=1.001)]}, {"dose_daily.coverage:range": 1}),
        ({"people": [GOOD], "scores": [score(1, 1, 0, None, reason=None)]}, {"scores.score_has_reason": 1}),
    ],
)
def test_every_kind_of_check_finds_its_fault(ws, rows, expected):
    result = audited(ws, **rows)
    assert failures(result) == expected
    assert gate(result).action == ("hold" if expected else "publish")


@pytest.mark.parametrize(
    ("value", "source_score", "rule"),
    [
        (12.0, 12.0, None),
        (12.0, None, None),  # a source need not send a total
        (12.0, 12.0000001, None),  # it may round in its last digit
        (12.0, 13.0, "source_agrees"),
        (10.5, 10.0, "source_agrees"),
        (None, 10.0, "source_has_answers"),  # it counted a gap as 0
        (None, None, None),
    ],
)
def test_a_total_of_the_source_that_is_not_ours_is_told_to_the_owner(ws, value, source_score, rule):
    result = audited(ws, people=[GOOD], scores=[score(1, 1, 0, value, source_score=source_score), score(2, 1, 30, 5.0, source_score=5.0)])
    assert failures(result) == ({f"scores.{rule}": 1} if rule else {})
    assert [(c.severity, c.owner) for c in result.failed] == ([("warning", load_contract("mart.scores").owner)] if rule else [])
    assert gate(result).action == ("flag" if rule else "publish")  # never held back: both totals stand side by side


def test_a_failed_check_says_what_whose_why_and_where(ws):
    result = audited(ws, people=[GOOD, *(patient(n, sex="x") for n in range(2, 10))])
    (check,) = result.failed
    assert (check.name, check.failed_rows, check.total_rows, check.severity) == ("patients: sex:enum", 8, 9, "critical")
    assert (check.owner, check.channel) == ("registry", "registry-data")
    assert check.meaning == load_contract("mart.patients").column("sex").failure
    assert len(check.sample) == 5
    assert all(s.startswith("patient_key=") for s in check.sample)
    assert query(ws.home / ".candidate-1.duckdb", check.query).num_rows == 8


def test_windows_beyond_the_default_are_checked_too(ws):
    wide = dataclasses.replace(ws, settings=Settings(windows_days=(14,)))
    s = score(1, 1, 0, 10)
    files = load_files(wide, 1, {"dose_outcomes": {0: [dose_outcome(s, window_names((14,)), coverage_14d=1.5)]}}, [])
    found = audit(candidate(wide, files, CompleteLoad(0, {})), contracts_of("dose_outcomes"), wide.settings, 1)
    assert failures(found) == {"dose_outcomes.coverage_14d:range": 1}


def test_a_check_that_cannot_be_carried_out_fails(ws):
    contract = load_contract("mart.patients")
    rule = dataclasses.replace(load_contract("mart.strata").rules[0], name="broken", query="select nope from {batch}")
    marts = contracts_of() | {"mart.patients": dataclasses.replace(contract, rules=(rule,))}
    (check,) = audit(candidate(ws, small_load(ws, 1), CompleteLoad(0, {})), marts, ws.settings, 1).failed[:1]
    assert (check.rule, check.failed_rows) == ("broken", None)
    assert "The check could not be carried out" in check.meaning
    assert "nope" in check.meaning


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([ledger_row(1, "f", 95, read=100), ledger_row(1, "f", 5, bin="quarantined", read=100)], {}),  # 5 % is the limit
        (
            [ledger_row(1, "f", 94, read=100), ledger_row(1, "f", 6, bin="quarantined", read=100)],
            {"load.quarantine_rate:devices": 6},
        ),
        ([ledger_row(1, "f", 94, read=100)], {"load.ledger_balanced": 1}),
        (
            [ledger_row(1, "f", 0, read=7), ledger_row(1, "f", 7, bin="quarantined", read=7)],
            {"load.nothing_accepted": 7, "load.quarantine_rate:devices": 7},
        ),
        ([ledger_row(1, "f", 7, bin="duplicate", read=7)], {}),
        ([ledger_row(1, "f", 0, read=0)], {}),  # an empty file
        # an older load that was bad is not this load's fault
        ([ledger_row(1, "f", 9, read=9), ledger_row(2, "g", 9, bin="quarantined", read=9)], {}),
    ],
)
def test_the_load_as_a_whole(ws, rows, expected):
    path = candidate(ws, load_files(ws, 1, {}, rows, dispositions=[disposition(1, 1)]), CompleteLoad(0, {}))
    result = AuditResult(1, load_checks(path, load_contracts(), 1))
    assert failures(result) == expected
    critical = any(c.severity == "critical" for c in result.failed)
    assert gate(result).action == ("hold" if critical else "flag" if expected else "publish")


@pytest.mark.parametrize(
    ("rows", "line", "action"),
    [
        (1, 5, "flag"),  # the one row of an epoch
        (19, 5, "flag"),
        (20, 5, "hold"),
        (1, 0, "hold"),  # a whole file, which counts as one row
    ],
)
def test_a_handful_of_refused_rows_holds_nothing_back(ws, rows, line, action):
    ledger = [ledger_row(1, "f", 0, read=rows), ledger_row(1, "f", rows, bin="quarantined", read=rows)]
    path = candidate(ws, load_files(ws, 1, {}, ledger, dispositions=[disposition(1, line)]), CompleteLoad(0, {}))
    assert gate(AuditResult(1, load_checks(path, load_contracts(), 1))).action == action


def check(severity, table="t", failed=1) -> CheckResult:
    return CheckResult(table, "r", severity, failed == 0, failed, 10, "why", "o", "c", ("a=1",), "from t")


@pytest.mark.parametrize(
    ("severities", "action"),
    [((), "publish"), (("info",), "publish"), (("info", "warning"), "flag"), (("warning", "critical", "info"), "hold")],
)
def test_the_worst_failure_decides(severities, action):
    verdict = gate(AuditResult(1, tuple(check(s) for s in severities)))
    assert verdict.action == action
    assert verdict.held == (action == "hold")


def test_worst_first():
    results = [check("info"), check("warning", "b", 2), check("warning", "a", 9), check("critical", "z"), check("critical", failed=0)]
    assert [(r.severity, r.table) for r in worst_first(results)] == [("critical", "z"), ("warning", "a"), ("warning", "b"), ("info", "t")]


def test_results_survive_their_file(ws):
    results = (check("critical"), check("info", failed=0))
    save_results(ws, 3, results)
    assert read_results(ws, 3) == results
    assert read_results(ws, 4) == ()


def test_every_bound_key_and_rule_of_a_contract_is_a_check():
    contract = load_contract("mart.dose_daily")
    rules = [c.rule for c in checks_of(contract, WINDOWS)]
    for column in contract.columns:
        assert (f"{column.name}:null" in rules) == column.required
        assert (f"{column.name}:range" in rules) == (column.minimum is not None or column.maximum is not None)
    assert rules.count("key:unique") == 1
    assert "bounds_hold" in rules


def test_nothing_heavy_is_imported_before_an_audit_is_made():
    code = (
        "import sys, quality.audit, quality.alerts, quality.messages; print('great_expectations' in sys.modules, 'apprise' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False False"
