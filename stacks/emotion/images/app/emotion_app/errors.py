# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong, by whose turn it is."""

from __future__ import annotations


class SettingsError(Exception):
    """An environment variable or a secret's file is wrong: the operator's turn. The service does not start."""


class ModelError(Exception):
    """The model's files cannot be used: the operator's turn."""


class StoreError(Exception):
    """The database or the cache does not answer: wait, or look at it."""


class PictureError(Exception):
    """The body is no picture that can be looked at: the caller's turn."""
