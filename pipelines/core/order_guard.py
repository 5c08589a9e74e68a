# SPDX-License-Identifier: Apache-2.0
"""The second whole-file guard: do the items stand in the order of the declared form?

Two orders of one form have the same codes and the same range of every score, so neither a row nor a range check can tell them apart.
But answers to the items of one subscale resemble each other, and in the wrong order they do not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.core.coding_guard import CHANCE, FileRefusal, chance_at_most
from schemas.instrument import Instrument

Answers = npt.NDArray[np.float64]
Partition = frozenset[frozenset[int]]
EITHER_RATE = 0.6  # share of rows in which another order may fit better although the declared one is right


def refuse_order(codes: Answers, instrument: Instrument, version: str) -> FileRefusal | None:
    """Refuse a file whose rows resemble another form of the instrument; None lets it pass.

    `codes`: form codes, one row per response and one column per item in form order, NaN where unanswered or unreadable. Compared are
    the forms of the same length and coding. A row speaks for the order in which the variance within its subscales, of answers in SDs
    of their item, is smaller; rows with a gap and rows with the same answer everywhere say nothing. Refused is a file in which so many
    rows speak for the other order that 60 % of rows could hardly explain it (p < 1e-6, Chernoff): the right order is not refused even
    if its subscales do not hold together at all. 28 rows that all speak for the other order are enough, 27 are not.
    """
    form = instrument.forms[version]
    declared = _partition(instrument, version)
    alike = {v: f for v, f in instrument.forms.items() if len(f.items) == len(form.items) and f.coding == form.coding}
    others = [v for v in alike if _partition(instrument, v) != declared]
    telling = codes[~np.isnan(codes).any(axis=1) & (np.ptp(codes, axis=1) > 0)] if others else codes[:0]
    for other in others if len(telling) else ():
        better = int((_spread(telling, instrument, other) < _spread(telling, instrument, version)).sum())
        if chance_at_most(len(telling), better, EITHER_RATE) < CHANCE:
            found = f"declared in the item order of form {version}, but {better:,} of {len(telling):,} rows fit that of form {other} better"
            return FileRefusal("file:item_order", f"{found}; declare the form version it is, or list the columns in the order of the form")
    return None


def _partition(instrument: Instrument, version: str) -> Partition:
    """Columns by subscale, smallest first; a total over subscales that are there already is none of its own."""
    place = {item: column for column, item in enumerate(instrument.forms[version].items)}
    groups: list[frozenset[int]] = []
    for one in sorted(instrument.subscales.values(), key=lambda s: s.n):
        columns = frozenset(place[item] for item in one.items if item in place)
        if columns and not any(columns & group for group in groups):
            groups.append(columns)
    return frozenset(groups)


def _spread(codes: Answers, instrument: Instrument, version: str) -> Answers:
    """Per row the squared deviations from the mean of its subscale, added up; in SDs of the item, reversed items turned."""
    points = np.empty_like(codes)
    for column, item in enumerate(instrument.forms[version].items):
        legal = instrument.points(version, item)
        points[:, column] = [legal.get(int(code), np.nan) for code in codes[:, column]]
    deviation = points.std(axis=0)
    scaled = (points - points.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    spread = np.zeros(len(codes))
    for group in _partition(instrument, version):
        part = scaled[:, sorted(group)]
        spread += ((part - part.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    return spread
