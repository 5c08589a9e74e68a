# SPDX-License-Identifier: Apache-2.0
"""Who responded, worked out a second time: plain Python over dicts and fractions, one patient and one score at a time.

Written from the texts of the definitions, apart from the SQL; the numbers are written out here, not read from the data files.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any

Row = dict[str, Any]
DAY = 86_400_000_000
VISITS = {"m3": (91, 61, 121), "m6": (182, 137, 227), "m9": (274, 229, 319), "m12": (365, 320, 410)}
LATER = {"m18": 548, "m24": 730, "m30": 913, "m36": 1095, "m42": 1278, "m48": 1461, "m54": 1643, "m60": 1826}
ALL_VISITS = VISITS | {name: (day, day - 90, day + 90) for name, day in LATER.items()}
PERIOD, PERIOD_DAYS = "m3_12", (91, 365)
LANDMARK_DAY = 90


def _c(ill: tuple[str, str], well: tuple[str, str]) -> Fraction:
    (m1, s1), (m0, s0) = ((Fraction(a), Fraction(b)) for a, b in (ill, well))
    return (s0 * m1 + s1 * m0) / (s1 + s0)


# score -> what is known of it: sign of an improvement, primary, remission, SD, reliability, cut-off, severity bands
SCALES: dict[tuple[str, str], Row] = {
    ("PHQ-9", "total"): {
        "sign": -1, "primary": True, "remission": lambda x: x < 5, "sd": Fraction("6.1"), "rel": Fraction("0.84"),
        "cut": _c(("17.1", "6.1"), ("2.91", "3.52")), "case": 10, "reliable": 6, "important": ("percent", 20),
        "benefit": ("symptoms", "percent", 50),
        "bands": {"minimal": 0, "mild": 5, "moderate": 10, "moderately_severe": 15, "severe": 20},
    },
    ("GAD-7", "total"): {
        "sign": -1, "primary": True, "remission": lambda x: x < 5, "sd": Fraction("4.7"), "rel": Fraction("0.83"),
        "cut": _c(("14.4", "4.7"), ("2.95", "3.41")), "case": 8, "reliable": 4, "important": ("points", 4),
        "bands": {"minimal": 0, "mild": 5, "moderate": 10, "severe": 15},
    },
    ("DERS-36", "total"): {
        "sign": -1, "primary": True, "sd": Fraction(20), "rel": Fraction("0.88"), "cut": Fraction(95) - Fraction(1, 10**9),
        "benefit": ("function", "points", Fraction("19.204")),
    },
    ("DERS-36", "goals"): {"sign": -1, "primary": False},
    ("CGI-I", "total"): {"sign": -1, "primary": False, "rating": 2},
    ("WHO-5", "total"): {
        "sign": 1, "primary": True, "sd": Fraction(10), "rel": Fraction("0.8"), "cut": Fraction(50),
        "important": ("points", 10), "benefit": ("quality_of_life", "points", 10),
    },
}  # fmt: skip


def _dropped(base: Fraction, score: Fraction, percent: int) -> bool:
    return (base - score) * 100 >= percent * base


class Course:
    """All scores of one patient on one scale, in microseconds after the index date."""

    def __init__(self, person: Row, scores: list[Row], scale: Row) -> None:
        self.scale, self.index = scale, person["index_us"]
        known = [s for s in scores if s["score"] is not None] if self.index is not None else []
        worse = -scale["sign"]
        told = [(s["at_us"] - self.index, worse * s["score"], s["response"], s["score"]) for s in known]
        self.all = [(at, rank, score) for rank, (at, _, _, score) in enumerate(sorted(told))]
        on = None if person["activated_us"] is None or self.index is None else person["activated_us"] - self.index
        start = on if on is not None and 0 <= on <= LANDMARK_DAY * DAY else 0
        window = [x for x in self.all if -30 * DAY <= x[0] <= start]
        early = [x for x in window if on is None or x[0] <= on]
        self.base: Fraction | None = early[-1][2] if early else None
        self.base_reason = (
            "no_index" if self.index is None else None if early else "baseline_after_activation" if window else "no_baseline"
        )
        self.after = [x for x in self.all if x[0] > start]
        self.once = {at: score for at, _, score in self.after}  # of two at one instant the worse, being last

    def visit(self, name: str) -> tuple[int, Fraction] | None:
        target, low, high = (d * DAY for d in ALL_VISITS[name])
        inside = [x for x in self.after if low <= x[0] <= high]
        best = max(inside, key=lambda x: (-abs(x[0] - target), x[0], x[1]), default=None)
        return best and (best[0], best[2])

    def last(self, until: int) -> tuple[int, Fraction] | None:
        before = [(at, score) for at, score in self.once.items() if at <= until]
        return max(before, default=None)

    @property
    def drop_reason(self) -> str | None:
        return self.base_reason or ("baseline_zero" if self.base == 0 else None)

    def first_response(self) -> int | None:
        return next((at for at, score in sorted(self.once.items()) if _dropped(self.base, score, 50)), None)

    def loss(self) -> int | None:
        first = self.first_response()
        later = [at for at, score in self.once.items() if first is not None and at > first and not _dropped(self.base, score, 40)]
        return min(later, default=None)


def _answer(unusable, observed, carried, called, *, imputed=None, late=None, base=None, follow=None, share=None) -> Row:
    reason = unusable or (None if observed is not None else late or "no_follow_up")
    return {
        "baseline": base, "follow_up": follow, "reason": reason, "outcome": "undetermined" if reason else called,
        "responded": None if reason else observed, "responded_locf": None if unusable else carried,
        "responded_nri": None if unusable else bool(imputed if imputed is not None else observed), "share_of_time": share,
    }  # fmt: skip


def _judge(score: Fraction | None, rule) -> bool | None:
    return None if score is None else rule(score)


def _drops(c: Course, follow: Fraction | None, carried: Fraction | None) -> Iterator[tuple[str, Row]]:
    remitted = c.scale.get("remission", lambda _: False)
    for name, percent in (("drop_50", 50), ("drop_30", 30)) if c.scale["primary"] else (("drop_50", 50),):
        usable = c.base is not None
        seen, locf = (_judge(x, lambda v, p=percent: _dropped(c.base, v, p)) if usable else None for x in (follow, carried))
        called = "response" if seen else "none"
        if name == "drop_50" and seen and remitted(follow):
            called = "remission"
        elif name == "drop_50" and not seen and follow is not None and usable and _dropped(c.base, follow, 30):
            called = "partial"
        yield name, _answer(c.drop_reason, seen, locf, called, base=c.base, follow=follow)


def _remission(c: Course, follow: Fraction | None, carried: Fraction | None) -> Row:
    past = c.scale["remission"]
    unusable = c.base_reason or ("not_a_case" if past(c.base) else None)
    seen = _judge(follow, past)
    return _answer(unusable, seen, _judge(carried, past), "remission" if seen else "none", base=c.base, follow=follow)


def _reliable(c: Course, follow: Fraction | None, carried: Fraction | None) -> Row:
    sign, cut = c.scale["sign"], c.scale["cut"]
    squared = Fraction("1.96") ** 2 * 2 * (1 - c.scale["rel"]) * c.scale["sd"] ** 2

    def beyond(change: Fraction) -> bool:
        return change > 0 and change**2 > squared

    def called(score: Fraction) -> str:
        change, before, after = sign * (score - c.base), sign * (c.base - cut), sign * (score - cut)
        if beyond(change):
            return "recovered" if before < 0 < after else "improved"
        if beyond(-change):
            return "harmed" if before > 0 > after else "deteriorated"
        return "unchanged"

    known = c.base is not None
    seen, locf = (_judge(x, lambda v: beyond(sign * (v - c.base))) if known else None for x in (follow, carried))
    return _answer(c.base_reason, seen, locf, called(follow) if known and follow is not None else "", base=c.base, follow=follow)


def _over_time(c: Course, visit: str, seen: tuple[int, Fraction] | None, last: tuple[int, Fraction] | None) -> Iterator[tuple[str, Row]]:
    usable = c.drop_reason is None
    end = ALL_VISITS[visit][2] * DAY
    first, loss = (c.first_response(), c.loss()) if usable else (None, None)
    ever = None if last is None else first is not None and first <= end
    shown = c.once[first] if ever else last and last[1]
    yield "first_response", _answer(c.drop_reason, ever, ever, "response" if ever else "none", base=c.base, follow=shown)
    then = seen or last
    by_then = then is not None and first is not None and first <= then[0]
    kept = by_then and (loss is None or loss > then[0])
    observed, carried = kept if seen else None, kept if then else None
    follow = seen and seen[1]
    never = "never_responded" if then is not None and not by_then else None
    called = "retained" if kept else "lost"
    yield "retained_40", _answer(c.drop_reason or never, observed, carried, called, base=c.base, follow=follow)
    if visit == "m12":
        called = called if by_then else "never"
        yield "sustained", _answer(c.drop_reason, observed, carried, called, base=c.base, follow=follow)


def _percent_time(c: Course) -> Row:
    low, high = (d * DAY for d in PERIOD_DAYS)
    times = sorted(at for at in c.once if at <= high)
    inside = [at for at in times if at >= low]
    if c.drop_reason:
        return _answer(c.drop_reason, None, None, "", base=c.base)
    good = {at: _dropped(c.base, c.once[at], 50) for at in times}
    spent = sum(b - a for a, b in pairwise(inside) if good[a])
    ends = [*times[1:], high][: len(times)]
    carried = sum(max(0, b - max(a, low)) for a, b in zip(times, ends, strict=True) if good[a])
    share = Fraction(spent, inside[-1] - inside[0]) if len(inside) >= 2 else None
    seen = None if share is None else share >= Fraction(1, 2)
    return _answer(
        None, seen, 2 * carried >= high - low if times else None, "response" if seen else "none",
        imputed=2 * spent >= high - low, late="too_few_assessments" if inside else None,
        base=c.base, follow=c.once[inside[-1]] if inside else None, share=share,
    )  # fmt: skip


def _nhs(p: Course, g: Course, visit: str, carry) -> Row:
    def judge(a: Fraction, b: Fraction) -> tuple[bool, bool, bool]:
        drops = ((p.base - a, 6), (g.base - b, 4))
        return a < 10 and b < 8, any(d >= n for d, n in drops), any(-d >= n for d, n in drops)

    unusable = p.base_reason or g.base_reason or (None if p.base >= 10 or g.base >= 8 else "not_a_case")
    if unusable:
        return _answer(unusable, None, None, "")
    seen, carried = (p.visit(visit), g.visit(visit)), (carry(p, visit), carry(g, visit))
    called, observed, locf = "", None, None
    if all(seen):
        recovered, better, worse = judge(seen[0][1], seen[1][1])
        observed = recovered and better and not worse
        called = (
            "reliable_recovery" if observed else "recovery" if recovered else "improved" if better and not worse
            else "deteriorated" if worse else "unchanged"
        )  # fmt: skip
    if all(carried):
        recovered, better, worse = judge(carried[0][1], carried[1][1])
        locf = recovered and better and not worse
    return _answer(None, observed, locf, called)


def _important(c: Course, follow: Fraction | None, carried: Fraction | None) -> Row:
    unit, value = c.scale["important"]

    def gained(score: Fraction | None, sign: int = 1) -> bool | None:
        gain = None if score is None or c.base is None else sign * c.scale["sign"] * (score - c.base)
        return None if gain is None else gain >= value if unit == "points" else 100 * gain >= value * c.base

    called = "improved" if gained(follow) else "deteriorated" if gained(follow, -1) else "unchanged"
    unusable = c.drop_reason if unit == "percent" else c.base_reason
    return _answer(unusable, gained(follow), gained(carried), called, base=c.base, follow=follow)


def _rated(c: Course, follow: Fraction | None, carried: Fraction | None) -> Row:
    unusable = c.base_reason if c.base_reason == "no_index" else None
    seen, locf = (_judge(x, lambda v: v <= c.scale["rating"]) for x in (follow, carried))
    return _answer(unusable, seen, locf, "response" if seen else "none", follow=follow)


def _benefit(c: Course, score: Fraction | None) -> bool | None:
    _, unit, value = c.scale["benefit"]
    if c.base is None or score is None or (unit == "percent" and c.base == 0):
        return None
    gain = c.scale["sign"] * (score - c.base)
    return gain >= value if unit == "points" else 100 * gain >= value * c.base


def _tripartite(courses: list[Course], visit: str, carry) -> Row:
    def verdict(values: list[bool | None]) -> bool | None:
        yes, unknown = values.count(True), values.count(None)
        return True if yes >= 2 else False if yes + unknown < 2 else None

    def blocked(c: Course) -> bool:
        return c.base_reason is not None or (c.scale["benefit"][1] == "percent" and c.base == 0)

    seen = [_benefit(c, (c.visit(visit) or (0, None))[1]) for c in courses]
    carried = [_benefit(c, (carry(c, visit) or (0, None))[1]) for c in courses]
    yes, lost = seen.count(True), [c for c, s in zip(courses, seen, strict=True) if s is None and blocked(c)]
    unusable = None
    if yes < 2 <= yes + len(lost) and lost:
        rank = ["no_index", "no_baseline", "baseline_after_activation", "baseline_zero"]
        unusable = min((c.drop_reason for c in lost), key=rank.index)
    observed = verdict(seen)
    return _answer(unusable, observed, verdict(carried), "benefit" if observed else "none")


def _carry(c: Course, visit: str) -> tuple[int, Fraction] | None:
    return c.visit(visit) or c.last(ALL_VISITS[visit][2] * DAY)


def _band(scale: Row, base: Fraction | None) -> str | None:
    reached = [name for name, end in scale.get("bands", {}).items() if base is not None and base >= end]
    return reached[-1] if reached else None


def visits_reached(people: list[Row], scores: list[Row]) -> list[str]:
    """The visits of the first year, and the later ones whose window has begun when anybody was last assessed."""
    index = {p["number"]: p["index_us"] for p in people}
    known = [s for s in scores if (s["instrument"], s["subscale"]) in SCALES and s["score"] is not None and index.get(s["number"])]
    last = max((s["at_us"] - index[s["number"]] for s in known), default=0)
    return [name for name, (_, low, _) in ALL_VISITS.items() if name in VISITS or low * DAY <= last]


def judge_patient(person: Row, scores: list[Row], visits: list[str]) -> Iterator[Row]:
    """All rows of one patient; `scores` are theirs alone, with instrument, subscale, at_us, response and score (a fraction)."""
    courses = {}
    for name, scale in SCALES.items():
        own = [s for s in scores if (s["instrument"], s["subscale"]) == name]
        if own:
            courses[name] = Course(person, own, scale)
    for (instrument, subscale), c in courses.items():
        for visit, definition, row in _of_one(c, visits):
            row |= {"instrument": instrument, "subscale": subscale, "visit": visit, "definition": definition}
            follow, base = row["follow_up"], row["baseline"]
            row["baseline_band"] = _band(c.scale, base)
            past = c.scale.get("remission")
            row["remitted"] = past(follow) if past and follow is not None else None
            judged = row["reason"] is None and c.scale["sign"] < 0 and base
            row["partial"] = _dropped(base, follow, 30) if judged else None
            yield row
    yield from _of_several(courses, visits)


def _of_one(c: Course, visits: list[str]) -> Iterator[tuple[str, str, Row]]:
    for visit in visits:
        seen, last, carried = c.visit(visit), c.last(ALL_VISITS[visit][2] * DAY), _carry(c, visit)
        follow, locf = seen and seen[1], carried and carried[1]
        if "rating" in c.scale:
            yield visit, "rated_response", _rated(c, follow, locf)
            continue
        if "important" in c.scale:
            yield visit, "important_change", _important(c, follow, locf)
        if c.scale["sign"] < 0:
            for definition, row in _drops(c, follow, locf):
                yield visit, definition, row
        if "remission" in c.scale:
            yield visit, "remission", _remission(c, follow, locf)
        if "sd" in c.scale:
            yield visit, "reliable_change", _reliable(c, follow, locf)
        if c.scale["primary"] and c.scale["sign"] < 0:
            for definition, row in _over_time(c, visit, seen, last):
                yield visit, definition, row
    if c.scale["primary"] and c.scale["sign"] < 0:
        yield PERIOD, "percent_time", _percent_time(c)


def _of_several(courses: dict[tuple[str, str], Course], visits: list[str]) -> Iterator[Row]:
    pair = [courses.get((name, "total")) for name in ("PHQ-9", "GAD-7")]
    domains = [c for c in courses.values() if "benefit" in c.scale]
    nothing = {"subscale": "total", "baseline_band": None, "remitted": None, "partial": None}
    for visit in visits:
        if all(pair):
            yield _nhs(*pair, visit, _carry) | nothing | {"instrument": "PHQ-9+GAD-7", "visit": visit, "definition": "nhs_recovery"}
        if len(domains) >= 2:
            joint = {"instrument": "symptoms+function+quality_of_life", "visit": visit, "definition": "tripartite"}
            yield _tripartite(domains, visit, _carry) | nothing | joint


def time_patient(person: Row, scores: list[Row]) -> Iterator[Row]:
    """The rows of `durability` of one patient, times in microseconds."""
    for (instrument, subscale), scale in SCALES.items():
        own = [s for s in scores if (s["instrument"], s["subscale"]) == (instrument, subscale)]
        if not own or not scale["primary"] or scale["sign"] > 0:
            continue
        c = Course(person, own, scale)
        why = c.drop_reason or (None if c.once else "no_follow_up")
        first, loss, last = (c.first_response(), c.loss(), max(c.once)) if why is None else (None, None, None)
        spans = {"first_response": (why, 0, first), "retained_40": (why or (None if first else "never_responded"), first, loss)}
        for definition, (reason, start, event) in spans.items():
            end = None if reason else event or last
            early = None if reason else end < LANDMARK_DAY * DAY
            yield {
                "instrument": instrument, "subscale": subscale, "definition": definition, "reason": reason, "baseline": c.base,
                "from_us": None if reason else start, "time_us": None if reason else end - start, "before_landmark": early,
                "event": None if reason else event is not None,
                "caution": "immortal time" if early else "confounded by indication",
            }  # fmt: skip
