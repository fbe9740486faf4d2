# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A control of the CIS Docker Benchmark, and what an audit says of it. Pure.

Numbers are the benchmark's (1.6.0 to 1.8.0 agree in them); titles and ways out are our own words.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

Kind = t.Literal["enforced", "opt-in", "recorded"]
Status = t.Literal["pass", "fail", "exception", "not applicable"]


@dataclass(frozen=True)
class Control:
    """One control, and what this collection does about it.

    :ivar kind: enforced by role docker_host (or by the checks of stacks); an opt-in; or recorded: not for a role to do.
    :ivar subject: the subject of the role that does it (its file is tasks/harden_<subject>.yml), or empty.
    :ivar why: what an opt-in breaks, or why a recorded control is not enforced; empty where it is enforced.
    """

    number: str
    slug: str
    title: str
    way_out: str
    kind: Kind
    subject: str = ""
    why: str = ""

    @property
    def section(self) -> int:
        return int(self.number.partition(".")[0])


@dataclass(frozen=True)
class Looked:
    """What a rule found: evidence of violations, what it saw where there are none, or why it does not apply."""

    evidence: tuple[str, ...] = ()
    seen: str = ""
    not_applicable: str = ""


@dataclass(frozen=True)
class Row:
    """What an audit says of one control on one subject: the host, a container, a service or an image."""

    control: Control
    subject: str
    status: Status
    evidence: tuple[str, ...]
    reason: str = ""
    until: str = ""

    def as_result(self) -> dict[str, t.Any]:
        return {
            "control": self.control.number,
            "slug": self.control.slug,
            "title": self.control.title,
            "kind": self.control.kind,
            "subject": self.subject,
            "status": self.status,
            "evidence": list(self.evidence),
            "reason": self.reason,
            "until": self.until,
            "way_out": self.control.way_out if self.status == "fail" else "",
        }
