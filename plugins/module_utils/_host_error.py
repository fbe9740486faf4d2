# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The one error of what changes and audits a Docker host. Pure."""

from __future__ import annotations

import typing as t

# Exit code of a command that has done what can be done: it failed, and another try would do no better.
VAIN = 83

Reason = t.Literal[
    "invalid",  # the task's options contradict themselves or the rules
    "unsafe_path",  # a link, a folder or a device where a file should be
    "locked",  # another change of this host is under way
    "unconfirmed",  # a change waits to be confirmed, or was taken back because nobody did
    "same_connection",  # what would confirm is the connection that the change was made over
    "validate_failed",  # a file was refused by its own checker; nothing was changed
    "write_failed",
    "activate_failed",
    "probe_failed",  # what containers could do before, they cannot do now
    "interrupted",  # by a signal
    "guard_failed",  # what would take the change back if this process dies could not be started
    "restore_failed",  # the host could not be given back what it had
    "record_lost",  # the record of a change cannot be read
    "record_newer",  # it was written by a later version of this collection
    "file_invalid",  # the engine's own file cannot be read as it is
    "file_unread",  # the engine was told to read another file
    "option_unknown",
    "option_invalid",
    "option_is_flag",  # the engine is started with it already, and refuses to be told twice
    "option_forbidden",  # this engine cannot take it as it is used: live-restore in a Swarm
    "address_collision",  # containers would take addresses that the host itself needs
    "data_hidden",  # images, containers and volumes would vanish from sight
    "engine_unavailable",
    "reload_failed",
    "restart_failed",
    "rules_invalid",  # the policy of an audit makes no sense
    "compose_invalid",  # what an audit is to read is no Compose document
    "textfile",  # the file for metrics cannot be one, or cannot be written
    "controls_failed",  # an audit that is to fail found what does not hold
]


class HostError(Exception):
    """A refusal, or a change that was taken back; the message is for the user.

    :ivar reason: one word for automation, which a message's wording does not change.
    :ivar details: facts for the module's result. `vain` tells that another try would do no better.
    """

    def __init__(self, message: str, *, reason: Reason, **details: t.Any) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.details = details
