# SPDX-License-Identifier: Apache-2.0
"""The staged table: its schema and order, its stored sums, and that neither row order nor extra columns show in it."""

from __future__ import annotations

import random
from itertools import pairwise

import polars as pl
import pytest
from dose_facts import at, device, driven_histories, frames, implanted_histories, interrogation, session, setting
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.segments import SEGMENTS_SCHEMA, UnknownModelError, build_segments

ORDER = ["patient_key", "device_key", "stream", "start_ms"]


def hospital():
    """Three patients, four devices of all kinds, every stream."""
    return (
        [device(1, "106", ended=at(90)), device(2, "106", patient=1, activated=at(91)), device(3, "NEMOS"), device(4, "SAPPHIRE")],
        [setting(at(0), magnet=(1.75, 250, 60), autostim=(1.625, 250, 60)), setting(at(92), key=2)],
        [interrogation(at(30), (1.5, 250, 20, 30, 5), magnet=3, autostim=9), interrogation(at(60), (1.0, 250, 20, 30, 5))],
        [session(1, at(1), key=3), session(3, at(2), key=3), session(1, at(1), 2, ((0, 20),), key=4)],
    )


def test_the_table_has_its_schema_and_order():
    segments = build_segments(*frames(*hospital()))
    assert segments.schema == pl.Schema(SEGMENTS_SCHEMA)
    assert segments.equals(segments.sort(ORDER))
    assert set(segments["stream"]) == {0, 1, 2, 3}
    assert segments.filter(~pl.col("charge_known"))["device_key"].unique().to_list() == [4]
    assert segments.null_count().sum_horizontal().item() == 0


def test_no_devices_no_segments():
    assert build_segments(*frames()).schema == pl.Schema(SEGMENTS_SCHEMA)
    assert build_segments(*frames([], *hospital()[1:])).height == 0


def test_facts_of_the_wrong_kind_of_device_are_not_read():
    facts = frames([device(3, "NEMOS", ended=at(9))], [setting(at(0), key=3)], [interrogation(at(1), key=3)])
    assert build_segments(*facts)["rate_known"].to_list() == [False]


def test_a_model_nobody_listed_is_named():
    with pytest.raises(UnknownModelError, match=r"'999'.*device_models.yaml"):
        build_segments(*frames([device(model="999")]))


def test_columns_of_the_contracts_that_the_dose_does_not_need_do_no_harm():
    facts = frames(*hospital())
    wider = [
        f.with_columns(model=pl.lit("106") if "model" not in f.columns else pl.col("model"), modality=pl.lit("cervical"),
                       recorded_at=pl.lit(at()), device_clock_at=pl.lit(at()), _line=pl.lit(1), changed_by=pl.lit("clinician"))
        for f in facts
    ]  # fmt: skip
    assert build_segments(*wider).equals(build_segments(*facts))


@settings(max_examples=25, deadline=None)
@given(implanted_histories(1), driven_histories(2), st.randoms(use_true_random=False))
def test_the_order_of_rows_never_shows(implant, handset, chance: random.Random):
    rows = [[implant[0], handset[0]], implant[1], implant[2], handset[1]]
    shuffled = [chance.sample(r, len(r)) for r in rows]
    assert build_segments(*frames(*shuffled)).equals(build_segments(*frames(*rows)))


@settings(max_examples=40, deadline=None)
@given(implanted_histories(1), driven_histories(2))
def test_streams_never_overlap_and_sums_are_those_of_the_segments_before(implant, handset):
    segments = build_segments(*frames([implant[0], handset[0]], implant[1], implant[2], handset[1]))
    for stream in segments.partition_by("patient_key", "device_key", "stream"):
        rows = list(stream.iter_rows(named=True))
        assert all(r["start_ms"] < r["end_ms"] for r in rows)
        assert all(r["end_ms"] <= later["start_ms"] for r, later in pairwise(rows))
        total = dict.fromkeys(("charge_pc", "pulses_milli", "on_ms", "sessions"), 0)
        for r in rows:
            assert {c: r[f"cum_{c}"] for c in total} == total
            length = r["end_ms"] - r["start_ms"]
            total = {c: v + (r[c] if c == "sessions" else r[c] * length // r["cycle_ms"]) for c, v in total.items()}
