# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases that come up side by side, in a real engine behind a real ingress."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import STEPS
from ansible_collections.emorobcare.fleet.tests.faults._load import KINDS, Load
from ansible_collections.emorobcare.fleet.tests.faults._releases import PYTHON, docker, wait_for
from ansible_collections.emorobcare.fleet.tests.faults._sides import Sides, kill_when

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


def test_no_request_fails_in_updates_and_rollbacks(sides: Sides) -> None:
    sides.deploy(sides.sided("0"))
    with Load(sides.port, KINDS) as load:
        for number in range(1, 4):
            sides.deploy(sides.sided(str(number)))
            count = load.total
            wait_for(lambda count=count: load.total > count + 50)  # type: ignore[misc]
        back = sides.deploy({"stack": sides.stack, "state": "rolled_back"})
        assert back["changed"]
        wait_for(lambda: load.colours["2"] > 0)
    assert load.failures == []
    assert set(load.colours) == {"0", "1", "2", "3"}
    assert sides.serving() == "2"
    print(f"\n{load.total} requests, 3 updates and a rollback, none failed")


FAILURES = [
    pytest.param("dies", {}, "gate_failed", "restarted 4 times", id="exits again and again"),
    pytest.param(
        "good", {"expect": "mode == 'other'", "timeout": 3.0}, "gate_timeout", "gave false", id="answers wrongly"
    ),
    pytest.param("good", {"job_code": "raise SystemExit(3)"}, "gate_failed", "exit code 3", id="a job fails"),
    pytest.param(
        "good",
        {"job_code": "import time; time.sleep(60)", "more": {"load": {"timeout": 1.0}}},
        "job_timeout",
        "running for more than 1 s",
        id="a job takes too long",
    ),
]


@pytest.mark.parametrize(("mode", "more", "reason", "answer"), FAILURES)
def test_a_bad_release_goes_and_the_old_side_never_notices(
    sides: Sides, mode: str, more: dict[str, t.Any], reason: str, answer: str
) -> None:
    sides.deploy(sides.sided("old"))
    before = {name: item["Id"] for name, item in sides.running().items()}
    with Load(sides.port, KINDS) as load:
        wait_for(lambda: load.total > 20)
        result = sides.refused(sides.sided("new", mode, **more), reason)
    assert answer in result["answer"], result
    assert result["rolled_back_to"] is not None
    assert load.failures == []
    assert set(load.colours) == {"old"}
    assert {name: item["Id"] for name, item in sides.running().items()} == before
    assert (sides.journal()["phase"], sides.journal()["failure"]["reason"]) == ("idle", reason)
    assert not sides.deploy(sides.sided("old"))["changed"]


def test_a_first_release_that_fails_leaves_nothing_but_its_data(sides: Sides) -> None:
    sides.refused(sides.sided("new", "dies"), "gate_failed")
    assert sides.rest() == set()
    assert sides.deploy(sides.sided("new"))["changed"]


def test_a_failure_after_the_switch_turns_the_door_back(sides: Sides) -> None:
    sides.deploy(sides.sided("old"))
    process = sides.start(sides.sided("new", "rots", expect="mode == 'rots'", rollout={"soak": 30}))
    wait_for(lambda: sides.journal()["phase"] == "soak")
    assert sides.serving() == "new"
    with Load(sides.port, KINDS) as load:
        docker("exec", sides.running()["-green/api"]["Id"], PYTHON, "-S", "-c", "open('/shared/rot', 'w')")
        assert process.wait() == 1
    assert load.failures == []
    assert sides.serving() == "old"
    assert sides.rest() == AT_REST | {"-blue/api"}
    assert sides.journal()["failure"]["reason"] == "soak_failed"


def test_stateful_services_are_recreated_only_when_they_changed_and_come_back_with_the_release(sides: Sides) -> None:
    sides.deploy(sides.sided("old"))
    old = sides.running()["-data/db"]["Id"]
    plan = sides.deploy(sides.sided("new", database="other"), _ansible_check_mode=True)
    assert plan["gap"]["services"] == ["db"]
    assert plan["gap"]["seconds"] > 0
    sides.refused(sides.sided("bad", "dies", database="other"), "gate_failed")
    assert "FIRST=first" in sides.running()["-data/db"]["Config"]["Env"]
    assert sides.ask() == {"text": "old", "mode": "good", "kept": "first"}
    sides.deploy(sides.sided("new", database="other"))
    assert sides.running()["-data/db"]["Id"] != old
    assert sides.ask() == {"text": "new", "mode": "good", "kept": "first"}


# Before the switch, in it, and on the way back; `make test-all` tries all the others.
OFTEN = ("gate", "switch", "going_back")
KILLS = [
    step if step in OFTEN else pytest.param(step, marks=pytest.mark.slow) for step in (*STEPS, "retire", "going_back")
]


@pytest.mark.parametrize("step", KILLS)
def test_killed_at_any_step_the_host_serves_one_release_and_the_next_run_finishes(sides: Sides, step: str) -> None:
    more: dict[str, t.Any] = {"db": {"snapshot": [PYTHON, "-S", "-c", "pass"]}}
    bad: dict[str, t.Any] = {"expect": "mode == 'other'", "timeout": 3.0} if step == "going_back" else {}
    new = sides.sided("new", rollout={"soak": 1}, more=more, database="new", **bad)
    sides.deploy(sides.sided("old", more=more))
    with Load(sides.port, KINDS) as load:
        kill_when(sides, new, step)
        assert sides.journal()["phase"] == step
        expected = "new" if step in ("drain", "soak", "retire") else "old"
        assert sides.serving() == expected
    assert [fault for fault in load.failures if "/data" not in fault] == []
    again = sides.deploy(sides.sided("new", more=more, database="new") if bad else new)
    assert again["changed"]
    assert sides.serving() == "new"
    assert sides.journal()["phase"] == "idle"
    assert {name.partition("/")[2] for name in sides.rest()} == {"api", "db", "ingress"}
    assert len(sides.rest()) == 3


def test_data_that_has_ended_can_be_started_again_when_the_networks_of_a_candidate_have_gone(sides: Sides) -> None:
    sides.deploy(sides.sided("old"))
    kill_when(sides, sides.sided("new"), "gate")
    for name in ("-data/db", "-ingress/ingress"):
        docker("stop", "--time", "0", sides.running()[name]["Id"])
    assert sides.deploy(sides.sided("old"))["changed"]
    assert sides.ask() == {"text": "old", "mode": "good", "kept": "first"}
    assert sides.rest() == AT_REST | {"-blue/api"}
