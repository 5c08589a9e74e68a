# SPDX-License-Identifier: Apache-2.0
"""Pure functions over columns; no Beam, no files, no clock of the wall."""
