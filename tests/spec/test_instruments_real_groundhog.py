# SPDX-License-Identifier: Apache-2.0
"""241 real DASS-21 and CERQ-36 forms with published scores (README of the public data folder, section 2.7), line by line."""

import polars as pl
import pytest

from pipelines.core.score import score_responses, source_disagreements
from pipelines.core.score_file import score_file
from pipelines.core.wide import map_wide
from pipelines.core.wide_mapping import read_mapping
from schemas.errors import VNSightError
from schemas.instrument import load_instrument, load_instruments

ORDER = ["self_blame", "acceptance", "rumination", "positive_refocusing", "planning", "positive_reappraisal", "perspective",
         "catastrophizing", "other_blame"]  # fmt: skip
PUBLISHED_NAMES = {"planning": "refocus_on_planning", "perspective": "putting_into_perspective"}


BANDS = ["normal", "mild", "moderate", "severe", "extremely_severe"]


def bands_of(depression):
    return [load_instrument("DASS-21").subscales["depression"].band(value) for value in depression]


@pytest.fixture(scope="module")
def folder(shared_data):
    path = shared_data / "groundhog_day"
    if not (path / "dass21_items.csv").exists():
        pytest.skip("the DASS-21 and CERQ files are not there")
    return path


def mapped(folder, file, instrument, form, items):
    mapping = {"instrument": instrument, "form_version": form, "items": items, "response_id": "user_id", "patient_id": "user_id",
               "completed_at_constant": "2020-01-01T00:00:00Z"}  # fmt: skip
    return map_wide(pl.read_csv(folder / file, infer_schema=False), read_mapping(mapping), load_instruments())


def scored(folder, file, instrument, form, items) -> pl.DataFrame:
    responses = mapped(folder, file, instrument, form, items).responses
    keyed = responses.with_columns(pl.col("response_id").cast(pl.Int64).alias("response_key"), pl.lit(0).alias("patient_key"))
    return score_responses(keyed, load_instruments()).pivot("subscale", index="response_key", values="score").sort("response_key")


@pytest.mark.parametrize(("form", "differ"), [("blocked", 0), ("standard", 1961)])
def test_published_scores_beside_ours_tell_a_form_in_another_order(folder, form, differ):
    names = {own: PUBLISHED_NAMES.get(own, own) for own in ORDER}
    both = pl.read_csv(folder / "cerq_items.csv", infer_schema=False).join(
        pl.read_csv(folder / "cerq_scores.csv", infer_schema=False), on="user_id"
    )
    mapping = read_mapping({
        "instrument": "CERQ-36", "form_version": form, "items": "cerq_{}", "response_id": "user_id", "patient_id": "user_id",
        "completed_at_constant": "2020-01-01T00:00:00Z", "source_subscales": names,
    })  # fmt: skip
    responses = map_wide(both, mapping, load_instruments()).responses
    keyed = responses.with_columns(pl.col("response_id").cast(pl.Int64).alias("response_key"), pl.lit(0).alias("patient_key"))
    scores = score_responses(keyed, load_instruments())
    assert scores["source_score"].count() == 9 * 241
    assert source_disagreements(scores).height == differ


def published(folder, file):
    return pl.read_csv(folder / file).sort("user_id")


def test_a_file_coded_1_to_4_is_refused_as_a_0_to_3_form(folder):
    refused = mapped(folder, "dass21_items.csv", "DASS-21", "standard", "dass21_{}").refused
    assert refused is not None
    assert refused.rule == "file:coding"
    assert "1 to 4" in str(refused.message)


def test_in_the_file_a_check_of_each_row_would_pass_150_and_score_148_depressions_wrong(folder, dass):
    passing = mapped(folder, "dass21_items.csv", "DASS-21", "standard", "dass21_{}")
    assert (passing.bad.height, passing.responses.height) == (91, 150)
    keyed = passing.responses.with_columns(pl.col("response_id").cast(pl.Int64).alias("response_key"), pl.lit(0).alias("patient_key"))
    rows = score_responses(keyed, load_instruments()).filter(subscale="depression").select("response_key", "score")
    assert rows["score"].max() <= 42  # so a check of the range finds nothing
    both = rows.join(dass.select("response_key", "depression"), on="response_key")
    wrong, right = bands_of(both["score"]), bands_of(both["depression"])
    assert [wrong.count(name) for name in BANDS] == [0, 0, 56, 42, 52]
    assert [right.count(name) for name in BANDS] == [68, 30, 41, 9, 2]
    assert sum(a != b for a, b in zip(wrong, right, strict=True)) == 148


def test_doubled_without_recoding_nobody_is_well_and_20_leave_the_range(folder):
    scores = published(folder, "dass21_scores.csv")
    doubled = [2 * scores[f"dass21_{scale}"] for scale in ("depression", "anxiety", "stress")]
    assert [bands_of(doubled[0]).count(name) for name in BANDS] == [0, 0, 58, 56, 127]
    assert (doubled[0] > 42).sum() == 20


def test_the_codes_of_the_file(folder):
    codes = pl.read_csv(folder / "dass21_items.csv").drop("user_id").unpivot()["value"].value_counts().sort("value")
    assert codes.rows() == [(1, 1443), (2, 2067), (3, 1194), (4, 357)]


@pytest.fixture(scope="module")
def dass(folder):
    return scored(folder, "dass21_items.csv", "DASS-21", "one_based", "dass21_{}")


@pytest.mark.parametrize("scale", ["depression", "anxiety", "stress"])
def test_the_published_scores_are_plain_sums_of_codes_1_to_4(folder, dass, scale):
    theirs = published(folder, "dass21_scores.csv")[f"dass21_{scale}"]
    assert (dass[scale] == 2 * (theirs - 7)).sum() == 241
    assert (dass[scale] == 2 * theirs).sum() == 0


@pytest.mark.parametrize(("scale", "counts", "mean", "sd", "most"), [
    ("depression", [76, 38, 74, 24, 29], 14.290456, 9.380758, 42),
    ("anxiety", [89, 26, 44, 32, 50], 11.850622, 9.192982, 40),
    ("stress", [76, 49, 49, 50, 17], 19.717842, 8.353845, 42),
])  # fmt: skip
def test_bands_means_and_ranges(dass, scale, counts, mean, sd, most):
    subscale = load_instrument("DASS-21").subscales[scale]
    named = [subscale.band(value) for value in dass[scale]]
    assert [named.count(name) for name in subscale.bands.ends] == counts
    assert dass[scale].mean() == pytest.approx(mean, abs=5e-7)
    assert dass[scale].std() == pytest.approx(sd, abs=5e-7)
    assert (dass[scale].min(), dass[scale].max()) == (0, most)


@pytest.fixture(scope="module")
def blocked(folder):
    return scored(folder, "cerq_items.csv", "CERQ-36", "blocked", "cerq_{}")


@pytest.fixture(scope="module")
def interleaved(folder):
    return scored(folder, "cerq_items.csv", "CERQ-36", "standard", "cerq_{}")  # what would come out if the file were not refused


def test_a_file_in_blocked_order_is_refused_as_the_usual_form(folder):
    refused = mapped(folder, "cerq_items.csv", "CERQ-36", "standard", "cerq_{}").refused
    assert refused is not None
    assert refused.rule == "file:item_order"
    assert "237 of 241 rows fit that of form blocked better" in refused.message


def test_a_file_in_blocked_order_passes_as_such_and_so_do_its_columns_put_in_the_usual_order(folder):
    assert mapped(folder, "cerq_items.csv", "CERQ-36", "blocked", "cerq_{}").refused is None
    blocked = load_instrument("CERQ-36").forms["blocked"].items
    columns = [f"cerq_{1 + blocked.index(str(item))}" for item in range(1, 37)]
    assert mapped(folder, "cerq_items.csv", "CERQ-36", "standard", columns).refused is None
    as_blocked = mapped(folder, "cerq_items.csv", "CERQ-36", "blocked", columns).refused
    assert as_blocked is not None
    assert "form standard better" in as_blocked.message
    by_column = score_file(folder / "cerq_items.csv", "CERQ-36", tuple(columns), "user_id")
    assert by_column.equals(score_file(folder / "cerq_items.csv", "CERQ-36", "cerq_{}", "user_id", form_version="blocked"))


@pytest.mark.parametrize("scale", ORDER)
def test_the_blocked_form_gives_the_published_scores(folder, blocked, scale):
    theirs = published(folder, "cerq_scores.csv")[PUBLISHED_NAMES.get(scale, scale)]
    assert (blocked[scale] == theirs).sum() == 241


BLOCKED = {  # agreeing by chance in the usual order, mean and SD of the blocked one
    "self_blame": (29, 11.2905, 3.2504), "acceptance": (37, 12.1286, 3.0035), "rumination": (35, 14.3568, 3.6648),
    "positive_refocusing": (35, 9.7178, 3.5793), "planning": (11, 15.1079, 3.2616), "positive_reappraisal": (17, 14.0954, 3.5910),
    "perspective": (20, 12.9751, 3.5730), "catastrophizing": (11, 8.6515, 3.1002), "other_blame": (13, 8.7676, 3.0214),
}  # fmt: skip


@pytest.mark.parametrize("scale", ORDER)
def test_the_usual_order_agrees_by_chance_only(folder, blocked, interleaved, scale):
    by_chance, mean, sd = BLOCKED[scale]
    theirs = published(folder, "cerq_scores.csv")[PUBLISHED_NAMES.get(scale, scale)]
    assert (interleaved[scale] == theirs).sum() == by_chance
    assert blocked[scale].mean() == pytest.approx(mean, abs=5e-5)
    assert blocked[scale].std() == pytest.approx(sd, abs=5e-5)


def test_the_score_command_refuses_both_files_and_scores_them_in_their_own_form(folder):
    with pytest.raises(VNSightError, match=r"dass21_items.csv, file:coding: declared 0-3, but codes 1 to 4 occur"):
        score_file(folder / "dass21_items.csv", "DASS-21", "dass21_{}", "user_id")
    with pytest.raises(VNSightError, match=r"cerq_items.csv, file:item_order: declared in the item order of form standard"):
        score_file(folder / "cerq_items.csv", "CERQ-36", "cerq_{}", "user_id")
    assert score_file(folder / "dass21_items.csv", "DASS-21", "dass21_{}", "user_id", form_version="one_based").height == 3 * 241
    assert score_file(folder / "cerq_items.csv", "CERQ-36", "cerq_{}", "user_id", form_version="blocked").height == 9 * 241


def test_no_row_agrees_on_all_nine_in_the_usual_order(folder, interleaved):
    theirs = published(folder, "cerq_scores.csv").rename({old: new for new, old in PUBLISHED_NAMES.items()})
    agreeing = sum((interleaved[s] == theirs[s]).cast(int) for s in ORDER)
    assert agreeing.max() < 9
    assert (agreeing == 0).sum() == 100


ALPHAS = {  # Cronbach's alpha in blocked and in the usual order: why the order can be told from the answers alone
    "self_blame": (0.802, 0.097), "acceptance": (0.740, 0.338), "rumination": (0.855, 0.493), "positive_refocusing": (0.911, -0.014),
    "planning": (0.880, 0.174), "positive_reappraisal": (0.856, 0.348), "perspective": (0.863, -0.039),
    "catastrophizing": (0.784, 0.158), "other_blame": (0.807, 0.004),
}  # fmt: skip


@pytest.mark.parametrize("scale", ORDER)
def test_alpha_in_either_order(folder, blocked, interleaved, scale):
    codes = pl.read_csv(folder / "cerq_items.csv").sort("user_id")
    one = load_instrument("CERQ-36")
    for version, scores, alpha in zip(("blocked", "standard"), (blocked, interleaved), ALPHAS[scale], strict=True):
        places = [1 + one.forms[version].items.index(item) for item in one.subscales[scale].items]
        within = sum(codes[f"cerq_{p}"].var() for p in places)
        assert round(4 / 3 * (1 - within / scores[scale].var()), 3) == alpha
