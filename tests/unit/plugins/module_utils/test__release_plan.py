# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_compose import Service
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import (
    Found,
    Hashes,
    Identity,
    Step,
    Wanted,
    describe,
    first_plan,
    make_plan,
)

WEB = Container("1", "shop-web-1", service="web", image="i1", config_hash="h1")
LOAD = Container("2", "shop-load-1", service="load", image="i2", config_hash="h2", status="exited")
NOW, OTHER = Identity("r1", "s1"), Identity("r0", "s1")
WANTED = Wanted(
    identity=NOW,
    services=(Service("load", "load:1"), Service("web", "web:1")),
    lifecycles={"web": "stateless", "load": "job"},
    hashes={"web": "h1", "load": "h2"},
    images={"web:1": "i1", "load:1": "i2"},
)


def found(*containers: Container, **more: t.Any) -> Found:
    return replace(Found(containers, committed=NOW), **more)


# containers, what else was found -> what happens to load, to web; act, gate, commit
PLANS = [
    pytest.param(found(LOAD, WEB), "none none", (0, 0, 0), id="all as it should be"),
    pytest.param(found(LOAD, WEB, committed=OTHER), "none none", (0, 1, 1), id="only the gate differs: jobs rest"),
    pytest.param(found(LOAD, WEB, interrupted=True), "none none", (0, 1, 1), id="a run was killed after its work"),
    pytest.param(found(), "create create", (1, 1, 0), id="containers are gone"),
    pytest.param(found(committed=None), "create create", (1, 1, 1), id="first release"),
    pytest.param(found(LOAD, replace(WEB, config_hash="h0")), "run recreate", (1, 1, 0), id="configuration changed"),
    pytest.param(found(LOAD, replace(WEB, image="i0")), "run recreate", (1, 1, 0), id="image changed"),
    pytest.param(found(LOAD, replace(WEB, status="exited")), "run start", (1, 1, 0), id="stopped"),
    pytest.param(found(LOAD, replace(WEB, status="paused")), "run start", (1, 1, 0), id="paused"),
    pytest.param(found(LOAD, WEB, replace(WEB, id="3")), "run scale", (1, 1, 0), id="one too many"),
    pytest.param(found(replace(LOAD, exit_code=1), WEB), "run none", (1, 1, 0), id="job failed"),
    pytest.param(found(replace(LOAD, status="running"), WEB), "none none", (0, 1, 0), id="job still runs: wait"),
    pytest.param(found(replace(LOAD, status="created"), WEB), "run none", (1, 1, 0), id="job never ran"),
    pytest.param(found(LOAD, replace(WEB, health="starting")), "none none", (0, 1, 0), id="starting: wait"),
    pytest.param(found(LOAD, replace(WEB, health="unhealthy")), "none none", (0, 1, 0), id="unhealthy: look again"),
    pytest.param(found(LOAD, replace(WEB, health="healthy")), "none none", (0, 0, 0), id="healthy"),
    pytest.param(found(LOAD, replace(WEB, status="restarting")), "none none", (0, 1, 0), id="restarting: wait"),
    pytest.param(
        found(LOAD, replace(WEB, config_hash="hx"), hashes={"web": Hashes("h1", "hx")}),
        "none none",
        (0, 0, 0),
        id="Compose puts another hash on containers than it predicts",
    ),
    pytest.param(
        found(LOAD, replace(WEB, config_hash="hx"), hashes={"web": Hashes("h0", "hx")}),
        "run recreate",
        (1, 1, 0),
        id="the same, but the prediction changed",
    ),
]


@pytest.mark.parametrize(("host", "actions", "flags"), PLANS)
def test_plan(host: Found, actions: str, flags: tuple[int, int, int]) -> None:
    plan = make_plan(WANTED, host)
    assert " ".join(step.action for step in plan.steps) == actions
    assert (plan.act, plan.gate, plan.commit) == tuple(map(bool, flags))
    assert plan.settled is not any(flags)
    assert all(bool(step.why) is (step.action != "none") for step in plan.steps)


def test_services_that_are_no_longer_wanted_are_removed() -> None:
    plan = make_plan(WANTED, found(LOAD, WEB, Container("4", "x", service="old")))
    assert plan.steps[-1] == Step("old", "remove", "the release has no such service, or not in this environment")
    assert plan.act


def test_services_whose_files_were_changed_under_them_are_recreated() -> None:
    plan = make_plan(replace(WANTED, stale=frozenset({"web"})), found(LOAD, WEB))
    assert plan.steps[1].action == "recreate"


def test_a_service_that_is_scaled_to_nothing_needs_no_container() -> None:
    wanted = replace(WANTED, services=(Service("web", "web:1", replicas=0),))
    assert make_plan(wanted, found()).settled


def test_the_diff_tells_what_was_and_what_becomes_of_it() -> None:
    host = found(LOAD, replace(WEB, config_hash="h0", health="healthy"), committed=OTHER)
    assert describe(make_plan(WANTED, host), NOW, host) == {
        "before": {"release": "r0", "settings": "s1", "services": {"load": "exited", "web": "running, healthy"}},
        "after": {
            "release": "r1",
            "settings": "s1",
            "services": {
                "load": "run again: jobs run at each deployment",
                "web": "recreated: its configuration changed",
            },
        },
    }
    settled = found(LOAD, WEB)
    diff = describe(make_plan(WANTED, settled), NOW, settled)
    assert diff["before"] == diff["after"]


def test_where_nothing_can_be_known_everything_is_created() -> None:
    plan = first_plan(["web", "load"], "no engine")
    assert [step.service for step in plan.steps] == ["load", "web"]
    assert plan.act
    assert plan.commit
