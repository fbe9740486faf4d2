# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong, by whose turn it is."""

from __future__ import annotations


class SettingsError(Exception):
    """An environment variable or a secret's file is wrong: the operator's turn. The service does not start."""


class StoreError(Exception):
    """The database does not answer: wait, or look at it. Answered with 503."""


class FeedError(Exception):
    """A feed cannot be fetched or read. Answered with 400."""


class FullError(Exception):
    """There are as many feeds as may be. Answered with 409."""


class MissingError(Exception):
    """There is no such feed or item. Answered with 404."""


class SpeechError(Exception):
    """A text could not be spoken now. Answered with 503."""
