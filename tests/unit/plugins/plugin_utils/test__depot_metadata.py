# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_metadata import (
    Expiry,
    make_root,
    publish,
    read_root,
    rotate,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import (
    COUNTS,
    DAY,
    NAMES,
    NOW,
    ROOTS,
    Depot,
    first_root,
    key,
    keyid,
    next_root,
    signers,
)

TARGET = {"releases/demo/1.json": ("a" * 64, 10)}
OTHER = {"releases/demo/2.json": ("b" * 64, 20)}
ONLINE = ("snapshot-1", "timestamp-1")
PUBLIC = {role: [key(f"{role}-{number + 1}").public_key for number in range(count)] for role, count in COUNTS.items()}


@pytest.fixture(name="depot")
def depot_fixture(tmp_path: Path) -> Depot:
    depot = Depot(tmp_path)
    depot.publish(TARGET)
    return depot


def versions(depot: Depot) -> dict[str, int]:
    return {
        role: Metadata[t.Any].from_file(str(depot.newest(role))).signed.version
        for role in ("root", "targets", "snapshot", "timestamp")
    }


def refused(depot: Depot, *args: t.Any, **options: t.Any) -> DepotError:
    before = depot.files()
    with pytest.raises(DepotError) as caught:
        depot.publish(*args, **options)
    assert depot.files() == before
    return caught.value


def test_the_first_root_says_who_signs_what_and_until_when() -> None:
    root = read_root(first_root())
    assert (root.version, root.consistent_snapshot, root.expires.timestamp()) == (1, True, NOW + 730 * DAY)
    assert {role: (len(root.roles[role].keyids), root.roles[role].threshold) for role in COUNTS} == {
        "root": (3, 2),
        "targets": (2, 2),
        "snapshot": (1, 1),
        "timestamp": (1, 1),
    }


def test_by_default_two_of_three_keys_make_a_root_and_one_all_else() -> None:
    root = read_root(make_root(PUBLIC, signers(*ROOTS), NOW))
    assert {role: root.roles[role].threshold for role in COUNTS} == {
        "root": 2,
        "targets": 1,
        "snapshot": 1,
        "timestamp": 1,
    }


@pytest.mark.parametrize("names", [(), ("root-1",), ("root-1", "targets-1"), ("root-1", "root-1")])
def test_a_root_that_too_few_can_sign_is_not_made(names: tuple[str, ...]) -> None:
    with pytest.raises(DepotError, match="2 of the keys root-1, root-2, root-3") as caught:
        make_root(PUBLIC, signers(*names), NOW)
    assert caught.value.reason == "key_missing"


def test_a_role_must_have_as_many_keys_as_must_sign() -> None:
    with pytest.raises(DepotError, match="snapshot has 1 keys, and 2 must sign") as caught:
        make_root(PUBLIC, signers(*ROOTS), NOW, {"snapshot": 2})
    assert caught.value.reason == "invalid"


def test_the_next_root_is_signed_by_enough_of_the_old_keys_and_of_the_new_ones() -> None:
    data = next_root(first_root(), "root", "root-4", "root-1", ("root-1", "root-2", "root-4"))
    old, new, metadata = read_root(first_root()), read_root(data), Metadata[Root].from_bytes(data)
    result = new.get_root_verification_result(old, metadata.signed_bytes, metadata.signatures)
    assert (bool(result), new.version) == (True, 2)
    assert sorted(result.first.signed) == sorted([keyid("root-1"), keyid("root-2")])
    assert sorted(result.second.signed) == sorted([keyid("root-2"), keyid("root-4")])
    assert keyid("root-1") not in new.keys


@pytest.mark.parametrize("names", [("root-1", "root-2"), ("root-4", "root-2"), ("root-4",)])
def test_a_root_that_either_side_would_refuse_is_not_made(names: tuple[str, ...]) -> None:
    with pytest.raises(DepotError) as caught:
        next_root(first_root(), "root", "root-4", "root-1", names)
    assert (caught.value.reason, caught.value.details["needed"]) == ("key_missing", 2)


def test_a_root_is_renewed_with_the_same_keys() -> None:
    renewed = read_root(rotate(first_root(), "root", [], [], signers("root-1", "root-3"), NOW + DAY, 10))
    old = read_root(first_root())
    assert (renewed.version, renewed.roles, renewed.keys) == (2, old.roles, old.keys)
    assert renewed.expires.timestamp() == NOW + 11 * DAY


@pytest.mark.parametrize(
    ("role", "remove", "told"), [("targets", "targets-1", "targets has 1 keys"), ("targets", "root-1", "has no key")]
)
def test_a_change_that_makes_no_sense_is_refused(role: str, remove: str, told: str) -> None:
    with pytest.raises(DepotError, match=told) as caught:
        rotate(first_root(), role, [], [keyid(remove)], signers(*ROOTS), NOW)
    assert caught.value.reason == "invalid"


def test_a_root_that_was_changed_by_hand_is_refused() -> None:
    with pytest.raises(DepotError) as caught:
        rotate(first_root().replace(b'"version":1', b'"version":2'), "root", [], [], signers(*ROOTS), NOW)
    assert caught.value.reason == "unsigned"


def test_a_new_depot_gets_all_metadata_and_the_timestamp_last(tmp_path: Path) -> None:
    depot = Depot(tmp_path, {1: first_root(), 2: next_root(first_root(), "root", "root-4", "root-1")})
    written = depot.publish(TARGET)
    assert written == ["1.root.json", "2.root.json", "1.targets.json", "1.snapshot.json", "timestamp.json"]


def test_the_second_run_changes_nothing(depot: Depot) -> None:
    assert depot.publish(TARGET) == []
    assert depot.publish() == []
    assert depot.publish(drop=["releases/demo/9.json"]) == []


def test_nobody_has_to_sign_where_nothing_changes(depot: Depot) -> None:
    assert depot.publish(TARGET, names=()) == []


@pytest.mark.parametrize(("targets", "drop"), [(OTHER, ()), ({}, list(TARGET)), (OTHER, list(TARGET))])
def test_what_changes_goes_up_by_one_version(depot: Depot, targets: t.Any, drop: t.Any) -> None:
    assert depot.publish(targets, drop=drop) == ["2.targets.json", "2.snapshot.json", "timestamp.json"]
    assert versions(depot) == {"root": 1, "targets": 2, "snapshot": 2, "timestamp": 2}
    found = Metadata[t.Any].from_file(str(depot.newest("targets"))).signed.targets
    assert set(found) == ({*TARGET, *targets} - set(drop))


def test_a_refresh_renews_snapshot_and_timestamp_without_the_keys_of_targets(depot: Depot) -> None:
    assert depot.publish(refresh=True, names=ONLINE) == ["2.snapshot.json", "timestamp.json"]
    assert versions(depot) == {"root": 1, "targets": 1, "snapshot": 2, "timestamp": 2}


def test_a_refresh_takes_no_targets(depot: Depot) -> None:
    assert refused(depot, TARGET, refresh=True).reason == "invalid"


@pytest.mark.parametrize(
    ("expiry", "later", "expected"),
    [
        (Expiry(), 59, []),
        (Expiry(snapshot=300), 61, ["timestamp.json"]),
        (Expiry(), 61, ["2.snapshot.json", "timestamp.json"]),
        (Expiry(timestamp=900, snapshot=900, targets=90), 61, ["2.targets.json", "2.snapshot.json", "timestamp.json"]),
        (Expiry(), 2000, ["2.targets.json", "2.snapshot.json", "timestamp.json"]),
    ],
)
def test_what_expires_soon_is_renewed(tmp_path: Path, expiry: Expiry, later: int, expected: list[str]) -> None:
    depot = Depot(tmp_path)
    depot.publish(TARGET, expiry=expiry)
    assert depot.publish(TARGET, expiry=expiry, now=NOW + later * DAY) == expected
    assert depot.publish(TARGET, expiry=expiry, now=NOW + later * DAY) == []


@pytest.mark.parametrize(
    ("lacking", "role"), [("targets-2", "targets"), ("snapshot-1", "snapshot"), ("timestamp-1", "timestamp")]
)
def test_who_is_missing_to_sign_is_told_and_nothing_is_written(depot: Depot, lacking: str, role: str) -> None:
    error = refused(depot, OTHER, names=[name for name in NAMES if name != lacking])
    assert (error.reason, error.details["role"]) == ("key_missing", role)
    assert lacking in str(error)
    assert error.details["here"] == (["targets-1"] if role == "targets" else [])


def test_without_a_root_nothing_is_published() -> None:
    with pytest.raises(DepotError, match=r"keys\.yml") as caught:
        publish({}, {}, TARGET, (), signers(*NAMES), NOW)
    assert caught.value.reason == "key_missing"


@pytest.mark.parametrize("role", ["snapshot", "timestamp"])
def test_after_online_keys_were_replaced_the_depot_is_signed_again(depot: Depot, role: str) -> None:
    depot.roots[2] = next_root(first_root(), role, f"{role}-2", f"{role}-1")
    written = depot.publish(names=[*NAMES, f"{role}-2"])
    assert written == ["2.root.json", *(["2.snapshot.json"] if role == "snapshot" else []), "timestamp.json"]
    assert depot.publish(names=()) == []


def test_targets_of_replaced_keys_are_signed_again_only_if_somebody_says_so(depot: Depot) -> None:
    depot.roots[2] = next_root(first_root(), "targets", "targets-3", "targets-1")
    names = [*NAMES, "targets-3"]
    error = refused(depot, OTHER, names=names)
    assert (error.reason, "stolen" in str(error)) == ("unsigned", True)
    assert "2.targets.json" in depot.publish(OTHER, names=names, resign=True)
    assert depot.publish(OTHER, names=()) == []


def test_a_stranger_cannot_have_his_target_signed_by_changing_the_stick(depot: Depot) -> None:
    path = depot.newest("targets")
    path.write_bytes(path.read_bytes().replace(b"a" * 64, b"c" * 64))
    assert refused(depot, OTHER).reason == "mixed"
    for stranger in (depot.newest("snapshot"), depot.newest("timestamp")):
        stranger.write_bytes(stranger.read_bytes().replace(b'"version":1', b'"version":7'))
        assert refused(depot, OTHER).reason in ("unsigned", "mixed")


@pytest.mark.parametrize("role", ["targets", "snapshot"])
@pytest.mark.parametrize("damage", ["missing", "torn", "empty"])
def test_a_damaged_depot_is_not_built_upon(depot: Depot, role: str, damage: str) -> None:
    path = depot.newest(role)
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(data[: len(data) // 2 if damage == "torn" else 0])
    assert refused(depot, OTHER).reason == "mixed"


def test_another_fleets_depot_is_not_written_to(tmp_path: Path) -> None:
    other = Depot(tmp_path, {1: first_root("other-")})
    other.publish(TARGET, names=[f"other-{name}" for name in NAMES])
    other.roots = {1: first_root()}
    error = refused(other, OTHER)
    assert (error.reason, "another fleet's stick" in str(error)) == ("mixed", True)


def test_an_old_copy_of_the_keys_does_not_write_to_a_newer_depot(depot: Depot) -> None:
    depot.roots[2] = next_root(first_root(), "root", "root-4", "root-1")
    depot.publish()
    del depot.roots[2]
    error = refused(depot, OTHER)
    assert (error.reason, "newer than what is here" in str(error)) == ("mixed", True)


def test_a_signer_that_fails_is_named(depot: Depot) -> None:
    class Unplugged:
        public_key = key("timestamp-1").public_key

        def sign(self, payload: bytes) -> t.Any:
            raise ValueError("no token in the slot")

    people: list[t.Any] = [*signers("targets-1", "targets-2", "snapshot-1"), Unplugged()]
    with pytest.raises(DepotError, match="no token in the slot") as caught:
        publish(depot.files(), depot.roots, OTHER, (), people, NOW)
    assert caught.value.reason == "key_missing"
