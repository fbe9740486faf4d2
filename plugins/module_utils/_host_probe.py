# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What containers of a host can do, as probes found it, before and after a change. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

NAMES = ("dns", "outbound", "bind_mount", "volume", "published_port", "sigterm")

Status = t.Literal["pass", "fail", "not applicable"]


@dataclass(frozen=True)
class Probe:
    """What one probe found; the detail is a sentence without a full stop."""

    status: Status
    detail: str

    def as_result(self) -> dict[str, str]:
        return {"status": self.status, "detail": self.detail}


Probes = t.Mapping[str, Probe]


def all_alike(status: Status, detail: str) -> dict[str, Probe]:
    """Return the same for each probe."""
    return {name: Probe(status, detail) for name in NAMES}


def broken(before: Probes, after: Probes) -> tuple[str, ...]:
    """Return the probes that passed before and do not now. One that did not pass before protects nothing."""
    lost = Probe("not applicable", "it was not asked")
    return tuple(
        name for name, probe in before.items() if probe.status == "pass" and after.get(name, lost).status != "pass"
    )


def failed(probes: Probes) -> tuple[str, ...]:
    return tuple(name for name, probe in probes.items() if probe.status == "fail")


def explain(names: t.Iterable[str], before: Probes, after: Probes) -> str:
    """Say what each of these probes found before and after."""
    lost = Probe("not applicable", "it was not asked")
    pairs = [(name, before[name], after.get(name, lost)) for name in names]
    return "; ".join(
        f"{name}: before {was.status} ({was.detail}), after {now.status} ({now.detail})" for name, was, now in pairs
    )


def as_result(probes: Probes | None) -> dict[str, dict[str, str]] | None:
    return None if probes is None else {name: probe.as_result() for name, probe in probes.items()}
