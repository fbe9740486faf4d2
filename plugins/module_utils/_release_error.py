# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The one error of everything that gates, deploys and removes stacks."""

from __future__ import annotations

import typing as t

Reason = t.Literal[
    "release_invalid",  # the document, its files or the Compose files contradict themselves
    "gate_invalid",
    "parameter_invalid",
    "secret_missing",
    "secret_invalid",
    "model_missing",
    "library_missing",
    "docker_unavailable",
    "docker_failed",
    "image_missing",
    "image_unavailable",
    "port_taken",
    "address_missing",
    "locked",
    "journal_newer",
    "journal_lost",
    "write_failed",
    "activation_failed",
    "gate_failed",
    "gate_timeout",
    "soak_failed",
    "removal_failed",
    "release_gone",  # a kept release that is to come back lacks something
    "snapshot_failed",
    "job_timeout",
    "busy",
    "no_memory",
    "no_space",
    "interrupted",
    "irreversible",  # going back would lose what a job has done
    "ingress_invalid",  # its routes contradict each other, or HAProxy refuses the configuration
    "ingress_unavailable",  # HAProxy does not answer
    "ingress_failed",  # HAProxy answers, and did not do what it was told
    "ingress_not_up",  # a side has services that no server is up for
    "certificate_failed",
]


class ReleaseError(Exception):
    """The request cannot be carried out; the message is for the user.

    `reason` lets automation tell refusals apart; `details` are facts for the module's result.
    """

    def __init__(self, message: str, *, reason: Reason, **details: t.Any) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.details = details
