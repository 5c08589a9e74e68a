# SPDX-License-Identifier: Apache-2.0
"""The report: one self-contained HTML page made from aggregates of the published marts.

`warehouse/report/` holds one SQL file per figure, the page's template, style and scripts. The SQL a figure shows is the SQL that was run.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import duckdb

from schemas.code_lists import disorder_labels, history_flags, history_responses
from schemas.errors import VNSightError
from schemas.instrument import load_instruments
from schemas.workspace import Workspace
from warehouse.connection import read_window
from warehouse.headline import headline

DIGITS = 5  # significant digits of a number on the page
SCRIPTS = ("data.js", "draw.js", "books.js", "figures.js", "page.js")
_TOKEN = re.compile(r"\{\{(\w+)(?::(\w+))?\}\}")


@dataclass(frozen=True)
class Figure:
    """The answer to one SQL file of `warehouse/report/`: columns and rows, or in `error` why it could not be asked."""

    name: str
    sql: str
    columns: tuple[str, ...] = ()
    rows: Sequence[Sequence[Any]] = ()
    error: str | None = None

    def records(self) -> list[dict[str, Any]]:
        """Rows as mappings from column to value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def figure_names() -> list[str]:
    """Names of the figures: the SQL files of `warehouse/report/`, sorted."""
    return sorted(f.name.removesuffix(".sql") for f in _folder().iterdir() if f.name.endswith(".sql"))


def read_figures(window: Path, progress: Callable[[str, int, int], None] = lambda *_: None) -> dict[str, Figure]:
    """Ask every figure's SQL of a window file, read-only and in UTC.

    A mart that the window does not hold (it was built by an older version) leaves its figure with an `error`; the others are read.
    `progress` is called with ("report", figures done, figures). `UsageError` when there is no window, `VNSightError` when the files behind
    its views are gone.
    """
    names, figures = figure_names(), {}
    with read_window(window) as connection:
        for done, name in enumerate(names):
            progress("report", done, len(names))
            figures[name] = _ask(connection, name)
    progress("report", len(names), len(names))
    return figures


def _ask(connection: duckdb.DuckDBPyConnection, name: str) -> Figure:
    sql = _text(f"{name}.sql")
    try:
        answer = connection.execute(sql)
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        first = str(error).split("\n")[0]
        return Figure(name, sql, error=f"the published window cannot answer this ({first}); build it anew: vnsight refresh")
    except duckdb.Error as error:
        first = str(error).split("\n")[0]
        raise VNSightError(f"report, {name}.sql: {first}. Was the folder moved? Build the window anew: vnsight refresh") from error
    return Figure(name, sql, tuple(c[0] for c in answer.description), answer.fetchall())


def encode(figure: Figure) -> dict[str, Any]:
    """A figure as compact JSON values, column by column.

    A column is {"v": values}; where values repeat, {"d": distinct values, "i": an index per row}; where they repeat in runs,
    {"d": distinct values, "r": [index, run length, ...]}.
    Numbers are rounded to `DIGITS` significant digits, instants are ISO 8601 in UTC, missing values are null.

    >>> encode(Figure("x", "", ("arm",), [("vns",), ("vns",), ("cbt",)]))
    {'n': 3, 'columns': {'arm': {'v': ['vns', 'vns', 'cbt']}}}
    """
    if figure.error is not None:
        return {"n": 0, "error": figure.error, "columns": {c: {"v": []} for c in figure.columns}}
    values = list(zip(*figure.rows, strict=True)) or [()] * len(figure.columns)
    return {"n": len(figure.rows), "columns": {c: _column([_plain(v) for v in vs]) for c, vs in zip(figure.columns, values, strict=True)}}


def _column(values: list[Any]) -> dict[str, Any]:
    if any(isinstance(v, list) for v in values):
        return {"v": values}
    keys = [(type(v), v) for v in values]  # 1, 1.0 and true are equal, and not the same
    place = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    if len(place) > len(values) // 4:
        return {"v": values}
    at = [place[key] for key in keys]
    runs = _runs(at)
    return {"d": [v for _, v in place], "r": runs} if len(runs) < len(at) else {"d": [v for _, v in place], "i": at}


def _runs(at: list[int]) -> list[int]:
    runs: list[int] = []
    for index in at:
        if runs and runs[-2] == index:
            runs[-1] += 1
        else:
            runs += [index, 1]
    return runs


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        rounded = float(f"{value:.{DIGITS}g}")
        return int(rounded) if rounded.is_integer() else rounded
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    return value.isoformat() if isinstance(value, date) else value


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def labels() -> dict[str, str]:
    """Names in the marts -> words for people, from the code lists and instruments."""
    words = dict(disorder_labels())
    words |= {flag.name: flag.label for flag in history_flags()}
    words |= {asked.name: asked.label for asked in history_responses()}
    return words | {f"instrument {name}": one.title for name, one in load_instruments().items()}


def render(figures: Mapping[str, Figure], title: str, made_at: datetime) -> str:
    """The page. Whatever comes from data is escaped: as text in the page, and in its JSON so that no name can end the script."""
    data = {"title": title, "made_at": made_at.astimezone(UTC).isoformat(timespec="seconds"), "labels": labels()}
    data |= {"figures": {name: encode(one) for name, one in figures.items()}}
    parts: dict[str, Callable[[str], str]] = {
        "title": lambda _: html.escape(title),
        "css": lambda _: _text("report.css"),
        "js": lambda _: "".join(_text(name) for name in SCRIPTS),
        "data": lambda _: _json(data).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"),
        "headline": lambda _: headline(
            figures["headline"].records(), figures["headline_risk"].records(), figures["definitions"].records(), labels()
        ),
        "sql": lambda name: html.escape(figures[name].sql.strip()),
    }
    return _TOKEN.sub(lambda found: parts[found[1]](found[2]), _text("report.html"))


def write_report(ws: Workspace, out: Path, progress: Callable[[str, int, int], None] = lambda *_: None) -> int:
    """Write the page of a workspace's published marts to `out` and return its size in bytes; a page already there is replaced whole."""
    page = render(read_figures(ws.window, progress), ws.home.name, datetime.now(UTC)).encode()
    aside = out.with_name(out.name + ".new")
    try:
        aside.write_bytes(page)
        aside.replace(out)
    except OSError as error:
        raise VNSightError(f"{out} cannot be written: {error.strerror or error}; name another place with --out FILE") from error
    return len(page)


def _folder() -> Any:
    return resources("warehouse") / "report"


def _text(name: str) -> str:
    return str((_folder() / name).read_text(encoding="utf-8"))
