# SPDX-License-Identifier: Apache-2.0
"""Where a record ended that a stream on Flink refused, before a nightly run has seen it."""

import pytest

from flows import cli
from pipelines.core.pseudonym import key_of, key_text
from schemas.workspace import open_workspace
from tests.flows.stream_home import StreamHome, messages_of, without_audit
from tests.small_world import SECRET, patient, response


@pytest.fixture
def home(tmp_path, monkeypatch) -> StreamHome:
    without_audit(monkeypatch)
    trace("init", tmp_path / "home")
    (tmp_path / "home" / "secret.key").write_bytes(SECRET)
    return StreamHome(open_workspace(tmp_path / "home"))


def trace(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    return ended.value.code


def test_a_record_the_stream_refused_is_found_with_its_partition_and_offset(home, capsys):
    home.send("patients", patient(1))
    home.send("survey_responses", response(1, 3, 2), response(1, 8, 77), response(1, 9, 2))
    home.look()
    home.commit()
    assert trace("trace", "R1-8", "--home", home.ws.home) == 0
    said = capsys.readouterr().out
    for text in ("1 record ", "vnsight.survey_responses/0", "quarantined", "answers:range", "streamed/quarantine/_load=1"):
        assert text in said
    assert trace("trace", key_text(key_of(SECRET, "response", "R1-8")), "--home", home.ws.home) == 0


def test_a_message_that_was_read_twice_is_one_record(home, capsys):
    home.send("survey_responses", response(1, 8, 77))
    home.commit()
    home.read_again("survey_responses", messages_of([b'{"response_id": "R1-8"}'], 1))  # another message, about the same record
    home.offsets["survey_responses"] = 0
    home.send("survey_responses", response(1, 8, 77))
    home.commit()
    assert trace("trace", "R1-8", "--home", home.ws.home) == 0
    assert "2 records" in capsys.readouterr().out


def test_what_the_stream_did_not_refuse_is_left_to_the_night_and_said(home, capsys):
    home.send("survey_responses", response(1, 8, 2))
    home.look()
    home.commit()
    assert trace("trace", "R1-8", "--home", home.ws.home) == 1
    assert "traced once a nightly run has taken it" in capsys.readouterr().out
