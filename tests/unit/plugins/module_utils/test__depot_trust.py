# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_trust
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import (
    TrustPlaces,
    alone,
    enrol,
    read_accepted,
    read_enrolment,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import (
    Host,
    Trusted,
    accept,
    check_clock,
    choose,
    open_depot,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_metadata import Expiry, make_root, rotate
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import (
    DAY,
    NAMES,
    NOW,
    ROOTS,
    Depot,
    at,
    first_root,
    key,
    keyid,
    make_host,
    make_places,
    next_root,
    signers,
)

ROOT = Path(__file__).resolve().parents[4]
AMD64 = Host("amd64", "0.1.0")
BEYOND = 999_999_999_999_999_999  # the highest number that a release can have


@pytest.fixture(name="depot")
def depot_fixture(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "stick")


@pytest.fixture(name="places")
def places_fixture(tmp_path: Path) -> TrustPlaces:
    return make_host(tmp_path / "host")


def refused(depot: Depot, places: TrustPlaces, now: float = NOW) -> DepotError:
    with pytest.raises(DepotError) as caught:
        open_depot(depot.source, places, at(now))
    return caught.value


def take(depot: Depot, places: TrustPlaces, host: Host = AMD64, **wanted: t.Any) -> t.Any:
    return choose(depot.source, open_depot(depot.source, places, at(NOW)), places, host, **wanted)


def test_a_good_depot_is_trusted_and_its_versions_are_remembered(depot: Depot, places: TrustPlaces) -> None:
    manifest = depot.release()
    trusted = open_depot(depot.source, places, at(NOW))
    assert trusted.releases() == {"demo": [1]}
    assert trusted.versions == {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}
    assert trusted.expires == NOW + 90 * DAY
    assert read_accepted(places).versions == trusted.versions
    assert choose(depot.source, trusted, places, AMD64) == manifest
    assert open_depot(depot.source, places, at(NOW)) == trusted


def test_what_was_accepted_is_on_disk_before_the_depot_is_used(
    depot: Depot, places: TrustPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    depot.release()

    real = os.rename

    def rename(old: str, new: str) -> None:
        if new == places.accepted:
            raise OSError(28, "No space left on device", new)
        real(old, new)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", rename)
        error = refused(depot, places)
    assert (error.reason, places.accepted in str(error)) == ("no_space", True)
    assert read_accepted(places).versions == {"root": 1}


def test_time_is_the_callers_and_not_the_systems(depot: Depot, places: TrustPlaces) -> None:
    depot.release(expiry=Expiry(timestamp=10))
    long_ago = NOW + 10 * DAY - 1
    assert open_depot(depot.source, places, at(long_ago)).expires == NOW + 10 * DAY
    assert refused(depot, places, NOW + 10 * DAY).reason == "expired"


def test_a_host_that_is_not_enrolled_takes_nothing(depot: Depot, tmp_path: Path) -> None:
    depot.release()
    places = make_places(tmp_path / "new")
    assert refused(depot, places).reason == "not_enrolled"
    assert not os.path.exists(places.state)


def test_a_folder_that_is_no_depot_is_told_before_anything_else(depot: Depot, tmp_path: Path) -> None:
    assert refused(depot, make_places(tmp_path / "new")).reason == "not_a_depot"


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"signed": {"_type": "root", "version": 1}}'])
def test_a_damaged_anchor_is_told_with_the_way_out(depot: Depot, places: TrustPlaces, damage: bytes) -> None:
    depot.release()
    Path(places.root).write_bytes(damage)
    error = refused(depot, places)
    assert error.reason == "not_enrolled"
    assert "Enrol it again from a trusted controller" in str(error)


@pytest.mark.parametrize(
    ("now", "newest", "fits"),
    [
        (0, NOW, False),
        (NOW - DAY - 1, NOW, False),
        (NOW - DAY, NOW, True),
        (NOW, NOW, True),
        (NOW + 1094 * DAY, NOW, True),
        (NOW + 1095 * DAY, NOW, False),
    ],
)
def test_a_clock_is_not_a_day_before_the_newest_known_time_and_not_three_years_after_it(
    now: float, newest: float, fits: bool
) -> None:
    if fits:
        check_clock(now, newest)
        return
    with pytest.raises(DepotError) as caught:
        check_clock(now, newest)
    assert caught.value.reason == "clock"
    told = datetime.datetime.fromtimestamp(now, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    assert told in str(caught.value)
    assert "2027-01-15 08:00:00" in str(caught.value)
    assert "timedatectl set-time '" in str(caught.value)


def test_the_clock_is_looked_at_before_what_expires(depot: Depot, places: TrustPlaces) -> None:
    depot.release(expiry=Expiry(timestamp=1))
    assert refused(depot, places, NOW + 4 * 365 * DAY).reason == "clock"


def test_a_committed_release_moves_the_floor_of_the_clock(depot: Depot, places: TrustPlaces) -> None:
    accept(places, depot.release(7, changes={"created": NOW - 2 * DAY}))
    assert (read_accepted(places).releases, read_accepted(places).time) == ({"demo": 7}, NOW - 2 * DAY)
    assert refused(depot, places, NOW - 3 * DAY - 1).reason == "clock"
    assert open_depot(depot.source, places, at(NOW)).releases() == {"demo": [7]}


def test_a_host_a_little_behind_its_controller_takes_the_first_depot(depot: Depot, tmp_path: Path) -> None:
    depot.release()
    places = make_host(tmp_path / "behind", built=NOW + 5)
    assert open_depot(depot.source, places, at(NOW)).time == NOW


def test_what_has_expired_is_not_good_again_by_a_clock_that_is_a_little_behind(depot: Depot, tmp_path: Path) -> None:
    depot.release(now=NOW - 10 * DAY, expiry=Expiry(timestamp=10))
    places = make_host(tmp_path / "behind", built=NOW)
    assert refused(depot, places, NOW - 60).reason == "expired"


@pytest.mark.parametrize("now", [NOW, NOW + 1])
def test_a_release_from_a_builder_a_day_ahead_stops_neither_itself_nor_what_comes_next(
    depot: Depot, places: TrustPlaces, now: int
) -> None:
    depot.release(1, changes={"created": NOW + DAY})
    accept(places, take(depot, places))
    depot.release(2, changes={"created": now + DAY})
    trusted = open_depot(depot.source, places, at(now))
    assert choose(depot.source, trusted, places, AMD64).counter == 2


def test_the_newest_known_time_does_not_let_a_release_from_further_ahead_in(depot: Depot, places: TrustPlaces) -> None:
    accept(places, depot.release(1, changes={"created": NOW + DAY}))
    depot.release(2, changes={"created": NOW + DAY + 1})
    with pytest.raises(DepotError) as caught:
        take(depot, places)
    assert caught.value.reason == "clock"


def test_a_release_from_the_future_is_refused_before_its_time_becomes_the_floor(
    depot: Depot, places: TrustPlaces
) -> None:
    depot.release(changes={"created": NOW + 2 * DAY})
    with pytest.raises(DepotError) as caught:
        take(depot, places)
    assert caught.value.reason == "clock"


@pytest.mark.parametrize(
    ("changes", "reason", "told"),
    [
        ({"fleet": "trucks"}, "wrong_fleet", "'trucks'"),
        ({"hardware": ("mk1", "mk3")}, "wrong_hardware", "mk1, mk3"),
        ({"architecture": "arm64"}, "wrong_hardware", "arm64"),
        ({"minimum_version": "0.10.0"}, "too_new", "0.10.0"),
    ],
)
def test_a_release_for_others_is_refused(
    depot: Depot, places: TrustPlaces, changes: dict[str, t.Any], reason: str, told: str
) -> None:
    depot.release(changes=changes)
    with pytest.raises(DepotError, match=told) as caught:
        take(depot, places)
    assert caught.value.reason == reason


def test_the_newest_release_for_this_hosts_hardware_is_taken(depot: Depot, places: TrustPlaces) -> None:
    depot.release(8, [b"old"])
    wanted = depot.release(9, [b"mine"], {"hardware": ("mk1", "mk2")})
    depot.release(10, [b"for arm"], {"architecture": "arm64"})
    assert take(depot, places) == wanted
    assert take(depot, places, counter=8).counter == 8
    assert take(depot, places, Host("arm64")).counter == 10


def test_a_release_below_the_accepted_one_is_refused_and_the_same_one_is_not(depot: Depot, places: TrustPlaces) -> None:
    depot.release(8)
    accept(places, depot.release(9))
    assert take(depot, places).counter == 9
    with pytest.raises(DepotError, match="older than release 9") as caught:
        take(depot, places, counter=8)
    assert caught.value.reason == "older"


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [({}, "invalid"), ({"stack": "nothing"}, "no_release"), ({"stack": "demo", "counter": 5}, "no_release")],
)
def test_what_the_depot_lacks_is_told_with_what_it_has(
    depot: Depot, places: TrustPlaces, wanted: dict[str, t.Any], reason: str
) -> None:
    depot.release(1)
    depot.release(2, [b"other"], {"stack": "other"})
    with pytest.raises(DepotError, match=r"demo.*other") as caught:
        take(depot, places, **wanted)
    assert caught.value.reason == reason


def test_a_depot_without_releases_has_none(depot: Depot, places: TrustPlaces) -> None:
    depot.publish()
    with pytest.raises(DepotError, match="none at all") as caught:
        take(depot, places)
    assert caught.value.reason == "no_release"


def test_only_names_of_releases_count() -> None:
    names = (
        "releases/a/1.json",
        "releases/a/0.json",
        "releases/A/1.json",
        "releases/a/../1.json",
        "x",
        "releases/a/10.json",
    )
    assert Trusted("", dict.fromkeys(names, ("", 0)), {}, 0, 0).releases() == {"a": [1, 10]}


def test_a_manifest_that_was_signed_under_another_name_is_refused(depot: Depot, places: TrustPlaces) -> None:
    manifest = depot.release(3)
    depot.release_bytes(manifest.encode(), "releases/demo/4.json")
    with pytest.raises(DepotError, match="is the manifest of release 3") as caught:
        take(depot, places)
    assert caught.value.reason == "manifest_invalid"


def test_two_readers_at_once_do_not_meet(depot: Depot, places: TrustPlaces) -> None:
    depot.release()
    with alone(places), pytest.raises(DepotError) as caught:
        open_depot(depot.source, places, at(NOW), lock_timeout=0)
    assert caught.value.reason == "locked"
    assert open_depot(depot.source, places, at(NOW)).releases() == {"demo": [1]}


def test_roots_are_followed_one_by_one(depot: Depot, places: TrustPlaces) -> None:
    depot.roots[2] = next_root(first_root(), "root", "root-4", "root-1")
    depot.roots[3] = next_root(depot.roots[2], "root", "root-5", "root-2", ("root-3", "root-4"))
    depot.release()
    assert open_depot(depot.source, places, at(NOW)).versions["root"] == 3


def test_metadata_of_a_thief_does_not_lock_a_host_out_once_its_keys_are_replaced(
    depot: Depot, places: TrustPlaces, tmp_path: Path
) -> None:
    depot.release()
    thief = depot.copy(tmp_path / "thief")
    for _turn in range(20):  # far ahead of what the fleet has published
        thief.publish(refresh=True, names=("snapshot-1", "timestamp-1"))
    assert open_depot(thief.source, places, at(NOW)).versions["timestamp"] == 21
    assert refused(depot, places).reason == "older"
    depot.roots[2] = next_root(first_root(), "timestamp", "timestamp-2", "timestamp-1")
    depot.roots[3] = next_root(depot.roots[2], "snapshot", "snapshot-2", "snapshot-1")
    depot.publish(refresh=True, names=("snapshot-2", "timestamp-2"))
    assert open_depot(depot.source, places, at(NOW)).versions["timestamp"] == 2
    assert read_accepted(places).versions["timestamp"] == 2
    assert refused(thief, places).reason in ("unsigned", "older")


def stolen(depot: Depot, places: TrustPlaces, folder: Path) -> Depot:
    """Have a thief with all keys but root's show a host versions and a release beyond all others; return his stick."""
    depot.release(1)
    thief = depot.copy(folder / "thief")
    for _turn in range(20):
        thief.publish(refresh=True)
    accept(places, thief.release(BEYOND, [b"the thief's"]))
    assert open_depot(thief.source, places, at(NOW)).versions["timestamp"] == 22
    return thief


def replace_keys(depot: Depot, *roles: str) -> list[str]:
    """Replace every key of these roles; return the names of those that sign now."""
    names = list(NAMES)
    for role in roles:
        old = [name for name in names if name.startswith(role)]
        new = [f"{role}-{number + 11}" for number in range(len(old))]
        newest = max(depot.roots)
        public, gone = [key(name).public_key for name in new], [keyid(name) for name in old]
        depot.roots[newest + 1] = rotate(depot.roots[newest], role, public, gone, signers(*ROOTS), NOW)
        names = [name for name in names if name not in old] + new
    return names


@pytest.mark.parametrize("enrolled", ["before", "again first"])
def test_what_a_thief_made_up_does_not_lock_a_host_out_whether_it_is_enrolled_again_or_not(
    depot: Depot, places: TrustPlaces, tmp_path: Path, enrolled: str
) -> None:
    thief = stolen(depot, places, tmp_path)
    names = replace_keys(depot, "targets", "timestamp", "snapshot")
    wanted = depot.release(2, [b"ours"], names=names, resign=True)
    if enrolled == "again first":
        *earlier, newest = (depot.roots[version] for version in sorted(depot.roots))
        enrol(places, newest, read_enrolment(places), earlier=earlier)
    assert take(depot, places) == wanted
    accept(places, wanted)
    assert read_accepted(places).releases == {"demo": 2}
    assert refused(thief, places).reason in ("unsigned", "older")
    with pytest.raises(DepotError, match="older than release 2"):
        take(depot, places, counter=1)


def test_release_numbers_stay_where_only_other_keys_were_replaced(
    depot: Depot, places: TrustPlaces, tmp_path: Path
) -> None:
    stolen(depot, places, tmp_path)
    for version in range(2, 24):  # so that nothing is refused by a version
        depot.publish({f"x/{version}": ("0" * 64, 1)})
    names = replace_keys(depot, "timestamp", "snapshot")
    depot.release(2, [b"ours"], names=names)
    with pytest.raises(DepotError, match=f"older than release {BEYOND}"):
        take(depot, places)
    assert read_accepted(places).releases == {"demo": BEYOND}


def test_replacing_one_of_several_keys_keeps_the_floor(depot: Depot, tmp_path: Path) -> None:
    """What the other one signed before is still good, so it must not come back."""
    names = {role: [f"{role}-1", f"{role}-2"] for role in ("root", "targets", "snapshot", "timestamp")}
    public = {role: [key(name).public_key for name in listed] for role, listed in names.items()}
    depot.roots[1] = make_root(public, signers("root-1", "root-2"), NOW, {"targets": 2})
    places = make_host(tmp_path / "host", depot.roots[1])
    depot.release(1)
    old = depot.copy(tmp_path / "old")
    depot.release(2)
    assert open_depot(depot.source, places, at(NOW)).versions["timestamp"] == 2
    for role in ("timestamp", "snapshot", "targets"):
        (Path(places.cache) / f"{role}.json").unlink()
    old.roots[2] = next_root(depot.roots[1], "timestamp", "timestamp-3", "timestamp-2", ("root-1", "root-2"))
    (old.metadata / "2.root.json").write_bytes(old.roots[2])
    error = refused(old, places)
    assert (error.reason, error.details["role"]) == ("older", "timestamp")


@pytest.mark.parametrize("torn", [b"", b"{", b"[]"])
def test_what_a_power_cut_left_of_tufs_cache_does_not_matter(depot: Depot, places: TrustPlaces, torn: bytes) -> None:
    depot.release()
    trusted = open_depot(depot.source, places, at(NOW))
    for path in Path(places.cache).rglob("*.json"):
        if not path.is_symlink():
            path.write_bytes(torn)
    assert open_depot(depot.source, places, at(NOW)) == trusted


def test_without_the_library_a_depot_is_refused_with_the_way_out(
    depot: Depot, places: TrustPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    depot.release()

    def need_tuf() -> None:
        raise DepotError("no python-tuf", reason="library_missing")

    monkeypatch.setattr(_depot_trust, "need_tuf", need_tuf)
    assert refused(depot, places).reason == "library_missing"


PURE = """
import sys
sys.modules["cryptography"] = None
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import TrustPlaces
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import open_depot
try:
    print(open_depot(Folder(sys.argv[1]), TrustPlaces(*sys.argv[2:4]), lambda: float(sys.argv[4])).releases())
except DepotError as exc:
    print(exc.reason)
assert not any(name.startswith("cryptography.") for name in sys.modules)
"""


@pytest.mark.parametrize(("names", "expected"), [(NAMES, "{'demo': [1]}"), (("forged",), "unsigned")])
def test_signatures_are_checked_without_the_package_cryptography(
    depot: Depot, places: TrustPlaces, names: tuple[str, ...], expected: str
) -> None:
    depot.release()
    if "forged" in names:
        path = depot.newest("timestamp")
        document = json.loads(path.read_bytes())
        document["signed"]["version"] = 2
        path.write_text(json.dumps(document))
    command = [sys.executable, "-c", PURE, str(depot.path), places.anchor, places.state, str(NOW)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "collections")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (result.stdout.strip(), result.stderr) == (expected, "")


def test_a_depot_is_read_through_the_source_alone(depot: Depot, places: TrustPlaces) -> None:
    """A web server is a source, too."""
    depot.release()

    class Elsewhere(Folder):
        shown = "https://depot.example"

    trusted = open_depot(Elsewhere(str(depot.path)), places, at(NOW))
    assert trusted.shown == "https://depot.example"
