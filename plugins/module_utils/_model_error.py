# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The one error of everything that fetches, keeps and publishes models."""

from __future__ import annotations

import typing as t

Reason = t.Literal[
    "invalid",  # the task's options contradict themselves or the rules
    "unsafe_path",  # a symlink or a file stands where a folder of the store belongs
    "immutable",  # the version is published with other content
    "foreign",  # the version's folder was not made by this collection
    "in_use",  # a release on the host uses the version, or it cannot be told whether one does
    "no_space",
    "no_size",  # neither the pins nor a source say how big the file is, so room for it cannot be assured
    "read_only",
    "locked",  # another run holds the store for longer than the task waits
    "digest_mismatch",
    "size_mismatch",
    "truncated",
    "stalled",  # the connection brought nothing for as long as the task waits
    "unavailable",  # the source cannot be reached, or does not have the file
    "pip_missing",
    "io_error",
]


class ModelError(Exception):
    """The request cannot be carried out; the message is for the user.

    `reason` lets automation tell refusals apart, `details` are facts for the module's result.
    `transient` says that the same request may succeed in a moment, `retry_after` (seconds) how
    long the server asked to wait before it.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: Reason = "invalid",
        transient: bool = False,
        retry_after: float = 0.0,
        **details: t.Any,
    ) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.transient = transient
        self.retry_after = retry_after
        self.details = details
