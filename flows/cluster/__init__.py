# SPDX-License-Identifier: Apache-2.0
"""Kafka, Flink, Beam's job server and Python workers on this machine, without Docker: fetched, started, watched and ended by process id.

A cluster is one folder. `Cluster(folder).start()` starts what does not run; another process that opens the folder
sees the same cluster.
"""

from flows.cluster.cluster import Cluster, Member
from flows.cluster.ports import Ports
from flows.cluster.servers import NAMES

__all__ = ["NAMES", "Cluster", "Member", "Ports"]
