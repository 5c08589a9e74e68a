# SPDX-License-Identifier: Apache-2.0
"""The report: its numbers are those of the marts, nothing leaves the file, and a browser draws it without a complaint."""

import html
import json
import re
import shutil
import subprocess
from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files as resources
from itertools import product
from pathlib import Path

import pytest
from report_world import DOSES, NASTY, STRATA, fill_mart, published, stratum
from window_parts import INDEX, key, load_files, patient, workspace

from schemas.code_lists import history_flags
from schemas.errors import UsageError, VNSightError
from schemas.load import CompleteLoad
from schemas.workspace import Workspace
from warehouse.connection import write_window
from warehouse.headline import headline, visit_name
from warehouse.publish import candidate
from warehouse.report import Figure, encode, figure_names, labels, read_figures, render, write_report
from warehouse.sql import query

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A published study; tests of this file only read it."""
    ws = workspace(tmp_path_factory.mktemp("report") / "it's <a> study")
    published(ws)
    return ws


@pytest.fixture(scope="module")
def page(study: Workspace) -> str:
    out = study.home / "report.html"
    size = write_report(study, out)
    assert size == out.stat().st_size
    return out.read_text(encoding="utf-8")


@pytest.fixture
def empty(ws: Workspace) -> Workspace:
    """A workspace that has published a window with nothing in it."""
    files = load_files(ws, 1, {}, [])
    candidate(ws, files, CompleteLoad(0, {})).replace(ws.window)
    return ws


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def decoded(raw: dict) -> list[dict]:
    """The page's own reading of a figure, written here a second time."""
    columns = {}
    for name, c in raw["columns"].items():
        at = [i for i, n in zip(c["r"][::2], c["r"][1::2], strict=True) for _ in range(n)] if "r" in c else c.get("i")
        columns[name] = c["v"] if "v" in c else [c["d"][i] for i in at]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize("name", figure_names())
def test_the_page_shows_the_sql_and_holds_its_answer(study, page, name):
    sql = (resources("warehouse") / "report" / f"{name}.sql").read_text()
    assert html.escape(sql.strip()) in page
    assert sql.startswith("-- "), "the title of the figure"
    rows = query(study.window, sql).to_pylist()
    told = decoded(data_of(page)["figures"][name])
    assert len(told) == len(rows) > 0
    for ours, theirs in zip(told, rows, strict=True):
        assert list(ours) == list(theirs)
        for column, value in theirs.items():
            if isinstance(value, datetime):
                assert datetime.fromisoformat(ours[column]) == value.replace(microsecond=0), column
            elif isinstance(value, float | Decimal):
                assert ours[column] == pytest.approx(float(value), rel=1e-4), column
            else:
                assert ours[column] == value, column


def test_every_cell_of_the_explorer_is_counted_by_hand(study):
    people = {p["patient_key"]: p for p in query(study.window, "from patients").to_pylist()}
    expected = defaultdict(lambda: [0] * 7)
    for r in query(study.window, "from responders where subscale = 'total' and instrument = 'PHQ-9'").to_pylist():
        person = people[r["patient_key"]]
        told = [r["responded"], r["responded_locf"], r["responded_nri"]]
        counts = [1] + [n for one in told for n in (one is not None, one is True)]
        flags = [flag.name if person[flag.name] else f"no_{flag.name}" for flag in history_flags()]
        cells = product(["all", *(person["disorders"] or ["none_recorded"])], ["all", *flags], ["all", r["arm"]])
        for disorder, history, arm in cells:
            cell = expected[(r["definition"], r["visit"], disorder, history, arm)]
            cell[:] = [a + b for a, b in zip(cell, counts, strict=True)]
    dims, counted = ("definition", "visit", "disorder", "history", "arm"), ("n_patients", "n", "k", "n_locf", "k_locf", "n_nri", "k_nri")
    rows = [r for r in read_figures(study.window)["explorer"].records() if r["instrument"] == "PHQ-9"]
    assert {tuple(r[d] for d in dims): [r[c] for c in counted] for r in rows} == dict(expected)
    assert len(rows) == len(expected)


def product_limit(times: list[tuple[float, float, bool]], day: float) -> tuple[float, int]:
    """Survival at a day and how many are then still at risk, from (entry, exit, event), event time by event time."""
    survival = Fraction(1)
    for at in sorted({out for _, out, event in times if event and out <= day}):
        risk = sum(entry < at <= out for entry, out, _ in times)
        survival *= 1 - Fraction(sum(event and out == at for _, out, event in times), risk)
    return float(survival), sum(entry <= day < out for entry, out, _ in times)


def test_survival_is_the_product_limit_with_delayed_entry_in_arms(study):
    rows = query(study.window, "from durability where time_d is not null and instrument = 'PHQ-9'").to_pylist()
    told = read_figures(study.window)["survival"].records()
    told = [r for r in told if r["disorder"] == "all" and r["instrument"] == "PHQ-9"]
    assert {r["arm"] for r in told} == {"all", "vns", "vns_cbt", "cbt", "neither"}
    for r in told:
        group = [d for d in rows if d["definition"] == r["definition"] and r["arm"] in ("all", d["arm"])]
        entered = [(0 if r["arm"] == "all" else max(0, 90 - d["from_d"]), d["time_d"], d["event"]) for d in group]
        times = [t for t in entered if t[1] > t[0]]
        assert (r["survival"], r["at_risk"]) == (pytest.approx(product_limit(times, r["day"])[0]), product_limit(times, r["day"])[1])
        assert r["n"] == len(times)
        assert r["low"] is None or 0 <= r["low"] <= r["survival"] <= r["high"] <= 1


def test_survival_of_a_published_trial(ws):
    """Remission on 6-MP, Freireich 1963 as printed by Gehan 1965, in weeks. Survival as in every textbook since."""
    remitted, censored = (6, 6, 6, 7, 10, 13, 16, 22, 23), (6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35)
    weeks = [(w, True) for w in remitted] + [(w, False) for w in censored]
    people = [patient(n, disorders=[]) for n in range(len(weeks))]
    candidate(ws, load_files(ws, 1, {"patients": {0: people}}, []), CompleteLoad(0, {})).replace(ws.window)
    shared = {"instrument": "PHQ-9", "subscale": "total", "definition": "first_response", "arm": "vns", "from_d": 0.0, "n_assessments": 3}
    rows = [{"patient_key": key(n), "time_d": 7.0 * week, "event": event} | shared for n, (week, event) in enumerate(weeks)]
    fill_mart(ws.window, "durability", rows)
    told = {r["day"] // 7: r for r in read_figures(ws.window)["survival"].records() if (r["disorder"], r["arm"]) == ("all", "all")}
    expected = {5: 1, 6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448, 34: 0.448}
    assert {week: round(told[week]["survival"], 3) for week in expected} == expected
    assert (told[6]["at_risk"], told[0]["n"], told[5]["low"]) == (17, 21, None)
    assert (round(told[10]["low"], 3), round(told[10]["high"], 3)) == (0.503, 0.889)  # log-log, as in R's survival package


def test_nothing_on_the_page_leads_outside_or_names_a_patient(study, page):
    assert set(re.findall(r"https?://[^\s\"'<>)]*", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<link[^>]+href=(?!\"data:)|<script[^>]+src|@import|url\(|<img", page)
    keys = query(study.window, "select patient_key from patients").column(0).to_pylist()
    assert len(keys) > 40
    assert not [k for k in keys if k in page]


def test_text_from_data_cannot_become_markup(page):
    assert "<img src=x" not in page
    assert page.count("</script>") == 2
    figures = data_of(page)["figures"]
    assert NASTY in [r["stratum"] for r in decoded(figures["forest"])]
    assert decoded(figures["incidents"])[0]["meaning"] == NASTY
    assert "it&#x27;s" in render({n: Figure(n, "") for n in figure_names()}, "it's", INDEX)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.23456789, None, 2.0], {"v": [1.2346, None, 2]}),
        (["a"] * 9, {"d": ["a"], "r": [0, 9]}),
        (["a", "b"] * 8, {"d": ["a", "b"], "i": [0, 1] * 8}),
        ([True, 1, None, 1] * 6, {"d": [True, 1, None], "i": [0, 1, 2, 1] * 6}),  # True == 1
        ([["x"], []], {"v": [["x"], []]}),
        ([INDEX], {"v": ["2025-03-01T00:00:00+00:00"]}),
    ],
)
def test_columns_are_written_the_short_way(values, expected):
    raw = encode(Figure("x", "", ("c",), [(v,) for v in values]))
    assert raw == {"n": len(values), "columns": {"c": expected}}


BARE = dict.fromkeys(("rate_nri", "k_nri", "n_nri", "rate_both", "interaction_low", "dose_bands"))


def told(rows) -> str:
    text = headline([BARE | r for r in sorted(rows, key=lambda r: (r["stratifier"] == "all", -r["rate"]))], [], [], labels())
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)))


def test_the_answer_names_best_and_least_with_their_difference(page):
    answer = re.search(r"<p class='answer'>.*?(?=<p class=\"facts)", page, re.S)[0]
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer)))
    assert "patients with depression responded most often: 50" in text
    assert "those with anxiety least often: 17" in text
    assert "epilepsy" not in text.lower()
    assert "+30 percentage points over neither VNS nor CBT" in text
    assert "50 % on VNS alone (15 of 30), 20 % with neither VNS nor CBT (6 of 30)." in text
    assert "What VNS adds with depression is no more different than chance explains from what it adds without" in text
    assert "(heterogeneity p = 0.500)" in text
    assert "95 % interval of the difference: −5 to +45 points, adjusted p = 0.031." in text
    assert "Associations, not effects" in text
    assert "confounded by indication" in text


def test_the_answer_names_the_unseen_the_combination_the_dose_and_the_risk(page):
    answer = re.search(r"<p class='answer'>.*?(?=<p class=\"facts)", page, re.S)[0]
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer)))
    assert "1 on VNS alone were not seen or cannot be judged. With who was not seen as no response: 34 % (20 of 59)." in text
    assert "75 % responded (30 of 40) 40 % on VNS alone, 30 % with CBT alone, 20 % with neither." in text
    assert "Together: more than the two gains added up: +25 points (95 % interval +2 to +46)." in text
    assert "20 % to 45 % from the low to the high third" in text
    assert "4 of 20 in the low third, 6 of 20 in the middle third, 9 of 20 in the high third. Trend over the thirds: p = 0.006." in text
    assert "47 harms begun per 100 patient-years 95 % interval 13 to 120; 4 in 8 years, 1 of them serious." in text
    assert "Most often, per 100 patient-years: hoarseness 47." in text


@pytest.mark.parametrize(
    ("visit", "name"), [("m6", "6 months"), ("m18", "18 months"), ("m3_12", "months 3 to 12"), ("d42", "d42")]
)
def test_visits_by_name(visit, name):
    assert visit_name(visit) == name


def test_the_answer_of_one_disorder_and_of_none():
    one = [r for r in STRATA if r["stratum"] in ("depression", "all") and r["arm"] == "vns"]
    assert "no other disorder has enough patients" in told(one)
    assert "There is no answer yet" in told([])
    few = stratum(NASTY, "vns", 1, 9, (0, 9), p_adjusted=1e-9)
    assert "Fewer than 10" in told([few])
    assert "<img" not in headline([BARE | few], [], [], labels())
    assert "adjusted p < 0.001" in told([few])


def test_a_window_of_an_older_version_leaves_only_its_figure_out(study, tmp_path):
    old = shutil.copyfile(study.window, tmp_path / "old.duckdb")
    with write_window(old, "test") as connection:
        connection.execute("drop table safety")
    figures = read_figures(old)
    assert [n for n, f in figures.items() if f.error] == ["headline_risk", "risk"]
    assert "vnsight refresh" in data_of(render(figures, "old", INDEX))["figures"]["risk"]["error"]


def test_no_window_and_no_place_to_write(ws, study):
    with pytest.raises(UsageError, match="nothing was published yet"):
        write_report(ws, ws.home / "r.html")
    with pytest.raises(VNSightError, match="cannot be written"):
        write_report(study, study.home / "nowhere" / "r.html")


def test_an_empty_study_says_that_there_is_no_answer(empty):
    out = empty.home / "r.html"
    write_report(empty, out)
    assert "There is no answer yet" in out.read_text()


def dump(path: Path, profile: Path, size: str = "1440,900") -> str:
    """The page as chromium leaves it after its scripts."""
    call = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--no-first-run", f"--user-data-dir={profile}", f"--window-size={size}", "--virtual-time-budget=5000",
        "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    return subprocess.run(call, capture_output=True, text=True, timeout=120, check=True).stdout


def cells(dom: str, figure: str) -> list[list[str]]:
    """Texts of the accessible table of a figure."""
    part = re.search(rf'<figure data-figure="{figure}">.*?</figure>', dom, re.S)[0]
    return [
        [re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", c))) for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)]
        for row in re.findall(r"<tr>(.*?)</tr>", part, re.S)
    ]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize("size", ["1440,900", "360,740"])
def test_a_browser_draws_every_figure(study, page, tmp_path, size):
    dom = dump(study.home / "report.html", tmp_path / "profile", size)
    root = re.search(r"<html[^>]*>", dom)[0]
    assert "data-error" not in root
    assert int(re.search(r'data-drawn="(\d+)"', root)[1]) >= 6
    assert not re.search(r"NaN|undefined|\[object", re.sub(r"<(pre|script).*?</\1>", "", dom, flags=re.S))
    assert "<img" not in dom, "a name became markup"
    rows = {r[0]: r[1:] for r in cells(dom, "explorer")[1:]}
    where = "instrument = 'PHQ-9' and definition = 'drop_50' and visit = 'm6'"
    counts = "count(*) as n_patients, count(responded) as n, count(*) filter (responded) as k"
    counted = query(study.window, f"select arm, {counts} from responders where {where} group by 1")
    for r in counted.to_pylist():
        low, high = query(study.window, f"select wilson({r['k']}, {r['n']}).low, wilson({r['k']}, {r['n']}).high").to_pylist()[0].values()
        shown = rows[{"vns": "VNS", "vns_cbt": "VNS + CBT", "cbt": "CBT", "neither": "Neither"}[r["arm"]]]
        assert shown[:3] == [str(r["n_patients"]), str(r["n"]) + (" fewer than 10: read with care" if r["n"] < 10 else ""), str(r["k"])]
        assert shown[4] == f"{100 * low:.0f} % to {100 * high:.0f} %"
    forest = {r[0]: r[1:] for r in cells(dom, "forest")[1:]}
    assert forest["Disorder: Depression"][:5] == ["15 of 30", "6 of 30", "+30", "−5 to +45", "0.031"]
    assert "read with care" in forest["Disorder: Epilepsy"][-1]
    assert any(name.startswith("Site: ") for name in forest) == (size != "360,740")  # a phone begins with the disorders
    assert len(cells(dom, "dose")) == len(DOSES) + 1


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_browser_says_what_an_empty_study_lacks(empty, tmp_path):
    out = empty.home / "r.html"
    write_report(empty, out)
    dom = dump(out, tmp_path / "profile")
    assert "data-error" not in re.search(r"<html[^>]*>", dom)[0]
    for figure in ("explorer", "forest", "synergy", "dose", "survival", "risk", "coverage", "sources"):
        assert 'class="empty"' in re.search(rf'<figure data-figure="{figure}">.*?</figure>', dom, re.S)[0], figure
