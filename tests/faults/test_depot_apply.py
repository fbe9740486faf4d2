# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sticks that are applied: what a good one brings, and that a bad one leaves all as it is."""

from __future__ import annotations

import functools
import os
import threading
import time
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.action import depot_key, depot_sign
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import VOLUME, Volume
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_write import everywhere
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import locked
from ansible_collections.emorobcare.fleet.tests.faults._applying import (
    ARCHITECTURE,
    LABEL,
    OTHER_ROOT,
    QUICK,
    Ended,
    First,
    Packed,
    Robot,
    broken,
    make_robot,
    read_releases,
    sha256,
    stranger,
    takes_a_good_one,
)
from ansible_collections.emorobcare.fleet.tests.faults._faults import ids, whole
from ansible_collections.emorobcare.fleet.tests.faults._releases import docker
from ansible_collections.emorobcare.fleet.tests.faults.test_bases import make
from ansible_collections.emorobcare.fleet.tests.unit.plugins.action.test_depot_sign import SECRETS, act
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import DAY, NAMES, NOW, Depot
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_writing import Builder


def test_a_stick_brings_a_bare_host_to_its_first_release(first: First) -> None:
    assert (first.ended.code, first.ended.err) == (0, [])
    assert first.ended.out[-1] == "receipt: robot-7/1.json"
    (receipt,) = first.robot.receipts(first.stick.path)
    assert receipt.releases[first.robot.sides.stack]["counter"] == 1
    assert receipt.releases[first.robot.sides.stack]["state"] == "committed"


def test_the_next_stick_updates_it_and_a_second_apply_does_nothing(robot: Robot) -> None:
    stick, packed = robot.update("second")
    assert robot.brings(stick, packed).err == []
    assert robot.has(packed.layer())
    running, files = ids(robot.sides), receipt_files(robot, stick)
    again = robot.brings(stick, packed)
    assert (ids(robot.sides), receipt_files(robot, stick)) == (running, files)
    assert "0 B copied, 0 images pulled" in again.out
    assert f"{robot.sides.stack}: was committed already" in again.out
    for folder in (stick.path, Path(robot.root)):
        newest = robot.receipts(folder)[-1]
        assert newest.releases[robot.sides.stack]["counter"] == packed.manifest.counter
        assert newest.releases[robot.sides.stack]["gate"]
        assert newest.refused == {}


def test_check_mode_tells_and_touches_nothing(robot: Robot) -> None:
    stick, packed = robot.update("checked")
    running, files = ids(robot.sides), receipt_files(robot, stick)
    told = robot.apply(stick, check_mode=True)
    assert (told.code, told.err) == (0, [])
    assert not told.out[1].startswith("0 B copied, 0 images"), told.out
    assert (ids(robot.sides), receipt_files(robot, stick)) == (running, files)
    assert not robot.has(packed.layer())


def receipt_files(robot: Robot, stick: Depot) -> list[str]:
    folders = (Path(robot.root) / "receipts", stick.path / "receipts")
    return sorted(str(path) for folder in folders for path in folder.rglob("*.json"))


def test_what_the_builder_wrote_and_the_controller_signed_is_what_the_host_gets(tmp_path: Path, base: str) -> None:
    """All of it real: images saved from an engine, keys, metadata, two sticks of the same release."""
    keys = tmp_path / "keys"
    act(depot_key.ActionModule, {"path": str(keys), "passphrases": SECRETS})
    now = int(time.time())
    robot = make_robot(tmp_path, make("base-haproxy"), (keys / "1.root.json").read_bytes(), built=now - DAY)
    built = f"{robot.sides.stack}/api:built"
    recipe = f"FROM {base}\nLABEL {LABEL}={robot.sides.stack}\n".encode()
    try:
        docker("build", "--quiet", "--tag", built, "-", content=recipe)
        robot.sides.image = built
        options = robot.sides.sided("built", rollout=QUICK)
        content = {**options, "images": [built], "fleet": "robots", "architecture": ARCHITECTURE, "created": now}
        sticks = []
        for name in ("one", "two"):
            builder = Builder(tmp_path / name)
            known = act(depot_sign.ActionModule, {"keys": str(keys), "state": "known"})
            told = {key: known[key] for key in ("targets", "manifests")}
            target = builder.run(**content, **told, root=str(builder.root))["target"]
            signing = {"keys": str(keys), **({"manifest": target["manifest"]} if target else {})}
            published = builder.run(
                state="published", metadata=act(depot_sign.ActionModule, signing)["metadata"], prune=True
            )
            assert published["releases"] == [f"releases/{robot.sides.stack}/1.json"], published
            sticks.append(builder)
        one, two = (builder.files() for builder in sticks)
        assert one == two
        docker("image", "rm", built)
        ended = robot.apply(sticks[0].depot, now=now)
        assert (ended.code, ended.err) == (0, []), ended
        assert "1 image pulled" in ended.out[1]
        whole(robot.sides, "built")
        again = robot.apply(sticks[1].depot, now=now)
        assert (again.code, again.out[1]) == (0, "0 B copied, 0 images pulled")
    finally:
        robot.remove()


Wrong = t.Callable[[Robot], tuple[Depot | Path, dict[str, t.Any]]]


def good(robot: Robot, **changes: t.Any) -> tuple[Depot, Packed]:
    packed = robot.packed("refused", **changes)
    return robot.stick(packed), packed


def expired(robot: Robot) -> tuple[Depot | Path, dict[str, t.Any]]:
    return good(robot)[0], {"now": NOW + 200 * DAY}


def clock(robot: Robot) -> tuple[Depot | Path, dict[str, t.Any]]:
    return good(robot)[0], {"now": NOW - 60 * DAY}


def older(robot: Robot) -> tuple[Depot | Path, dict[str, t.Any]]:
    stick = good(robot)[0]
    robot.apply(good(robot)[0], check_mode=True)
    return stick, {}


def a_release_that_is_older(robot: Robot) -> tuple[Depot | Path, dict[str, t.Any]]:
    return good(robot, counter=1)[0], {}


def unsigned(robot: Robot) -> tuple[Depot | Path, dict[str, t.Any]]:
    packed = robot.packed("refused")
    depot = Depot(robot.folder / f"foreign-{robot.counter}", OTHER_ROOT)
    for content in packed.contents.values():
        depot.put(content)
    depot.release_bytes(packed.manifest.encode(), names=[f"other-{name}" for name in NAMES])
    return depot, {}


def of_a_release(**changes: t.Any) -> Wrong:
    return lambda robot: (good(robot, **changes)[0], {})


def corrupt_layer(robot: Robot) -> tuple[Depot | Path, dict[str, t.Any]]:
    stick, packed = good(robot)
    broken(stick, packed.layer())
    return stick, {}


def corrupt_document(robot: Robot) -> tuple[Depot | Path, dict[str, t.Any]]:
    stick, packed = good(robot)
    broken(stick, packed.manifest.release)
    return stick, {}


def missing_layer(robot: Robot) -> tuple[Depot | Path, dict[str, t.Any]]:
    stick, packed = good(robot)
    (stick.path / "blobs" / "sha256" / packed.layer()).unlink()
    return stick, {}


def no_space(robot: Robot) -> tuple[Depot | Path, dict[str, t.Any]]:
    packed = robot.packed("refused")
    manifest = packed.manifest
    huge = {**manifest.blobs, manifest.files["compose.yml"]: 1 << 50}
    return robot.stick(Packed(replace(manifest, blobs=huge), packed.contents, packed.text)), {}


def base_missing(robot: Robot) -> tuple[Depot | Path, dict[str, t.Any]]:
    packed = robot.packed("refused")
    assumes = packed.manifest.assumes | {packed.layer()}
    contents = {one: data for one, data in packed.contents.items() if one != packed.layer()}
    return robot.stick(Packed(replace(packed.manifest, assumes=assumes), contents, packed.text)), {}


def no_manifest(robot: Robot) -> tuple[Depot | Path, dict[str, t.Any]]:
    stick, packed = good(robot)
    name = f"releases/{robot.sides.stack}/{packed.manifest.counter}.json"
    stick.release_bytes(b"{}", name)
    robot.metadata = stick.files()
    return stick, {}


def an_empty_folder(robot: Robot) -> tuple[Depot | Path, dict[str, t.Any]]:
    (robot.folder / "empty").mkdir(exist_ok=True)
    return robot.folder / "empty", {}


def a_link(robot: Robot) -> tuple[Depot | Path, dict[str, t.Any]]:
    stick, _packed = good(robot)
    elsewhere = stick.path.with_name(f"{stick.path.name}-elsewhere")
    (stick.path / "blobs").rename(elsewhere)
    (stick.path / "blobs").symlink_to(elsewhere)
    return stick, {}


REFUSED = [
    pytest.param("expired", expired, id="expired"),
    pytest.param("clock", clock, id="a clock that cannot be right"),
    pytest.param("older", older, id="older metadata"),
    pytest.param("older", a_release_that_is_older, id="an older release"),
    pytest.param("unsigned", unsigned, id="another fleet's keys"),
    pytest.param("wrong_fleet", of_a_release(fleet="others"), id="another fleet's release"),
    pytest.param("wrong_hardware", of_a_release(hardware=("mk9",)), id="other hardware"),
    pytest.param("too_new", of_a_release(minimum_version="99.0"), id="too new"),
    pytest.param("blob_corrupt", corrupt_layer, id="a layer that was changed"),
    pytest.param("blob_corrupt", corrupt_document, id="a release document that was changed"),
    pytest.param("blob_missing", missing_layer, id="a layer that is missing"),
    pytest.param("no_space", no_space, id="more than the disk takes"),
    pytest.param("base_missing", base_missing, id="it leaves out what the host lacks"),
    pytest.param("manifest_invalid", no_manifest, id="a manifest that is none"),
    pytest.param("not_a_depot", an_empty_folder, id="no depot"),
    pytest.param("unsafe_path", a_link, id="a link"),
]


@pytest.mark.parametrize(("reason", "wrong"), REFUSED)
def test_what_is_refused_leaves_all_as_it_is_and_says_so_and_a_good_stick_works_then(
    robot: Robot, reason: str, wrong: Wrong
) -> None:
    stick, changes = wrong(robot)
    ended = robot.refuses(stick, reason, **changes)
    path = stick.path if isinstance(stick, Depot) else stick
    newest = robot.receipts(robot.root)[-1]
    assert (newest.refused["reason"], newest.refused["message"][:40]) == (reason, message(ended)[:40])
    assert newest.releases[robot.sides.stack]["state"] == "committed"
    if reason == "not_a_depot":
        assert os.listdir(path) == []
    else:
        assert robot.receipts(path)[-1] == newest
    takes_a_good_one(robot)


def message(ended: Ended) -> str:
    return ended.err[0].partition("): ")[2]


def test_after_what_was_refused_a_good_stick_updates_and_its_receipt_says_nothing_of_that(robot: Robot) -> None:
    stick, changes = corrupt_layer(robot)
    robot.refuses(stick, "blob_corrupt", **changes)
    good_stick, packed = robot.update("after a refusal")
    robot.brings(good_stick, packed)
    whole(robot.sides, packed.text)
    newest = robot.receipts(good_stick.path)[-1]
    assert (newest.refused, newest.releases[robot.sides.stack]["state"]) == ({}, "committed")


def test_a_host_that_is_not_enrolled_takes_nothing_and_writes_nothing(robot: Robot) -> None:
    stick, _packed = robot.update("refused")
    stranger(robot).refuses(stick, "not_enrolled")
    assert not (stick.path / "receipts").exists()


def test_a_host_that_lost_its_memory_takes_nothing_until_it_is_back(robot: Robot) -> None:
    stick, _packed = robot.update("refused")
    accepted = Path(robot.places.accepted)
    kept = accepted.read_bytes()
    accepted.unlink()
    try:
        ended = robot.refuses(stick, "state_lost")
        assert "Enrol the host again" in ended.err[0]
    finally:
        accepted.write_bytes(kept)
    takes_a_good_one(robot)


@pytest.mark.parametrize("mode", ["dies", pytest.param("flaps", marks=pytest.mark.slow)])
def test_a_release_whose_gate_fails_is_rolled_back_and_told_and_the_next_one_works(robot: Robot, mode: str) -> None:
    stick = robot.stick(robot.packed("bad", mode))
    before, accepted = ids(robot.sides), read_releases(robot.places)
    ended = robot.apply(stick)
    assert (ended.code, ended.err[0].partition(" (")[0]) == (1, f"{robot.sides.stack}: NOT on this release")
    assert (ids(robot.sides), read_releases(robot.places)) == (before, accepted)
    assert robot.running
    whole(robot.sides, robot.running.text)
    entry = robot.receipts(stick.path)[-1].releases[robot.sides.stack]
    assert (entry["counter"], entry["state"], entry["reason"]) == (robot.counter, "failed", ended.reason)
    good_stick, packed = robot.update(f"after {mode}")
    robot.brings(good_stick, packed)
    whole(robot.sides, f"after {mode}")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in-order", "the-other-way"])
def test_an_update_comes_from_two_sticks_to_a_host_that_has_a_layer_of_it(robot: Robot, order: tuple[int, int]) -> None:
    packed = robot.packed("two sticks", whole=True)
    stored = Path(robot.root, "store", "sha256", sha256(robot.base))  # by an earlier run of this
    stored.unlink(missing_ok=True)
    sticks = in_two(robot.stick(packed), packed)
    running, serving = ids(robot.sides), robot.sides.serving()
    told = robot.apply(sticks[order[0]])
    assert (told.code, told.out[-1]) == (1, "the host still lacks what other volumes have: apply them, too"), told
    assert (ids(robot.sides), robot.sides.serving()) == (running, serving)
    robot.brings(sticks[order[1]], packed)


def in_two(depot: Depot, packed: Packed) -> list[Depot]:
    """Return two volumes of a depot: the release's layers but the last, and all else."""
    shared = everywhere(packed.manifest) | {sha256(packed.manifest.encode())}
    first = {layer for image in packed.manifest.images for layer in image.layers} - {packed.layer()}
    volumes = []
    for number, own in enumerate((first, packed.contents.keys() - first), 1):
        volume = depot.copy(depot.path.with_name(f"{depot.path.name}-volume-{number}"))
        here = Volume(number, 2, frozenset(own) | shared)
        for path in (volume.path / "blobs" / "sha256").iterdir():
            if path.name not in here.blobs:
                path.unlink()
        (volume.path / VOLUME).write_bytes(here.encode())
        volumes.append(volume)
    return volumes


def test_of_two_at_once_one_does_it_and_the_other_finds_it_done(robot: Robot) -> None:
    stick, packed = robot.update("two at once")
    ended = at_once(lambda: robot.apply(stick), functools.partial(robot.apply, stick))
    assert [one.code for one in ended] == [0, 0], ended
    said = sorted(one.out[-2 if one.out[-1].startswith("receipt") else -1] for one in ended)
    assert said == [f"{robot.sides.stack}: committed", f"{robot.sides.stack}: was committed already"]
    whole(robot.sides, packed.text)
    robot.brings(stick, packed)


def test_of_two_sticks_at_once_the_newer_one_wins_and_nothing_is_mixed(robot: Robot) -> None:
    first, _packed = robot.update("the first of two")
    second, packed = robot.update("the second of two")
    one, other = at_once(lambda: robot.apply(first), lambda: robot.apply(second))
    assert other.code == 0
    assert (one.code, one.reason) in [(0, ""), (1, "older")]
    whole(robot.sides, packed.text)
    robot.brings(second, packed)


def test_who_does_not_wait_for_another_run_is_refused(robot: Robot) -> None:
    stick, _packed = robot.update("refused")
    with locked(f"{robot.places.state}/apply.lock", 1.0):
        robot.refuses(stick, "locked", lock_timeout=0.0)
    assert not (stick.path / "receipts").exists()
    takes_a_good_one(robot)


def at_once(*works: t.Callable[[], Ended]) -> list[Ended]:
    """Do all of them at once; return how they ended."""
    ended: dict[int, Ended] = {}
    barrier = threading.Barrier(len(works))

    def work(number: int) -> None:
        barrier.wait()
        ended[number] = works[number]()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [ended[number] for number in range(len(works))]
