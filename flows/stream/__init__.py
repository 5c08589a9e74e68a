# SPDX-License-Identifier: Apache-2.0
"""Streaming by epochs: the nightly run in small, over and over, by the same code. Nothing to start, every message exactly once."""
