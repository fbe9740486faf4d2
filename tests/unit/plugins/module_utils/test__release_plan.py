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
    Plan,
    Step,
    Wanted,
    describe,
    first_plan,
    make_plan,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_rollout import Job, Rollout

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


DB = Container("5", "shop-db-1", service="db", image="i3", config_hash="h3")
SIDED = Wanted(
    identity=NOW,
    services=(Service("db", "db:1"), Service("load", "load:1"), Service("web", "web:1", replicas=2)),
    lifecycles={"web": "stateless", "load": "job", "db": "stateful"},
    hashes={"web": "h1", "load": "h2", "db": "h3"},
    images={"web:1": "i1", "load:1": "i2", "db:1": "i3"},
    sides=True,
)
WEB2 = replace(WEB, id="6", name="shop-web-2")
AS_COMMITTED = {name: Hashes(one, one) for name, one in SIDED.hashes.items()}
ALL = (DB, LOAD, WEB, WEB2)

# containers, what else was found -> what happens to db, load, web; whether a side comes up beside; who has a gap
SIDES = [
    pytest.param(found(*ALL), "none none none", False, (), id="all as it should be"),
    pytest.param(found(*ALL, committed=OTHER), "none none none", False, (), id="only the gate differs"),
    pytest.param(found(), "create create create", True, (), id="first release"),
    pytest.param(
        found(DB, LOAD, replace(WEB, config_hash="h0"), WEB2),
        "none run replace",
        True,
        (),
        id="a service changed: its side is replaced as a whole",
    ),
    pytest.param(
        found(replace(DB, image="i0"), LOAD, WEB, WEB2), "recreate run none", False, ("db",), id="only data changed"
    ),
    pytest.param(
        found(replace(DB, image="i0"), LOAD, replace(WEB, image="i0"), WEB2),
        "recreate run replace",
        True,
        ("db",),
        id="data and side changed",
    ),
    pytest.param(
        found(DB, LOAD, WEB, replace(WEB2, status="exited")), "none run start", False, (), id="stopped: repaired"
    ),
    pytest.param(
        found(DB, LOAD, hashes=AS_COMMITTED), "none run create", False, (), id="removed by hand: repaired in place"
    ),
    pytest.param(
        found(DB, hashes=AS_COMMITTED), "none create create", False, (), id="a whole side removed: repaired in place"
    ),
    pytest.param(
        found(DB, LOAD, hashes={**AS_COMMITTED, "web": Hashes("h0", "h0")}),
        "none run create",
        True,
        (),
        id="removed by hand, and wanted in another way",
    ),
    pytest.param(found(DB, LOAD, WEB), "none run replace", True, (), id="one too few: replaced, not scaled"),
    pytest.param(found(LOAD, WEB, WEB2), "create run none", False, (), id="data is gone: it comes up again"),
    pytest.param(found(DB, replace(LOAD, exit_code=1), WEB, WEB2), "none run none", False, (), id="job failed"),
    pytest.param(found(DB, replace(LOAD, image="i0"), WEB, WEB2), "none run replace", True, (), id="job changed"),
]


@pytest.mark.parametrize(("host", "actions", "beside", "gaps"), SIDES)
def test_sides(host: Found, actions: str, beside: bool, gaps: tuple[str, ...]) -> None:
    plan = make_plan(SIDED, host)
    assert " ".join(step.action for step in plan.steps) == actions
    assert (plan.beside, plan.gaps) == (beside, gaps)
    assert all(bool(step.why) is (step.action != "none") for step in plan.steps)


def test_without_sides_everything_that_changed_has_a_gap() -> None:
    host = found(replace(DB, image="i0"), LOAD, replace(WEB, image="i0"), WEB2)
    plan = make_plan(replace(SIDED, sides=False), host)
    assert (plan.beside, plan.gaps) == (False, ("db", "web"))


def test_a_service_that_left_is_removed_with_its_side() -> None:
    plan = make_plan(SIDED, found(*ALL, Container("7", "x", service="old")))
    assert [step.action for step in plan.steps] == ["none", "run", "replace", "remove"]


@pytest.mark.parametrize("sides", [False, True])
@pytest.mark.parametrize(
    "host",
    [
        pytest.param(found(DB, WEB, WEB2), id="gone"),
        pytest.param(found(DB, replace(LOAD, exit_code=1), WEB, WEB2), id="failed"),
        pytest.param(found(DB, replace(LOAD, config_hash="h0"), WEB, WEB2), id="another release's"),
    ],
)
def test_a_job_that_is_done_rests_whatever_became_of_its_container(host: Found, sides: bool) -> None:
    wanted = replace(SIDED, sides=sides, done=frozenset({"load"}))
    assert make_plan(wanted, host).settled
    broken = replace(host, containers=(*host.containers[:-1], replace(WEB2, status="exited")))
    assert [step.action for step in make_plan(wanted, broken).steps] == ["none", "none", "start"]
    other = replace(host, containers=(replace(WEB, image="i0"),))
    assert [step.action for step in make_plan(wanted, other).steps][1] == "none"


@pytest.mark.parametrize(
    ("step", "acts"),
    [
        pytest.param(Step("ingress", "none"), False, id="nothing"),
        pytest.param(Step("ingress", "start", "it is exited"), True, id="start"),
        pytest.param(Step("ingress", "recreate", "its image changed"), True, id="recreate"),
    ],
)
def test_the_ingress_alone_may_be_a_reason_to_act_and_no_job_runs_then(step: Step, acts: bool) -> None:
    plan = make_plan(SIDED, found(*ALL)).with_step(step)
    assert (plan.act, plan.gate, plan.beside, plan.settled) == (acts, acts, False, not acts)
    assert plan.steps[-1] == step
    assert plan.acts_on({"ingress"}) is acts
    assert not plan.acts_on({"db", "load", "web"})


ROLLOUT = Rollout(jobs={"load": Job(irreversible=True)}, snapshots={"db": ("dump",), "cache": ("save",)})


@pytest.mark.parametrize(
    ("steps", "rollout", "snapshots"),
    [
        pytest.param("none none none", ROLLOUT, (), id="nothing happens"),
        pytest.param("none none replace", ROLLOUT, (), id="data stays"),
        pytest.param("recreate none none", ROLLOUT, ("db",), id="it is recreated"),
        pytest.param("remove none none", ROLLOUT, ("db",), id="it is removed"),
        pytest.param("create none none", ROLLOUT, (), id="it is new"),
        pytest.param("none run replace", ROLLOUT, ("cache", "db"), id="a job runs that cannot be undone"),
        pytest.param("none create replace", ROLLOUT, ("cache", "db"), id="for the first time"),
        pytest.param("none run replace", replace(ROLLOUT, jobs={"load": Job()}), (), id="a job that can be undone"),
    ],
)
def test_what_is_to_be_changed_is_saved_first(steps: str, rollout: Rollout, snapshots: tuple[str, ...]) -> None:
    actions = zip(("db", "load", "web"), steps.split())
    made = tuple(Step(name, t.cast(t.Any, action)) for name, action in actions)
    assert Plan(made, act=True, gate=True, commit=True).snapshots(rollout) == snapshots
