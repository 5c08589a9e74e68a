# SPDX-License-Identifier: Apache-2.0
"""Where it ends: Delta commits, marts.duckdb, the SQL of the marts."""
