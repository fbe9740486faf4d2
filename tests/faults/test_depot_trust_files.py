# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Depots with damaged or lying files: each is refused for its reason, and a good depot works afterwards."""

from __future__ import annotations

import json
import os
import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import read_blob
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import (
    Host,
    Trusted,
    choose,
    open_depot,
)
from ansible_collections.emorobcare.fleet.tests.faults._depots import ALL_ROLES, Scene, make_scene
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import (
    NOW,
    at,
    first_root,
    make_host,
    next_root,
)


@pytest.fixture(name="scene")
def scene_fixture(tmp_path: Path) -> Scene:
    return make_scene(tmp_path)


# Damaged files.


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def change(path: Path) -> None:
    """Change what is said, in good JSON."""
    document = json.loads(path.read_bytes())
    document["signed"]["expires"] = "2099-01-01T00:00:00Z"
    path.write_text(json.dumps(document))


def nothing_signed(path: Path) -> None:
    document = json.loads(path.read_bytes())
    document["signatures"] = []
    path.write_text(json.dumps(document))


def deep(path: Path) -> None:
    path.write_text("[" * 8000)


def link(path: Path) -> None:
    elsewhere = path.parent.parent / "elsewhere.json"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def sparse(path: Path) -> None:
    os.truncate(path, 10 << 30)


@pytest.mark.parametrize("role", ["root", *ALL_ROLES])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "unsigned"),
        (empty, "unsigned"),
        (change, "unsigned"),
        (nothing_signed, "unsigned"),
        (deep, "unsigned"),
        (link, "unsafe_path"),
        (pipe, "unsafe_path"),
        (folder, "unsafe_path"),
        (sparse, "blob_corrupt"),
    ],
)
def test_a_damaged_file_is_refused(scene: Scene, role: str, damage: t.Callable[[Path], None], reason: str) -> None:
    stick = scene.today.copy(scene.folder / "damaged")
    stick.roots[2] = next_root(first_root(), "root", "root-4", "root-1")
    stick.release(3, [b"more"])
    damage(stick.newest(role))
    error = scene.refused(stick)
    assert error.reason == reason
    assert stick.newest(role).name in str(error)
    scene.works({2: stick.roots[2]})


@pytest.mark.parametrize(
    ("role", "reason"), [("timestamp", "not_a_depot"), ("snapshot", "mixed"), ("targets", "mixed")]
)
def test_a_missing_file_is_refused(scene: Scene, role: str, reason: str) -> None:
    stick = scene.today.copy(scene.folder / "damaged")
    stick.newest(role).unlink()
    assert scene.fresh().refused(stick).reason == reason
    scene.works()


def test_metadata_below_a_link_is_refused(scene: Scene) -> None:
    stick = scene.today.copy(scene.folder / "linked")
    stick.metadata.rename(scene.folder / "elsewhere")
    stick.metadata.symlink_to(scene.folder / "elsewhere")
    assert scene.refused(stick).reason == "unsafe_path"
    scene.works()


@pytest.mark.parametrize("role", ["timestamp", "targets"])
def test_no_flipped_bit_makes_a_host_trust_anything_else(scene: Scene, role: str) -> None:
    stick = scene.today.copy(scene.folder / "flipped")
    path, fresh = stick.newest(role), scene.fresh()
    good = path.read_bytes()
    wanted = open_depot(stick.source, make_host(scene.folder / "judge"), at(NOW))
    for place in range(0, len(good), 3):
        path.write_bytes(good[:place] + bytes([good[place] ^ (1 << place % 8)]) + good[place + 1 :])
        shutil.rmtree(fresh.places.cache, ignore_errors=True)
        found: Trusted | str
        try:
            found = fresh.open(stick)
        except DepotError as exc:
            found = exc.reason
        # The same is trusted where a hex digit of a signature is in the other case.
        assert found in (wanted, "unsigned", "threshold", "mixed"), f"byte {place}"
    scene.works()


# Release manifests.


def with_parts(document: dict[str, t.Any], **parts: t.Any) -> bytes:
    return json.dumps({**document, **parts}).encode()


@pytest.mark.parametrize(
    "lie",
    [
        {"blobs": {"0" * 64: 1}},
        {"release": "0" * 64},
        {"release": "../../../../etc/shadow"},
        {"files": {"../../etc/passwd": "0" * 64}},
        {"blobs": {"../x": 1}},
        {"schema": 2},
        {"counter": 0},
        {"assumes": ["0" * 64]},
    ],
    ids=str,
)
def test_a_manifest_that_leads_outside_is_refused_although_it_is_signed(scene: Scene, lie: dict[str, t.Any]) -> None:
    stick = scene.today.copy(scene.folder / "lying")
    document = json.loads(scene.today.release(2, [b"today"]).encode())
    stick.release_bytes(with_parts(document, **lie), "releases/demo/3.json")
    trusted = scene.open(stick)
    with pytest.raises(DepotError) as caught:
        choose(stick.source, trusted, scene.places, Host("amd64", "0.1.0"))
    assert caught.value.reason == "manifest_invalid"


def test_a_manifest_that_lies_about_a_size_is_found_out_when_the_blob_is_read(scene: Scene) -> None:
    stick = scene.today.copy(scene.folder / "lying")
    document = json.loads(scene.today.release(2, [b"today"]).encode())
    blobs = {sha256: size + 1 for sha256, size in document["blobs"].items()}
    stick.release_bytes(with_parts(document, blobs=blobs, counter=3), "releases/demo/3.json")
    manifest = choose(stick.source, scene.open(stick), scene.places, Host("amd64", "0.1.0"))
    with pytest.raises(DepotError) as caught:
        read_blob(stick.source, manifest.release, 1 << 20, manifest.blobs[manifest.release])
    assert caught.value.reason == "blob_corrupt"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(Path.unlink, "blob_missing"), (truncate, "blob_corrupt"), (sparse, "blob_corrupt"), (link, "unsafe_path")],
)
def test_a_manifest_that_is_not_what_was_signed_is_refused(
    scene: Scene, damage: t.Callable[[Path], None], reason: str
) -> None:
    stick = scene.today.copy(scene.folder / "damaged")
    trusted = scene.open(stick)
    damage(stick.path / "blobs" / "sha256" / trusted.targets["releases/demo/2.json"][0])
    with pytest.raises(DepotError) as caught:
        choose(stick.source, trusted, scene.places, Host("amd64", "0.1.0"))
    assert caught.value.reason == reason
    scene.works()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"fleet": "trucks"}, "wrong_fleet"),
        ({"hardware": ("mk1",)}, "wrong_hardware"),
        ({"architecture": "armhf"}, "wrong_hardware"),
        ({"minimum_version": "99"}, "too_new"),
    ],
)
def test_a_release_for_others_is_refused(scene: Scene, changes: dict[str, t.Any], reason: str) -> None:
    stick = scene.folder / "others"
    others = scene.today.copy(stick)
    others.release(3, [b"others"], changes, drop=["releases/demo/1.json", "releases/demo/2.json"])
    trusted = scene.open(others)
    with pytest.raises(DepotError) as caught:
        choose(others.source, trusted, scene.places, Host("amd64", "0.1.0"))
    assert caught.value.reason == reason
    others.release(4, [b"ours"])
    assert choose(others.source, scene.open(others), scene.places, Host("amd64", "0.1.0")).counter == 4
