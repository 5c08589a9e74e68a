# SPDX-License-Identifier: Apache-2.0
"""The report's answer in plain words, from the rows of `warehouse/report/headline.sql`."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
FEW = 10  # below this a rate says little
VISITS = {"m3": "3 months", "m6": "6 months", "m9": "9 months", "m12": "12 months", "m3_12": "months 3 to 12"}
NO_ANSWER = (
    "<p class='answer'>There is no answer yet: no disorder has at least 10 patients with a determined response on VNS alone and as many "
    "with neither VNS nor CBT.</p>"
)


def headline(rows: Sequence[Row], definitions: Sequence[Row], words: Mapping[str, str]) -> str:
    """Say as HTML which disorder responds best and least on VNS, beside patients with neither VNS nor CBT, and why that is no effect.

    `rows`: one per disorder, best first, and the row of all patients. Without a disorder to name it says so. All text is escaped.
    """
    disorders = [r for r in rows if r["stratifier"] == "disorder"]
    everyone = [r for r in rows if r["stratifier"] == "all"]
    if not disorders:
        return NO_ANSWER
    best, least = disorders[0], disorders[-1]
    rules = {d["definition"]: d["rule"] for d in definitions}
    rule = rules.get(best["definition"], best["definition"])
    scale = best["instrument"] + ("" if best["subscale"] == "total" else f" {best['subscale']}")
    lines = [f"<p class='answer'>{_sentence(best, least, words)}</p>"]
    when = VISITS.get(best["visit"], best["visit"])
    what = html.escape(f"{scale} at {when}. A response is a score {rule}. Only patients who were seen then are counted.")
    lines.append(f"<p class='answer-what'>{what}</p>")
    cards = [("Best response", best)] + ([("Least response", least)] if len(disorders) > 1 else [])
    cards += [("All patients", r) for r in everyone if r["risk_difference"] is not None]
    lines.append(f"<ul class='cards'>{''.join(_card(title, row, words) for title, row in cards)}</ul>")
    lines.append(f"<p class='caution'>{_caution([best, least])}</p>")
    return "\n".join(lines)


def _sentence(best: Row, least: Row, words: Mapping[str, str]) -> str:
    first = f"On VNS, patients with <em>{_name(best, words)}</em> responded most often: {_percent(best['rate'])}"
    if best is least:
        return first + "; no other disorder has enough patients to compare."
    return first + f"; those with <em>{_name(least, words)}</em> least often: {_percent(least['rate'])}."


def _card(title: str, row: Row, words: Mapping[str, str]) -> str:
    bare = row["k_comparator"] / row["n_comparator"]
    who = "" if row["stratifier"] == "all" else f": {_name(row, words)}"
    few = " Fewer than 10 in a group: read with care." if min(row["n"], row["n_comparator"]) < FEW else ""
    return (
        f"<li><h2>{title}{who}</h2><p class='big'>{_signed(row['risk_difference'])} <span>points on VNS</span></p>"
        f"<p>{_percent(row['rate'])} on VNS ({row['k']:,} of {row['n']:,}), {_percent(bare)} with neither VNS nor CBT "
        f"({row['k_comparator']:,} of {row['n_comparator']:,}).</p>"
        f"<p>95 % interval of the difference: {_signed(row['risk_difference_low'])} to {_signed(row['risk_difference_high'])} points"
        f"{_adjusted(row['p_adjusted'])}.{few}</p></li>"
    )


def _adjusted(p: float | None) -> str:
    if p is None:
        return ""
    return ", adjusted p &lt; 0.001" if p < 0.001 else f", adjusted p = {p:.3f}"


def _caution(rows: Sequence[Row]) -> str:
    found = {part.strip() for r in rows for part in (r["caution"] or "").split(";") if part.strip()}
    told = f" Cautions: {html.escape(', '.join(sorted(found)))}." if found else ""
    return f"<strong>An association, not an effect.</strong> Patients were not assigned to arms by lot.{told}"


def _name(row: Row, words: Mapping[str, str]) -> str:
    word = words.get(row["stratum"], row["stratum"].replace("_", " "))
    return html.escape(word if word.isupper() else word[:1].lower() + word[1:])


def _percent(share: float) -> str:
    return f"{100 * share:.0f}&#8239;%"


def _signed(share: float) -> str:
    points = round(100 * share)
    return f"{'+' if points > 0 else '−' if points < 0 else ''}{abs(points)}"
