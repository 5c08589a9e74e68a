# SPDX-License-Identifier: Apache-2.0
"""Commands over a single file, without a workspace: score, dose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.commands import check_out
from flows.terminal import OUT
from schemas.errors import UsageError


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _labels(pairs: tuple[str, ...]) -> dict[str, int]:
    """`More than half=2` -> {"More than half": 2}."""
    labels = {}
    for pair in pairs:
        name, equals, code = pair.rpartition("=")
        if not equals or not code.strip().lstrip("-").isdigit():
            raise UsageError(f'--label {pair}: write it as "label=code", such as "More than half=2"')
        labels[name] = int(code)
    return labels


def score(  # noqa: PLR0913 - options of a command line
    file: Path, *, instrument: str, items: str = "q{}", id: str | None = None, missing: str = "", form: str = "standard",
    label: tuple[str, ...] = (), out: Path,
) -> None:  # fmt: skip
    """Score a wide survey file (one column per item) by an instrument's published rules.

    Example: vnsight score phq.csv --instrument PHQ-9 --items "Item{}_num" --id ObservationID --out scores.csv

    Parameters
    ----------
    file
        CSV, TSV or Parquet; cells hold codes, or labels of the form.
    instrument
        Instrument id, such as PHQ-9.
    items
        Item columns: a template with {} for 1, 2, ..., or a comma-separated list in form order.
    id
        Column that identifies a row; by default rows are numbered from 1.
    missing
        Comma-separated cell texts that mean unanswered, such as 9999,NA; empty cells always do.
    form
        Form version: item order and coding.
    label
        A further wording of an answer, as "label=code"; may be repeated.
    out
        CSV to write, long: id, instrument, subscale, score, status, n_answered, band (severity, where bands are published) and
        reason (why there is no score).
    """
    from pipelines.core.score_file import score_file

    check_out(out, file)
    columns: str | tuple[str, ...] = items if "{}" in items else _list(items)
    scores = score_file(file, instrument, columns, id, _list(missing), form_version=form, labels=_labels(label) or None)
    scores.write_csv(out)
    statuses = dict(scores.group_by("status").len().iter_rows())
    OUT.print(f"{out}: {scores.height:,} scores (" + ", ".join(f"{n:,} {s}" for s, n in sorted(statuses.items())) + ")")


def dose(file: Path, *, at: str, windows: str = "7,28,90", out: Annotated[Path, Parameter(help="CSV to write.")]) -> None:
    """Work out the exact dose of every device in a file of device_settings or stimulation_sessions.

    Example: vnsight dose settings.ndjson --at 2025-03-01T00:00:00Z --windows 7,28,90 --out dose.csv

    Parameters
    ----------
    file
        NDJSON, CSV (also .gz or .zst) or Parquet in the contract's columns.
    at
        Instant at which the windows end.
    windows
        Look-back windows in days.
    out
        CSV to write: device, window_days, charge_pc, pulses_milli, on_ms, sessions, coverage.
    """
    from flows.commands.runs import parse_instant
    from pipelines.core.dose_file import dose_of_file
    from pipelines.device_file import read_device_file

    check_out(out, file)
    if not all(w.isdigit() and int(w) > 0 for w in _list(windows)):
        raise UsageError(f"--windows {windows}: name whole days, such as 7,28,90")
    doses = dose_of_file(read_device_file(file), parse_instant(at, "--at"), [int(w) for w in _list(windows)])
    doses.write_csv(out)
    OUT.print(f"{out}: {doses.height:,} rows")
