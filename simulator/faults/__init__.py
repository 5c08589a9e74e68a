# SPDX-License-Identifier: Apache-2.0
"""Labelled faults: what goes wrong with real records, and the bin each faulty row must end in.

A row carries its label in three columns: `_fault`, `_bin` and `_rule`, null where nothing is wrong. At most one fault per record.
"""
