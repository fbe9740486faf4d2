# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What deployments and rollbacks return of what they are going to do. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Plan


def gap(plan: Plan, journal: Journal, colour: str | None) -> dict[str, t.Any]:
    """Return which services will not answer for a while, and for how many seconds: as long as they took last time.

    Where a stack gets sides, or loses them, it is taken down first.

    Args:
        colour: the side that the release comes up on, None without sides.
    """
    moves = journal.moves(colour or "")
    ready = journal.committed.ready if journal.committed else {}
    services = sorted(journal.committed.hashes) if moves and journal.committed else list(plan.gaps)
    known = [ready[name] for name in services if name in ready]
    return {"services": services, "seconds": max(known, default=None) if services else 0.0}


def steps(plan: Plan) -> list[dict[str, str]]:
    """Return what happens to each service, for people."""
    return [{"service": step.service, "action": step.action, "why": step.why} for step in plan.steps]
