# SPDX-License-Identifier: Apache-2.0
"""The live source by its messages: every row of the inbox, whatever the batching and the road, and nothing else."""

import io
import json
from collections import Counter, defaultdict
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.contract import SOURCES, load_contract
from schemas.envelope import ARROW, CONTENT_TYPE, JSON, SCHEMA, source_of, topic_of
from schemas.errors import UsageError
from simulator import simulate
from simulator.live import SMOOTH, Options, Replay, Road, messages, partition_of, read_inbox
from simulator.live.arrow import to_arrow
from simulator.live.records import key_column, read_rows
from simulator.live.road import depart, hold_offline
from tests.simulator.raw_lines import Inbox

DAY_US = 86_400_000_000
SESSION = b'{"device_id":"D1","uploaded_at":"2025-03-01T00:00:00Z"}'


@pytest.fixture(scope="module")
def spool(world):
    with read_inbox(world.home) as opened:
        yield opened


def plain(value):
    """A value without its format: CSV has numbers as text, Parquet instants as instants."""
    if isinstance(value, list):
        return tuple(None if v is None else float(v) for v in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.timestamp() if value.tzinfo else str(value)
    try:
        return None if value is None else float(value)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(value)
        return at.timestamp() if at.tzinfo else str(at)
    except ValueError:
        return value


def plain_row(row):
    return frozenset((name, plain(value)) for name, value in row.items())


def plain_text(text):
    """A record as it was sent, or the bytes it is where it cannot be read."""
    try:
        row = json.loads(text)
    except ValueError:
        return text
    return plain_row(row) if isinstance(row, dict) else text


def inbox_rows(home, source):
    """What the files hold, read without the code under test."""
    inbox, found = Inbox(home / "inbox"), Counter()
    for path in sorted((home / "inbox" / source).iterdir()):
        file = f"{source}/{path.name}"
        for line in inbox.lines(file):
            try:
                found[plain_row(inbox.row(file, line))] += 1
            except (ValueError, AssertionError):
                found[inbox.raw(file, line)] += 1
    return found


def sent_rows(sent):
    """What messages hold, by source; copies do not count."""
    found = defaultdict(Counter)
    for m in sent:
        if m.copy:
            continue
        texts = found[source_of(m.topic)]
        if dict(m.headers)[CONTENT_TYPE] == ARROW.encode():
            rows = pa.ipc.open_stream(m.value).read_all().to_pylist()
            texts.update(plain_row(row) for row in rows)
        else:
            rows = m.value.split(b"\n")
            texts.update(plain_text(line) for line in rows)
        assert len(rows) == m.records
    return found


@pytest.mark.parametrize("form", ["mixed", "ndjson", "parquet"])
def test_every_row_of_the_inbox_is_sent(form, world, tmp_path):
    home = world.home
    if form != "mixed":
        home = tmp_path
        simulate(home, 40, 60, 5, format=form, faults=5.0)
    sent = sent_rows(messages(home))
    assert set(sent) == set(SOURCES)
    for source in SOURCES:
        assert sent[source] == inbox_rows(home, source)


any_line = st.binary(max_size=40).map(lambda b: b.replace(b"\n", b""))
roads = st.builds(
    Road, disorder_s=st.sampled_from([0, 600, 1e6]), delayed=st.floats(0, 1), duplicated=st.floats(0, 1), offline=st.floats(0, 1)
)


@pytest.mark.cluster  # long
@settings(max_examples=8, deadline=None)
@given(batch=st.sampled_from([1, 7, 500]), arrow=st.booleans(), road=roads, seed=st.integers(0, 2**32))
def test_no_road_loses_or_changes_a_record(spool, batch, arrow, road, seed):
    batch = max(batch, 40) if arrow else batch  # an Arrow stream a row is slow and shows nothing new
    sent = list(Replay(spool, Options(batch, arrow, road, seed)))
    rows = sent_rows(sent)
    texts = defaultdict(Counter)
    for i in range(len(spool)):
        texts[SOURCES[spool.source[i]]][plain_text(spool.text(i))] += 1
    assert rows == texts
    assert [m.sent_ms for m in sent] == sorted(m.sent_ms for m in sent)
    assert all(m.sent_ms >= m.timestamp_ms for m in sent)
    seen = set()
    for m in sent:
        content = (m.topic, m.key, m.value, m.timestamp_ms, m.headers)
        assert not m.copy or content in seen
        seen.add(content)


def test_the_same_arguments_give_the_same_messages(world, spool):
    options = Options(batch=5, seed=3)
    first = list(messages(world.home, options))
    assert first == list(Replay(spool, options))
    assert first != list(Replay(spool, Options(batch=5, seed=4)))


def test_on_a_smooth_road_everything_leaves_once_when_it_came(spool):
    sent = list(Replay(spool, Options(road=SMOOTH)))
    assert len(sent) == len(spool)
    assert all(m.sent_ms == m.timestamp_ms and not m.copy and not m.delayed for m in sent)


def test_the_default_road_has_every_fault(spool):
    sent = list(Replay(spool, Options()))
    assert any(m.copy for m in sent)
    assert any(m.delayed for m in sent)
    stamps = [m.timestamp_ms for m in sent]
    assert stamps != sorted(stamps)
    assert max(m.sent_ms - m.timestamp_ms for m in sent if not m.copy) > 7 * DAY_US / 1000  # a device was offline


@pytest.mark.parametrize("batch", [1, 30])
def test_a_message_holds_neighbours_of_one_source(spool, batch):
    """At most so many, none received after its timestamp, and a key only where all rows have it."""
    largest = 0
    for m in Replay(spool, Options(batch=batch)):
        contract = load_contract(source_of(m.topic))
        assert dict(m.headers) == {CONTENT_TYPE: JSON.encode(), SCHEMA: contract.version.encode()}
        rows = [row for line in m.value.split(b"\n") if isinstance(row := plain_text(line), frozenset)]
        largest = max(largest, m.records)
        assert all(dict(row)[contract.receipt] <= m.timestamp_ms / 1000 + 1e-6 for row in rows)
        assert all(dict(row)[contract.receipt] >= m.timestamp_ms / 1000 - 86_400 for row in rows) or m.key is not None
        keys = {dict(row)[key_column(contract)] for row in rows}
        if len(rows) == m.records:
            assert {m.key} == {k and k.encode() for k in keys} if len(keys) == 1 else m.key is None
    assert largest == batch


def test_a_message_stays_below_what_a_broker_takes(spool):
    sizes = [len(m.value) for m in Replay(spool, Options(batch=100_000, road=SMOOTH))]
    assert max(sizes) < 1_000_000


def test_partitions_follow_from_the_message(spool):
    sent = list(Replay(spool, Options()))
    by_key = defaultdict(set)
    for m in sent:
        by_key[m.key or m.value].add(partition_of(m, 3))
    assert all(len(found) == 1 for found in by_key.values())
    assert set.union(*by_key.values()) == {0, 1, 2}


def test_every_silent_key_holds_its_records_until_it_is_back():
    road = Road(offline=1.0, offline_days=(10, 10))
    at = np.arange(0, 100 * DAY_US, DAY_US)
    key = np.zeros(100, np.int32)
    for seed in range(20):
        ready, held = hold_offline(road, np.random.default_rng(seed), at, key, 1)
        (back,) = set(ready[held])
        assert 9 * DAY_US < back - at[held].min() <= 10 * DAY_US
        assert held.tolist() == ((at >= at[held].min()) & (at < back)).tolist()
        assert (ready[~held] == at[~held]).all()


def test_records_of_nobody_are_never_held():
    at = np.arange(5) * DAY_US
    ready, held = hold_offline(Road(offline=1.0), np.random.default_rng(1), at, np.full(5, -1), 0)
    assert not held.any()
    assert (ready == at).all()


def test_half_of_the_copies_follow_soon_the_others_weeks_later():
    left = depart(Road(disorder_s=0, delayed=0, duplicated=1.0), np.random.default_rng(1), np.zeros(4000, np.int64))
    after = left.sent_us[left.copy]
    assert len(after) == 4000
    assert 0.45 < (after < 3.6e9).mean() < 0.55
    assert 25 * DAY_US < after.max() <= 30 * DAY_US


@pytest.mark.parametrize("wrong", [{"delayed": 1.5}, {"offline": -0.1}, {"disorder_s": -1}, {"offline_days": (3, 2)}])
def test_an_impossible_road_is_refused(wrong):
    with pytest.raises(UsageError, match="road"):
        Road(**wrong)


def test_impossible_options_are_refused():
    with pytest.raises(UsageError, match="batch"):
        Options(batch=0)


def test_an_empty_inbox_says_what_to_do(tmp_path):
    (tmp_path / "inbox").mkdir()
    with pytest.raises(UsageError, match="vnsight simulate"):
        list(messages(tmp_path))


@settings(max_examples=100, deadline=None)
@given(lines=st.lists(any_line | st.just(SESSION), max_size=8))
def test_no_line_of_json_is_lost_whatever_it_holds(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("any") / "a.ndjson"
    path.write_bytes(b"\n".join(lines))
    rows = list(read_rows(path, load_contract("stimulation_sessions")))
    assert [row.text for row in rows] == [line for line in lines if line.strip()]
    assert all((row.key, row.at_us) == (b"D1", 1740787200 * 10**6) for row in rows if row.text == SESSION)


@settings(max_examples=100, deadline=None)
@given(lines=st.lists(any_line | st.just(b"C1,P1,granted,,2025-03-01T00:00:00Z"), max_size=8))
def test_no_line_of_csv_is_lost_whatever_it_holds(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("any") / "a.csv"
    path.write_bytes(b"\n".join([b"consent_id,patient_id,action,mode,recorded_at", *lines]))
    rows = list(read_rows(path, load_contract("consents")))
    kept = [line for line in lines if line.strip()]
    assert len(rows) == len(kept)
    for row, line in zip(rows, kept, strict=True):
        if line.startswith(b"C1"):
            assert json.loads(row.text)["mode"] is None
            assert row.key == b"P1"
        else:
            assert row.text == line or isinstance(json.loads(row.text), dict)


def test_a_row_without_receipt_goes_with_its_neighbour(tmp_path):
    folder = tmp_path / "inbox" / "stimulation_sessions"
    folder.mkdir(parents=True)
    later = SESSION.replace(b"03-01", b"03-05")
    (folder / "a.ndjson").write_bytes(b"\n".join([b"{broken", SESSION, b"{also", later, b"null", b'{"device_id":"D1"}']))
    sent = [m.value for m in messages(tmp_path, Options(road=SMOOTH))]
    assert sent == [b"{broken", SESSION, b"{also", later, b"null", b'{"device_id":"D1"}']


PATIENT = {
    "patient_id": "P1", "birth_year": 1980, "sex": "female", "site": "S", "index_at": "2025-03-01T00:00:00.000001Z", "time_zone": "UTC",
    "recorded_at": "2025-03-02T00:00:00+00:00",
}  # fmt: skip


def arrow_rows(*records):
    stream, left = to_arrow([r if isinstance(r, bytes) else json.dumps(r).encode() for r in records], load_contract("patients"))
    return (None if stream is None else pa.ipc.open_stream(io.BytesIO(stream)).read_all()), left


def test_arrow_has_the_contracts_columns_and_instants():
    table, left = arrow_rows(PATIENT)
    assert left == []
    assert table.schema.field("index_at").type == pa.timestamp("us", "UTC")
    assert pl.from_arrow(table)["index_at"][0].microsecond == 1


def test_a_local_time_stays_text_in_arrow():
    table, left = arrow_rows(PATIENT, PATIENT | {"index_at": "2025-03-01T00:00:00"})
    assert left == []
    assert table["index_at"].to_pylist() == ["2025-03-01T00:00:00.000001Z", "2025-03-01T00:00:00"]


@pytest.mark.parametrize("odd", [
    b"null", b"{", b"[]", b'{"patient_id":"\xff"}', json.dumps(PATIENT | {"birth_year": "x"}).encode(),
    json.dumps(PATIENT | {"other": 1}).encode(), json.dumps({"patient_id": "P2"}).encode(),
])  # fmt: skip
def test_what_is_no_row_of_the_contract_is_left_as_it_is(odd):
    table, left = arrow_rows(PATIENT, odd, PATIENT)
    assert left == [odd]
    assert table.num_rows == 2
    assert arrow_rows(odd) == (None, [odd])


def test_a_row_only_arrow_refuses_is_left_too():
    twice = json.dumps(PATIENT).encode()[:-1] + b',"site":"T"}'
    table, left = arrow_rows(PATIENT, twice, PATIENT)
    assert (table.num_rows, left) == (2, [twice])


def test_every_source_has_a_topic_key_and_receipt():
    for source in SOURCES:
        contract = load_contract(source)
        assert source_of(topic_of(source)) == source
        assert key_column(contract) == ("device_id" if contract.refers_to == "device" else "patient_id")
        assert contract.receipt in ("uploaded_at", "recorded_at")
