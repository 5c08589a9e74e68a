# SPDX-License-Identifier: Apache-2.0
"""The commands of `vnsight`, a module per kind of work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from schemas.errors import UsageError
from schemas.workspace import Workspace, open_workspace

Home = Annotated[Path | None, Parameter(name="--home", help="Folder of the workspace; by default the current one, if it holds vnsight.toml.")]


def find_workspace(home: Path | None) -> Workspace:
    """Open the named workspace, or the one the current folder is."""
    if home is None and not Path("vnsight.toml").exists():
        raise UsageError("this folder is no workspace (it holds no vnsight.toml); name one with --home DIR, or make one: vnsight init DIR")
    return open_workspace(home or Path())
