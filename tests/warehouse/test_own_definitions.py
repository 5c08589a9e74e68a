# SPDX-License-Identifier: Apache-2.0
"""A definition is a parameter: a workspace may judge by numbers and visits of its own, and its window says by which."""

import pytest
from window_parts import load_files, patient, score

from schemas.definition import OUTCOMES, VISITS, definitions_of, own_file, shipped_text, visits_of
from schemas.errors import UsageError
from schemas.load import CompleteLoad
from warehouse.publish import candidate
from warehouse.sql import query


def own(ws, name, change):
    path = own_file(ws.home, name)
    path.parent.mkdir()
    path.write_text(change(shipped_text(name)))


def test_a_workspace_may_have_numbers_of_its_own(ws):
    own(ws, OUTCOMES, lambda text: text.replace("parameters: {drop_percent: 50}", "parameters: {drop_percent: 34}", 1))
    scores = [score(1, 1, 0, 20), score(2, 1, 91, 13)]
    path = candidate(ws, load_files(ws, 1, {"patients": {0: [patient(1)]}, "scores": {0: scores}}, []), CompleteLoad(0, {}))
    found = query(path, "from responders where definition = 'drop_50' and visit = 'm3'").to_pylist()
    assert [r["responded"] for r in found] == [True]
    assert query(path, "select definition_parameter('drop_50', 'drop_percent') as p").to_pylist() == [{"p": 34}]


def test_a_workspace_may_have_visits_of_its_own(ws):
    own(ws, VISITS, lambda text: text.replace("  m3:", "  d42: {target_d: 42, from_d: 33, to_d: 60, source: own, confidence: K-}\n  m3:"))
    scores = [score(1, 1, 0, 20), score(2, 1, 50, 10)]
    path = candidate(ws, load_files(ws, 1, {"patients": {0: [patient(1)]}, "scores": {0: scores}}, []), CompleteLoad(0, {}))
    found = query(path, "select visit, responded from responders where definition = 'drop_50' and reason is null").to_pylist()
    assert found == [{"visit": "d42", "responded": True}]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (OUTCOMES, "  drop_30:", "  drop_33:", "drop_30: the definitions are drop_50, drop_30, "),
        (OUTCOMES, "{drop_percent: 30}", "{percent: 30}", "drop_30: it is for scores: primary, with the parameters: drop_percent"),
        (OUTCOMES, "scores: pair", "scores: all", "nhs_recovery: it is for scores: pair, with the parameters: none"),
        (VISITS, "landmark: {day: 90,", "landmark: {day: 60,", "landmark: arms are decided on day 90"),
        (VISITS, "  m3:", "  M-3:", "visit M-3: a name like m6 or d42"),
    ],
)
def test_what_does_not_fit_the_rules_is_refused(ws, name, old, new, message):
    own(ws, name, lambda text: text.replace(old, new, 1))
    with pytest.raises(UsageError, match=message):
        definitions_of(ws.home), visits_of(ws.home)
