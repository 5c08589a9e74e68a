# SPDX-License-Identifier: Apache-2.0
"""What a person sees: progress while something takes long, tables, and one clear line when it fails."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

_BETWEEN = 3  # spaces between columns
_WRAPPED = 24  # characters: what a column of longer texts is given at least
_UNSEEN = 160  # characters in a line when nobody watches: a file, a log


def _width(stream: TextIO) -> int | None:
    """None, for that of the terminal the stream goes to; else COLUMNS, the terminal behind the other streams (of a pager), or 160."""
    if stream.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return None
    for other in (sys.__stderr__, sys.__stdin__):
        with suppress(OSError, ValueError, AttributeError):
            return os.get_terminal_size(other.fileno()).columns or _UNSEEN  # type: ignore[union-attr]
    return _UNSEEN


OUT = Console(highlight=False, markup=False, emoji=False, width=_width(sys.stdout))
ERR = Console(stderr=True, highlight=False, markup=False, emoji=False, width=_width(sys.stderr))

STEPS = {
    "prefect": "start Prefect", "reference": "read patients, devices, consents", "ingest": "read and check the rest",
    "move": "place facts that moved",
    "stage": "derive shards: doses, scores, marts", "recall": "recall what was known", "candidate": "build the candidate database",
    "audit": "audit it by the contracts", "publish": "commit and publish", "simulate": "simulate",
    "report": "ask for the figures of the report",
}  # fmt: skip


class Watch:
    """Progress as bars on a terminal, as a line per step elsewhere; call it with (step, done, total), total 0 when unknown."""

    def __init__(self, bars: Progress | None) -> None:
        self.bars, self.tasks, self.began = bars, dict[str, Any](), dict[str, float]()
        self.told = set[str]()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show how far a step is."""
        label = STEPS.get(step, step)
        if self.bars is not None:
            if step not in self.tasks:
                self.tasks[step] = self.bars.add_task(label, total=total or None)
            self.bars.update(self.tasks[step], completed=done, total=total or None)
            return
        if not total or done < total:
            self.began.setdefault(step, time.monotonic())
            self.told.discard(step)
        elif step not in self.told:  # the last piece may be reported twice, by who counts and by who waits for it
            self.told.add(step)
            now = time.monotonic()
            ERR.print(f"{label}: {done} of {total} in {now - self.began.pop(step, now):.1f} s")

    def finish(self) -> None:
        """Close bars whose total was never known."""
        if self.bars is not None:
            for task in self.bars.tasks:
                self.bars.update(task.id, total=task.total or max(task.completed, 1), completed=task.total or max(task.completed, 1))


@contextmanager
def watch() -> Iterator[Watch]:
    """Show progress while the block runs."""
    if not sys.stderr.isatty():
        yield Watch(None)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=ERR) as bars:
        shown = Watch(bars)
        yield shown
        shown.finish()


def text_of(value: Any) -> str:
    """A cell as people read it: thousands separated, four digits of a fraction, nothing for null; a struct as `field value, ...`."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case float() | Decimal():
            value = float(value)
            return f"{value:,.0f}" if 10_000 <= abs(value) < 1e15 else f"{value:.4g}"
        case dict():
            return ", ".join(f"{name} {text_of(v) or '?'}" for name, v in value.items())
        case list() | tuple():
            return ", ".join(text_of(v) for v in value)
        case bytes():
            return value.decode("utf-8", "backslashreplace")
    return str(value)


def least_width(name: str, cells: Sequence[Any]) -> int:
    """What a column needs in characters: its header, its numbers and short texts whole; longer texts can be wrapped."""
    longest = max((cell_len(line) for c in cells for line in text_of(c).split("\n")), default=0)
    return max(cell_len(name), longest if any(map(_is_number, cells)) else min(longest, _WRAPPED))


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float | Decimal) and not isinstance(cell, bool)


def fitting(names: Sequence[str], rows: Sequence[Sequence[Any]], width: int) -> int:
    """How many of the first columns fit in `width` characters, at least one; long texts may be wrapped, numbers and headers not."""
    used = 2 - _BETWEEN  # one space at each end
    for i, name in enumerate(names):
        used += least_width(name, [r[i] for r in rows]) + _BETWEEN
        if used > width and i:
            return i
    return len(names)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; numbers to the right. Where the terminal is too narrow for it, texts and headers are broken, never left out."""
    table = Table(title=title or None, title_justify="left", header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    fits = fitting(columns, rows, OUT.width) == len(columns)
    for i, name in enumerate(columns):
        cells = [r[i] for r in rows]
        numeric, least = any(map(_is_number, cells)), least_width(name, cells)
        short = all(cell_len(line) <= least for c in cells for line in text_of(c).split("\n"))
        whole = short if fits else numeric
        side: Literal["left", "right"] = "right" if numeric else "left"
        table.add_column(name, justify=side, overflow="fold", no_wrap=whole, min_width=least if fits else None)
    for row in rows:
        table.add_row(*(text_of(v) for v in row))
    OUT.print(table)
