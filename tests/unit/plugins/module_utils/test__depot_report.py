# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError, Reason
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import LAYOUT
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_report import (
    HOST_KEY,
    Report,
    Written,
    held,
    report,
    report_refusal,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import NOW, make_manifest, make_places
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_robot import Engine, Robot
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_writing import sha256

GATE = [{"check": "http", "ok": True}]
STORED = sha256(b"stored")


@pytest.fixture(name="robot")
def robot_fixture(tmp_path: Path) -> Robot:
    robot = Robot(tmp_path)
    store = robot.root / "store" / "sha256"
    store.mkdir(parents=True)
    (store / STORED).write_bytes(b"stored")
    (store / "leftover").touch()
    return robot


def committed(counter: int = 1, gate: t.Sequence[t.Any] | None = None) -> Report:
    return Report(make_manifest([b"{}"], counter), "committed", GATE if gate is None else gate)


def refuse(robot: Robot, reason: Reason = "expired", time: int = NOW, **order: t.Any) -> Written | None:
    return report_refusal(robot.order(**order), DepotError("no\ngood", reason=reason), time)


def test_host_and_stick_get_the_same_signed_receipt(robot: Robot) -> None:
    written = report(robot.order(), committed(), Engine(["a" * 64]), NOW)
    assert (written.path, written.new, written.complaints) == ("robot-7/1.json", True, ())
    (receipt,) = robot.receipts()
    assert robot.receipts(robot.stick.path) == [receipt]
    assert receipt.releases == {"demo": {**committed().entry}}
    assert receipt.digests == {STORED, "a" * 64}


def test_what_was_said_before_is_not_said_again(robot: Robot) -> None:
    report(robot.order(), committed(), None, NOW)
    again = report(robot.order(), committed(), None, NOW + 9)
    assert (again.new, again.path, len(robot.receipts()), len(robot.receipts(robot.stick.path))) == (False, "", 1, 1)


def test_another_stick_gets_what_the_host_said_before(robot: Robot, tmp_path: Path) -> None:
    report(robot.order(), committed(), None, NOW)
    other = robot.stick.copy(tmp_path / "other")
    (other.path / "receipts" / "robot-7" / "1.json").unlink()
    again = report(robot.order(depot=str(other.path)), committed(), None, NOW + 9)
    assert (again.new, again.path) == (False, "robot-7/1.json")
    assert len(robot.receipts(other.path)) == 1


def test_other_stacks_stay_and_a_run_without_a_gate_keeps_what_the_gate_said(robot: Robot) -> None:
    report(robot.order(), committed(), None, NOW)
    other = Report(make_manifest([b"{}"], 5, stack="other"), "failed", (), "gate_failed")
    report(robot.order(), other, None, NOW + 1)
    report(robot.order(), committed(gate=()), None, NOW + 2)
    newest = robot.receipts()[-1]
    assert newest.releases["demo"]["gate"] == GATE
    assert newest.releases["other"]["reason"] == "gate_failed"


def test_a_refusal_is_told_on_both_with_what_the_host_runs(robot: Robot) -> None:
    report(robot.order(), committed(), Engine(["a" * 64]), NOW)
    written = refuse(robot, time=NOW + 1)
    assert written
    assert written.path == "robot-7/2.json"
    newest = robot.receipts()[-1]
    assert newest.refused == {"reason": "expired", "message": "no good"}
    assert newest.releases == {"demo": committed().entry}
    assert newest.digests == {STORED, "a" * 64}
    assert robot.receipts(robot.stick.path)[-1] == newest
    again = refuse(robot, time=NOW + 2)
    assert again
    assert (again.new, len(robot.receipts()), len(robot.receipts(robot.stick.path))) == (False, 2, 2)
    report(robot.order(), committed(), Engine(["a" * 64]), NOW + 3)
    assert robot.receipts()[-1].refused == {}


def test_the_first_thing_that_is_said_may_be_a_refusal(robot: Robot) -> None:
    refuse(robot)
    (receipt,) = robot.receipts()
    assert receipt.releases == {}
    assert receipt.digests == {STORED}


@pytest.mark.parametrize("reason", ["not_enrolled", "locked", "invalid"])
def test_where_nothing_is_wrong_with_the_depot_nothing_is_said(robot: Robot, reason: Reason) -> None:
    assert refuse(robot, reason) is None
    assert (robot.receipts(), (robot.stick.path / "receipts").exists()) == ([], False)


def test_where_a_stick_was_pulled_nothing_is_written(robot: Robot) -> None:
    (robot.stick.path / LAYOUT).unlink()
    for written in (report(robot.order(), committed(), None, NOW), refuse(robot, "io_error", NOW + 1)):
        assert written
        assert len(written.complaints) == 1
        assert "on this host alone" in written.complaints[0]
    assert not (robot.stick.path / "receipts").exists()
    assert len(robot.receipts()) == 2


def test_behind_a_web_server_the_receipt_stays_on_the_host(robot: Robot) -> None:
    written = report(robot.order(depot="https://depot.example/"), committed(), None, NOW)
    assert (written.path, written.complaints, len(robot.receipts())) == ("robot-7/1.json", (), 1)


@pytest.mark.parametrize("name", ["receipts", "receipts/robot-7"])
def test_a_link_on_the_stick_is_not_followed(robot: Robot, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (robot.stick.path / name).parent.mkdir(exist_ok=True)
    (robot.stick.path / name).symlink_to(elsewhere)
    written = report(robot.order(), committed(), None, NOW)
    assert "is a link" in written.complaints[0]
    assert os.listdir(elsewhere) == []


def test_a_host_without_a_key_says_so(robot: Robot) -> None:
    os.unlink(f"{robot.places.state}/{HOST_KEY}")
    with pytest.raises(DepotError, match="enrol it again") as caught:
        report(robot.order(), committed(), None, NOW)
    assert caught.value.reason == "key_missing"


def test_a_host_that_is_not_enrolled_has_no_name_to_report_by(robot: Robot, tmp_path: Path) -> None:
    with pytest.raises(DepotError) as caught:
        report(robot.order(places=make_places(tmp_path / "nobody")), committed(), None, NOW)
    assert caught.value.reason == "not_enrolled"


def test_a_host_whose_disk_refuses_says_so(robot: Robot) -> None:
    (robot.root / "receipts").write_text("no folder")
    with pytest.raises(DepotError) as caught:
        report(robot.order(), committed(), None, NOW)
    assert str(robot.root) in str(caught.value)


def test_an_engine_that_is_down_is_a_reason_not_to_say_what_it_holds(robot: Robot) -> None:
    with pytest.raises(DepotError) as caught:
        held(str(robot.root), make_manifest([b"{}"]), Engine(down="cannot connect"))
    assert caught.value.reason == "image_unavailable"
