# SPDX-License-Identifier: Apache-2.0
"""One server of a cluster in the place of this process, as a container wants it: the same templates, other addresses."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NoReturn

from flows.cluster import jars
from flows.cluster.ports import Hosts, Ports
from flows.cluster.servers import NAMES, SERVERS, Setting, environment, format_kafka, write_configuration
from schemas.errors import UsageError


def become(name: str, folder: Path, data: Path, jar_folder: Path, which: str = jars.SETS[0]) -> NoReturn:
    """Write the configuration and become the named server; does not return. `UsageError` for an unknown name, or without Java."""
    if name not in NAMES:
        raise UsageError(f"{name}: is no server of the cluster; choose of {', '.join(NAMES)}")
    java, fetched = jars.require_java(), jars.fetch(jar_folder, which)
    setting = Setting(folder.absolute(), data.absolute(), Ports(), Hosts.of_environment(), java, fetched)
    write_configuration(setting)
    if name == "kafka":
        format_kafka(setting)
    command = SERVERS[name].command(setting, f"{name}-{time.time_ns()}")
    os.execve(command[0], command, environment(setting.folder))
