# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_apply
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_apply import Errand, main, read_errand, run
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import TrustPlaces, read_accepted
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import Request, Site
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import locked
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import DAY, NOW, at, make_places
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_robot import Engine, Robot

Result = dict[str, t.Any]


def refuse(error: ReleaseError) -> t.NoReturn:
    raise error


class Applier:
    """Applies sticks on a host whose stacks are only said to be deployed: `answer` is a result, or a refusal."""

    def __init__(self, robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
        self.robot = robot
        self.answer: Result | ReleaseError = {"changed": True, "gate": [{"ok": True}]}
        self.requests: list[Request] = []
        self.out: list[str] = []
        self.err: list[str] = []
        monkeypatch.setattr(_depot_apply, "deploy", self._deploy)

    def _deploy(self, site: Site, request: Request) -> Result:
        self.requests.append(request)
        if isinstance(self.answer, ReleaseError):
            refuse(self.answer)
        return self.answer

    def errand(self, **order: t.Any) -> Errand:
        now = at(order.pop("now", NOW))
        parameters = str(self.robot.folder / "parameters")
        return Errand(self.robot.order(**order), str(self.robot.folder / "secrets"), parameters, now=now)

    def __call__(self, **order: t.Any) -> int:
        self.out, self.err = [], []
        return run(self.errand(**order), lambda _fds: Engine(), self.out.append, self.err.append)


@pytest.fixture(name="apply")
def apply_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Applier:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return Applier(Robot(tmp_path), monkeypatch)


def counter(apply: Applier) -> int:
    return read_accepted(apply.robot.places).releases.get("demo", 0)


def test_a_release_that_was_committed_is_remembered_and_told(apply: Applier) -> None:
    manifest = apply.robot.release()
    assert apply() == 0
    assert apply.err == []
    assert apply.out[0].startswith(f"{apply.robot.stick.path}: release 1 of demo ({manifest.release[:12]}), ")
    assert apply.out[1].endswith("copied, 0 images pulled")
    assert apply.out[2:] == ["demo: committed", "receipt: robot-7/1.json"]
    assert counter(apply) == 1
    (request,) = apply.requests
    assert (request.release.id, set(request.contents), request.parameters) == (manifest.release, {"compose.yml"}, {})
    assert apply.robot.receipts()[-1].releases["demo"]["state"] == "committed"


def test_a_release_that_failed_is_told_and_not_remembered(apply: Applier) -> None:
    apply.robot.release()
    apply.answer = ReleaseError("the gate said no", reason="gate_failed", gate=[{"ok": False}])
    assert apply() == 1
    assert apply.err == ["demo: NOT on this release (gate_failed): the gate said no"]
    assert counter(apply) == 0
    entry = apply.robot.receipts(apply.robot.stick.path)[-1].releases["demo"]
    assert (entry["state"], entry["reason"], entry["gate"]) == ("failed", "gate_failed", [{"ok": False}])


def test_secrets_of_the_stack_are_not_told(apply: Applier) -> None:
    apply.robot.release()
    secrets = apply.robot.folder / "secrets" / "demo"
    secrets.mkdir(parents=True)
    (secrets / "key").write_text("hush-hush")
    apply.answer = ReleaseError("the container said hush-hush", reason="gate_failed")
    assert apply() == 1
    assert "hush-hush" not in str([apply.out, apply.err])


def test_what_cannot_be_remembered_is_told_and_what_runs_is_not_called_as_it_was(
    apply: Applier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: t.Any) -> t.NoReturn:
        raise DepotError("no room", reason="no_space")

    apply.robot.release()
    monkeypatch.setattr(_depot_apply, "accept", full)
    assert apply() == 1
    assert apply.err == [
        "demo: the release runs, but this host cannot remember that it took it (no_space): no room. Then run the same "
        "again"
    ]
    assert apply.robot.receipts()[-1].releases["demo"]["state"] == "committed"
    monkeypatch.undo()


def test_a_refusal_is_told_on_the_error_output_and_on_the_stick(apply: Applier) -> None:
    apply.robot.release()
    assert apply(now=NOW + 200 * DAY) == 1
    assert apply.err[0].startswith("NOT applied (expired): ")
    assert apply.err[0].endswith(" What runs is as it was")
    assert apply.out == ["receipt: robot-7/1.json"]
    assert apply.robot.receipts(apply.robot.stick.path)[-1].refused["reason"] == "expired"
    assert apply.requests == []


def test_check_mode_deploys_nothing_and_reports_nothing(apply: Applier) -> None:
    apply.robot.release()
    assert apply(check_mode=True) == 0
    assert apply(check_mode=True, now=NOW + 200 * DAY) == 1
    assert (apply.requests, apply.robot.receipts()) == ([], [])
    assert not (apply.robot.root / "store").exists()
    assert not (apply.robot.stick.path / "receipts").exists()


def test_a_receipt_that_cannot_be_written_is_a_warning_and_no_failure(apply: Applier) -> None:
    apply.robot.release()
    os.unlink(f"{apply.robot.places.state}/host_ed25519")
    assert apply() == 0
    assert apply.err[0].startswith("no receipt: ")
    assert counter(apply) == 1


@pytest.mark.parametrize("host", ["robot-7", "robot-8"])
@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"schema":1,"digests":[],"host":"robot-7","time":1e999}'])
def test_whatever_lies_where_receipts_are_a_release_is_committed_and_told(
    apply: Applier, host: str, content: bytes
) -> None:
    apply.robot.release()
    place = apply.robot.stick.path / "receipts" / host
    place.mkdir(parents=True)
    (place / "1.json").write_bytes(content)
    assert (apply(), apply.err) == (0, [])
    assert apply.robot.receipts(apply.robot.stick.path) == apply.robot.receipts()


def test_a_volume_that_lacks_something_waits_for_the_others(apply: Applier) -> None:
    manifest = apply.robot.release()
    (apply.robot.stick.path / "depot.json").write_text(
        json.dumps({"schema": 1, "volume": 1, "volumes": 2, "blobs": [manifest.release]})
    )
    assert apply() == 1
    assert apply.out[-1] == "the host still lacks what other volumes have: apply them, too"
    assert (apply.requests, counter(apply)) == ([], 0)


def test_the_hosts_own_parameters_count(apply: Applier) -> None:
    apply.robot.release()
    folder = apply.robot.folder / "parameters"
    folder.mkdir()
    (folder / "demo.json").write_text('{"camera": "/dev/video0"}')
    assert apply() == 0
    assert apply.requests[0].parameters == {"camera": "/dev/video0"}


@pytest.mark.parametrize("content", ["{", "[]"])
def test_parameters_that_cannot_be_read_refuse_the_release(apply: Applier, content: str) -> None:
    apply.robot.release()
    folder = apply.robot.folder / "parameters"
    folder.mkdir()
    (folder / "demo.json").write_text(content)
    assert apply() == 1
    assert apply.err[0].startswith("NOT applied (invalid): ")
    assert "demo.json" in apply.err[0]
    assert apply.requests == []


def test_a_release_document_that_is_not_the_manifests_is_refused(apply: Applier) -> None:
    other = apply.robot.release(note="other")
    manifest = apply.robot.release(2)
    swapped = Manifest(**{**manifest.__dict__, "counter": 3, "files": {"compose.yaml": manifest.files["compose.yml"]}})
    apply.robot.stick.release_bytes(swapped.encode(), "releases/demo/3.json")
    assert apply() == 1
    assert apply.err[0].startswith("NOT applied (manifest_invalid): ")
    assert (apply.requests, other.counter) == ([], 1)


def test_a_second_applier_waits_or_is_refused(apply: Applier) -> None:
    apply.robot.release()
    with locked(f"{apply.robot.places.state}/apply.lock", 1.0):
        assert apply(lock_timeout=0.0) == 1
    assert apply.err[0].startswith("NOT applied (locked): ")
    assert apply.robot.receipts() == []
    assert apply() == 0


def test_a_state_folder_that_cannot_be_written_is_a_refusal_and_no_traceback(apply: Applier) -> None:
    apply.robot.release()
    os.mkdir(f"{apply.robot.places.state}/apply.lock")
    assert apply() == 1
    assert apply.err[0].startswith("NOT applied (io_error): ")


def test_a_host_that_is_not_enrolled_is_told_what_to_do(apply: Applier, tmp_path: Path) -> None:
    apply.robot.release()
    assert apply(places=make_places(tmp_path / "nobody")) == 1
    assert apply.err[0].startswith("NOT applied (not_enrolled): ")
    assert len(apply.err) == 1
    assert not (tmp_path / "nobody").exists()


def test_the_command_line_says_what_to_bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    places = TrustPlaces("/a", "/b")
    told = read_errand(
        ["usb", "--stack", "demo", "--counter", "3", "--check", "--override", "busy", "--lock-timeout", "7"],
        "/srv/fleet",
        "/srv/secrets",
        places,
    )
    order = told.order
    assert (order.depot, order.root, order.stack, order.counter) == (str(tmp_path / "usb"), "/srv/fleet", "demo", 3)
    assert (order.check_mode, order.lock_timeout, order.places) == (True, 7.0, places)
    assert (told.overrides, told.secrets_root) == (("busy",), "/srv/secrets")
    url = read_errand(["https://depot.example/x", "--ca", "/ca.pem"], "/srv/fleet", "/srv/secrets", places)
    assert (url.order.depot, url.order.ca_path) == ("https://depot.example/x", "/ca.pem")


def test_a_wrong_command_line_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--nothing"], "/srv/fleet", "/srv/secrets", TrustPlaces())
    assert caught.value.code == 2
    assert "usage: fleet-apply" in capsys.readouterr().err


def test_main_writes_to_both_outputs(apply: Applier, capsys: pytest.CaptureFixture[str]) -> None:
    (apply.robot.stick.metadata / "x").touch()
    code = main([str(apply.robot.stick.path)], str(apply.robot.root), "/nowhere", apply.robot.places)
    output = capsys.readouterr()
    assert code == 1
    assert output.err.startswith("NOT applied (not_a_depot): ")
    assert output.out == "receipt: robot-7/1.json\n"


def test_receipts_are_what_ssh_keygen_verifies(apply: Applier, tmp_path: Path) -> None:
    """As somebody without this collection would."""
    apply.robot.release()
    apply()
    receipt = json.loads((apply.robot.stick.path / "receipts" / "robot-7" / "1.json").read_text())
    signature = tmp_path / "signature"
    signature.write_text(receipt.pop("signature"))
    allowed = tmp_path / "allowed"
    allowed.write_text(f"robot-7 {apply.robot.public_key}\n")
    argv = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        str(allowed),
        "-I",
        "robot-7",
        "-n",
        "fleet-receipt",
        "-s",
        str(signature),
    ]
    signed = json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert subprocess.run(argv, input=signed, capture_output=True, check=False).returncode == 0
