# SPDX-License-Identifier: Apache-2.0
"""What a full disk, a missing right or a broken file says to the person who can mend it."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import VNSightError

LOG = logging.getLogger("vnsight.warehouse")
_FULL = ("no space left", "enospc", "disk quota", "could not write all data", "not enough space")
_DENIED = ("permission denied", "read-only file system")


def _advice(error: BaseException) -> str:
    code, text = getattr(error, "errno", None), str(error).lower()
    if code in (errno.ENOSPC, errno.EDQUOT) or any(word in text for word in _FULL):
        return "the disk is full: free space (old candidates, loads/, landing/ of other studies), then run again"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS) or any(word in text for word in _DENIED):
        return "the folder cannot be written: give this user the right to write it, then run again"
    return f"{error}; run again once the cause is mended"


@contextmanager
def guard_storage(step: str) -> Iterator[None]:
    """Turn an error of disk, DuckDB or Delta in `step` into a `VNSightError` that says what to do.

    Nothing published is touched by a failed step, and the message says so.
    """
    import duckdb
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (OSError, duckdb.Error, DeltaError) as error:
        raise VNSightError(f"{step}: {_advice(error)}. The published marts stay as they were.") from error
