# SPDX-License-Identifier: Apache-2.0
"""The commands of `vnsight`, a module per kind of work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from schemas.errors import UsageError
from schemas.workspace import Workspace, open_workspace

_HOME_HELP = "Folder of the workspace; by default the current one, if it holds vnsight.toml."
Home = Annotated[Path | None, Parameter(name="--home", help=_HOME_HELP)]

opened: list[Workspace] = []  # where a crash of this process is reported


def find_workspace(home: Path | None) -> Workspace:
    """Open the named workspace, or the one the current folder is."""
    if home is None and not Path("vnsight.toml").exists():
        raise UsageError("this folder is no workspace (it holds no vnsight.toml); name one with --home DIR, or make one: vnsight init DIR")
    opened.append(open_workspace(home or Path()))
    return opened[-1]


def check_out(path: Path | None, source: Path | None = None) -> None:
    """Refuse a place that cannot be written to, or that would overwrite what is read, before work is done for it."""
    if path is not None and source is not None and path.exists() and source.exists() and path.samefile(source):
        raise UsageError(f"--out {path}: is the file that is read; name another one")
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise UsageError(f"--out {path}: {'is a folder' if path.is_dir() else 'its folder is not there'}; name a file to write")
