# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules that hosts run: bring a release, verify a depot, report. The engine is not asked, but for receipts."""

from __future__ import annotations

import base64
import json
import types
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import read_accepted
from ansible_collections.emorobcare.fleet.plugins.modules import depot_receipt, depot_sync, depot_verify
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import DAY, NOW
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_robot import Engine, Robot
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_writing import COMPOSE

Result = dict[str, t.Any]
MODULES = (depot_sync, depot_verify, depot_receipt)


class Runner:
    """Runs modules as Ansible would on a robot, at the time `now`."""

    def __init__(self, robot: Robot, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.robot = robot
        self.now: float = NOW
        self.warnings: list[str] = []
        self._capsys = capsys
        monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: self.warnings.append(text))
        for module in MODULES:
            monkeypatch.setattr(module, "time", types.SimpleNamespace(time=lambda: self.now))
        for module in (depot_sync, depot_receipt):
            monkeypatch.setattr(module, "default_cli", lambda _fds: Engine())

    def __call__(self, module: t.Any, **arguments: t.Any) -> Result:
        places = {"trust_anchor": self.robot.places.anchor, "trust_state": self.robot.places.state}
        given = {"depot": str(self.robot.stick.path), **places, **arguments}
        if module is not depot_verify:
            given = {"root": str(self.robot.root), **given}
        with patch_module_args(given), pytest.raises(SystemExit):
            module.main()
        return t.cast("Result", json.loads(self._capsys.readouterr().out))

    def done(self, module: t.Any, **arguments: t.Any) -> Result:
        result = self(module, **arguments)
        assert not result.get("failed"), result["msg"]
        documented = yaml.safe_load(module.RETURN)
        assert set(result) <= {*documented, "changed", "diff", "invocation", "warnings"}
        return result


@pytest.fixture(name="run")
def run_fixture(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return Runner(Robot(tmp_path), capsys, monkeypatch)


def test_sync_returns_the_release_as_stack_release_takes_it(run: Runner) -> None:
    manifest = run.robot.release()
    done = run.done(depot_sync)
    assert (done["changed"], done["complete"], done["stack"], done["counter"]) == (True, True, "demo", 1)
    assert done["bytes"] == manifest.size
    assert done["release"]["id"] == manifest.release
    assert done["release"]["document"]["stack"] == "demo"
    assert base64.b64decode(done["release"]["files"]["compose.yml"]) == COMPOSE
    again = run.done(depot_sync)
    assert (again["changed"], again["bytes"], again["release"]) == (False, 0, done["release"])


def test_sync_in_check_mode_says_how_much_and_has_the_release_only_where_it_is_there(run: Runner) -> None:
    manifest = run.robot.release()
    told = run.done(depot_sync, _ansible_check_mode=True)
    assert (told["changed"], told["bytes"], "release" in told) == (True, manifest.size, False)
    assert not run.robot.root.exists()
    run.done(depot_sync)
    assert run.done(depot_sync, _ansible_check_mode=True)["release"]["id"] == manifest.release


def test_sync_without_an_engine_does_not_ask_it(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    run.robot.release()
    monkeypatch.setattr(depot_sync, "default_cli", lambda _fds: Engine(down="cannot connect"))
    assert run(depot_sync)["reason"] == "image_unavailable"
    assert run.done(depot_sync, images=False)["complete"]


def test_sync_takes_the_release_that_was_asked_for(run: Runner) -> None:
    old = run.robot.release(1)
    run.robot.release(2, note="new")
    assert run.done(depot_sync, counter=1)["release"]["id"] == old.release
    refused = run(depot_sync, stack="other")
    assert (refused["failed"], refused["reason"]) == (True, "no_release")


def test_what_sync_refuses_is_told_on_the_stick_but_not_in_check_mode(run: Runner) -> None:
    run.robot.release()
    run.now = NOW + 200 * DAY
    refused = run(depot_sync, _ansible_check_mode=True)
    assert (refused["reason"], run.robot.receipts()) == ("expired", [])
    refused = run(depot_sync)
    assert (refused["failed"], refused["reason"]) == (True, "expired")
    for folder in (None, run.robot.stick.path):
        assert run.robot.receipts(folder)[-1].refused["reason"] == "expired"


def test_a_refusal_that_cannot_be_told_is_a_refusal_all_the_same(run: Runner) -> None:
    run.robot.release()
    Path(run.robot.places.state, "host_ed25519").unlink()
    run.now = NOW + 200 * DAY
    refused = run(depot_sync)
    assert refused["reason"] == "expired"
    assert [warning.partition(":")[0] for warning in run.warnings] == ["no receipt"]


def test_verify_reads_all_of_it_and_changes_nothing(run: Runner) -> None:
    first = run.robot.release(1)
    second = run.robot.release(2, note="new")
    done = run.done(depot_verify)
    assert (done["changed"], done["releases"], done["extra"]) == (False, ["demo/1", "demo/2"], [])
    assert done["blobs"] >= len({*first.blobs, *second.blobs})
    assert done["expires"] == NOW + 90 * DAY
    assert run.done(depot_verify, stack="demo", counter=2)["releases"] == ["demo/2"]
    assert not run.robot.root.exists()


def test_verify_names_all_that_is_wrong_at_once(run: Runner) -> None:
    manifest = run.robot.release()
    blobs = run.robot.stick.path / "blobs" / "sha256"
    document, compose = blobs / manifest.release, blobs / manifest.files["compose.yml"]
    document.write_bytes(document.read_bytes()[::-1])
    compose.unlink()
    refused = run(depot_verify)
    assert refused["failed"]
    assert {problem["kind"] for problem in refused["problems"]} == {"content", "missing"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param({"stack": "other"}, "no_release", id="another stack"),
        pytest.param({"stack": "demo", "counter": 9}, "no_release", id="another counter"),
        pytest.param({"trust_anchor": "/nowhere"}, "not_enrolled", id="not enrolled"),
    ],
)
def test_verify_refuses_what_is_not_there(run: Runner, arguments: Result, reason: str) -> None:
    run.robot.release()
    refused = run(depot_verify, **arguments)
    assert (refused["failed"], refused["reason"]) == (True, reason)


def test_a_counter_without_a_stack_is_no_release(run: Runner) -> None:
    assert "stack" in run(depot_verify, counter=1)["msg"]


def test_a_receipt_of_a_committed_release_is_written_and_remembered(run: Runner) -> None:
    manifest = run.robot.release()
    run.done(depot_sync)
    run.done(depot_receipt, stack="demo", state="committed", _ansible_check_mode=True)
    assert (read_accepted(run.robot.places).releases, run.robot.receipts()) == ({}, [])
    done = run.done(depot_receipt, stack="demo", state="committed", gate=[{"ok": True}])
    assert (done["changed"], done["receipt"], done["digests"]) == (True, "robot-7/1.json", len(manifest.blobs))
    assert read_accepted(run.robot.places).releases == {"demo": 1}
    assert not run.done(depot_receipt, stack="demo", state="committed")["changed"]


def test_a_receipt_of_a_failed_release_is_written_and_the_release_is_not_remembered(run: Runner) -> None:
    run.robot.release()
    run.done(depot_sync)
    run.done(depot_receipt, stack="demo", state="failed", failure="gate_failed")
    assert read_accepted(run.robot.places).releases == {}
    assert run.robot.receipts(run.robot.stick.path)[-1].releases["demo"]["reason"] == "gate_failed"


def test_a_receipt_on_a_stick_that_is_gone_is_a_warning(run: Runner) -> None:
    run.robot.release()
    run.done(depot_sync)
    run.done(depot_receipt, stack="demo", state="committed", depot=str(run.robot.folder / "nothing"))
    assert "on this host alone" in run.warnings[0]
    assert not (run.robot.folder / "nothing").exists()


def test_nothing_is_reported_of_what_was_never_brought(run: Runner) -> None:
    refused = run(depot_receipt, stack="demo", state="committed")
    assert (refused["failed"], refused["reason"]) == (True, "no_release")
