# SPDX-License-Identifier: Apache-2.0
"""The tables of `bench.truth`: how many intervals hold the truth, how much is found where nothing is, and one large study."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
import polars as pl

AIM = (0.93, 0.97)  # share of 95 % intervals that are to hold the truth
MOST_FALSE = 0.05
FAMILIES = {
    "effects": "effect per disorder, VNS against none (risk difference, Newcombe)",
    "synergy": "synergy, overall and per disorder (interaction contrast)",
    "dose": "response per dose band (share, Wilson)",
}
KEY = ["family", "item", "visit"]


def adjusted(p: np.ndarray) -> np.ndarray:
    """Adjust p-values by Benjamini and Hochberg (1995): the least of p * m / rank over this and all larger ones."""
    order = np.argsort(p)[::-1]
    rank = np.arange(len(p), 0, -1)
    result = np.empty(len(p))
    result[order] = np.minimum(1.0, np.minimum.accumulate(p[order] * len(p) / rank))
    return result


def findings(answers: pl.DataFrame) -> pl.DataFrame:
    """Per seed and set of tests (family, within, visit): tests made, p below 0.05, and adjusted p below 0.05.

    A set is what Benjamini and Hochberg are applied to: all strata but `all` of one visit. Where the mart adjusts, its own numbers
    count; elsewhere they are adjusted here. The three bands of a trend carry one p.
    """
    tests = answers.filter((pl.col("stratifier") != "all") & pl.col("p").is_not_null())
    tests = tests.unique(["seed", "family", "within", "visit", "stratifier", "stratum"], maintain_order=True)
    rows = []
    for key, group in tests.group_by("family", "within", "visit", "seed", maintain_order=True):
        own = group["p_adjusted"].null_count() == 0
        after = group["p_adjusted"].to_numpy() if own else adjusted(group["p"].to_numpy())
        rows.append((*key, group.height, int((group["p"] < 0.05).sum()), int((after < 0.05).sum())))
    return pl.DataFrame(rows, schema=["family", "within", "visit", "seed", "tests", "below", "found"], orient="row")


def against_truth(answers: pl.DataFrame, true: pl.DataFrame) -> pl.DataFrame:
    """Intervals beside what is true, one row per target: `inside`, and `miss` -1 where the interval lies below the truth, 1 above."""
    chosen = pl.col("stratifier").is_in(["all", "disorder"])
    dose = pl.col("family") == "dose"
    asked = answers.filter(pl.when(dose).then(pl.col("stratifier") == "all").otherwise(chosen) & pl.col("low").is_not_null())
    both = asked.join(true, on=KEY, how="inner")
    miss = pl.when(pl.col("high") < pl.col("true")).then(-1).when(pl.col("low") > pl.col("true")).then(1).otherwise(0)
    return both.with_columns(miss=miss).with_columns(inside=pl.col("miss") == 0)


def by_disorder(compared: pl.DataFrame) -> pl.DataFrame:
    """Leave out what is not disorder-specific among the effects: all patients together."""
    return compared.filter((pl.col("family") != "effects") | (pl.col("stratifier") == "disorder"))


def coverage(compared: pl.DataFrame, *groups: str) -> pl.DataFrame:
    """Share of intervals that hold the truth, with a 95 % interval from the spread over seeds: those of one seed share patients."""
    seeds = compared.group_by(*groups, "seed").agg(pl.col("inside").mean(), n=pl.len(), below=(pl.col("miss") < 0).mean())
    seeds = seeds.group_by(*groups).agg(
        intervals=pl.col("n").sum(), share=pl.col("inside").mean(), half=1.96 * pl.col("inside").std() / pl.len().sqrt(),
        below=pl.col("below").mean(), seeds=pl.len(),
    )  # fmt: skip
    return seeds.sort(*groups)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _aimed(share: float) -> str:
    return "yes" if AIM[0] <= share <= AIM[1] else "**NO**"


def coverage_table(compared: pl.DataFrame) -> list[str]:
    """Coverage per family and target."""
    lines = ["| family | target | intervals | hold the truth % (95 %) | lie below it % | above % | 93 to 97 |"]
    lines.append("|---|---|---|---|---|---|---|")
    for r in coverage(by_disorder(compared), "family", "target").iter_rows(named=True):
        half, above = r["half"] or 0.0, max(0.0, 1 - r["share"] - r["below"])
        lines.append(
            f"| {FAMILIES[r['family']]} | {r['target']} | {r['intervals']:,} | {_percent(r['share'])} ({_percent(r['share'] - half)} to "
            f"{_percent(min(1.0, r['share'] + half))}) | {_percent(r['below'])} | {_percent(above)} | {_aimed(r['share'])} |"
        )
    return [*lines, ""]


def item_table(compared: pl.DataFrame) -> list[str]:
    """Coverage per estimate, over visits."""
    lines = ["| family | estimate | patients | hold the true effect % | hold the truth as compared % | lie below it % | above it % |"]
    lines.append("|---|---|---|---|---|---|---|")
    groups = ("family", "item")
    held = coverage(compared.filter(pl.col("target") == "compared"), *groups)
    held = held.join(compared.group_by(groups).agg(pl.col("n").mean()), on=groups)
    causal = coverage(compared.filter(pl.col("target") == "effect"), *groups).select(*groups, effect="share")
    for r in held.join(causal, on=groups, how="left").sort(groups).iter_rows(named=True):
        above = max(0.0, 1 - r["share"] - r["below"])
        lines.append(
            f"| {r['family']} | {r['item']} | {r['n']:.0f} | {_percent(r['effect'])} | {_percent(r['share'])} | {_percent(r['below'])} "
            f"| {_percent(above)} |"
        )
    return [*lines, ""]


def null_table(found: pl.DataFrame) -> tuple[list[str], bool]:
    """False findings in a world without effects; and whether at most 5 % of the sets have any."""
    lines = ["| family | sets of tests | tests in a set | p < 0.05 % | sets with a finding after adjustment % (95 %) | at most 5 |"]
    lines.append("|---|---|---|---|---|---|")
    kept = True
    for (family,), group in found.group_by("family", maintain_order=True):
        seeds = group.group_by("seed").agg(any=(pl.col("found") > 0).mean())["any"]
        share, half = float(seeds.mean()), 1.96 * float(seeds.std() or 0) / len(seeds) ** 0.5
        below = group["below"].sum() / group["tests"].sum()
        kept &= share <= MOST_FALSE
        lines.append(
            f"| {family} | {group.height:,} | {group['tests'].mean():.0f} | {_percent(below)} | {_percent(share)} "
            f"({_percent(max(0.0, share - half))} to {_percent(share + half)}) | {'yes' if share <= MOST_FALSE else '**NO**'} |"
        )
    return [*lines, ""], kept


def large_table(compared: pl.DataFrame, visit: str) -> list[str]:
    """One large study at one visit, estimate by estimate."""
    lines = ["| family | estimate | patients | true effect | true as compared | estimate (95 %) | effect inside | compared inside |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    rows = compared.filter(pl.col("visit") == visit).sort("family", "item", "target", descending=[False, False, True])
    for (family, item), two in rows.group_by("family", "item", maintain_order=True):
        by_target = {r["target"]: r for r in two.iter_rows(named=True)}
        one = by_target["compared"]
        effect = by_target.get("effect")
        shown = "-" if effect is None else f"{effect['true']:.4f}"
        held = "-" if effect is None else ("yes" if effect["inside"] else "no")
        lines.append(
            f"| {family} | {item} | {one['n']:,} | {shown} | {one['true']:.4f} | {one['estimate']:.4f} ({one['low']:.4f} to "
            f"{one['high']:.4f}) | {held} | {'yes' if one['inside'] else 'no'} |"
        )
    return [*lines, ""]


TEXT = """# Truth: do the intervals hold what is true?

PHQ-9, drop of at least 50 %, observed cases, all four visits. {seeds} studies of {patients:,} patients x 1 year without faulty
records, each answered by the SQL of the marts `strata`, `synergy` and `dose_response`; what is true comes from {population:,}
patients who were followed through all four arms by other code (Monte Carlo error of a true value at most {error:.4f}).
{patients:,} patients give about {cell:.0f} in each comparison of a disorder: a large registry, and few enough for small cells
to show.

*effect* is causal: the same patients under each arm. *compared* is what observed arms tend to: the simulated clinics stimulate the
sicker, who respond a little less, so an observed difference falls short of the effect by {bias:.4f} on average. Both are among
those seen at baseline and visit; who is seen does not depend on how a patient fares. A disorder is a recorded diagnosis, so
*anxiety* has those with it as second diagnosis too. Dose is the charge that truly arrived in the 28 days before the visit, of which
a mart knows what was recorded; the many sessions of worn devices are in {worn} of the studies only. Shares are means over studies;
their intervals come from the spread over studies, because intervals of one study share patients.
"""

NULL_TEXT = """A set holds the strata of one visit and comparison (effects: of one arm with VNS; dose: of one banding, implanted only); the
mart adjusts the p-values of effects itself, those of synergy and of trends are adjusted here in the same way (Benjamini-Hochberg).
Nothing is true, so any finding is false, and the share of sets with one is the false discovery rate."""


def report(
    true: Mapping[str, pl.DataFrame], answers: Mapping[str, pl.DataFrame], large: pl.DataFrame, asked: argparse.Namespace
) -> tuple[str, bool]:
    """The page, and whether every family kept its aim: 93 to 97 % for intervals of the effect, at most 5 % of sets with a finding."""
    compared, kept = against_truth(answers["effects"], true["effects"]), True
    effect = true["effects"].filter(pl.col("family") == "effects").pivot("target", index=["item", "visit"], values="true")
    cell = compared.filter((pl.col("family") == "effects") & (pl.col("stratifier") == "disorder"))["n"].mean()
    lines = TEXT.format(
        seeds=answers["effects"]["seed"].n_unique(), patients=asked.patients, population=asked.population,
        worn=compared.filter(pl.col("item").str.starts_with("auricular"))["seed"].n_unique(),
        error=true["effects"].filter(pl.col("family") != "dose")["error"].max(), cell=cell,
        bias=(effect["effect"] - effect["compared"]).mean(),
    ).splitlines()  # fmt: skip
    lines += ["", "## Intervals", "", *coverage_table(compared)]
    aims = coverage(by_disorder(compared), "family", "target").filter((pl.col("target") == "effect") | (pl.col("family") == "dose"))
    kept &= aims["share"].is_between(*AIM).all()
    if answers["none"].height:
        table, few = null_table(findings(answers["none"]))
        nulls = answers["none"]["seed"].n_unique()
        lines += ["## A world without effects", "", f"VNS, CBT and synergy do nothing; {nulls} studies.", NULL_TEXT, "", *table]
        kept &= few
    if large.height:
        one = against_truth(large, true["effects"])
        inside = coverage(by_disorder(one), "family", "target")
        shares = [(r["family"], r["target"], _percent(r["share"]), r["intervals"]) for r in inside.iter_rows(named=True)]
        counts = ", ".join(f"{family} ({target}) {share} % of {n}" for family, target, share, n in shares)
        lines += [f"## {asked.large:,} patients", "", f"Intervals that hold the truth, of all visits: {counts}.", "At six months:", ""]
        lines += large_table(one, "m6")
    lines += ["## Estimate by estimate", "", *item_table(compared)]
    return "\n".join(lines), bool(kept)
