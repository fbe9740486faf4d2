# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import (
    INPUT_LABEL,
    Engine,
    Image,
    NoEngineError,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_look import (
    find_targets,
    look,
    prune_versions,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_plan import Wanted, make_plan
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import PLATFORMS, Target

A = "a" * 64
API, ASR = Wanted("stack/api:5", A), Wanted("stack/asr:1", A)


class Images(Engine):
    """An engine that has versions 1 to 5 of stack/api, of which the first is in a container."""

    def __init__(self, running: bool = True) -> None:
        super().__init__(lambda argv: pytest.fail(f"unexpected command {argv}"))
        self.running = running
        self.asked: list[str] = []
        self.images = [
            Image(f"sha256:{tag}", 1, (f"stack/api:{tag}",), {INPUT_LABEL: A}, float(tag)) for tag in range(1, 6)
        ]

    def platform(self) -> str:
        if not self.running:
            raise NoEngineError("no engine")
        return "linux/arm64"

    def inspect(self, references: object) -> dict[str, Image]:
        if not self.running:
            raise NoEngineError("no engine")
        return {"stack/api:5": self.images[4]}

    def versions(self, name: str) -> tuple[Image, ...]:
        self.asked.append(name)
        return tuple(self.images) if name == "stack/api" else ()

    def used(self) -> frozenset[str]:
        return frozenset(["sha256:1"])

    def remove(self, reference: str) -> None:
        self.images = [image for image in self.images if reference not in image.references]


def test_without_platforms_the_engine_is_not_asked_what_it_is() -> None:
    assert find_targets(Images(running=False), [], engine_may_be_missing=False) == (Target(),)


def test_the_engine_says_which_platform_is_its_own() -> None:
    targets = find_targets(Images(), ["linux/arm64", "linux/amd64"], engine_may_be_missing=False)
    assert [(target.name, target.foreign) for target in targets] == [("linux/arm64", False), ("linux/amd64", True)]


def test_a_host_without_an_engine_gets_one_of_its_own_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "armv7l")
    targets = find_targets(Images(running=False), ["linux/arm/v7", "linux/amd64"], engine_may_be_missing=True)
    assert [target.foreign for target in targets] == [False, True]
    with pytest.raises(NoEngineError):
        find_targets(Images(running=False), ["linux/arm64"], engine_may_be_missing=False)


def test_where_all_is_there_no_more_is_asked() -> None:
    engine = Images()
    assert look(engine, [API], engine_may_be_missing=False) == ({"stack/api:5": engine.images[4]}, {})
    assert engine.asked == []


def test_other_versions_are_asked_for_only_where_an_image_is_missing() -> None:
    engine = Images()
    found, versions = look(engine, [API, ASR], engine_may_be_missing=False)
    assert (list(found), versions) == (["stack/api:5"], {"stack/asr": ()})


def test_a_host_without_an_engine_has_no_images_when_it_may_be_so() -> None:
    assert look(Images(running=False), [API], engine_may_be_missing=True) == ({}, {})
    with pytest.raises(NoEngineError):
        look(Images(running=False), [API], engine_may_be_missing=False)


def test_after_a_build_old_versions_go_but_for_the_newest_and_those_in_containers() -> None:
    engine = Images()
    plan = make_plan([API], {}, {})
    assert prune_versions(engine, plan, keep=2) == ["stack/api:3", "stack/api:2"]
    assert [image.references[0] for image in engine.images] == ["stack/api:1", "stack/api:4", "stack/api:5"]


def test_after_a_build_for_one_platform_the_versions_for_others_stay() -> None:
    engine = Images()
    engine.images.append(Image("sha256:old", 1, ("stack/api:1-amd64",), {INPUT_LABEL: A}, 0.5))
    plan = make_plan([API.on(Target(PLATFORMS[0], foreign=True))], {}, {})
    engine.images.append(Image("sha256:new", 1, ("stack/api:5-amd64",), {INPUT_LABEL: A}, 9.0))
    assert prune_versions(engine, plan, keep=1) == ["stack/api:1-amd64"]


def test_where_nothing_was_made_nothing_goes() -> None:
    engine = Images()
    assert prune_versions(engine, make_plan([API], {"stack/api:5": engine.images[4]}, {}), keep=1) == []
    assert len(engine.images) == 5
