# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_bring
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_bring import Brought, Order, bring_release
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder, Source
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import Volume
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_pull import PullPlan
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import TrustPlaces
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, Docker
from ansible_collections.emorobcare.fleet.tests.unit.plugins._docker import NoDocker
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_content import Depot


class Empty(NoDocker):
    """An engine that has nothing."""

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        answers = {"info": Answer(0, '{"DockerRootDir": "/"}', ""), "image ls": Answer(0, "", "")}
        told = answers.get(argv[1]) or answers.get(" ".join(argv[1:3]))
        return told or Answer(1, "", "Error response from daemon: No such image")


class Related(Empty):
    """An engine that has the layers of an image, and not the image."""

    def __init__(self, layers: t.Sequence[str]) -> None:
        self._layers = layers

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        if argv[1:3] == ["image", "ls"]:
            return Answer(0, "sha256:1\n", "")
        if "{{json .RootFS.Layers}}" in argv:
            return Answer(0, json.dumps([f"sha256:{layer}" for layer in self._layers]) + "\n", "")
        return super().ask(argv, timeout)


@pytest.fixture(name="depot")
def depot_fixture(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "depot")


Seen = list[tuple[str, bool]]


@pytest.fixture(name="seen")
def seen_fixture(depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What the engine was told to do in place of pulling, and whether the model was there by then."""
    found: Seen = []

    def pull(_docker: Docker, _manifest: Manifest, source: Source, check_mode: bool, name: bool = True) -> PullPlan:
        for layer in () if check_mode else depot.manifest.images[0].layers:
            assert b"".join(source.pieces(layer))
        what = "look" if check_mode else "name" if name else "pull"
        found.append((what, (tmp_path / "root" / "models" / "speech" / "1").exists()))
        return PullPlan(depot.manifest.images)

    monkeypatch.setattr(_depot_bring, "pull_images", pull)
    return found


def run(depot: Depot, tmp_path: Path, engine: Docker | None = None, **more: t.Any) -> Brought:
    places = TrustPlaces(str(tmp_path / "anchor"), str(tmp_path / "state"))
    order = Order(str(depot.folder), str(tmp_path / "root"), places=places, **more)
    return bring_release(order, Folder(str(depot.folder)), depot.manifest, engine or Empty())


def test_images_come_before_what_is_copied_and_their_names_after_it(depot: Depot, seen: Seen, tmp_path: Path) -> None:
    brought = run(depot, tmp_path)
    assert seen == [("pull", False), ("name", True)]
    assert (brought.complete, brought.synced.published) == (True, ("speech/1",))
    assert brought.synced.plan.pulls.keys() == depot.pulled
    assert brought.pulled == PullPlan(depot.manifest.images)


def test_how_far_it_is_counts_what_is_pulled_and_what_is_copied(depot: Depot, seen: Seen, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    places = TrustPlaces(str(tmp_path / "anchor"), str(tmp_path / "state"))
    order = Order(str(depot.folder), str(tmp_path / "root"), places=places)
    source = Folder(str(depot.folder))
    plan = bring_release(order, source, depot.manifest, Empty(), lambda *one: told.append(one)).synced.plan
    total = plan.bytes_to_pull + plan.bytes_to_copy
    pulled = sum(depot.manifest.blobs[layer] for layer in depot.manifest.images[0].layers)
    assert {one[1] for one in told} == {total}
    assert pulled in [done for done, _total in told]
    assert max(done for done, _total in told) > pulled


def test_what_copying_is_refused_for_is_refused_before_an_image_is_pulled(
    depot: Depot, seen: Seen, tmp_path: Path
) -> None:
    depot.path(depot.manifest.models[0].files["model.bin"]).unlink()
    with pytest.raises(DepotError) as caught:
        run(depot, tmp_path)
    assert caught.value.reason == "blob_missing"
    assert seen == []


def test_check_mode_copies_nothing(depot: Depot, seen: Seen, tmp_path: Path) -> None:
    assert run(depot, tmp_path, check_mode=True).changed
    assert seen == [("look", False)]
    assert not (tmp_path / "root").exists()


def test_from_several_media_images_are_pulled_once_all_of_them_were_here(
    depot: Depot, seen: Seen, tmp_path: Path
) -> None:
    first = frozenset(list(depot.manifest.named)[::2])
    rest = frozenset(depot.manifest.named) - first
    second = Depot(tmp_path / "second")
    depot.keep_only(Volume(1, 2, first))
    second.keep_only(Volume(2, 2, rest))
    assert not run(depot, tmp_path).complete
    assert seen == []
    assert run(second, tmp_path).complete
    assert seen == [("name", True)]


def test_on_several_media_a_layer_that_other_images_have_is_copied_all_the_same(
    depot: Depot, seen: Seen, tmp_path: Path
) -> None:
    """It is asked for when the image is pulled, and the medium that has it is gone by then."""
    layers = depot.manifest.images[0].layers
    depot.keep_only(Volume(1, 2, frozenset(depot.manifest.named)))
    assert run(depot, tmp_path, Related(layers)).complete
    assert all((tmp_path / "root" / "store" / "sha256" / layer).exists() for layer in layers)


def test_on_a_single_medium_no_layer_is_copied(depot: Depot, seen: Seen, tmp_path: Path) -> None:
    layers = depot.manifest.images[0].layers
    assert run(depot, tmp_path, Related(layers)).complete
    assert not any((tmp_path / "root" / "store" / "sha256" / layer).exists() for layer in layers)
