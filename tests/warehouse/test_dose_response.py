# SPDX-License-Identifier: Apache-2.0
"""Dose bands within a modality and their trend, against plain counting."""

import math
from fractions import Fraction

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from mart_world import answer, rows_of, world
from window_parts import patient

RANK = {"low": 1, "middle": 2, "high": 3}


def build(people, where="stratifier = 'all' and banding = 'tertile'"):
    """people: (modality, charge of 28 days [pC], coverage, responded, disorders)."""
    given = [patient(n, modality=m, disorders=d) for n, (m, _, _, _, d) in enumerate(people)]
    answers = [
        answer(n, r, modality=m, charge_pc_28d=c, coverage_28d=v) for n, (m, c, v, r, _) in enumerate(people)
    ]
    with world(["strata", "dose_response"], patients=given, responders=answers) as connection:
        return rows_of(connection, f"from dose_response where {where}")


def trend(cells):
    """Cochran-Armitage from (score, k, n) in fractions, as (distance, variance)."""
    k, n = sum(c[1] for c in cells), sum(c[2] for c in cells)
    p = Fraction(k, n)
    distance = sum(s * (a - b * p) for s, a, b in cells)
    spread = sum(b * s * s for s, _, b in cells) - Fraction(sum(b * s for s, _, b in cells) ** 2, n)
    return distance, p * (1 - p) * spread


def test_the_worked_example_of_a_trend():
    """10 of 40, 15 of 40 and 22 of 40 over three bands: z 2.748572, p 0.005986."""
    people = [("auricular", 10 * rank + 1, 1.0, i < k, []) for rank, k in ((1, 10), (2, 15), (3, 22)) for i in range(40)]
    rows = {r["band"]: r for r in build(people)}
    found = {b: (r["k"], r["n"], r["band_rank"]) for b, r in rows.items()}
    assert found == {"low": (10, 40, 1), "middle": (15, 40, 2), "high": (22, 40, 3)}
    for row in rows.values():
        assert (row["trend_z"], row["trend_p"]) == pytest.approx((2.748572, 0.005986), abs=5e-7)
        assert row["stratified_trend_z"] == pytest.approx(2.748572, abs=5e-7)  # one set of disorders
        assert "association only" in row["caution"]


@pytest.mark.parametrize(
    ("high", "reason", "remark"), [(1, "sparse_bands", "0.05 responders expected in it"), (20, None, "exactly one expected")]
)
def test_a_trend_that_hangs_on_one_patient_has_no_p_value(high, reason, remark):
    """The only responder of those in the middle and high band of D-21 is in the smaller one."""
    charges = [round(30 * 28e9)] * 20 + [round(60 * 28e9)] * high
    responded = [i >= 20 for i in range(20 + high)] if high == 1 else [i in (0, 39) for i in range(40)]
    rows = build([("implanted", c, 1.0, r, []) for c, r in zip(charges, responded, strict=True)], "stratifier = 'all' and banding = 'd21'")
    assert {r["reason"] for r in rows} == {reason}, remark
    for row in rows:
        assert row["trend_z"] is not None
        assert (row["trend_p"] is None) is (row["stratified_trend_p"] is None) is (reason is not None)


@pytest.mark.parametrize(
    ("charge", "coverage", "band", "remark"),
    [
        (None, 1.0, "unknown", "the device cannot tell"),
        (0, 1.0, "off", "nothing given"),
        (9, 0.79, "unknown", "a dose of which a fifth is missing would look low"),
        (9, 0.8, "low", "80 % is enough"),
    ],
)
def test_bands_that_are_no_tertile(charge, coverage, band, remark):
    rows = build([("implanted", charge, coverage, True, []), ("implanted", 20, 1.0, False, []), ("implanted", 30, 1.0, False, [])])
    assert [r["band"] for r in rows if r["k"]] == [band], remark


@pytest.mark.parametrize(
    ("mc_per_day", "band"), [(5.1, "low"), (12.36, "low"), (12.37, "middle"), (39.3, "middle"), (44.18, "high"), (58.9, "high")]
)
def test_the_groups_of_d21_fall_into_the_bands_named_after_them(mc_per_day, band):
    people = [("implanted", round(mc_per_day * 28e9), 1.0, True, []), ("auricular", 5, 1.0, True, [])]
    rows = build(people, "stratifier = 'all' and banding = 'd21'")
    assert [(r["modality"], r["band"]) for r in rows] == [("implanted", band)]


def test_cervical_devices_are_banded_by_time_for_they_cannot_tell_their_charge():
    minutes = {"low": 4, "middle": 8, "high": 12}
    given = [patient(n, modality="cervical") for n in range(6)]
    times = [m * 28 * 60_000 for m in minutes.values() for _ in range(2)]
    answers = [answer(n, True, modality="cervical", charge_pc_28d=None, on_ms_28d=t) for n, t in enumerate(times)]
    with world(["strata", "dose_response"], patients=given, responders=answers) as connection:
        rows = {r["band"]: r for r in rows_of(connection, "from dose_response where stratifier = 'all'")}
    assert {b: (r["n"], r["on_min_per_day_mean"], r["measure"]) for b, r in rows.items()} == {b: (2, m, "time") for b, m in minutes.items()}
    assert all(r["charge_mc_per_day_mean"] is None and r["banding"] == "tertile" for r in rows.values())


def test_nobody_without_a_device_or_a_determined_outcome_is_in_a_band():
    assert build([(None, 5, 1.0, True, []), ("implanted", 5, 1.0, None, [])], "true") == []


people = st.lists(
    st.tuples(
        st.sampled_from(["implanted", "auricular"]), st.sampled_from([None, 0, *range(1, 12)]), st.sampled_from([1.0, 0.5]), st.booleans(),
        st.sampled_from([[], ["ocd"], ["ocd", "ptsd"]]),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(people)
def test_bands_and_trends_are_what_plain_counting_gives(crowd):
    rows = build(crowd)
    for modality in ("implanted", "auricular"):
        mine = [(c if v >= 0.8 else None, r, tuple(d)) for m, c, v, r, d in crowd if m == modality]
        doses = sorted(c for c, _, _ in mine if c)
        edges = [doses[max(math.ceil(len(doses) * Fraction(i, 3)), 1) - 1] for i in (1, 2)] if doses else [0, 0]

        def band(c, edges=edges):
            return "unknown" if c is None else "off" if c == 0 else "low" if c <= edges[0] else "middle" if c <= edges[1] else "high"

        found = {r["band"]: (r["k"], r["n"]) for r in rows if r["modality"] == modality}
        said = {b: [r for c, r, _ in mine if band(c) == b] for b in {band(c) for c, _, _ in mine}}
        assert found == {b: (sum(r), len(r)) for b, r in said.items()}
        cells = [(RANK[b], sum(r), len(r)) for b, r in said.items() if b in RANK]
        parts = []
        for kind in ((), ("ocd",), ("ocd", "ptsd")):
            within = {b: [r for c, r, d in mine if band(c) == b and d == kind] for b in RANK}
            parts.append(trend([(RANK[b], sum(r), len(r)) for b, r in within.items() if r] or [(1, 0, 1)]))
        for row in (r for r in rows if r["modality"] == modality):
            check_z(row["trend_z"], *(trend(cells) if cells else (0, 0)))
            check_z(row["stratified_trend_z"], sum(d for d, _ in parts), sum(v for _, v in parts))


def check_z(found, distance, variance):
    assert found == (pytest.approx(float(distance) / math.sqrt(variance), abs=1e-9) if variance else None)
