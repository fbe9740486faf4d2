# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong, by whose turn it is."""

from __future__ import annotations


class SettingsError(Exception):
    """Environment variables are wrong: the operator's turn. The service does not start."""


class SampleError(Exception):
    """The body is no sample that can be analysed: the caller's turn. Answered with 400."""


class UnknownError(Exception):
    """There is no such sample: the caller's turn. Answered with 404."""


class StoreError(Exception):
    """The library, the queue or the index does not answer: wait, or look at it. Answered with 503."""
