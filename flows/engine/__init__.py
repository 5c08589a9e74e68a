# SPDX-License-Identifier: Apache-2.0
"""The streaming pipeline on a cluster, seen from the workspace: start it, watch it, commit what it finds, bring it back."""
