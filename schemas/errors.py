# SPDX-License-Identifier: Apache-2.0
"""Errors a person can act on: shown without a traceback, each with an exit code of its own."""


class VNSightError(Exception):
    """A run failed for a reason the message explains; exit code 1."""

    exit_code = 1


class UsageError(VNSightError):
    """The call itself was wrong: an unknown name, a missing file, a bad option; exit code 2."""

    exit_code = 2


class HeldBack(VNSightError):
    """The data did not pass the gate; the published marts stay as they were; exit code 3."""

    exit_code = 3
