# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A control of the CIS Docker Benchmark, and what an audit says of it. Pure.

Numbers are those of 1.6.0 and 1.7.0, which agree. 1.8.0 has one more in section 2, on the storage driver devicemapper,
so that what follows it there is one higher; Control.number_18 says so. Titles and ways out are our own words.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

Kind = t.Literal["enforced", "opt-in", "recorded"]
Status = t.Literal["pass", "fail", "exception", "not applicable"]


@dataclass(frozen=True)
class Control:
    """One control, and what this collection does about it.

    :ivar kind: enforced by role docker_host (or by the checks of stacks, or held by the audit alone where no subject is
        named); an opt-in; or recorded: not for a role to do.
    :ivar subject: the subjects of the role that do it, with commas between (the file of each is
        tasks/harden_<subject>.yml), or empty.
    :ivar why: what an opt-in breaks, or why a recorded control is not enforced; empty where it is enforced.
    """

    number: str
    slug: str
    title: str
    way_out: str
    kind: Kind
    subject: str = ""
    why: str = ""
    number_18: str = ""
    """Its number in 1.8.0, where that is another one."""

    @property
    def section(self) -> int:
        return int(self.number.partition(".")[0])

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(word.strip() for word in self.subject.split(",") if word.strip())

    @property
    def order(self) -> tuple[int, ...]:
        """What to sort by: 2.10 comes after 2.9."""
        return tuple(int(part) for part in self.number.split("."))


@dataclass(frozen=True)
class Looked:
    """What a rule found: evidence of violations, what it saw where there are none, or why it does not apply.

    :ivar unknown: why the rule could not look. It never counts as a pass, nor as what a recorded control excuses.
    :ivar unseen: why this audit looks on no host at all. Only of a control that is not enforced, which excuses it.
    """

    evidence: tuple[str, ...] = ()
    seen: str = ""
    not_applicable: str = ""
    unknown: str = ""
    unseen: str = ""


Facts = t.TypeVar("Facts")


@dataclass(frozen=True)
class Rule(t.Generic[Facts]):
    """A control, and what looks for violations of it in facts."""

    control: Control
    look: t.Callable[[Facts], Looked]


@dataclass(frozen=True)
class Row:
    """What an audit says of one control on one subject: the host, a container, a service or an image.

    :ivar evidence: of a failure or an exception what shows it, of a pass what was seen, else why it does not apply.
    :ivar level: warn where the policy says that a failure is to be told and no more.
    """

    control: Control
    subject: str
    status: Status
    evidence: tuple[str, ...]
    reason: str = ""
    until: str = ""
    level: t.Literal["fail", "warn"] = "fail"

    def as_result(self) -> dict[str, t.Any]:
        return {
            "control": self.control.number,
            "control_18": self.control.number_18 or self.control.number,
            "slug": self.control.slug,
            "title": self.control.title,
            "kind": self.control.kind,
            "subject": self.subject,
            "status": self.status,
            "level": self.level,
            "evidence": list(self.evidence),
            "reason": self.reason,
            "until": self.until,
            "way_out": self.control.way_out if self.status == "fail" else "",
        }
