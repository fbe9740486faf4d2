# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The one error of everything that writes, verifies and reads depots."""

from __future__ import annotations

import typing as t

Reason = t.Literal[
    "invalid",  # the task's options contradict themselves or the rules
    "not_a_depot",
    "unsafe_path",  # a link where a file should be, or a name that leads out of the depot
    "not_enrolled",
    "state_lost",  # enrolled, but what was accepted before is not known any more
    "clock",  # the time of day cannot be right
    "unsigned",  # nobody whom the host trusts has signed it, or it is no metadata at all
    "threshold",  # too few of those whom the host trusts have
    "expired",
    "older",  # than what the host has accepted before
    "mixed",  # parts of different depots
    "manifest_invalid",
    "wrong_fleet",
    "wrong_hardware",
    "too_new",  # for the version of this collection on the host
    "blob_missing",
    "blob_corrupt",
    "base_missing",  # the depot leaves out what the host does not have
    "no_release",  # the depot has none for what was asked
    "no_space",
    "read_only",
    "locked",
    "library_missing",
    "key_missing",
    "passphrase",
    "image_unavailable",  # the engine could not be asked for an image, or could not pull it
    "immutable",  # a model version is published on the host with other content
    "foreign",  # a model version's folder was not made by this collection
    "unavailable",  # a web server, or an archive that a depot is filled from, does not answer or not now
    "io_error",  # the medium failed, or was pulled
]


class DepotError(Exception):
    """The request cannot be carried out; the message is for the user.

    `reason` lets automation tell refusals apart; `details` are facts for the module's result.
    """

    def __init__(self, message: str, *, reason: Reason, **details: t.Any) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.details = details
