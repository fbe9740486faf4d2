# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that fail while a release comes up, and hands that meddle: what serves, and how the next run finishes."""

from __future__ import annotations

import os
import signal
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.tests.faults._faults import Record, ids, inside, next_run, whole
from ansible_collections.emorobcare.fleet.tests.faults._releases import RUN_MODULE, docker, fill, wait_for
from ansible_collections.emorobcare.fleet.tests.faults._sides import Sides, kill_when

BUSY: dict[str, t.Any] = {"busy": {"service": "api", "http": {"port": 8000, "path": "/free", "expect": "free"}}}
ENDED = "import os; os.path.exists('{0}') and os.remove('{0}')"

# Whatever is asked for the time is told one of the future, and then one of the past.
CLOCK_JUMPS = """
import time
true, asked = time.time, 0
def jumping():
    global asked
    asked += 1
    return true() + (3600 if asked % 2 else -3600)
time.time = jumping
"""


def at_step(sides: Sides, step: str) -> bool:
    return bool(sides.journal()["phase"] == step)


def brought(sides: Sides, record: Record, fault: str, reason: str, serves: str, options: dict[str, t.Any]) -> None:
    """What must hold after each: one release serves, whole; and the next run brings the one that it wants."""
    whole(sides, serves)
    again = sides.deploy(options)
    whole(sides, "new")
    assert not sides.deploy(options)["changed"]
    record.row(fault, reason, serves, next_run(again, "new"))


def test_a_disk_that_fills_up_under_way_does_not_stop_the_way_back(sides: Sides, record: Record) -> None:
    small = sides.root / "fleet"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], check=True)
    try:
        new = sides.sided("new")
        sides.deploy(sides.sided("old"))
        process = sides.start(new)
        wait_for(lambda: at_step(sides, "candidate"))
        fill(small / "filler")
        assert process.wait() == 1
        assert sides.serving() == "old"
        assert sides.refused(new, "no_space")["msg"].endswith("Nothing was touched")
        assert sides.serving() == "old"
        (small / "filler").unlink()
        again = sides.deploy(new)
        whole(sides, "new")
        record.row("the disk is full in mid-deployment", "write_failed, then no_space", "old", next_run(again, "new"))
    finally:
        sides.remove()
        subprocess.run(["umount", str(small)], check=True)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize(
    ("step", "damage"),
    [pytest.param("soak", cut_short, id="cut short"), pytest.param("candidate", Path.unlink, id="gone")],
)
def test_without_the_last_journal_the_one_before_it_counts(
    old: Sides, record: Record, step: str, damage: t.Callable[[Path], None]
) -> None:
    new = old.sided("new", rollout={"soak": 1})
    kill_when(old, new, step)
    damage(old.base / "state.json")
    serves = old.serving()
    assert serves == ("new" if step == "soak" else "old")
    again = old.deploy(new)
    whole(old, "new")
    what = "cut short" if damage is cut_short else "gone"
    record.row(f"killed at {step}, and the journal is {what}", "a warning", serves, next_run(again, "new"))


def test_a_journal_at_rest_that_is_torn_costs_nothing_but_a_look(old: Sides, record: Record) -> None:
    before = ids(old)
    cut_short(old.base / "state.json")
    again = old.deploy(old.sided("old"))
    assert ids(old) == before
    whole(old, "old")
    record.row("the journal is torn at rest", "a warning", "old", next_run(again, "old"))


def test_a_journal_of_a_newer_version_is_left_alone(old: Sides, record: Record) -> None:
    before, path = ids(old), old.base / "state.json"
    content = path.read_text()
    path.write_text(content.replace('"schema": 2', '"schema": 3'))
    try:
        result = old.refused(old.sided("new"), "journal_newer")
        assert (ids(old), old.serving()) == (before, "old")
    finally:
        path.write_text(content)
    brought(old, record, "a newer version wrote the journal", result["reason"], "old", old.sided("new"))


def test_without_any_journal_no_second_database_comes_up(old: Sides, record: Record) -> None:
    before = ids(old)
    for name in ("state.json", "state.json.before"):
        (old.base / name).unlink()
    result = old.refused(old.sided("new"), "journal_lost")
    assert "state=absent, playbooks/down.yml" in result["msg"]
    assert (ids(old), old.serving()) == (before, "old")
    old.deploy({"stack": old.stack, "state": "absent"})
    assert ids(old) == {}
    again = old.deploy(old.sided("new", database="second"))
    whole(old, "new")
    record.row("all journals are lost", result["reason"], "old", f"after state=absent {next_run(again, 'new')}")


def test_of_two_deployments_at_once_one_waits_or_is_refused(old: Sides, record: Record) -> None:
    new = old.sided("new")
    process = old.start(new)
    wait_for(lambda: not at_step(old, "idle"))
    result = old.refused(new, "locked", lock_timeout=0)
    assert f"process {process.pid} or a child of it holds" in result["msg"]
    assert process.wait() == 0
    brought(old, record, "two deployments at once", result["reason"], "new", new)


def test_a_controller_that_hangs_up_does_not_stop_a_deployment(old: Sides, record: Record) -> None:
    new = old.sided("new")
    process = old.start(new)
    wait_for(lambda: at_step(old, "candidate"))
    os.kill(process.pid, signal.SIGHUP)
    assert process.wait() == 0
    brought(old, record, "the controller hangs up", "none", "new", new)


def test_a_controller_that_does_not_listen_any_more_does_not_stop_a_deployment(old: Sides, record: Record) -> None:
    new = old.sided("new")
    program = f"import os, sys; reader, writer = os.pipe(); os.dup2(writer, 1); os.close(reader)\n{RUN_MODULE}"
    assert old.start(new, program).wait() != 0  # it had nobody to tell
    brought(old, record, "the controller's pipe is closed", "none that is heard", "new", new)


def test_a_clock_that_is_set_does_not_disturb_a_deployment(old: Sides, record: Record) -> None:
    new = old.sided("new", job_code="print('done')", more={"load": {"timeout": 20}}, rollout={"soak": 1})
    assert old.start(new, CLOCK_JUMPS + RUN_MODULE).wait() == 0
    whole(old, "new")
    again = old.deploy(new)
    assert not again["changed"]
    record.row("the clock jumps an hour to and fro", "none", "new", next_run(again, "new"))


def test_a_busy_host_is_left_alone_unless_somebody_insists_and_the_journal_tells(old: Sides, record: Record) -> None:
    old.deploy(old.sided("old", **BUSY))
    inside(old, f"-{old.journal()['committed']['colour']}/api", "open('/shared/busy', 'w')")
    new, before = old.sided("new", rollout={"busy_timeout": 0}, **BUSY), ids(old)
    try:
        result = old.refused(new, "busy")
        assert '{"free": false}' in result["answer"]
        assert ids(old) == before
        whole(old, "old")
        assert old.deploy(new, override=["busy"])["changed"]
    finally:
        inside(old, "-data/db", "pass")
        inside(old, f"-{old.journal()['committed']['colour']}/api", ENDED.format("/shared/busy"))
    assert old.journal()["committed"]["overrides"] == ["busy"]
    brought(old, record, "the host is busy", f"{result['reason']}, or override", "new", new)


def test_a_busy_host_is_waited_for(old: Sides) -> None:
    new = old.sided("new", rollout={"busy_timeout": 60}, **BUSY)
    api = f"-{old.journal()['committed']['colour']}/api"
    inside(old, api, f"open('/shared/busy', 'w'); {ENDED.format('/shared/asked')}")
    asked = "import os; print(os.path.getsize('/shared/asked') if os.path.exists('/shared/asked') else 0)"
    process = old.start(new)
    wait_for(lambda: int(inside(old, api, asked)) >= 2)
    whole(old, "old")
    inside(old, api, ENDED.format("/shared/busy"))
    assert process.wait() == 0
    whole(old, "new")


def test_who_gives_no_answer_is_busy(old: Sides, record: Record) -> None:
    old.deploy(old.sided("old", **BUSY))
    api = ids(old)[f"-{old.journal()['committed']['colour']}/api"]
    docker("pause", api)
    try:
        new = old.sided("new", rollout={"busy_timeout": 0}, **BUSY)
        result = old.refused(new, "busy")
        assert "no answer" in result["answer"]
    finally:
        docker("unpause", api)
    brought(old, record, "who says whether it is busy hangs", result["reason"], "old", new)


COUNTED = "open('/data/runs', 'a').write('{}')"
RUNS = "print(open('/data/runs').read())"


def counting(sides: Sides, text: str, letter: str) -> dict[str, t.Any]:
    """A release whose job, which cannot be undone, leaves a letter each time that it runs."""
    job = {"load": {"volumes": ["data:/data"]}}
    return sides.sided(text, job_code=COUNTED.format(letter), services=job, more={"load": {"irreversible": True}})


def test_a_rollback_past_a_job_that_cannot_be_undone_is_asked_for_and_never_runs_one(
    old: Sides, record: Record
) -> None:
    inside(old, "-data/db", ENDED.format("/data/runs"))
    one, two = counting(old, "one", "1"), counting(old, "new", "2")
    old.deploy(one)
    old.deploy(two)
    back = {"stack": old.stack, "state": "rolled_back"}
    before = ids(old)
    result = old.refused(back, "irreversible")
    assert "since then load ran" in result["msg"]
    assert ids(old) == before
    assert old.deploy(back, accept_loss=True)["changed"]
    whole(old, "one")
    assert inside(old, "-data/db", RUNS) == "12"
    assert not old.deploy(one)["changed"]
    bad = old.sided("bad", "dies", job_code="pass", more={"load": {"irreversible": True}})
    old.refused(bad, "gate_failed")
    whole(old, "one")
    assert inside(old, "-data/db", RUNS) == "12"
    brought(old, record, "a rollback past a job that cannot be undone", f"{result['reason']}, or accepted", "one", two)


def test_a_rollback_whose_image_is_gone_is_refused_before_anything_is_touched(old: Sides, record: Record) -> None:
    gone = f"{old.stack}/gone:1"
    docker("tag", old.image, gone)
    old.deploy(old.sided("one", services={"api": {"image": gone}}))
    new = old.sided("new")
    old.deploy(new)
    docker("image", "rm", gone)
    before = ids(old)
    result = old.refused({"stack": old.stack, "state": "rolled_back"}, "release_gone")
    assert f"image {gone}" in result["msg"]
    assert ids(old) == before
    whole(old, "new")
    record.row("a rollback, and its image is gone", result["reason"], "new", "nothing to do")
    assert not old.deploy(new)["changed"]


def test_a_side_that_was_removed_by_hand_is_repaired_in_place(old: Sides, record: Record) -> None:
    before, side = ids(old), f"-{old.journal()['committed']['colour']}/api"
    docker("rm", "--force", before[side])
    again = old.deploy(old.sided("old"))
    assert [(step["service"], step["action"]) for step in again["plan"] if step["action"] != "none"] == [
        ("api", "create")
    ]
    after = ids(old)
    assert set(after) == set(before)
    assert {name for name in after if after[name] != before[name]} == {side}
    whole(old, "old")
    record.row("a container of the side is removed by hand", "none", "nobody", next_run(again, "old"))


def test_an_ingress_that_died_comes_back_on_the_right_colour_and_one_that_was_removed_is_made_again(
    old: Sides, record: Record
) -> None:
    new = old.sided("new")
    old.deploy(new)  # so that the colour is not the first one
    ingress = old.running()["-ingress/ingress"]
    os.kill(ingress["State"]["Pid"], signal.SIGKILL)
    wait_for(lambda: old.running()["-ingress/ingress"]["State"]["StartedAt"] != ingress["State"]["StartedAt"])
    wait_for(lambda: answers(old) == "new")
    again = old.deploy(new)
    assert not again["changed"]
    record.row("the ingress dies", "none", "new", next_run(again, "new"))
    docker("rm", "--force", ingress["Id"])
    again = old.deploy(new)
    assert [step["action"] for step in again["plan"] if step["service"] == "ingress"] == ["create"]
    whole(old, "new")
    record.row("the ingress is removed by hand", "none", "nobody", next_run(again, "new"))


def answers(sides: Sides) -> str:
    try:
        return sides.serving()
    except OSError:
        return ""
