# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_pull
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_pull import (
    Engine,
    PullPlan,
    check_room,
    lacking_layers,
    look_at,
    plan_pull,
    pull_images,
    room_for,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Image
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.tests.unit.plugins._docker import NoDocker
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._served_depot import Depot, ask

NOWHERE = Folder("/nonexistent")


class Fake(NoDocker):
    """An engine in memory: images by id, ids by name. It pulls over HTTP, the manifest alone."""

    def __init__(self, containerd: bool = False) -> None:
        self.containerd = containerd
        self.names: dict[str, str] = {}
        self.layers: dict[str, tuple[str, ...]] = {}
        self.known: dict[str, Image] = {}
        self.asked: list[str] = []
        self.fails: dict[str, Answer] = {}
        self.pulls_wrong = False

    def knows(self, image: Image) -> None:
        """Teach it what a manifest that it may pull holds."""
        self.known[image.manifest] = image

    def has(self, image: Image, *names: str) -> None:
        ident = image.manifest if self.containerd else image.config
        self.layers[ident] = image.layers
        self.names.update((name, ident) for name in names)

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        self.asked.append(" ".join(argv[1:4]))
        for words, answer in self.fails.items():
            if words in " ".join(argv):
                return answer
        if argv[1] == "info":
            status = [["driver-type", "io.containerd.snapshotter.v1"]] if self.containerd else [["Supports d_type", ""]]
            return Answer(0, json.dumps({"DockerRootDir": "/", "DriverStatus": status}), "")
        if argv[2] == "ls":
            return Answer(0, "\n".join(f"sha256:{ident}" for ident in self.layers), "")
        if argv[2] == "inspect":
            return self._inspect(argv[4], argv[6:])
        if argv[2] == "tag":
            self.names[argv[5]] = self._id(argv[4]) or ""
            return Answer(0, "", "")
        assert argv[2:5] == ["rm", "--no-prune", "--"]
        del self.names[argv[5]]
        return Answer(0, "", "")

    def watch(self, argv: t.Sequence[str], timeout: float, glance: t.Callable[[], bool], every: float = 0.5) -> Answer:
        self.asked.append("image pull")
        if "image pull" in self.fails:
            return self.fails["image pull"]
        name = argv[-1]
        place, _slash, rest = name.partition("/")
        repository, _at, pinned = rest.partition("@")
        assert ask(place, f"/v2/{repository}/manifests/{pinned}").status == 200
        if not self.pulls_wrong:
            self.has(self.known[pinned.partition(":")[2]], name)
        return Answer(0, "", "")

    def _id(self, name: str) -> str | None:
        ident = name.partition("sha256:")[2] if name.startswith("sha256:") else self.names.get(name)
        return ident if ident in self.layers else None

    def _inspect(self, form: str, names: t.Sequence[str]) -> Answer:
        out: list[str] = []
        for name in names:
            ident = self._id(name)
            if ident is None:
                return Answer(1, "\n".join(out), f"Error response from daemon: No such image: {name}")
            if "Layers" in form:
                out.append(json.dumps([f"sha256:{layer}" for layer in self.layers[ident]]))
            elif "RepoDigests" in form:
                out.append(json.dumps([one for one, of in self.names.items() if of == ident and "@" in one]))
            else:
                out.append(f"sha256:{ident}")
        return Answer(0, "\n".join(out) + "\n", "")


@pytest.fixture(name="depot")
def depot_fixture(tmp_path: Path) -> Depot:
    depot = Depot(tmp_path)
    depot.add_image("emo/api:1", b"base", b"app")
    depot.add_image("mongo:7", b"mongo")
    return depot


@pytest.fixture(name="engine", params=[False, True], ids=["classic", "containerd"])
def engine_fixture(request: pytest.FixtureRequest, depot: Depot) -> Fake:
    engine = Fake(request.param)
    for image in depot.images:
        engine.knows(image)
    return engine


def refused(engine: Fake, depot: Depot, reason: str, **options: t.Any) -> DepotError:
    before = dict(engine.names)
    with pytest.raises(DepotError) as caught:
        pull_images(engine, depot.manifest, depot.source, **options)
    assert caught.value.reason == reason, caught.value
    named = {name: ident for name, ident in engine.names.items() if not name.startswith("127.0.0.1:")}
    assert named == before, "no name was made or moved"
    return caught.value


def test_what_is_missing_is_pulled_and_named_as_compose_says_and_nothing_else_stays(engine: Fake, depot: Depot) -> None:
    plan = pull_images(engine, depot.manifest, depot.source)
    assert plan.changes == ("emo/api:1", "mongo:7")
    assert plan.bytes == len(b"base" + b"app" + b"mongo")
    assert set(engine.names) == {"emo/api:1", "mongo:7"}
    assert engine.asked.count("image pull") == 2


def test_the_image_that_takes_most_comes_first_while_there_is_most_room(engine: Fake, depot: Depot) -> None:
    depot.add_image("small:1", b"s")
    depot.add_image("large:1", b"l" * 100)
    shared = depot.add_image("shared:1", b"l" * 100, b"t" * 50)
    plan = plan_pull(engine, depot.manifest)
    assert [image.reference for image in plan.pulls][:2] == ["shared:1", "large:1"]
    assert [image.reference for image in plan.pulls][-1] == "small:1"
    engine.has(shared, "shared:1")
    left = [image.reference for image in plan_pull(engine, depot.manifest).pulls]
    assert left == ["emo/api:1", "mongo:7", "small:1", "large:1"]  # of which the engine has all but the name


def test_a_second_run_only_looks_and_needs_no_depot(engine: Fake, depot: Depot) -> None:
    pull_images(engine, depot.manifest, depot.source)
    engine.asked.clear()
    assert pull_images(engine, depot.manifest, NOWHERE) == PullPlan()
    assert set(engine.asked) == {"image inspect --format"}


def test_check_mode_tells_what_would_be_pulled_and_changes_nothing(engine: Fake, depot: Depot) -> None:
    plan = pull_images(engine, depot.manifest, depot.source, check_mode=True)
    assert plan.changes == ("emo/api:1", "mongo:7")
    assert not engine.names
    depot.blob(depot.images[1].layers[0]).unlink()
    refused(engine, depot, "blob_missing", check_mode=True)


def test_images_without_names_yet_get_them_by_a_later_call_that_needs_no_depot(engine: Fake, depot: Depot) -> None:
    assert pull_images(engine, depot.manifest, depot.source, name=False).changes == ("emo/api:1", "mongo:7")
    assert engine.names
    assert all(name.startswith("127.0.0.1:") for name in engine.names)
    pull_images(engine, depot.manifest, NOWHERE)
    assert set(engine.names) == {"emo/api:1", "mongo:7"}
    assert engine.asked.count("image pull") == 2


def test_an_image_that_is_there_without_its_name_is_named_and_not_pulled(engine: Fake, depot: Depot) -> None:
    stale = f"127.0.0.1:1234/mongo@sha256:{depot.images[1].manifest}"
    engine.has(depot.images[0], "emo/api:1")
    engine.has(depot.images[1], stale, "mongo@sha256:" + "e" * 64)
    plan = pull_images(engine, depot.manifest, NOWHERE)
    assert (plan.pulls, plan.names, plan.room) == ((), (depot.images[1],), 0)
    assert set(engine.names) == {"emo/api:1", "mongo:7", "mongo@sha256:" + "e" * 64}
    assert "image pull" not in engine.asked


def test_a_name_that_another_image_has_moves_once_all_images_are_there(engine: Fake, depot: Depot) -> None:
    old = Image("mongo:7", "1" * 64, "2" * 64, ("3" * 64,))
    engine.has(old, "mongo:7")
    pull_images(engine, depot.manifest, depot.source)
    assert engine.names["mongo:7"] in (depot.images[1].config, depot.images[1].manifest)
    assert old.config in engine.layers or old.manifest in engine.layers, "the image itself is kept"


@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
def test_a_half_stick_is_refused_before_anything_is_pulled(engine: Fake, depot: Depot, part: str) -> None:
    image = depot.images[1]  # the last one: what comes first must not be pulled either
    sha256 = {"manifest": image.manifest, "config": image.config, "layer": image.layers[0]}[part]
    content = depot.blob(sha256).read_bytes()
    depot.blob(sha256).unlink()
    assert refused(engine, depot, "blob_missing").details == {"blob": sha256}
    depot.blob(sha256).write_bytes(content[:-1])
    assert refused(engine, depot, "blob_corrupt").details == {"blob": sha256}
    assert "image pull" not in engine.asked


def test_a_pinned_reference_is_refused_before_anything_is_pulled_unless_it_is_there(engine: Fake, depot: Depot) -> None:
    pinned = depot.add_image("redis@sha256:" + "e" * 64, b"redis")
    error = refused(engine, depot, "image_unavailable")
    assert "Write redis:<tag>" in str(error)
    assert "image pull" not in engine.asked
    engine.has(pinned, pinned.reference)
    assert pull_images(engine, depot.manifest, depot.source).changes == ("emo/api:1", "mongo:7")


def test_an_assumed_layer_need_not_be_in_the_depot_if_the_engine_has_it(engine: Fake, depot: Depot) -> None:
    base = depot.images[0].layers[0]
    depot.assumes = frozenset({base})
    depot.blob(base).unlink()
    error = refused(engine, depot, "base_missing")
    assert error.details == {"blob": base}
    assert "Write a depot that leaves nothing out" in str(error)
    engine.has(Image("emo/api:0", "1" * 64, "2" * 64, (base, "3" * 64)), "emo/api:0")
    plan = pull_images(engine, depot.manifest, depot.source)
    assert plan.bytes == len(b"app" + b"mongo")


def test_an_engine_that_pulled_another_image_is_not_believed(engine: Fake, depot: Depot) -> None:
    engine.pulls_wrong = True
    assert depot.images[0].config in str(refused(engine, depot, "image_unavailable"))


@pytest.mark.parametrize(
    ("words", "answer", "told"),
    [
        ("image pull", Answer(1, "", "filesystem layer verification failed for digest"), "layer verification failed"),
        ("image pull", Answer(-1, "", ""), "not through after 4 hours"),
        ("image tag", Answer(1, "", "no space left on device"), "no space left on device"),
        ("image rm", Answer(1, "", "conflict: it is in use"), "conflict: it is in use"),
        ("image ls", Answer(1, "", "database is locked"), "database is locked"),
        ("docker info", Answer(1, "", "template error"), "template error"),
        ("docker info", Answer(0, "oops", ""), "printed no JSON: 'oops'"),
        ("image inspect", Answer(1, "", "i/o timeout"), "i/o timeout"),
    ],
)
def test_what_the_engine_says_is_told(engine: Fake, depot: Depot, words: str, answer: Answer, told: str) -> None:
    engine.fails[words] = answer
    with pytest.raises(DepotError) as caught:
        pull_images(engine, depot.manifest, depot.source)
    assert caught.value.reason == "image_unavailable"
    assert told in str(caught.value)


class Joining(Fake):
    """An engine whose pulls join a download from a registry that is gone, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def watch(self, argv: t.Sequence[str], timeout: float, glance: t.Callable[[], bool], every: float = 0.5) -> Answer:
        if self.times:
            self.times -= 1
            self.asked.append("image pull")
            return Answer(1, "", "dial tcp 127.0.0.1:9: connect: connection refused")
        return super().watch(argv, timeout, glance, every)


@pytest.mark.parametrize(("times", "comes"), [(1, True), (2, True), (3, False)])
def test_a_pull_that_joined_one_of_a_run_that_was_killed_is_begun_again(depot: Depot, times: int, comes: bool) -> None:
    engine = Joining(times)
    for image in depot.images:
        engine.knows(image)
    if comes:
        assert pull_images(engine, depot.manifest, depot.source).changes == ("emo/api:1", "mongo:7")
        assert engine.asked.count("image pull") == 2 + times
    else:
        assert "127.0.0.1:9" in str(refused(engine, depot, "image_unavailable"))


def test_what_fails_by_itself_is_not_tried_again(engine: Fake, depot: Depot) -> None:
    engine.fails["image pull"] = Answer(1, "", "filesystem layer verification failed for digest")
    refused(engine, depot, "image_unavailable")
    assert engine.asked.count("image pull") == 1


def test_an_interrupted_run_is_gone_on_with_and_leaves_no_names_on_loopback(engine: Fake, depot: Depot) -> None:
    engine.fails["image tag"] = Answer(1, "", "interrupted")
    refused(engine, depot, "image_unavailable")
    assert len(engine.names) == 2
    engine.fails.clear()
    engine.asked.clear()
    pull_images(engine, depot.manifest, NOWHERE)
    assert set(engine.names) == {"emo/api:1", "mongo:7"}
    assert "image pull" not in engine.asked


@pytest.mark.parametrize("told", ["No such image: x", "reference does not exist"])
def test_a_loopback_name_that_another_run_took_away_meanwhile_is_no_error(
    engine: Fake, depot: Depot, told: str
) -> None:
    engine.fails["image rm"] = Answer(1, "", f"Error response from daemon: {told}")
    assert pull_images(engine, depot.manifest, depot.source).changes == ("emo/api:1", "mongo:7")


def test_an_engine_that_is_not_there_is_told_as_such(depot: Depot) -> None:
    class Gone(NoDocker):
        def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
            raise ReleaseError("the Docker engine does not answer", reason="docker_unavailable")

    with pytest.raises(DepotError, match="does not answer") as caught:
        pull_images(Gone(), depot.manifest, depot.source)
    assert caught.value.reason == "image_unavailable"


def test_a_disk_without_room_is_refused_with_the_figures(engine: Fake, depot: Depot) -> None:
    plan = PullPlan((depot.images[0],), (), 10, 1 << 70, Engine(root="/"))
    with pytest.raises(DepotError, match="Nothing was touched") as caught:
        check_room(plan)
    assert caught.value.reason == "no_space"
    assert caught.value.details["needed"] == 1 << 70
    check_room(replace(plan, engine=Engine(root="/nonexistent/elsewhere")))


def test_the_containerd_stores_own_disk_counts_too(
    depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_depot_pull, "_CONTAINERD_ROOT", str(tmp_path))
    plan = PullPlan((depot.images[0],), (), 10, 1 << 70, Engine(root="/nonexistent", containerd=True))
    with pytest.raises(DepotError, match=str(tmp_path)):
        check_room(plan)


def test_room_is_for_what_is_unpacked_by_then_and_one_image_packed() -> None:
    least = room_for([8, 16], False) - (27 + 16)
    assert least > 0
    assert room_for([16, 8], False) == 27 + 8 + least
    assert room_for([24, 8], False) == 27 + 24 + least
    assert room_for([8, 16], True) == 27 + 24 + least
    assert room_for([], False) == room_for([0], True) == 0


A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)


@pytest.mark.parametrize(
    ("chains", "layers", "lacking"),
    [
        ([], (A, B), (A, B)),
        ([(A,)], (A, B), (B,)),
        ([(A,), (A, B)], (A, B), ()),
        ([(B,)], (A, B), (A, B)),  # the same layer above another one is not the same to an engine
        ([(A,), (A, C)], (A, B, C), (B, C)),
    ],
)
def test_layers_are_there_only_above_the_same_ones(
    chains: list[tuple[str, ...]], layers: tuple[str, ...], lacking: tuple[str, ...]
) -> None:
    assert Engine(frozenset(chains)).lacks(layers) == lacking


def test_what_one_image_brings_the_next_one_does_not_lack() -> None:
    images = [Image(str(number), D, D, layers) for number, layers in enumerate([(A, B), (A, C), (A, C)])]
    assert lacking_layers(Engine(), images) == [(A, B), (C,), ()]


def test_an_image_that_goes_while_the_engine_is_looked_at_is_no_error(depot: Depot) -> None:
    engine = Fake()
    engine.has(Image("x", A, B, (C, D)), "x")
    engine.fails["{{json .RootFS.Layers}}"] = Answer(1, f'["sha256:{C}","sha256:{D}"]\nnull\n', "No such image: y")
    assert look_at(engine) == Engine(frozenset({(C,), (C, D)}), "/", False)
