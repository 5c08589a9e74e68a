# SPDX-License-Identifier: Apache-2.0
"""Connectors: list what is new, fetch it, land it; each can be cut off and resumed anywhere."""

from collections.abc import Mapping
from typing import Any

from flows.sources.connector import Connector
from flows.sources.device_cloud import declared_cloud
from flows.sources.folder import declared_folder, inbox
from schemas.errors import UsageError
from schemas.workspace import Workspace


def _declared(table: Mapping[str, Any], ws: Workspace) -> Connector:
    kind, name = table.get("connector", "folder"), table.get("name")
    if not name or not str(name).replace("-", "").replace("_", "").isalnum():
        raise UsageError("vnsight.toml, [[source]], name: every source needs a name of letters, digits, - and _")
    if kind == "folder":
        return declared_folder(table, ws)
    if kind == "device_cloud":
        return declared_cloud(table)
    raise UsageError(f"vnsight.toml, source {name}, connector: {kind} is not known; there are: folder, device_cloud")


def connectors(ws: Workspace) -> list[Connector]:
    """All places data comes from: the folder drop, then the declared sources in their order."""
    drop: list[Connector] = [inbox(ws)] if ws.inbox.is_dir() else []
    return drop + [_declared(table, ws) for table in ws.sources]
