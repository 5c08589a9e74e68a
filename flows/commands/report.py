# SPDX-License-Identifier: Apache-2.0
"""The command that makes the report."""

from __future__ import annotations

from pathlib import Path

from flows.commands import Home, check_out, find_workspace
from flows.terminal import OUT, watch
from schemas.errors import UsageError


def report(*, out: Path, home: Home = None) -> None:
    """Make one HTML page of the published marts: who responds, at which dose, for how long, at which risk, and how good the data are.

    The page is one file, asks no other address, and holds aggregates only.

    Example: vnsight report --out report.html --home study

    Parameters
    ----------
    out
        HTML file to write; one already there is replaced.
    """
    from warehouse.report import write_report

    check_out(out)
    ws = find_workspace(home)
    if out.exists() and out.samefile(ws.window):
        raise UsageError(f"--out {out}: is the database that is read; name another file")
    with watch() as progress:
        size = write_report(ws, out, progress)
    OUT.print(f"{out}: {size / 1e6:.1f} MB, from {ws.window}; open it in any browser", soft_wrap=True)
