# SPDX-License-Identifier: Apache-2.0
"""When it happens: Prefect flows, connectors that pull, the command line."""
