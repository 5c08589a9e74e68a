# SPDX-License-Identifier: Apache-2.0
"""Whether it is good: contracts turned into an audit, the gate, and messages to the owners of data."""
