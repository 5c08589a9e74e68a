# SPDX-License-Identifier: Apache-2.0
"""The whole-file guard: does the file use the coding it was declared to use?

A row check cannot tell. Of 241 persons whose DASS-21 is coded 1-4, a 0-3 check passes 150, every one of them scored wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, log

from schemas.instrument_parts import Coding

SHIFT_RATE = 0.01  # share of rows in which typing errors may put a code outside, when a shifted coding explains all of them
OTHER_RATE = 0.10  # the same when nothing explains them
CHANCE = 1e-6  # a file whose rows fail no oftener than that is refused with at most this probability


@dataclass(frozen=True)
class CodeCounts:
    """How often each code occurs in the answers of a file or of a part of it; parts add up.

    `cells`: code -> cells, over all items; unanswered cells and text are not counted. `rows`: rows with at least one code.
    `rows_outside`: rows with at least one code outside the declared coding of its item.
    """

    cells: Mapping[int, int] = field(default_factory=dict)
    rows: int = 0
    rows_outside: int = 0

    def __add__(self, other: CodeCounts) -> CodeCounts:
        cells = Counter(self.cells) + Counter(other.cells)
        return CodeCounts(dict(sorted(cells.items())), self.rows + other.rows, self.rows_outside + other.rows_outside)


@dataclass(frozen=True)
class FileRefusal:
    """Why a whole file is not read: rule of the bin `quarantined`, and a message with a hint, without any patient's value."""

    rule: str
    message: str


def chance_at_most(rows: int, outside: int, rate: float) -> float:
    """Upper bound (Chernoff) of the chance that at least `outside` of `rows` rows fail if each fails with `rate`.

    >>> chance_at_most(100, 1, 0.01)
    1.0
    >>> chance_at_most(241, 91, 0.01) < 1e-99
    True
    """
    share = outside / rows if rows else 0.0
    if share <= rate:
        return 1.0
    rest = (1 - share) * log((1 - share) / (1 - rate)) if share < 1 else 0.0
    return exp(-rows * (share * log(share / rate) + rest))


def refuse_coding(counts: CodeCounts, declared: Coding) -> FileRefusal | None:
    """Refuse a file whose codes contradict the declared coding; None lets it pass.

    1. Shifted: some shift of the declared range holds at least 99 % of all cells, the end which that shift drops occurs in no
       cell, and typing errors in 1 % of rows, half of which hit the one code beside the range, would hardly look so
       (p < 1e-6). A form declared 1-4 in which zeros occur and no 4 does, or one declared 0-3 with fours and no zero.
    2. Otherwise: rows with a code outside are more than 10 % of rows could explain (p < 1e-6): another scale, or an
       undeclared code for missing answers.

    p is the Chernoff bound over rows, not cells, because the cells of one person are not independent; it is halved for every
    row outside when the shift explains all of them. So a legitimate file is never refused for codes that nobody happened to
    choose, and by typing errors at most once in a million. In turn two rows prove nothing; their own row check remains.
    """
    total = sum(counts.cells.values())
    shift = _explaining_shift(counts, declared)
    outside = {c: k for c, k in counts.cells.items() if not declared.minimum <= c <= declared.maximum}
    chance = chance_at_most(counts.rows, counts.rows_outside, OTHER_RATE if shift is None else SHIFT_RATE)
    if shift is not None and all(declared.minimum + shift <= c <= declared.maximum + shift for c in outside):
        chance *= 0.5**counts.rows_outside
    if not total or chance >= CHANCE:
        return None
    found = f"declared {declared}, but codes {min(counts.cells)} to {max(counts.cells)} occur"
    worst = max(outside, key=lambda c: outside[c], default=declared.maximum)
    rows = f"{counts.rows_outside:,} of {counts.rows:,} rows hold such a code"
    often = f"{worst} in {outside.get(worst, 0):,} of {total:,} cells; {rows}"
    if shift is not None:
        end = declared.minimum if shift > 0 else declared.maximum
        looks = f"{declared.minimum + shift}-{declared.maximum + shift}"
        hint = f"{end} in none: it looks like {looks}; declare that coding, or the form version it is"
    elif declared.minimum - 1 <= worst <= declared.maximum + 1:
        hint = "it looks like a wider scale; declare the form version it is"
    else:
        hint = f"{worst} may stand for a missing answer; then list it under missing"
    return FileRefusal("file:coding", f"{found} ({often}), {hint}")


def _explaining_shift(counts: CodeCounts, declared: Coding) -> int | None:
    total, width = sum(counts.cells.values()), declared.maximum - declared.minimum
    for shift in sorted(range(-width, width + 1), key=abs):
        low, high = declared.minimum + shift, declared.maximum + shift
        dropped = range(declared.minimum, low) if shift > 0 else range(high + 1, declared.maximum + 1)
        inside = sum(k for code, k in counts.cells.items() if low <= code <= high)
        fits = inside >= 0.99 * total and not any(counts.cells.get(code) for code in dropped)
        if shift and low >= 0 and fits:  # no scale has negative codes; -1 stands for a missing answer
            return shift
    return None
