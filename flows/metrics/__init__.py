# SPDX-License-Identifier: Apache-2.0
"""What a workspace says about itself to whoever measures: Prometheus text, and a page for people."""
