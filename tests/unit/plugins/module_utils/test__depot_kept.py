# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_kept
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_kept import lay_out, read_stored
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_sync import Synced, SyncRequest, sync
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Store
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import locked, remove
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_content import Depot


@pytest.fixture(name="depot")
def depot_fixture(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "depot")


@pytest.fixture(name="root")
def root_fixture(tmp_path: Path, depot: Depot) -> str:
    root = str(tmp_path / "root")
    again(depot, root)
    return root


@pytest.fixture(name="packages")
def packages_fixture(depot: Depot) -> dict[str, str]:
    return dict(depot.manifest.packages["trixie"])


def again(depot: Depot, root: str) -> Synced:
    return sync(Folder(str(depot.folder)), SyncRequest(depot.manifest, root))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def spoil(root: str, digest: str, data: bytes) -> None:
    path = Path(Store(root).blob(digest))
    path.chmod(0o644)
    path.write_bytes(data)


def test_the_release_document_is_read_back_checked(depot: Depot, root: str) -> None:
    assert read_stored(root, depot.manifest.release) == depot.content.release


@pytest.mark.parametrize("data", [b"", b'{"schema":2}', b'{"schema":1} '])
def test_a_document_that_was_changed_on_the_host_is_not_read(depot: Depot, root: str, data: bytes) -> None:
    spoil(root, depot.manifest.release, data)
    with pytest.raises(DepotError) as caught:
        read_stored(root, depot.manifest.release)
    assert caught.value.reason == "blob_corrupt"


def test_what_is_not_in_the_store_is_not_read(root: str) -> None:
    with pytest.raises(DepotError) as caught:
        read_stored(root, "0" * 64)
    assert caught.value.reason == "blob_missing"


def test_what_is_too_large_for_a_document_is_not_read(depot: Depot, root: str) -> None:
    with pytest.raises(DepotError) as caught:
        read_stored(root, depot.manifest.release, limit=3)
    assert caught.value.reason == "blob_corrupt"


@pytest.mark.parametrize("name", ["../../../etc/passwd", "A" * 64, "", "0" * 63])
def test_a_name_that_could_lead_out_of_the_store_is_refused(root: str, name: str) -> None:
    with pytest.raises(DepotError) as caught:
        read_stored(root, name)
    assert caught.value.reason == "unsafe_path"


def test_a_link_in_place_of_content_is_not_followed(depot: Depot, root: str, tmp_path: Path) -> None:
    path = Path(Store(root).blob(depot.manifest.release))
    path.unlink()
    (tmp_path / "same").write_bytes(depot.content.release)
    path.symlink_to(tmp_path / "same")
    with pytest.raises(DepotError):
        read_stored(root, depot.manifest.release)


def test_a_folder_is_laid_out_of_the_stores_own_files_once(
    depot: Depot, root: str, packages: dict[str, str], tmp_path: Path
) -> None:
    dest = tmp_path / "var" / "packages" / "trixie"
    assert lay_out(root, packages, str(dest))
    assert tree(dest) == depot.content.packages
    for path, digest in packages.items():
        assert os.path.samefile(dest / path, Store(root).blob(digest))
    assert not lay_out(root, packages, str(dest))
    assert os.listdir(dest.parent) == ["trixie"]


def test_other_users_can_read_what_is_laid_out_whatever_the_umask(
    root: str, packages: dict[str, str], tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        lay_out(root, packages, str(tmp_path / "apt"))
    finally:
        os.umask(before)
    assert (tmp_path / "apt").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "apt" / "pool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "apt" / "pool" / "a.deb").stat().st_mode & 0o777 == 0o444


def test_laying_out_costs_the_next_sync_no_reading(
    depot: Depot, root: str, packages: dict[str, str], tmp_path: Path
) -> None:
    lay_out(root, packages, str(tmp_path / "apt"))
    assert again(depot, root).bytes_read == 0
    lay_out(root, dict(list(packages.items())[:1]), str(tmp_path / "apt"))  # removes a link
    assert again(depot, root).bytes_read == 0


@pytest.mark.parametrize("exchange", [True, False], ids=["by one rename", "where names cannot be exchanged"])
def test_what_was_there_is_replaced_as_a_whole(
    depot: Depot,
    root: str,
    packages: dict[str, str],
    exchange: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not exchange:
        monkeypatch.setattr(_depot_kept, "_exchange", lambda _one, _other: False)
    dest = tmp_path / "apt"
    (dest / "pool").mkdir(parents=True)
    (dest / "pool" / "old.deb").write_bytes(b"of another release")
    assert lay_out(root, packages, str(dest))
    assert tree(dest) == depot.content.packages
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


CHANGES = {
    "a file more": lambda dest: (dest / "extra").write_bytes(b"x"),
    "a file less": lambda dest: (dest / "pool" / "a.deb").unlink(),
    "a copy": lambda dest: [(dest / "pool" / "a.deb").unlink(), (dest / "pool" / "a.deb").write_bytes(b"a package")],
    "a link": lambda dest: [(dest / "Packages").unlink(), (dest / "Packages").symlink_to("/dev/null")],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_that_was_changed_is_laid_out_again(
    depot: Depot, root: str, packages: dict[str, str], change: str, tmp_path: Path
) -> None:
    dest = tmp_path / "apt"
    lay_out(root, packages, str(dest))
    CHANGES[change](dest)
    assert lay_out(root, packages, str(dest))
    assert tree(dest) == depot.content.packages
    assert not any(path.is_symlink() for path in dest.rglob("*"))


def test_content_that_was_changed_in_the_store_is_not_laid_out_and_a_sync_repairs_it(
    depot: Depot, root: str, packages: dict[str, str], tmp_path: Path
) -> None:
    dest = tmp_path / "apt"
    spoil(root, packages["pool/a.deb"], b"b package")
    with pytest.raises(DepotError) as caught:
        lay_out(root, packages, str(dest))
    assert caught.value.reason == "blob_corrupt"
    assert not dest.exists()
    assert again(depot, root).changed
    assert lay_out(root, packages, str(dest))
    assert tree(dest) == depot.content.packages


def test_content_that_the_store_lacks_is_not_laid_out(root: str, tmp_path: Path) -> None:
    with pytest.raises(DepotError) as caught:
        lay_out(root, {"a": "0" * 64}, str(tmp_path / "apt"))
    assert caught.value.reason == "blob_missing"
    assert not (tmp_path / "apt").exists()


def test_what_a_run_that_was_killed_has_left_is_no_obstacle(
    depot: Depot, root: str, packages: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / ".apt.new" / "pool").mkdir(parents=True)
    (tmp_path / ".apt.new" / "pool" / "half").write_bytes(b"")
    assert lay_out(root, packages, str(tmp_path / "apt"))
    assert tree(tmp_path / "apt") == depot.content.packages


@pytest.mark.parametrize("path", ["../out", "/etc/cron.d/x", "a/../../b", "a//b", ""])
def test_a_path_that_leads_out_of_the_folder_is_refused(
    root: str, packages: dict[str, str], path: str, tmp_path: Path
) -> None:
    with pytest.raises(DepotError) as caught:
        lay_out(root, {path: packages["pool/a.deb"]}, str(tmp_path / "apt"))
    assert caught.value.reason == "manifest_invalid"
    assert not (tmp_path / "apt").exists()


@pytest.mark.parametrize("dest", ["relative", "/", "{root}", "{root}/store/sha256/x"])
def test_a_dest_that_would_take_something_else_away_is_refused(root: str, packages: dict[str, str], dest: str) -> None:
    with pytest.raises(DepotError) as caught:
        lay_out(root, packages, dest.format(root=root))
    assert caught.value.reason == "invalid"


def test_a_dest_that_is_a_link_is_refused(root: str, packages: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "apt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DepotError) as caught:
        lay_out(root, packages, str(tmp_path / "apt"))
    assert caught.value.reason == "unsafe_path"
    assert os.listdir(tmp_path / "elsewhere") == []


def test_while_another_run_holds_the_store_nothing_is_laid_out(
    root: str, packages: dict[str, str], tmp_path: Path
) -> None:
    with locked(os.path.join(root, "store", "lock"), 0), pytest.raises(DepotError) as caught:
        lay_out(root, packages, str(tmp_path / "apt"), lock_timeout=0)
    assert caught.value.reason == "locked"


def test_on_another_file_system_the_folder_has_copies_and_is_known_again(
    depot: Depot, root: str, packages: dict[str, str], tmp_path: Path
) -> None:
    other = Path("/dev/shm")
    if not os.access(other, os.W_OK) or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    dest = other / f"depot-{os.getpid()}" / "apt"
    try:
        assert lay_out(root, packages, str(dest))
        assert tree(dest) == depot.content.packages
        assert not lay_out(root, packages, str(dest))
        (dest / "pool" / "a.deb").chmod(0o644)
        (dest / "pool" / "a.deb").write_bytes(b"b package")
        assert lay_out(root, packages, str(dest))
        assert tree(dest) == depot.content.packages
    finally:
        remove(str(dest.parent))
