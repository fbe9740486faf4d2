# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attacks on a depot's metadata: each is refused for its reason, and a good depot works afterwards."""

from __future__ import annotations

import os
import shutil
import typing as t
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import Enrolment, enrol
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import (
    Host,
    Trusted,
    choose,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_metadata import Expiry, rotate
from ansible_collections.emorobcare.fleet.tests.faults._depots import ALL_ROLES, ONLINE, Scene, make_scene, signed
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import (
    DAY,
    NAMES,
    NOW,
    ROOTS,
    Depot,
    first_root,
    key,
    keyid,
    make_host,
    next_root,
    signers,
)


@pytest.fixture(name="scene")
def scene_fixture(tmp_path: Path) -> Scene:
    return make_scene(tmp_path)


def forge(depot: Depot, targets_by: t.Sequence[str], online: t.Sequence[str] = ONLINE) -> None:
    """Sign a target of a thief's own, as the next version of everything, with the keys at hand."""
    payload = Metadata[Targets].from_file(str(depot.newest("targets"))).signed
    payload.version += 1
    payload.targets["releases/demo/9.json"] = TargetFile(1, {"sha256": depot.put(b"x")}, "releases/demo/9.json")
    targets = signed(payload, targets_by)
    snapshot = Metadata[Snapshot].from_file(str(depot.newest("snapshot"))).signed
    snapshot.version += 1
    snapshot.meta["targets.json"] = MetaFile.from_data(payload.version, targets, ["sha256"])
    snapshot_bytes = signed(snapshot, online[:1])
    timestamp = Metadata[Timestamp].from_file(str(depot.newest("timestamp"))).signed
    timestamp.version += 1
    timestamp.snapshot_meta = MetaFile.from_data(snapshot.version, snapshot_bytes, ["sha256"])
    (depot.metadata / f"{payload.version}.targets.json").write_bytes(targets)
    (depot.metadata / f"{snapshot.version}.snapshot.json").write_bytes(snapshot_bytes)
    (depot.metadata / "timestamp.json").write_bytes(signed(timestamp, online[1:]))


def parallel(scene: Scene) -> tuple[Depot, Depot]:
    """Return two sticks that two controllers wrote at once: the same versions, other content."""
    one, other = scene.today.copy(scene.folder / "one"), scene.today.copy(scene.folder / "other")
    one.release(3, [b"one"])
    other.release(3, [b"other"])
    return one, other


def put(source: Path, target: Depot) -> None:
    shutil.copy(source, target.metadata / source.name)


# Old depots.


@pytest.mark.parametrize("cache", ["kept", "lost"])
def test_yesterdays_stick_is_refused_even_if_tufs_cache_is_gone(scene: Scene, cache: str) -> None:
    if cache == "lost":
        scene.lose_cache()
    error = scene.refused(scene.yesterday)
    assert (error.reason, "Bring the newest depot" in str(error)) == ("older", True)
    scene.works()


def test_a_release_before_the_committed_one_is_refused_on_a_new_depot(scene: Scene) -> None:
    scene.works()
    later = scene.today.copy(scene.folder / "later")
    for counter in (4, 5):
        later.release(counter, drop=["releases/demo/3.json"])
    trusted = scene.open(later)
    with pytest.raises(DepotError) as caught:
        choose(later.source, trusted, scene.places, Host("amd64", "0.1.0"), counter=2)
    assert caught.value.reason == "older"


def test_a_host_that_lost_what_it_accepted_takes_nothing_until_it_is_enrolled_again(scene: Scene) -> None:
    os.unlink(scene.places.accepted)
    error = scene.refused(scene.today)
    assert (error.reason, "Enrol the host again" in str(error)) == ("state_lost", True)
    enrol(scene.places, first_root(), Enrolment("robots", ("mk2",), "robot-7", NOW))
    assert scene.refused(scene.yesterday).reason == "older", "TUF's cache still knows it"
    scene.works()


# Mixed depots.


def test_the_timestamp_of_a_newer_stick_does_not_make_an_older_one_new(scene: Scene) -> None:
    mixed = scene.yesterday.copy(scene.folder / "mixed")
    put(scene.today.newest("timestamp"), mixed)
    assert scene.fresh().refused(mixed).reason == "mixed"
    # A host that saw the newer stick has its snapshot and targets, and needs none of the other's: the blobs decide.
    assert scene.open(mixed) == Trusted(**{**vars(scene.open(scene.today)), "shown": mixed.source.shown})
    scene.works()


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_a_file_of_a_stick_that_was_written_at_the_same_time_is_refused(scene: Scene, role: str) -> None:
    one, other = parallel(scene)
    put(other.newest(role), one)
    error = scene.refused(one)
    assert (error.reason, error.details["role"]) == ("mixed", role)
    scene.works()


def test_snapshot_and_targets_of_another_stick_are_refused(scene: Scene) -> None:
    one, other = parallel(scene)
    put(other.newest("snapshot"), one)
    put(other.newest("targets"), one)
    assert scene.refused(one).reason == "mixed"
    scene.works()


def test_a_depot_that_was_written_beside_the_accepted_one_is_told_apart(scene: Scene) -> None:
    one, other = parallel(scene)
    scene.open(one)
    assert scene.refused(other).reason == "mixed"
    scene.works(today=one)


@pytest.mark.parametrize("role", ALL_ROLES)
@pytest.mark.parametrize("content", ALL_ROLES)
def test_swapped_files_are_refused(scene: Scene, role: str, content: str) -> None:
    if role == content:
        return
    stick = scene.today.copy(scene.folder / "swapped")
    stick.newest(role).write_bytes(scene.today.newest(content).read_bytes())
    assert scene.fresh().refused(stick).reason == "mixed"
    scene.works()


# Expired depots.


@pytest.mark.parametrize("role", ["root", *ALL_ROLES])
def test_what_has_expired_is_refused_with_both_ways_out(tmp_path: Path, role: str) -> None:
    root = first_root(days=10 if role == "root" else 730)
    depot = Depot(tmp_path / "stick", {1: root})
    depot.release(1, expiry=Expiry(**{role: 10} if role != "root" else {}))
    places = make_host(tmp_path / "host", root)
    scene = Scene(tmp_path, depot, depot, places)
    scene.open(depot, NOW + 10 * DAY - 1)
    for _again in range(2):  # with and without a cache
        error = scene.refused(depot, NOW + 10 * DAY)
        assert (error.reason, error.details["role"]) == ("expired", role)
        assert f"its {role} metadata expired on 2027-01-25 08:00:00 UTC" in str(error)
        assert "clock says 2027-01-25 08:00:00 UTC" in str(error)
        assert "renew the depot" in str(error)
        assert "timedatectl set-time" in str(error)
        scene.lose_cache()
    renewed = {2: rotate(root, "root", [], [], signers(*ROOTS), NOW + 10 * DAY)}
    scene.works(renewed, NOW + 10 * DAY)


@pytest.mark.parametrize(("now", "told"), [(0, "1970-01-01"), (1_925_000_000, "2031-01-01")])
def test_a_clock_that_cannot_be_right_is_told_before_anything_expires(scene: Scene, now: int, told: str) -> None:
    error = scene.refused(scene.today, now)
    assert (error.reason, told in str(error), "timedatectl set-time" in str(error)) == ("clock", True, True)
    scene.works()


# Stolen and replaced keys.


@pytest.mark.parametrize("thief", [("targets-1",), ("targets-2",), ("targets-1", "snapshot-1"), ("targets-1", "thief")])
def test_targets_that_too_few_signed_are_refused(scene: Scene, thief: tuple[str, ...]) -> None:
    stick = scene.today.copy(scene.folder / "stolen")
    forge(stick, thief)
    error = scene.refused(stick)
    assert (error.reason, error.details["role"]) == ("threshold", "targets")
    assert f"signed by {thief[0]} alone, and 2 of targets-1, targets-2 must sign" in str(error)
    scene.works()


def test_targets_that_one_stolen_key_changed_in_place_are_refused(scene: Scene) -> None:
    stick = scene.today.copy(scene.folder / "stolen")
    payload = Metadata[Targets].from_file(str(stick.newest("targets"))).signed
    payload.targets.clear()
    stick.newest("targets").write_bytes(signed(payload, ["targets-1"]))
    assert scene.fresh().refused(stick).reason == "threshold"
    scene.works()


@pytest.mark.parametrize(
    ("targets_by", "online", "role"),
    [
        (("thief", "thief-2"), ONLINE, "targets"),
        (("targets-1", "targets-2"), ("thief", "timestamp-1"), "snapshot"),
        (("targets-1", "targets-2"), ("snapshot-1", "thief"), "timestamp"),
        (("targets-1", "targets-2"), ("timestamp-1", "snapshot-1"), "timestamp"),
    ],
)
def test_what_a_stranger_or_another_role_signed_is_refused(
    scene: Scene, targets_by: tuple[str, ...], online: tuple[str, ...], role: str
) -> None:
    stick = scene.today.copy(scene.folder / "forged")
    forge(stick, targets_by, online)
    error = scene.refused(stick)
    assert (error.reason, error.details["role"]) == ("unsigned", role)
    scene.works()


def test_another_fleets_depot_is_refused(scene: Scene) -> None:
    other = Depot(scene.folder / "other", {1: first_root("other-")})
    other.release(7, names=[f"other-{name}" for name in NAMES])
    assert scene.refused(other).reason == "unsigned"
    scene.works()


@pytest.mark.parametrize(("cache", "reason"), [("kept", "unsigned"), ("lost", "older")])
def test_a_depot_that_stops_at_the_old_root_is_refused_once_the_new_one_was_seen(
    scene: Scene, cache: str, reason: str
) -> None:
    new = next_root(first_root(), "timestamp", "timestamp-2", "timestamp-1")
    names = [*NAMES, "timestamp-2"]
    rotated = scene.today.copy(scene.folder / "rotated")
    rotated.roots[2] = new
    rotated.publish(refresh=True, names=names)
    assert scene.open(rotated).versions["root"] == 2
    stick = scene.today.copy(scene.folder / "stolen")
    for _turn in range(5):  # the stolen key signs whatever version it likes
        stick.publish(refresh=True)
    if cache == "lost":
        scene.lose_cache()
    assert scene.refused(stick).reason == reason
    scene.works(names=names, today=rotated)


@pytest.mark.parametrize(("old", "reason"), [((), "unsigned"), (("root-3",), "threshold")])
def test_a_root_that_the_old_keys_did_not_sign_is_refused(scene: Scene, old: tuple[str, ...], reason: str) -> None:
    payload = Metadata[t.Any].from_bytes(first_root()).signed
    for name in ("root-1", "root-2"):
        payload.revoke_key(keyid(name), "root")
    for name in ("thief-1", "thief-2"):
        payload.add_key(key(name).public_key, "root")
    payload.version = 2
    stick = scene.today.copy(scene.folder / "coup")
    (stick.metadata / "2.root.json").write_bytes(signed(payload, ("thief-1", "thief-2", *old)))
    error = scene.refused(stick)
    assert (error.reason, error.details["role"]) == (reason, "root")
    scene.works()


def test_a_root_that_its_own_keys_did_not_sign_is_refused(scene: Scene) -> None:
    payload = Metadata[t.Any].from_bytes(first_root()).signed
    for number in (1, 2, 3):
        payload.revoke_key(keyid(f"root-{number}"), "root")
        payload.add_key(key(f"thief-{number}").public_key, "root")
    payload.version = 2
    stick = scene.today.copy(scene.folder / "coup")
    (stick.metadata / "2.root.json").write_bytes(signed(payload, ROOTS))
    assert scene.refused(stick).reason == "unsigned"
    scene.works()


def test_a_root_that_skips_one_is_refused(scene: Scene) -> None:
    second = next_root(first_root(), "root", "root-4", "root-1")
    third = next_root(second, "root", "root-5", "root-2", ("root-2", "root-3", "root-4"))
    stick = scene.today.copy(scene.folder / "skipped")
    (stick.metadata / "2.root.json").write_bytes(third)
    assert scene.refused(stick).reason == "mixed"
    scene.works({2: second, 3: third})
