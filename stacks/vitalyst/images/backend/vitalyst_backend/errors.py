# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong, by whose turn it is."""

from __future__ import annotations


class SettingsError(Exception):
    """Environment variables or files of secrets are wrong: the operator's turn. The service does not start."""


class StoreError(Exception):
    """The graph does not answer: wait, or look at it. Answered with 503."""


class UnknownError(Exception):
    """There is no such entity: the caller's turn. Answered with 404."""


class TokenError(Exception):
    """Nobody knows who asks. Answered with 401."""


class ScopeError(Exception):
    """Who asks may not do this. Answered with 403."""
