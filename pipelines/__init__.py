# SPDX-License-Identifier: Apache-2.0
"""What happens to records: pure functions (core), their Beam shells (transforms), the graphs and the launcher."""
