# SPDX-License-Identifier: Apache-2.0
"""Beam shells around the functions of core: one element is a chunk of a file or a shard, never a row."""
