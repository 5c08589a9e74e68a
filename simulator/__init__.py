# SPDX-License-Identifier: Apache-2.0
"""A population with known truth and labelled faults. It shares no arithmetic with the pipelines that are measured by it."""

from simulator.workspace import Progress, Summary, simulate

__all__ = ["Progress", "Summary", "simulate"]
