# SPDX-License-Identifier: Apache-2.0
"""Every label stands at the physical line it is about, and the line really has that fault."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from schemas.contract import load_contract
from schemas.devices import load_models
from schemas.errors import UsageError
from simulator import simulate
from simulator.plan import DEFAULT_RATES
from tests.simulator.raw_lines import Inbox


@pytest.fixture(scope="module")
def inbox(world):
    return Inbox(world.home / "inbox")


@pytest.fixture(scope="module")
def faults(world):
    return world.truth("faults")


def rows_of(faults, inbox, *names):
    chosen = faults.filter(pl.col("fault").is_in(names))
    for source, file, line, rule in chosen.select("source", "file", "line", "expected_rule").iter_rows():
        yield source, inbox.row(file, line), rule


def instant(value):
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))


def key_of(source, row):
    contract = load_contract(source)
    return tuple(instant(row[k]) if contract.column(k).type == "timestamp" else str(row[k]) for k in contract.key)


def test_every_kind_occurs_with_the_columns_of_the_issue(faults):
    assert set(faults["fault"]) == set(DEFAULT_RATES)
    assert faults.columns == ["source", "file", "line", "record_id", "fault", "expected_bin", "expected_rule"]
    bins = dict(faults.group_by("expected_bin").len().iter_rows())
    assert set(bins) == {"accepted", "duplicate", "superseded", "pending", "quarantined", "withdrawn"}


def record_text(source, row):
    parts = key_of(source, row)
    return "/".join(p.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(p, datetime) else p for p in parts)


def test_a_line_has_one_label_and_accepted_rows_have_no_rule(faults):
    assert faults.select("file", "line").is_duplicated().sum() == 0
    assert set(faults.filter(pl.col("expected_bin") == "accepted")["expected_rule"]) == {""}
    assert "" not in set(faults.filter(pl.col("expected_bin") != "accepted")["expected_rule"])


def test_a_record_has_one_fault(faults):
    assert faults.filter(pl.col("fault") != "withdrawn_consent").select("source", "record_id").is_duplicated().sum() == 0


def test_readable_lines_are_the_record_the_label_names(faults, inbox):
    damaged = ("malformed_line", "bad_utf8", "truncated_file", "null_id", "unknown_device")
    sound = faults.filter(~pl.col("fault").is_in(damaged))
    for source, file, line, record in sound.select("source", "file", "line", "record_id").iter_rows():
        assert record_text(source, inbox.row(file, line)) == record, (file, line)


def test_damaged_lines_cannot_be_read(faults, inbox):
    damaged = faults.filter(pl.col("fault").is_in(("malformed_line", "bad_utf8", "truncated_file")))
    for file, line, fault, rule in damaged.select("file", "line", "fault", "expected_rule").iter_rows():
        with pytest.raises((ValueError, AssertionError)):
            inbox.row(file, line)
        assert (b"\xff" in inbox.raw(file, line)) == (fault == "bad_utf8")
        assert inbox.is_last(file, line) == (fault == "truncated_file")  # every other file ends with a newline
        assert (".csv" in file) == (rule == "line:columns") or fault == "bad_utf8"


def test_values_are_outside_what_their_rule_allows(faults, inbox):
    for source, row, rule in rows_of(faults, inbox, "unit_ma_as_ua", "off_seconds_as_minutes", "off_grid"):
        column, kind = rule.split(":")
        most = load_contract(source).column(column).maximum
        grid = load_models()[str(row["model"])].grid.get("intensity" if column == "step_intensities" else column)
        values = row[column] if isinstance(row[column], list) else [row[column]]
        if kind == "range":
            assert max(float(v) for v in values) > most, rule
        else:
            assert all(float(v) <= most and round(1000 * float(v)) not in grid for v in values), rule


def test_survey_faults(faults, inbox):
    for _, row, _ in rows_of(faults, inbox, "item_missing"):
        assert None in row["answers"] and len(row["answers"]) in (7, 9, 16, 36)
    for _, row, _ in rows_of(faults, inbox, "item_out_of_range"):
        assert max(row["answers"]) > (3 if row["instrument"] in ("PHQ-9", "GAD-7") else 5)
    for _, row, _ in rows_of(faults, inbox, "wrong_form_version"):
        assert row["form_version"] != "standard"


def test_null_ids_and_unknown_devices(faults, inbox):
    for _, row, rule in rows_of(faults, inbox, "null_id"):
        assert row[rule.split(":")[0]] is None
    assert all(str(row["device_id"]).startswith("GHOST-") for _, row, _ in rows_of(faults, inbox, "unknown_device"))


def readable(world, inbox, faults, source):
    """Every line of a source that can be read and names its record."""
    unreadable = ("malformed_line", "bad_utf8", "truncated_file", "null_id")
    skip = set(faults.filter(pl.col("fault").is_in(unreadable)).select("file", "line").iter_rows())
    for path in sorted((world.home / "inbox" / source).iterdir()):
        file = f"{source}/{path.name}"
        yield from ((file, line, inbox.row(file, line)) for line in inbox.lines(file) if (file, line) not in skip)


@pytest.mark.parametrize("source", ["survey_responses", "stimulation_sessions", "physiology"])
def test_duplicates_come_after_the_row_they_repeat_and_revisions_in_a_later_file(world, faults, inbox, source):
    mine = faults.filter(pl.col("source") == source)
    where: dict[object, list[tuple[str, int]]] = {}
    for file, line, row in readable(world, inbox, mine, source):
        where.setdefault(key_of(source, row), []).append((file, line))
    revision = load_contract(source).revision
    twice = mine.filter(pl.col("fault").str.ends_with("_duplicate"))
    for file, line, fault in twice.select("file", "line", "fault").iter_rows():
        row = inbox.row(file, line)
        other = next(p for p in where[key_of(source, row)] if p != (file, line))
        if fault == "exact_duplicate":
            assert other < (file, line)
        else:
            newer = inbox.row(*other)
            assert other[0] > file and instant(newer[revision]) > instant(row[revision])
            assert {k: v for k, v in newer.items() if k != revision} != {k: v for k, v in row.items() if k != revision}


def test_clock_changes(faults, inbox):
    for _, row, _ in rows_of(faults, inbox, "dst_nonexistent", "dst_ambiguous"):
        assert instant(row["completed_at"]).tzinfo is None and row["time_zone"]
    for _, row, _ in rows_of(faults, inbox, "dst_nonexistent"):
        local = instant(row["completed_at"]).replace(tzinfo=ZoneInfo(row["time_zone"]))
        assert local.astimezone(UTC).astimezone(ZoneInfo(row["time_zone"])).replace(tzinfo=None) != instant(row["completed_at"])
    for _, row, _ in rows_of(faults, inbox, "dst_ambiguous"):
        local = instant(row["completed_at"]).replace(tzinfo=ZoneInfo(row["time_zone"]))
        assert local.utcoffset() != local.replace(fold=1).utcoffset()


def test_device_clocks(faults, inbox):
    for fault in ("clock_local_time", "clock_drift"):
        offsets = {}
        for _, row, _ in rows_of(faults, inbox, fault):
            away = (instant(row["device_clock_at"]) - instant(row["uploaded_at"])).total_seconds()
            assert abs(away) > 120 or fault == "clock_drift"
            assert instant(row["device_started_at"]) <= instant(row["device_clock_at"])
            offsets.setdefault(row["device_id"], set()).add(round(away / 300))
        if fault == "clock_local_time":
            assert all(abs(away * 300) % 1800 < 301 or abs(away * 300) % 1800 > 1499 for found in offsets.values() for away in found)
        else:
            assert max(len(found) for found in offsets.values()) > 1  # another offset at every upload


def test_withdrawals_label_every_row_they_take_out(world, faults):
    mode = dict(world.truth("patients").select("patient_id", "withdrawal").iter_rows())
    assert {"erase", "stop_collecting"} <= set(mode.values())
    gone = faults.filter(pl.col("fault") == "withdrawn_consent")
    erased = [p for p, m in mode.items() if m == "erase"]
    assert set(erased) <= set(gone.filter(pl.col("source") == "patients")["record_id"])
    assert "consents" not in set(gone["source"])
    doses = world.truth("expected_doses")["response_id"].str.slice(1, 6)
    assert not set(doses) & {p[1:] for p in erased}


def test_faults_can_be_named_or_switched_off(tmp_path):
    none = simulate(tmp_path / "none", 30, 40, 1, faults=0)
    one = simulate(tmp_path / "one", 30, 40, 1, faults={"off_grid": 0.2})
    assert none.faults == {}
    assert set(one.faults) == {"off_grid"}
    with pytest.raises(UsageError, match="off_gird"):
        simulate(tmp_path / "typo", 1, 1, 1, faults={"off_gird": 0.2})
