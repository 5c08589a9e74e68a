# SPDX-License-Identifier: Apache-2.0
"""The dose every response should be given, worked out slowly: plain integers and fractions, one device after another.

It follows `docs/dose.md` line by line and shares no code with the pipelines, so that agreement means something.
"""
