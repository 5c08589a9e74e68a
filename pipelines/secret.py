# SPDX-License-Identifier: Apache-2.0
"""The secret behind the pseudonyms: in the environment, or in a file that only its owner can read; never among the data."""

from __future__ import annotations

import os
import secrets

from schemas.errors import UsageError
from schemas.workspace import Workspace

MIN_BYTES = 16


def create_secret(ws: Workspace, text: str | None = None) -> bool:
    """Make a new secret file (mode 0600) unless there is one or the environment gives it; say whether one was made.

    `text` fixes it, for simulated people only: they have nothing to hide, and equal simulations then give equal marts.
    """
    if os.environ.get("VNSIGHT_SECRET") or ws.secret_path.exists():
        return False
    if (ws.staged / "patients").exists():
        raise UsageError(_missing(ws) + "; a new one would give every patient a second key, so none was made")
    descriptor = os.open(ws.secret_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write((text or secrets.token_hex(32)) + "\n")
    return True


def read_secret(ws: Workspace) -> bytes:
    """The workspace's secret; `UsageError` says where it was looked for."""
    text = os.environ.get("VNSIGHT_SECRET", "")
    if not text and ws.secret_path.exists():
        text = ws.secret_path.read_text(encoding="utf-8")
    secret = text.strip().encode()
    if not secret:
        raise UsageError(f"{_missing(ws)}; create a workspace with `vnsight init`, or restore the file from your backup")
    if len(secret) < MIN_BYTES:
        raise UsageError(f"the secret of the workspace is shorter than {MIN_BYTES} characters; take a longer one")
    return secret


def _missing(ws: Workspace) -> str:
    return f"no secret: VNSIGHT_SECRET is not set and {ws.settings.secret_file} is not in the workspace"
