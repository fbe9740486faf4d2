# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases that come up side by side, in a real engine behind a real ingress."""

from __future__ import annotations

from ansible_collections.emorobcare.fleet.tests.faults._sides import Sides

AT_REST = {"-data/db", "-ingress/ingress"}


def test_a_release_comes_up_beside_the_old_one_and_the_door_turns_to_it(sides: Sides) -> None:
    first = sides.deploy(sides.sided("one"))
    assert first["changed"]
    assert sides.ask() == {"text": "one", "mode": "good", "kept": "first"}
    assert sides.rest() == AT_REST | {"-blue/api"}
    assert sides.journal()["committed"]["colour"] == "blue"
    assert not sides.deploy(sides.sided("one"))["changed"]
    database = sides.running()["-data/db"]["Id"]
    door = sides.running()["-ingress/ingress"]["Id"]

    second = sides.deploy(sides.sided("two"))

    assert second["gap"] == {"services": [], "seconds": 0.0}
    assert [(step["service"], step["action"]) for step in second["plan"]] == [
        ("api", "replace"),
        ("db", "none"),
        ("ingress", "none"),
    ]
    assert sides.ask() == {"text": "two", "mode": "good", "kept": "first"}
    assert sides.rest() == AT_REST | {"-green/api"}
    assert sides.running()["-data/db"]["Id"] == database
    assert sides.running()["-ingress/ingress"]["Id"] == door
    assert (sides.journal()["phase"], sides.journal()["committed"]["colour"]) == ("idle", "green")
    assert not sides.deploy(sides.sided("two"))["changed"]
