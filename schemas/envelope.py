# SPDX-License-Identifier: Apache-2.0
"""The envelope of a streamed message, as producers write it and both streaming engines read it (docs/streaming.md).

A topic carries one source: `<prefix><source>`, such as `vnsight.stimulation_sessions`. The value is one upload: a JSON object, several
objects on lines of their own, or an Arrow IPC stream. The key (participant or device id) only spreads load: it may be missing. The
timestamp is when the upload was made, or received where the broker stamps it (LogAppendTime). Two headers describe the value; both
may be left out.
"""

from __future__ import annotations

from schemas.contract import SOURCES, Contract
from schemas.errors import UsageError

PREFIX = "vnsight."
CONTENT_TYPE = "content-type"
JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
SCHEMA = "vnsight-schema"  # version of the contract the value was written by; another major version is refused
END = "vnsight-end"  # a message with this header ends its partition: finite tests stop there, others ignore it


def topic_of(source: str, prefix: str = PREFIX) -> str:
    """Topic that carries a source."""
    return prefix + source


def source_of(topic: str, prefix: str = PREFIX) -> str:
    """Source that a topic carries; `UsageError` when it is none of ours."""
    source = topic.removeprefix(prefix)
    if not topic.startswith(prefix) or source not in SOURCES:
        raise UsageError(f"topic {topic}: carries no source; topics are named {prefix}<source>, with one of: {', '.join(sorted(SOURCES))}")
    return source


def is_readable_version(version: str | None, contract: Contract) -> bool:
    """Whether a message says no version, or one of the contract's major version: `1`, `1.0`, `1.2.3`."""
    return version is None or version.split(".")[0] == contract.version.split(".")[0]
