# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The power of a machine is cut in every step of an update; it boots with nobody there and serves one release whole.

On the same machine: its engine is restarted while a release comes up.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import STEPS
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._summary import table
from ansible_collections.emorobcare.fleet.tests.faults._engines import Engines
from ansible_collections.emorobcare.fleet.tests.faults._faults import Record, next_run
from ansible_collections.emorobcare.fleet.tests.faults._lab_host import result_of
from ansible_collections.emorobcare.fleet.tests.faults._releases import wait_for
from ansible_collections.emorobcare.fleet.tests.faults._robot import Boot, Robot
from ansible_collections.emorobcare.fleet.tests.faults._sides import Sides
from ansible_collections.emorobcare.fleet.tests.faults.test_bases import make

# A run that is killed in each step is tried elsewhere; of whole machines these tell most.
OFTEN = ("switch", "retire", "going_back")
CUTS = [
    step if step in OFTEN else pytest.param(step, marks=pytest.mark.slow) for step in (*STEPS, "retire", "going_back")
]
HEAD = ("POWER CUT IN", "FIRST ANSWER", "AFTER", "SERVES THEN", "RECOVERED AFTER")


@pytest.fixture(name="robot", scope="module")
def robot_fixture(engines: Engines, base: str, request: pytest.FixtureRequest) -> t.Iterator[Robot]:
    sides = Sides(Path("/nowhere"), base, stack="shop", ingress=make("base-haproxy"))
    robot = Robot(engines.bare("trixie"), sides)
    yield robot
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("", *table([HEAD, *robot.rows]), sep="\n")


def check_booted(robot: Robot, boot: Boot, name: str, allowed: set[str]) -> str:
    """One release serves, all of it, and nothing is left of another one; return which."""
    serves = str(robot.serving())
    robot.rows.append((name, boot.first, f"{boot.served_after:.1f} s", serves, f"{boot.recovered_after:.1f} s"))
    assert serves in allowed, boot.said
    assert boot.first in allowed | {serves}
    assert "NOT" not in boot.said
    check_whole(robot, serves, boot.said)
    return serves


def check_whole(robot: Robot, serves: str, said: str) -> None:
    """The release of this text runs, whole and alone; `said` is what is told where it does not."""
    journal = robot.journal()
    assert journal["phase"] == "idle", said
    colour = journal["committed"]["colour"]
    running = robot.running()
    assert set(running) == {"data/db", "ingress/ingress", f"{colour}/api"}
    assert f"TEXT={serves}" in running[f"{colour}/api"]
    assert f"FIRST={serves}" in running["data/db"]


@pytest.mark.parametrize("step", CUTS)
def test_a_machine_boots_into_one_release_whichever_step_the_power_was_cut_in(robot: Robot, step: str) -> None:
    old, new = f"old-{step}", f"new-{step}"
    robot.deploy(robot.release(old))
    bad = {"expect": "mode == 'other'", "timeout": 3.0} if step == "going_back" else {}
    robot.kill_when(robot.release(new, rollout={"soak": 2}, **bad), step)

    boot = robot.boot()

    assert boot.first in {old, new}
    serves = check_booted(robot, boot, step, {old, new})
    assert serves == (new if step == "retire" else old)
    failure = robot.journal()["failure"]
    assert (failure or {}).get("reason") == (None if step == "retire" else "interrupted")
    again = robot.deploy(robot.release(new))
    assert again["changed"]
    assert robot.serving() == new
    assert not robot.deploy(robot.release(new))["changed"]


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.1, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9])
def test_a_machine_boots_into_one_release_whatever_was_half_done(robot: Robot, part: float) -> None:
    old, new = f"old-{part}", f"new-{part}"
    began = time.monotonic()
    robot.deploy(robot.release(old))
    lasted = time.monotonic() - began
    process = robot.host.start("stack_release", robot.release(new, rollout={"soak": 1}))
    with contextlib.suppress(subprocess.TimeoutExpired):  # the moment is the fault that is injected
        process.wait(timeout=part * lasted)
    step = robot.journal()["phase"]

    boot = robot.boot()

    process.communicate()
    check_booted(robot, boot, f"{part:.0%} of an update ({step})", {old, new})
    robot.deploy(robot.release(new))
    assert robot.serving() == new


@pytest.mark.parametrize(
    ("step", "rollout"),
    [pytest.param("gate", {"success_threshold": 15}, marks=pytest.mark.slow), ("soak", {"soak": 10})],
)
def test_an_engine_that_is_restarted_leaves_one_release_and_the_next_run_finishes(
    robot: Robot, record: Record, step: str, rollout: dict[str, t.Any]
) -> None:
    """With systemd's socket the command line waits for the engine, so that the run may well go on."""
    old, new = robot.release(f"old-engine-{step}"), robot.release(f"new-engine-{step}", rollout=rollout)
    robot.deploy(old)
    process = robot.host.start("stack_release", new)
    wait_for(lambda: bool(robot.journal()["phase"] == step))
    robot.host.run("systemctl", "restart", "docker")
    result = result_of(process)
    print(json.dumps(result, indent=1))
    failed = bool(result.get("failed"))
    assert process.returncode == failed
    assert robot.journal()["committed"]["release"] == (old if failed else new)["id"]
    wait_for(lambda: robot.serving() is not None)
    serves = "old" if failed else "new"
    assert robot.serving() == f"{serves}-engine-{step}"
    again = robot.deploy(new)
    check_whole(robot, f"new-engine-{step}", str(result))
    assert not robot.deploy(new)["changed"]
    reason = result["reason"] if failed else "none"
    record.row(f"the engine is restarted at {step}", reason, serves, next_run(again, "new"))
