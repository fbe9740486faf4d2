# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_bring
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_bring import (
    WithStore,
    bring,
    bring_release,
    debian_suite,
    held_by_engine,
    last_brought,
    release_of,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Image
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import choose
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_verify import noticing_loss
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import canonical
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import DAY, NOW, at
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_robot import Engine, Robot
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_writing import (
    COMPOSE,
    document,
    sha256,
)

PACKAGE, WHEEL = b"Package: x", b"a wheel"


@pytest.fixture(name="robot")
def robot_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Robot:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(_depot_bring, "debian_suite", lambda: "trixie")
    return Robot(tmp_path)


def refused(robot: Robot, engine: Engine | None = None, now: float = NOW, **order: t.Any) -> DepotError:
    with pytest.raises(DepotError) as caught:
        bring(robot.order(**order), engine, at(now))
    return caught.value


def test_a_release_is_brought_once(robot: Robot) -> None:
    manifest = robot.release()
    brought = bring(robot.order(), Engine(), at(NOW))
    assert (brought.manifest, brought.changed, brought.complete) == (manifest, True, True)
    assert (brought.packages, brought.runtime) == (None, None)
    again = bring(robot.order(), Engine(), at(NOW))
    assert (again.changed, again.synced.bytes_copied) == (False, 0)
    release, files = release_of(str(robot.root), manifest)
    assert (release.id, files) == (manifest.release, {"compose.yml": COMPOSE})
    assert last_brought(robot.places, "demo") == manifest


def test_check_mode_brings_nothing_and_says_how_much_it_would(robot: Robot) -> None:
    manifest = robot.release()
    told = bring(robot.order(check_mode=True), Engine(), at(NOW))
    assert (told.changed, told.synced.plan.bytes_to_copy) == (True, manifest.size)
    assert not robot.root.exists()
    with pytest.raises(DepotError, match="run depot_sync first") as caught:
        last_brought(robot.places, "demo")
    assert caught.value.reason == "no_release"


def test_packages_and_runtime_are_laid_out_for_this_host(robot: Robot) -> None:
    contents = [canonical(document()), COMPOSE, PACKAGE, WHEEL]
    changes: dict[str, t.Any] = {
        "files": {"compose.yml": sha256(COMPOSE)},
        "packages": {"trixie": {"Packages": sha256(PACKAGE)}},
        "runtime": {"wheels/x.whl": sha256(WHEEL)},
    }
    robot.stick.release(1, contents, changes)
    brought = bring(robot.order(), None, at(NOW))
    assert (brought.packages, brought.runtime) == (f"{robot.root}/packages", f"{robot.root}/runtime")
    assert (robot.root / "packages" / "trixie" / "Packages").read_bytes() == PACKAGE
    assert (robot.root / "runtime" / "wheels" / "x.whl").read_bytes() == WHEEL
    assert (brought.laid_out, bring(robot.order(), None, at(NOW)).changed) == (True, False)
    shutil.rmtree(robot.root / "runtime")
    assert bring(robot.order(), None, at(NOW)).changed


def test_packages_for_other_systems_are_not_laid_out(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [canonical(document()), COMPOSE, PACKAGE]
    packages = {"trixie": {"Packages": sha256(PACKAGE)}}
    robot.stick.release(1, contents, {"files": {"compose.yml": sha256(COMPOSE)}, "packages": packages})
    for suite in (None, "bookworm"):
        monkeypatch.setattr(_depot_bring, "debian_suite", lambda suite=suite: suite)
        assert bring(robot.order(), None, at(NOW)).packages is None
    assert not (robot.root / "packages").exists()


def test_where_there_is_no_engine_yet_images_that_are_left_out_do_not_matter(robot: Robot) -> None:
    layer, told = b"layer", b"manifest"
    image = Image("demo/api:1", sha256(told), sha256(b"config"), (sha256(layer),))
    contents = [canonical(document()), COMPOSE, layer, told, b"config"]
    changes = {"files": {"compose.yml": sha256(COMPOSE)}, "images": (image,), "assumes": frozenset({sha256(layer)})}
    robot.stick.release(1, contents, changes)
    assert bring(robot.order(), None, at(NOW)).complete
    assert refused(robot, Engine()).reason == "base_missing"


def test_what_the_engine_has_is_told_by_layers(robot: Robot) -> None:
    manifest = robot.release()
    assert held_by_engine(Engine(["a" * 64, "b" * 64]), manifest) == {"a" * 64, "b" * 64}


def test_an_engine_that_is_down_refuses_and_nothing_is_brought(robot: Robot) -> None:
    robot.release()
    assert refused(robot, Engine(down="cannot connect")).reason == "image_unavailable"
    assert not (robot.root / "store").exists()


def test_what_is_refused_leaves_what_was_brought_before(robot: Robot) -> None:
    manifest = robot.release()
    bring(robot.order(), Engine(), at(NOW))
    robot.release(2, note="new")
    for now, reason in ((NOW + 200 * DAY, "expired"), (NOW - 60 * DAY, "clock")):
        assert refused(robot, Engine(), now).reason == reason
    assert last_brought(robot.places, "demo") == manifest


def test_a_depot_that_goes_away_is_not_called_one_that_lacks_something(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot.release()

    def pulled(*args: t.Any) -> t.Any:
        shutil.rmtree(robot.stick.path)
        robot.stick.path.mkdir()
        return choose(*args)

    monkeypatch.setattr(_depot_bring, "choose", pulled)
    error = refused(robot)
    assert (error.reason, "put it in again" in str(error)) == ("io_error", True)


def test_a_depot_that_goes_away_between_two_looks_went_away(robot: Robot) -> None:
    manifest = robot.release()
    (robot.stick.path / "oci-layout").unlink()
    with pytest.raises(DepotError) as caught:
        bring_release(robot.order(), robot.stick.source, manifest, Engine())
    assert caught.value.reason == "io_error"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        pytest.param(True, True, "blob_missing", id="it is there"),
        pytest.param(True, False, "io_error", id="it went away"),
        pytest.param(False, False, "blob_missing", id="it never was"),
    ],
)
def test_only_a_depot_that_was_there_can_go_away(robot: Robot, before: bool, after: bool, reason: str) -> None:
    layout = robot.stick.path / "oci-layout"
    if not before:
        layout.unlink()

    def read() -> t.NoReturn:
        if not after:
            layout.unlink(missing_ok=True)
        raise DepotError("it lacks something", reason="blob_missing")

    with pytest.raises(DepotError) as caught, noticing_loss(robot.stick.source):
        read()
    assert caught.value.reason == reason


def test_the_store_is_read_before_the_depot(robot: Robot) -> None:
    robot.release()
    bring(robot.order(), None, at(NOW))
    source = WithStore(Folder(str(robot.stick.path)), str(robot.root))
    in_both, alone = sha256(COMPOSE), robot.stick.put(b"in the depot alone")
    (robot.stick.path / "blobs" / "sha256" / in_both).unlink()
    assert (source.blob_size(in_both), source.blob_size(alone), source.blob_size("c" * 64)) == (
        len(COMPOSE),
        18,
        None,
    )
    assert b"".join(source.pieces(in_both, 3)) == COMPOSE[3:]
    assert b"".join(source.pieces(alone, 7)) == b"depot alone"
    assert source.read("oci-layout", 4096)
    assert source.shown == str(robot.stick.path)


def test_a_manifest_that_was_kept_and_is_damaged_is_not_relied_on(robot: Robot) -> None:
    robot.release()
    bring(robot.order(), None, at(NOW))
    Path(robot.places.state, "brought", "demo.json").write_bytes(b"{}")
    with pytest.raises(DepotError) as caught:
        last_brought(robot.places, "demo")
    assert caught.value.reason == "manifest_invalid"


@pytest.mark.parametrize(
    ("content", "suite"),
    [
        ('NAME="x"\nVERSION_CODENAME=trixie\n', "trixie"),
        ("VERSION_CODENAME='bookworm'\n", "bookworm"),
        ("NAME=x\n", None),
        (None, None),
    ],
)
def test_the_suite_is_what_os_release_says(tmp_path: Path, content: str | None, suite: str | None) -> None:
    path = tmp_path / "os-release"
    if content is not None:
        path.write_text(content)
    assert debian_suite(str(path)) == suite


def test_the_depot_is_closed_whatever_happens(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Closing(Folder):
        def close(self) -> None:
            closed.append(self.path)

    monkeypatch.setattr(_depot_bring, "open_source", lambda depot, _ca: Closing(depot))
    robot.release()
    with contextlib.suppress(DepotError):
        bring(robot.order(), None, at(NOW + 900 * DAY))
    bring(robot.order(), None, at(NOW))
    assert len(closed) == 2
