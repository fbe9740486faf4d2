# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_state
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import (
    Accepted,
    Enrolment,
    TrustPlaces,
    alone,
    at_least,
    enrol,
    outlived,
    read_accepted,
    read_enrolment,
    read_root,
    with_release,
    write_accepted,
    write_bytes,
)

ENROLMENT = Enrolment("robots", ("mk2", "arm"), "robot-7", 1_800_000_000)


ACCEPTED = Accepted({"root": 1, "timestamp": 9, "snapshot": 8, "targets": 7}, {"demo": 10**17, "other": 4}, 100)
Roles = dict[str, dict[str, t.Any]]


def roles(threshold: int = 1, **keyids: str) -> Roles:
    """Return the roles of a root; each letter is a key, and of targets so many must sign."""
    given = {"root": "r", "timestamp": "a", "snapshot": "b", "targets": "c", **keyids}
    return {
        role: {"keyids": list(letters), "threshold": threshold if role == "targets" else 1}
        for role, letters in given.items()
    }


def root(version: int = 1, **keyids: str) -> bytes:
    signed = {"_type": "root", "version": version, "roles": roles(1, **keyids)}
    return json.dumps({"signatures": [], "signed": signed}).encode()


@pytest.fixture(name="places")
def places_fixture(tmp_path: Path) -> TrustPlaces:
    return TrustPlaces(str(tmp_path / "etc" / "trust"), str(tmp_path / "var" / "trust"))


def reason(call: t.Callable[..., t.Any], *args: t.Any) -> str:
    with pytest.raises(DepotError) as caught:
        call(*args)
    assert "enrol" in str(caught.value).lower() or caught.value.reason in ("invalid", "no_space", "locked", "io_error")
    return caught.value.reason


def test_places_are_those_of_the_format() -> None:
    places = TrustPlaces()
    assert [places.root, places.enrolment, places.accepted, places.cache] == [
        "/etc/fleet/trust/root.json",
        "/etc/fleet/trust/enrolment.json",
        "/var/lib/fleet/trust/accepted.json",
        "/var/lib/fleet/trust/metadata",
    ]


def test_a_host_is_enrolled_once(places: TrustPlaces) -> None:
    assert enrol(places, root(), ENROLMENT) is True
    assert read_enrolment(places) == ENROLMENT
    assert read_root(places) == root()
    assert read_accepted(places) == Accepted({"root": 1})
    assert enrol(places, root(), ENROLMENT) is False
    for path in (places.root, places.enrolment, places.accepted):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o644


def test_the_files_have_the_keys_of_the_format(places: TrustPlaces) -> None:
    enrol(places, root(), ENROLMENT, Accepted({"root": 1}, {"demo": 3}, 5))
    assert json.loads(Path(places.enrolment).read_bytes()) == {
        "schema": 1,
        "fleet": "robots",
        "hardware": ["mk2", "arm"],
        "host": "robot-7",
        "built": 1_800_000_000,
    }
    assert json.loads(Path(places.accepted).read_bytes()) == {
        "schema": 1,
        "versions": {"root": 1},
        "releases": {"demo": 3},
        "time": 5,
    }


def test_enrolling_again_keeps_what_was_accepted(places: TrustPlaces) -> None:
    enrol(places, root(), ENROLMENT)
    accepted = Accepted({"root": 1, "timestamp": 9}, {"demo": 4}, 100)
    write_accepted(places, accepted)
    assert enrol(places, root(2), ENROLMENT, Accepted({"timestamp": 7}, {"demo": 2, "other": 1}, 50)) is True
    assert read_accepted(places) == Accepted({"root": 2, "timestamp": 9}, {"demo": 4, "other": 1}, 100)


def test_an_older_root_is_refused_unless_the_fleet_began_anew(places: TrustPlaces) -> None:
    enrol(places, root(3), ENROLMENT)
    write_accepted(places, Accepted({"root": 3, "timestamp": 9}, {"demo": 4}, 100))
    (Path(places.cache) / "root_history").mkdir(parents=True)
    assert reason(enrol, places, root(1), ENROLMENT) == "older"
    assert read_root(places) == root(3)
    enrol(places, root(1), ENROLMENT, forget=True)
    assert read_accepted(places) == Accepted({"root": 1})
    assert not os.path.exists(places.cache)


@pytest.mark.parametrize(
    ("before", "after", "gone", "counters"),
    [
        pytest.param(roles(), roles(), "", True, id="no key was replaced"),
        pytest.param(roles(), roles(root="x"), "", True, id="root's, which sign no version that counts here"),
        pytest.param(roles(), roles(timestamp="x"), "timestamp", True, id="timestamp's"),
        pytest.param(roles(), roles(snapshot="x"), "snapshot", True, id="snapshot's"),
        pytest.param(roles(), roles(targets="x"), "targets", False, id="targets' only one"),
        pytest.param(roles(targets="cd"), roles(targets="cx"), "", True, id="one of two of which one must sign"),
        pytest.param(roles(targets="cd"), roles(targets="xy"), "targets", False, id="both of them"),
        pytest.param(roles(2, targets="cd"), roles(2, targets="cx"), "targets", False, id="one of two which both must"),
        pytest.param(roles(2, targets="cde"), roles(2, targets="cdx"), "", True, id="one of three of which two must"),
        pytest.param(roles(2, targets="cd"), roles(1, targets="cx"), "", True, id="fewer must sign now"),
        pytest.param(roles(), roles(targets="cx"), "", True, id="none, one was added"),
        pytest.param({}, roles(), "", True, id="nothing is known of the one before"),
        pytest.param(roles(), {}, "", True, id="nothing is known of the one after"),
    ],
)
def test_what_keys_signed_counts_until_too_few_of_them_are_left(
    before: Roles, after: Roles, gone: str, counters: bool
) -> None:
    versions = {role: version for role, version in ACCEPTED.versions.items() if role != gone}
    assert outlived(ACCEPTED, before, after) == Accepted(versions, ACCEPTED.releases if counters else {}, 100)


@pytest.mark.parametrize(
    ("earlier", "kept"),
    [
        pytest.param([root(1), root(2, timestamp="x")], Accepted({"root": 3}, {}, 100), id="all that there were"),
        pytest.param(
            [root(2, timestamp="x")],
            Accepted({**ACCEPTED.versions, "root": 3}, ACCEPTED.releases, 100),
            id="without the accepted one",
        ),
        pytest.param([], Accepted({**ACCEPTED.versions, "root": 3}, ACCEPTED.releases, 100), id="none"),
    ],
)
def test_enrolling_again_forgets_what_replaced_keys_signed_if_it_is_known_which_those_are(
    places: TrustPlaces, earlier: list[bytes], kept: Accepted
) -> None:
    enrol(places, root(1), ENROLMENT)
    write_accepted(places, ACCEPTED)
    newest = root(3, timestamp="x", snapshot="y", targets="z")
    assert enrol(places, newest, ENROLMENT, earlier=earlier) is True
    assert read_accepted(places) == kept
    assert enrol(places, newest, ENROLMENT, earlier=[root(1), root(2, timestamp="x")]) is False


@pytest.mark.parametrize(
    "bad", [b"", b"{", b"[]", b"{}", b'{"signed": {"_type": "targets", "version": 1}}', b'{"signed": {"version": "x"}}']
)
def test_what_is_no_root_enrols_nobody(places: TrustPlaces, bad: bytes) -> None:
    assert reason(enrol, places, bad, ENROLMENT) == "invalid"
    assert reason(read_enrolment, places) == "not_enrolled"


def test_a_host_that_was_never_enrolled_is_not_one_that_lost_its_state(places: TrustPlaces) -> None:
    assert reason(read_root, places) == "not_enrolled"
    assert reason(read_enrolment, places) == "not_enrolled"
    assert reason(read_accepted, places) == "not_enrolled"


@pytest.mark.parametrize(
    "torn",
    [
        None,
        b"",
        b'{"schema":1,"vers',
        b"[]",
        b"{}",
        b'{"schema":2,"versions":{},"releases":{},"time":0}',
        b'{"schema":1,"versions":{"root":"1"},"releases":{},"time":0}',
        b'{"schema":1,"versions":{"root":true},"releases":{},"time":0}',
        b'{"schema":1,"versions":{},"releases":{"a":-1},"time":0}',
        b'{"schema":1,"versions":{},"releases":[],"time":0}',
        b'{"schema":1,"versions":{},"releases":{}}',
        b"\xff",
    ],
)
def test_state_that_is_missing_or_torn_is_lost_until_the_host_is_enrolled_again(
    places: TrustPlaces, torn: bytes | None
) -> None:
    enrol(places, root(), ENROLMENT)
    os.unlink(places.accepted)
    if torn is not None:
        Path(places.accepted).write_bytes(torn)
    assert reason(read_accepted, places) == "state_lost"
    assert enrol(places, root(), ENROLMENT) is True
    assert read_accepted(places) == Accepted({"root": 1})


@pytest.mark.parametrize(
    "torn", [None, b"", b"{}", b"[]", b'{"schema":1,"fleet":"a","hardware":[],"host":"b","built":"x"}', b'{"schema":9}']
)
def test_an_enrolment_that_cannot_be_relied_on_is_none(places: TrustPlaces, torn: bytes | None) -> None:
    enrol(places, root(), ENROLMENT)
    os.unlink(places.enrolment)
    if torn is not None:
        Path(places.enrolment).write_bytes(torn)
    assert reason(read_enrolment, places) == "not_enrolled"


@pytest.mark.parametrize("step", ["accepted", "root", "enrolment"])
def test_an_enrolment_that_was_cut_off_refuses_depots_and_can_be_repeated(
    places: TrustPlaces, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(path: str, content: bytes, mode: int) -> None:
        if path == getattr(places, step):
            raise OSError(28, "No space left on device", path)
        write_bytes(path, content, mode)

    with monkeypatch.context() as patched:
        patched.setattr(_depot_state, "write_bytes", cut)
        assert reason(enrol, places, root(), ENROLMENT) == "no_space"
    assert reason(read_enrolment, places) == "not_enrolled"
    assert enrol(places, root(), ENROLMENT) is True
    assert read_enrolment(places) == ENROLMENT


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_write_that_fails_leaves_the_old_state(
    places: TrustPlaces, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol(places, root(), ENROLMENT)

    def fail(*_args: t.Any) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        assert reason(write_accepted, places, Accepted({"root": 2})) == "io_error"
    assert read_accepted(places) == Accepted({"root": 1})


def test_a_write_is_synced_before_it_gets_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    fsync, rename = os.fsync, os.rename

    def synced(fd: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        fsync(fd)

    def renamed(old: str, new: str) -> None:
        order.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    write_bytes(str(tmp_path / "x"), b"x", 0o600)
    assert order == ["file", "rename", "folder"]


def test_what_is_accepted_again_is_not_written_again(places: TrustPlaces) -> None:
    enrol(places, root(), ENROLMENT)
    before = os.stat(places.accepted)
    write_accepted(places, read_accepted(places))
    assert os.stat(places.accepted) == before


def test_a_floor_never_goes_down() -> None:
    left, right = Accepted({"root": 2, "targets": 1}, {"a": 5}, 9), Accepted({"root": 1, "snapshot": 4}, {"b": 1}, 7)
    assert at_least(left, right) == at_least(other=left, one=right)
    assert at_least(left, right) == Accepted({"root": 2, "snapshot": 4, "targets": 1}, {"a": 5, "b": 1}, 9)
    assert with_release(left, "a", 4, 3) == left
    assert with_release(left, "a", 6, 30) == Accepted(left.versions, {"a": 6}, 30)


def test_only_one_at_a_time_touches_the_state(places: TrustPlaces) -> None:
    enrol(places, root(), ENROLMENT)
    with alone(places), pytest.raises(DepotError, match=str(os.getpid())) as caught, alone(places, 0):
        pass
    assert caught.value.reason == "locked"
    with alone(places, 0):
        pass


def test_a_link_in_place_of_the_lock_is_not_followed(places: TrustPlaces, tmp_path: Path) -> None:
    enrol(places, root(), ENROLMENT)
    os.unlink(f"{places.state}/lock")
    (tmp_path / "elsewhere").write_bytes(b"kept")
    os.symlink(tmp_path / "elsewhere", f"{places.state}/lock")
    with pytest.raises(DepotError) as caught, alone(places, 0):
        pass
    assert (caught.value.reason, (tmp_path / "elsewhere").read_bytes()) == ("io_error", b"kept")
