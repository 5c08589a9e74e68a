# SPDX-License-Identifier: Apache-2.0
"""Connectors: list what is new, fetch it, land it; each can be cut off and resumed anywhere."""
