# SPDX-License-Identifier: Apache-2.0
"""What a person sees: progress while something takes long, tables, and one clear line when it fails."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

_PIPED = 160  # columns when the output goes to a file or a pipe
OUT = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else _PIPED)
ERR = Console(stderr=True, highlight=False, markup=False, emoji=False, width=None if sys.stderr.isatty() else _PIPED)

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
    """A cell as people read it: thousands separated, four digits of a fraction, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; numbers to the right."""
    table = Table(title=title or None, title_justify="left", header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(columns):
        numeric = any(isinstance(r[i], int | float) and not isinstance(r[i], bool) for r in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric or i == 0)
    for row in rows:
        table.add_row(*(text_of(v) for v in row))
    OUT.print(table)
