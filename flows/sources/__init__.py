# SPDX-License-Identifier: Apache-2.0
"""Connectors: list what is new, fetch it, land it; each can be cut off and resumed anywhere."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from flows.sources.connector import Connector
from flows.sources.device_cloud import declared_cloud
from flows.sources.folder import declared_folder, inbox
from flows.sources.kafka import declared_topics
from schemas.contract import SOURCES
from schemas.errors import UsageError
from schemas.workspace import Workspace

KEYS = {
    "folder": {"path", "pattern", "contract", "wide"},
    "device_cloud": {"url", "token_env", "token_file", "records", "page"},
    "kafka": {"servers", "prefix", "sources", "max_messages", "config", "sasl_password_env", "sasl_password_file"},
}

_DECLARE: dict[str, Callable[[Mapping[str, Any], Workspace], Connector]] = {
    "folder": declared_folder, "device_cloud": declared_cloud, "kafka": declared_topics,
}  # fmt: skip


def _declared(table: Mapping[str, Any], ws: Workspace) -> Connector:
    kind, name = table.get("connector", "folder"), table.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise UsageError("vnsight.toml, [[source]], name: every source needs a name of letters, digits, - and _")
    if name in (*SOURCES, "inbox"):
        raise UsageError(
            f"vnsight.toml, source {name}, name: is taken by the inbox; its files would be mistaken for those in inbox/{name}/"
        )
    if kind not in KEYS:
        raise UsageError(f"vnsight.toml, source {name}, connector: {kind} is not known; there are: {', '.join(KEYS)}")
    unknown = sorted(set(table) - KEYS[kind] - {"name", "connector"})
    if unknown:
        raise UsageError(f"vnsight.toml, source {name}, {unknown[0]}: is not known; a {kind} has: {', '.join(sorted(KEYS[kind]))}")
    _check_wide(name, table.get("wide"))
    return _DECLARE[kind](table, ws)


def _check_wide(name: str, wide: Mapping[str, Any] | None) -> None:
    """Find a mistake in a mapping before anything is pulled by it."""
    if wide is None:
        return
    from pipelines.core.wide_mapping import lay_out, read_mapping
    from schemas.instrument import load_instruments

    mapping = read_mapping({k: v for k, v in wide.items() if k != "register_patients"}, f"vnsight.toml, source {name}, wide")
    lay_out(mapping, load_instruments())


def connectors(ws: Workspace) -> list[Connector]:
    """All places data comes from: the folder drop, then the declared sources in their order. `UsageError` names a wrong one."""
    declared = [_declared(table, ws) for table in ws.sources]
    names = [connector.name for connector in declared]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice:
        raise UsageError(f"vnsight.toml, source {twice}: two sources have this name; rename one")
    if not ws.inbox.is_dir() and not declared:
        raise UsageError(
            f"{ws.inbox} is not there and vnsight.toml declares no source; make the workspace complete with: vnsight init {ws.home}"
        )
    return [inbox(ws), *declared] if ws.inbox.is_dir() else declared
