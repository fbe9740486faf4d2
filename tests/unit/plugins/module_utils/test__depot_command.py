# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_command
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_command import main, trusted_releases
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import TrustPlaces
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import DAY, NOW, at
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_robot import Robot


@pytest.fixture(name="robot")
def robot_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Robot:
    monkeypatch.setattr("time.time", at(NOW))
    return Robot(tmp_path)


def run(robot: Robot, *words: str) -> int:
    return main(words, str(robot.root), "/nowhere", robot.places)


@pytest.mark.parametrize("words", [(), ("nothing",)])
def test_a_word_that_is_none_shows_the_usage(
    robot: Robot, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(robot, *words) == 2
    assert capsys.readouterr().err.startswith("usage: fleet-depot apply DEPOT")


def test_help_is_no_error(robot: Robot, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(robot, "--help") == 0
    assert capsys.readouterr().out.startswith("usage: fleet-depot apply DEPOT")


def test_verify_tells_what_it_read_and_changes_nothing(robot: Robot, capsys: pytest.CaptureFixture[str]) -> None:
    robot.release(1)
    robot.release(2, note="new")
    assert run(robot, "verify", str(robot.stick.path)) == 0
    output = capsys.readouterr()
    assert output.out.startswith(f"{robot.stick.path}: 2 releases, ")
    assert ": all as signed" in output.out
    assert not (robot.stick.path / "receipts").exists()
    assert not robot.root.exists()


def test_verify_names_what_is_wrong_and_fails(robot: Robot, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = robot.release()
    blob = robot.stick.path / "blobs" / "sha256" / manifest.release
    blob.write_bytes(blob.read_bytes()[::-1])
    assert run(robot, "verify", str(robot.stick.path)) == 1
    error = capsys.readouterr().err
    assert error.startswith("REFUSED (blob_corrupt): ")
    assert manifest.release in error


def test_verify_refuses_a_depot_that_the_host_does_not_trust(
    robot: Robot, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    robot.release()
    monkeypatch.setattr("time.time", at(NOW + 200 * DAY))
    assert run(robot, "verify", str(robot.stick.path)) == 1
    assert capsys.readouterr().err.startswith("REFUSED (expired): ")


def test_strict_tells_files_that_nothing_names(robot: Robot, capsys: pytest.CaptureFixture[str]) -> None:
    robot.release()
    robot.stick.put(b"a stranger")
    assert run(robot, "verify", str(robot.stick.path)) == 0
    assert "nothing names it" in capsys.readouterr().out
    assert run(robot, "verify", "--strict", str(robot.stick.path)) == 1


def test_apply_and_serve_get_the_folders_that_the_command_was_made_for(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[t.Any, ...]] = []

    def apply(*args: t.Any) -> int:
        called.append(args)
        return 7

    monkeypatch.setattr(_depot_command, "apply_main", apply)
    assert run(robot, "apply", "/media/usb") == 7
    assert called == [(("/media/usb",), str(robot.root), "/nowhere", robot.places)]
    manifest = robot.release()

    def serve(words: t.Sequence[str], trusted: t.Callable[[t.Any], t.Any], _open: t.Any) -> int:
        called.append((words, trusted(robot.stick.source)))
        return 0

    monkeypatch.setattr(_depot_command, "serve_main", serve)
    assert run(robot, "serve", "/media/usb") == 0
    assert called[1] == (("/media/usb",), [manifest])


def test_without_the_libraries_nothing_is_begun(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def lacking(library: str) -> t.NoReturn:
        asked.append(library)
        raise DepotError("no python-tuf", reason="library_missing")

    monkeypatch.setattr(_depot_command, "need_tuf", lacking)
    assert main(["verify", "x"], str(robot.root), "/nowhere", robot.places, "/opt/libraries.zip") == 1
    assert (asked, capsys.readouterr().err) == (
        ["/opt/libraries.zip"],
        "fleet-depot: no python-tuf [library_missing]\n",
    )


def test_a_host_that_is_not_enrolled_trusts_nothing(robot: Robot, tmp_path: Path) -> None:
    robot.release()
    with pytest.raises(DepotError) as caught:
        trusted_releases(TrustPlaces(str(tmp_path / "a"), str(tmp_path / "b")), robot.stick.source)
    assert caught.value.reason == "not_enrolled"
