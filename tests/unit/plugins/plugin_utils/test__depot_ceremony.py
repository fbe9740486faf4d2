# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_ceremony import (
    Found,
    Plan,
    Wanted,
    make_plan,
    planned_facts,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_metadata import read_root
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import (
    NAMES,
    first_root,
    keyid,
    next_root,
)

WANTED = Wanted({"root": 3, "targets": 2, "snapshot": 1, "timestamp": 1}, {"root": 2}, 730)
KEYS = {name: keyid(name) for name in NAMES}
FOUND = Found(KEYS, {1: read_root(first_root())})


def test_an_empty_folder_gets_all_keys_and_the_first_root() -> None:
    plan = make_plan(WANTED, Found())
    assert (plan.version, sorted(plan.keys), sorted(plan.add)) == (1, sorted(NAMES), sorted(NAMES))


def test_keys_that_are_there_are_not_made_again() -> None:
    found = Found({"root-1": "a" * 64, "root-2": None})
    plan = make_plan(WANTED, found)
    assert ("root-1" in plan.keys, "root-2" in plan.keys) == (False, True)
    assert "root-1" in plan.add


def test_with_a_root_nothing_is_to_be_made_even_if_private_keys_are_elsewhere() -> None:
    assert make_plan(WANTED, FOUND).changed is False
    assert make_plan(WANTED, replace(FOUND, keys={})).changed is False


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"renew": True}, Plan((), 2)),
        (
            {"rotate": "timestamp"},
            Plan(("timestamp-2",), 2, "timestamp", ("timestamp-2",), (keyid("timestamp-1"),)),
        ),
        (
            {"rotate": "targets"},
            Plan(
                ("targets-3", "targets-4"),
                2,
                "targets",
                ("targets-3", "targets-4"),
                (keyid("targets-1"), keyid("targets-2")),
            ),
        ),
        ({"revoke": "root-2"}, Plan(("root-4",), 2, "root", ("root-4",), (keyid("root-2"),))),
        ({"revoke": keyid("root-2")}, Plan(("root-4",), 2, "root", ("root-4",), (keyid("root-2"),))),
    ],
)
def test_the_next_root_replaces_what_was_asked_for(wanted: dict[str, t.Any], expected: Plan) -> None:
    assert make_plan(replace(WANTED, **wanted), FOUND) == expected


def test_a_run_that_was_cut_off_goes_on_with_the_keys_that_it_made() -> None:
    found = replace(FOUND, keys={**KEYS, "targets-3": "f" * 64})
    plan = make_plan(replace(WANTED, rotate="targets"), found)
    assert (plan.keys, plan.add) == (("targets-4",), ("targets-3", "targets-4"))


def test_a_key_that_was_revoked_before_stays_revoked_and_its_number_is_not_used_again() -> None:
    second = next_root(first_root(), "targets", "targets-3", "targets-2")
    found = Found({**KEYS, "targets-3": keyid("targets-3")}, {**FOUND.roots, 2: read_root(second)})
    assert make_plan(replace(WANTED, revoke="targets-2"), found) == Plan()
    assert make_plan(replace(WANTED, revoke="targets-3"), found).add == ("targets-4",)


@pytest.mark.parametrize(
    ("found", "wanted", "reason"),
    [
        (FOUND, {"rotate": "root", "revoke": "root-1"}, "invalid"),
        (FOUND, {"renew": True, "revoke": "root-1"}, "invalid"),
        (FOUND, {"revoke": "root-9"}, "invalid"),
        (Found(), {"rotate": "root"}, "key_missing"),
        (Found(), {"renew": True}, "key_missing"),
    ],
)
def test_what_makes_no_sense_is_refused(found: Found, wanted: dict[str, t.Any], reason: str) -> None:
    with pytest.raises(DepotError) as caught:
        make_plan(replace(WANTED, **wanted), found)
    assert caught.value.reason == reason


def test_what_is_foreseen_names_no_key_that_does_not_exist_yet() -> None:
    before = {"root_version": 1, "expires": "x", "public_keys": [{"name": "a-1", "role": "targets", "keyid": "1"}]}
    after = planned_facts(before, Plan(("targets-2",), 2, "targets", ("targets-2",), ("1",)))
    assert after["public_keys"] == [{"name": "targets-2", "role": "targets", "keyid": "to be made", "private": True}]
    assert planned_facts(before, Plan()) == before
