# SPDX-License-Identifier: Apache-2.0
"""The books of a stream balance at any moment: before a look and after it, before and after a night, after a crash, and begun anew."""

import random

import pytest

from flows.engine.job import staged_facts
from pipelines.messages import read_messages
from pipelines.stage import read_facts
from pipelines.updates import begin_books, waiting_updates
from schemas.contract import SOURCES, load_contract
from schemas.envelope import topic_of
from tests.flows.stream_home import StreamHome, begun_home, messages_of
from tests.small_world import SECRET
from tests.stream_world import by_source, lines_of
from warehouse.delta import last_complete, live_files
from warehouse.hash import content_hash
from warehouse.stream_books import stream_books

pytestmark = pytest.mark.cluster  # needs no server, but two minutes


@pytest.fixture
def home(tmp_path, monkeypatch) -> StreamHome:
    return begun_home(tmp_path, monkeypatch)


class Lines:
    """Lines of a study in parts, sent once or more; counted here by hand as they are sent."""

    def __init__(self, world: int, parts: int) -> None:
        lines = random.Random(world).sample(lines_of(world), len(lines_of(world)))
        self.parts = [by_source(lines[n::parts]) for n in range(parts)]
        self.read = dict.fromkeys(SOURCES, 0)

    def send(self, home: StreamHome, part: int) -> None:
        for source, lines in self.parts[part].items():
            home.send(source, *lines)
            self.read[source] += len(lines)

    def land(self, home: StreamHome, part: int) -> None:
        """Put a part into the inbox, as a night that pulled the topics has it."""
        for source, lines in self.parts[part].items():
            folder = home.ws.home / "inbox" / source
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{part}.ndjson").write_bytes(b"\n".join(lines) + b"\n")


def sums(home: StreamHome) -> dict[str, tuple[int, int]]:
    """Source -> what the books say came in, and what they say became of it."""
    return {
        s: (b["staged"] + b["read"], b["quarantined"] + b["held"] + b["duplicate"] + b["let_go"])
        for s, b in stream_books(home.ws).items()
    }  # fmt: skip


def assert_balanced(home: StreamHome) -> None:
    assert sums(home)
    assert {s: found for s, found in sums(home).items() if found[0] != found[1]} == {}


def read_by_books(home: StreamHome) -> dict[str, int]:
    return {s: b["read"] for s, b in stream_books(home.ws).items()}


def live(home: StreamHome, table: str) -> int:
    return len(live_files(home.ws, table, last_complete(home.ws).versions.get(table)))


def test_they_balance_before_and_after_two_nights(home):
    lines = Lines(0, 6)
    for night in range(2):
        for part in (2 * night, 2 * night + 1):
            lines.send(home, part)
            home.look()
            home.commit()
            assert_balanced(home)
        before = stream_books(home.ws)
        for part in (2 * night, 2 * night + 1):
            lines.land(home, part)
        assert home.night().state == "published"
        assert stream_books(home.ws) == before  # the same, in two small parts
        assert (live(home, "streamed/receipts"), live(home, "streamed/held"), live(home, "streamed/quarantine")) == (0, 1, 0)
    lines.send(home, 4)
    home.look()
    home.commit()
    assert_balanced(home)
    assert read_by_books(home) == {s: n for s, n in lines.read.items() if n}


def test_what_nobody_has_looked_at_over_a_night_is_the_difference_and_nothing_else(home):
    lines = Lines(1, 3)
    lines.send(home, 0)
    home.look()
    lines.send(home, 1)  # read, and not looked at
    home.commit()
    waits = {s: n - m for s, (n, m) in sums(home).items()}
    assert sum(waits.values()) == sum(map(len, lines.parts[1].values())) - refused(lines.parts[1])
    lines.land(home, 0)
    lines.land(home, 1)
    home.night()
    assert {s: n - m for s, (n, m) in sums(home).items()} == waits
    home.look()
    home.commit()
    assert_balanced(home)


def refused(part) -> int:
    tables = ((s, messages_of(lines)) for s, lines in part.items())
    return sum(read_messages(t, topic_of(s), load_contract(s), SECRET, True, 0).quarantine.height for s, t in tables)


def test_a_message_read_again_after_the_night_counts_once(home):
    lines = Lines(2, 2)
    home.checkpoint()
    lines.send(home, 0)
    home.look()
    home.commit()
    lines.land(home, 0)
    home.night()
    home.crash()  # back to before the first message, which are read again
    home.offsets.clear()
    again = Lines(2, 2)
    again.send(home, 0)
    again.send(home, 1)
    home.look()
    home.commit()
    assert_balanced(home)
    assert read_by_books(home) == {s: n for s, n in again.read.items() if n}


def test_a_state_that_begins_with_staged_facts_has_books_of_its_own(home):
    lines = Lines(3, 3)
    for part in (0, 1):
        lines.send(home, part)
        lines.land(home, part)
    home.look()
    home.commit()
    home.night()
    lines.send(home, 2)  # waits when the job ends
    staged = staged_facts(home.ws)
    begin_books(home.ws.home, staged)
    anew = StreamHome(home.ws)
    for source, path in staged:
        anew.hear(source, read_facts(home.ws.home, path, source), 0)
    again = Lines(3, 3)
    for part in (0, 1, 2):  # all that is still at the broker
        again.send(anew, part)
    anew.look()
    anew.commit()
    assert_balanced(anew)
    books = stream_books(home.ws)
    assert {s: b["read"] for s, b in books.items() if b["read"]} == {s: n for s, n in again.read.items() if n}
    assert sum(b["staged"] for b in books.values()) == sum(read_facts(home.ws.home, p, s).height for s, p in staged) > 0
    assert live(home, "streamed/opened") == 1
    by_stream = content_hash(home.ws)["all"]
    again.land(anew, 2)
    anew.night()
    assert_balanced(anew)
    assert content_hash(home.ws)["all"] == by_stream


def test_a_commit_that_is_done_again_opens_no_books_twice(home, monkeypatch):
    lines = Lines(4, 2)
    lines.send(home, 0)
    home.look()
    kept = {place: {p.name: p.read_bytes() for p in place.iterdir()} for place in waiting_updates(home.ws.home)}
    home.commit()
    for place, parts in kept.items():  # the committer died before it could remove them
        place.mkdir()
        for name, data in parts.items():
            (place / name).write_bytes(data)
    lines.send(home, 1)
    home.look()
    home.commit()
    assert_balanced(home)
    assert live(home, "streamed/receipts") == 2


def test_facts_let_go_stay_in_the_books(home):
    short = StreamHome(home.ws, remember_days=1)
    lines = Lines(5, 2)
    lines.send(short, 0)
    short.look()
    lines.send(short, 1)
    short.look()
    short.commit()
    assert sum(b["let_go"] for b in stream_books(home.ws).values()) > 0
    assert_balanced(short)


def test_books_nobody_opened_are_of_a_state_without_staged_facts(home):
    (home.ws.home / "stream" / "begun.json").unlink()
    lines = Lines(6, 1)
    lines.send(home, 0)
    home.look()
    home.commit()
    assert_balanced(home)
    assert {b["staged"] for b in stream_books(home.ws).values()} == {0}
