# SPDX-License-Identifier: Apache-2.0
"""The report's answer in plain words: who, with what, at which dose, at what risk; from `warehouse/report/headline*.sql`."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
FEW = 10  # below this a rate says little
CHANCE = 0.05  # a p-value from here on is no sign of a difference
NO_ANSWER = (
    "<p class='answer'>There is no answer yet: no disorder has at least 10 patients with a determined response on VNS alone and as many "
    "with neither VNS nor CBT.</p>"
)


def headline(rows: Sequence[Row], risks: Sequence[Row], definitions: Sequence[Row], words: Mapping[str, str]) -> str:
    """Say as HTML which disorder responds best and least on VNS, what VNS does with CBT, by dose, and at what risk; all of it as numbers
    beside their comparison, and why none of them is an effect.

    `rows`: one per disorder, best first, and the row of all patients; `risks`: harms on VNS and without a device. Without a disorder to
    name it says so. All text is escaped.
    """
    disorders = [r for r in rows if r["stratifier"] == "disorder"]
    everyone = [r for r in rows if r["stratifier"] == "all"]
    if not disorders:
        return NO_ANSWER
    best, least = disorders[0], disorders[-1]
    what = _by_chance(best, words) + _what(best, definitions)
    lines = [f"<p class='answer'>{_sentence(best, least, words)}</p>", f"<p class='answer-what'>{what}</p>"]
    cards = [_card("Best response", best, words)] + ([_card("Least response", least, words)] if len(disorders) > 1 else [])
    for row in everyone:
        cards += [_card("All patients, VNS alone", row, words)] if row["risk_difference"] is not None else []
        cards += [*_together(row), *_doses(row, words)]
    lines.append(f"<ul class='cards'>{''.join([*cards, *_risk(risks, words)])}</ul>")
    lines.append(f"<p class='caution'>{_caution([best, least])}</p>")
    return "\n".join(lines)


def visit_name(visit: str) -> str:
    """`m6` as 6 months, `m3_12` as months 3 to 12; another name as it is."""
    if found := re.fullmatch(r"m(\d+)(?:_(\d+))?", visit):
        return f"months {found[1]} to {found[2]}" if found[2] else f"{found[1]} months"
    return visit


def _what(best: Row, definitions: Sequence[Row]) -> str:
    rules = {d["definition"]: d["rule"] for d in definitions}
    scale = best["instrument"] + ("" if best["subscale"] == "total" else f" {best['subscale']}")
    return html.escape(
        f"{scale} at {visit_name(best['visit'])}. A response is a score {rules.get(best['definition'], best['definition'])}. Rates are of "
        f"the patients who were seen then. Disorders with at least {FEW} patients on VNS alone and as many with neither are compared."
    )


def _sentence(best: Row, least: Row, words: Mapping[str, str]) -> str:
    first = f"On VNS, patients with <em>{_name(best, words)}</em> responded most often: {_percent(best['rate'])}"
    if best is least:
        return first + "; no other disorder has enough patients to compare."
    return first + f"; those with <em>{_name(least, words)}</em> least often: {_percent(least['rate'])}."


def _by_chance(best: Row, words: Mapping[str, str]) -> str:
    """Whether VNS adds as much with the best disorder as without it."""
    p = best["heterogeneity_p"]
    if p is None:
        return ""
    told = "no more different than chance explains" if p >= CHANCE else "more different than chance explains"
    return f"What VNS adds with {_name(best, words)} is {told} from what it adds without (heterogeneity {_p(p)}). "


def _card(title: str, row: Row, words: Mapping[str, str]) -> str:
    bare = row["k_comparator"] / row["n_comparator"]
    who = "" if row["stratifier"] == "all" else f": {_name(row, words)}"
    few = " Fewer than 10 in a group: read with care." if min(row["n"], row["n_comparator"]) < FEW else ""
    return _box(
        f"{title}{who}", f"{_signed(row['risk_difference'])} <span>percentage points over neither VNS nor CBT</span>",
        f"{_percent(row['rate'])} on VNS alone ({row['k']:,} of {row['n']:,}), {_percent(bare)} with neither VNS nor CBT "
        f"({row['k_comparator']:,} of {row['n_comparator']:,}).",
        f"95 % interval of the difference: {_signed(row['risk_difference_low'])} to {_signed(row['risk_difference_high'])} points"
        f"{', adjusted ' + _p(row['p_adjusted']) if row['p_adjusted'] is not None else ''}.{few}",
        *_unseen(row),
    )  # fmt: skip


def _unseen(row: Row) -> Iterator[str]:
    if row["rate_nri"] is not None and row["n_undetermined"]:
        yield (
            f"{row['n_undetermined']:,} on VNS alone were not seen or cannot be judged. With who was not seen as no response: "
            f"{_percent(row['rate_nri'])} ({row['k_nri']:,} of {row['n_nri']:,})."
        )


def _together(row: Row) -> Iterator[str]:
    """VNS with CBT beside each alone: whether both do more than the two differences added up."""
    if row["rate_both"] is None or row["interaction_low"] is None:
        return
    low, high = row["interaction_low"], row["interaction_high"]
    verdict = "more than" if low > 0 else "less than" if high < 0 else "no clear difference from"
    alone = f"{_percent(row['rate'])} on VNS alone, {_percent(row['rate_cbt'])} with CBT alone"
    yield _box(
        "All patients, VNS + CBT", f"{_percent(row['rate_both'])} <span>responded ({row['k_both']:,} of {row['n_both']:,})</span>",
        f"{alone}, {_percent(row['rate_neither'])} with neither.",
        f"Together: {verdict} the two gains added up: {_signed(row['interaction'])} points (95 % interval {_signed(low)} to "
        f"{_signed(high)}).",
    )  # fmt: skip


def _doses(row: Row, words: Mapping[str, str]) -> Iterator[str]:
    """Response by thirds of the dose."""
    if not row["dose_bands"]:
        return
    low, middle, high = row["dose_bands"]
    device = html.escape(words.get(row["dose_modality"], row["dose_modality"]))
    trend = "" if row["trend_p"] is None else f" Trend over the thirds: {_p(row['trend_p'])}."
    counts = ", ".join(f"{band['k']:,} of {band['n']:,} in the {band['band']} third" for band in (low, middle, high))
    yield _box(
        f"By dose: {device} devices", f"{_percent(low['rate'])} to {_percent(high['rate'])} <span>from the low to the high third</span>",
        f"{counts}.{trend}",
        "A dose is raised because of non-response and limited by what is tolerated: this says nothing of another dose.",
    )  # fmt: skip


def _risk(risks: Sequence[Row], words: Mapping[str, str]) -> Iterator[str]:
    """Harms on VNS beside those without a device, and the most frequent ones."""
    on, off = (next((r for r in risks if r["who"] == who and r["term"] == "any"), None) for who in ("vns", "no_device"))
    if on is None or on["rate"] is None:
        return
    often = [r for r in risks if r["who"] == "vns" and r["term"] != "any" and r["events"]][:3]
    beside = f" Without a device: {off['rate']:,.0f}." if off and off["rate"] is not None else ""
    named = ", ".join(f"{html.escape(words.get(r['term'], r['term'].replace('_', ' ')))} {r['rate']:,.0f}" for r in often)
    yield _box(
        "Risk on VNS", f"{on['rate']:,.0f} <span>harms begun per 100 patient-years</span>",
        f"95 % interval {on['low']:,.0f} to {on['high']:,.0f}; {on['events']:,} in {on['patient_years']:,.0f} years, {on['serious']:,} of "
        f"them serious.{beside}",
        f"Most often, per 100 patient-years: {named}." if named else "",
    )  # fmt: skip


def _box(title: str, big: str, *lines: str) -> str:
    return f"<li><h2>{title}</h2><p class='big'>{big}</p>{''.join(f'<p>{line}</p>' for line in lines if line)}</li>"


def _caution(rows: Sequence[Row]) -> str:
    found = {part.strip() for r in rows for part in (r["caution"] or "").split(";") if part.strip()}
    told = f" Cautions: {html.escape(', '.join(sorted(found)))}." if found else ""
    return f"<strong>Associations, not effects.</strong> Patients were not assigned to arms by lot.{told}"


def _name(row: Row, words: Mapping[str, str]) -> str:
    word = words.get(row["stratum"], row["stratum"].replace("_", " "))
    return html.escape(word if word.isupper() else word[:1].lower() + word[1:])


def _p(p: float) -> str:
    return "p &lt; 0.001" if p < 0.001 else f"p = {p:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}&#8239;%"


def _signed(share: float) -> str:
    points = round(100 * share)
    return f"{'+' if points > 0 else '−' if points < 0 else ''}{abs(points)}"
