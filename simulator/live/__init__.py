# SPDX-License-Identifier: Apache-2.0
"""A simulated workspace as a live source: its records as uploads in the order of their receipt, over a bad road, to Kafka or a folder."""

from simulator.live.folder import write_files
from simulator.live.kafka import create_topics, send
from simulator.live.pace import Pace, Progress, Sent
from simulator.live.replay import Message, Options, Replay, messages, partition_of
from simulator.live.road import ROUGH, SMOOTH, Road
from simulator.live.spool import Spool, read_inbox

__all__ = [
    "ROUGH", "SMOOTH", "Message", "Options", "Pace", "Progress", "Replay", "Road", "Sent", "Spool", "create_topics", "messages",
    "partition_of", "read_inbox", "send", "write_files",
]  # fmt: skip
