# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The one error of what changes and audits a Docker host. Pure."""

from __future__ import annotations


class HostError(Exception):
    """A refusal, or a change that was taken back; the message is for the user.

    :ivar reason: one word for automation, which a message's wording does not change.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
