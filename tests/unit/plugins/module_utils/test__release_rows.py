# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit, Journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Hashes, Identity, Plan, Step
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_rows import gap, steps

HASHES = {name: Hashes("h", "h") for name in ("api", "db")}


def journal(colour: str = "blue", **ready: float) -> Journal:
    committed = Commit(Identity("r1", "s1"), "2026-11-21T09:30:00Z", HASHES, ready, colour)
    return Journal("shop", "ab" * 32, committed=committed)


RECREATED = Plan((Step("api", "replace"), Step("db", "recreate", "its image changed")), True, True, True)
REPLACED = Plan((Step("api", "replace"), Step("db", "none")), True, True, True)

GAPS: list[t.Any] = [
    pytest.param(REPLACED, journal(api=9.0, db=4.2), "green", [], 0.0, id="side by side"),
    pytest.param(RECREATED, journal(api=9.0, db=4.2), "green", ["db"], 4.2, id="as long as the last time"),
    pytest.param(RECREATED, journal(api=9.0), "green", ["db"], None, id="never measured"),
    pytest.param(RECREATED, Journal("shop", "ab" * 32), "blue", ["db"], None, id="nothing committed"),
    pytest.param(REPLACED, journal("", api=9.0, db=4.2), "blue", ["api", "db"], 9.0, id="the stack gets sides"),
    pytest.param(REPLACED, journal(api=9.0), None, ["api", "db"], 9.0, id="the stack loses its sides"),
]


@pytest.mark.parametrize(("plan", "before", "colour", "services", "seconds"), GAPS)
def test_a_gap_is_predicted_for_what_is_not_replaced_side_by_side(
    plan: Plan, before: Journal, colour: str | None, services: list[str], seconds: float | None
) -> None:
    assert gap(plan, before, colour) == {"services": services, "seconds": seconds}


def test_steps_say_what_happens_and_why() -> None:
    assert steps(RECREATED) == [
        {"service": "api", "action": "replace", "why": ""},
        {"service": "db", "action": "recreate", "why": "its image changed"},
    ]
