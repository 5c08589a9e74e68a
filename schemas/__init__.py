# SPDX-License-Identifier: Apache-2.0
"""What a record is: contracts, instruments, codes, and the readers that turn them into frozen values."""
