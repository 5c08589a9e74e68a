# SPDX-License-Identifier: Apache-2.0
"""Side-by-side measurements against what a user would pick instead; answers are compared before times are."""
