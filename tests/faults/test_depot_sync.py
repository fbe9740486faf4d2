# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Syncs from depots that are damaged, changed or pulled, onto disks that fail, by processes that are killed.

Whatever happens: nothing unverified is in the store or published, what was there before is as it was, and the same
sync with a good depot finishes.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import subprocess
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Blob, Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_kept import lay_out
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_sync import Synced, SyncRequest, sync
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_verify import verify
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store
from ansible_collections.emorobcare.fleet.tests.faults._crash import (
    LoopDisk,
    before_each_step,
    killed_at,
    without_direct,
)
from ansible_collections.emorobcare.fleet.tests.faults._pulls import CHUNK, left_over, pull
from ansible_collections.emorobcare.fleet.tests.faults.test_depot_verify import FAULTS, flip, swap
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_content import (
    Content,
    Depot,
    noise,
    sha256,
)

pytestmark = pytest.mark.usefixtures("small_chunks")

BEFORE = {"old.bin": noise(5_000, seed=3)}
SMALL, LARGE = noise(9_000), noise(3 * CHUNK + 30_001, seed=2)  # received as a whole, and in four chunks
POINTS = 10


def content(**more: t.Any) -> Content:
    return Content(models={"1": {"model.bin": SMALL, "large.bin": LARGE}}, **more)


def prepared(root: Path) -> Path:
    """Put another release into a store."""
    nothing: dict[str, bytes] = {}
    before = Content(b"old", nothing, (), {"0": BEFORE}, nothing, nothing)
    run(Depot(root.with_name(f"{root.name}.depot"), before), root)
    return root


@pytest.fixture(name="root")
def root_fixture(tmp_path: Path) -> Path:
    """A store in which something is already."""
    return prepared(tmp_path / "root")


@pytest.fixture(name="depot")
def depot_fixture(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "depot", content())


def run(depot: Depot, root: Path, **more: t.Any) -> Synced:
    return sync(Folder(str(depot.folder)), SyncRequest(depot.manifest, str(root), **more))


def refusal(depot: Depot, root: Path, **more: t.Any) -> DepotError:
    with pytest.raises(DepotError) as caught:
        run(depot, root, **more)
    return caught.value


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_clean(root: Path, before: bool = True) -> None:
    """Nothing is there that was not verified, and what was there before is as it was."""
    for path in (root / "store" / "sha256").glob("*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    versions = {path.name: files(path) for path in (root / "models" / "speech").glob("*")}
    assert versions.pop("1", {"model.bin": SMALL, "large.bin": LARGE}) == {"model.bin": SMALL, "large.bin": LARGE}
    assert versions == ({"0": BEFORE} if before else {})


def check_done(depot: Depot, root: Path, before: bool = True) -> None:
    """All of the release is there, and neither the next sync nor model_pull has anything to do."""
    check_clean(root, before)
    assert depot.kept.keys() <= {path.name for path in (root / "store" / "sha256").iterdir()}
    assert files(root / "models" / "speech" / "1") == depot.model()
    assert left_over(root) == []
    again = run(depot, root)
    assert (again.changed, again.bytes_read) == (False, 0)
    pins = [
        {"path": path, "sha256": sha256(data), "size": len(data), "source": "file:///nowhere"}
        for path, data in depot.model().items()
    ]
    assert pull(root, *pins).plan.action == "none"


# The depot is wrong.

REASONS = {"content": "blob_corrupt", "size": "blob_corrupt", "missing": "blob_missing", "unsafe": "unsafe_path"}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["model.bin", "large.bin"])
def test_a_blob_that_is_not_what_was_signed_never_gets_into_the_store(
    depot: Depot, root: Path, fault: str, name: str
) -> None:
    change, kind = FAULTS[fault]
    digest = depot.manifest.models[0].files[name]
    good = depot.path(digest).read_bytes()
    change(depot.path(digest))
    before = os.listdir(root / "store" / "sha256")
    error = refusal(depot, root)
    if kind in ("missing", "size", "unsafe"):
        assert os.listdir(root / "store" / "sha256") == before, "it could be told before the first byte was copied"
    assert error.reason == REASONS[kind]
    assert digest in str(error)
    check_clean(root)
    assert not Path(Store(str(root)).blob(digest)).exists()
    assert not (root / "models" / "speech" / "1").exists()
    replace_with(depot.path(digest), good)
    assert run(depot, root).published == ("speech/1",)
    check_done(depot, root)


def replace_with(path: Path, data: bytes) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def test_two_blobs_that_were_swapped_are_refused(depot: Depot, root: Path) -> None:
    first, second = depot.manifest.packages["trixie"]["pool/a.deb"], depot.manifest.release
    swap(depot.path(first), depot.path(second))
    assert refusal(depot, root).reason == "blob_corrupt"
    check_clean(root)
    swap(depot.path(first), depot.path(second))
    run(depot, root)
    check_done(depot, root)


def test_two_blobs_of_the_same_size_that_were_swapped_are_refused(root: Path, tmp_path: Path) -> None:
    depot = Depot(tmp_path / "twins", content(files={"a": b"one", "b": b"two"}))
    swap(depot.path(sha256(b"one")), depot.path(sha256(b"two")))
    error = refusal(depot, root)
    assert error.reason == "blob_corrupt"
    assert "file a" in str(error) or "file b" in str(error)
    check_clean(root)


def test_a_file_that_nobody_names_is_not_copied(depot: Depot, root: Path) -> None:
    depot.path(sha256(b"stowaway")).write_bytes(b"stowaway")
    (depot.folder / "blobs" / "sha256" / "..x").write_bytes(b"")
    run(depot, root)
    check_done(depot, root)
    assert not Path(Store(str(root)).blob(sha256(b"stowaway"))).exists()


@pytest.mark.parametrize("path", ["../escape", "a/../../../escape", "/escape"])
def test_a_model_that_wants_to_be_elsewhere_is_refused(depot: Depot, root: Path, path: str) -> None:
    """The manifest's own reader refuses it too; this is what would stop one that got past it."""
    import dataclasses

    model = depot.manifest.models[0]
    twisted = dataclasses.replace(model, files={path: model.files["model.bin"]})
    manifest = dataclasses.replace(depot.manifest, models=(twisted,))
    with pytest.raises(DepotError) as caught:
        sync(Folder(str(depot.folder)), SyncRequest(manifest, str(root)))
    assert caught.value.reason == "manifest_invalid"
    check_clean(root)
    assert not (root / "models" / "escape").exists()


def test_a_blob_that_changes_between_verifying_and_copying_is_found_out(depot: Depot, root: Path) -> None:
    assert verify(Folder(str(depot.folder)), [depot.manifest]).problems == ()
    digest = depot.manifest.models[0].files["large.bin"]
    flip(depot.path(digest), len(LARGE) // 2)
    assert refusal(depot, root).reason == "blob_corrupt"
    check_clean(root)


def test_what_was_right_before_the_first_wrong_blob_is_neither_copied_nor_read_again(
    root: Path, tmp_path: Path
) -> None:
    depot = Depot(tmp_path / "depot", Content(models={"1": {"model.bin": SMALL, "large.bin": LARGE}}))
    flip(depot.path(sha256(LARGE)), len(LARGE) - 1)
    refusal(depot, root)
    flip(depot.path(sha256(LARGE)), len(LARGE) - 1)
    kept = {path.name for path in (root / "store" / "sha256").iterdir()} & depot.kept.keys()
    assert kept
    done = run(depot, root)
    assert done.bytes_read == 0
    assert done.plan.copies.keys() == depot.kept.keys() - kept


class Meddling(Folder):
    """A folder in which something happens when a blob is opened for the n-th time."""

    def __init__(self, path: str, when: int, then: t.Callable[[], object]) -> None:
        super().__init__(path)
        self._left = when
        self._then = then

    @contextlib.contextmanager
    def open_blob(self, sha256: str, start: int = 0) -> t.Iterator[Blob]:
        self._left -= 1
        if not self._left:
            self._then()
        with super().open_blob(sha256, start) as blob:
            yield blob


def link_in_place(path: Path) -> None:
    """At once: other threads are reading the depot meanwhile, and would find nothing there."""
    (path.parents[2] / "link").symlink_to("/dev/zero")
    (path.parents[2] / "link").rename(path)


CHANGES: dict[str, t.Callable[[Path], object]] = {
    "flipped": lambda path: flip(path, len(LARGE) - 1),
    "shorter": lambda path: os.truncate(path, 10),
    "longer": lambda path: os.truncate(path, 10 << 30),
    "a link": link_in_place,
    "gone": os.unlink,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_blob_that_changes_while_others_are_copied_is_found_out(depot: Depot, root: Path, change: str) -> None:
    path = depot.path(depot.manifest.models[0].files["large.bin"])
    source = Meddling(str(depot.folder), 1, lambda: CHANGES[change](path))
    with pytest.raises(DepotError) as caught:
        sync(source, SyncRequest(depot.manifest, str(root)))
    reasons = {"a link": "unsafe_path", "gone": "blob_missing"}
    assert caught.value.reason == reasons.get(change, "blob_corrupt")
    check_clean(root)
    replace_with(path, LARGE)
    run(depot, root)
    check_done(depot, root)


def test_a_medium_that_cannot_be_read_is_blamed_and_not_the_store(
    depot: Depot, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inode = depot.path(sha256(LARGE)).stat().st_ino
    original = os.preadv

    def fail(fd: int, buffers: t.Any, offset: int, *more: t.Any) -> int:
        if os.fstat(fd).st_ino == inode and offset > CHUNK:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return original(fd, buffers, offset, *more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", fail)
        error = refusal(depot, root)
    assert error.reason == "io_error"
    assert str(depot.folder) in str(error)
    assert "put it in again" in str(error)
    check_clean(root)
    run(depot, root)
    check_done(depot, root)


# The stick is pulled.


class Stick:
    """A depot on a file system of its own that can be pulled and put in again."""

    def __init__(self, folder: Path) -> None:
        self._disk = LoopDisk(folder / "stick.img", 16 << 20)
        with self._disk as mount:
            Depot(mount / "depot", content())
        self._disk.mount.mkdir()
        self.inside = False

    @property
    def folder(self) -> Path:
        return self._disk.mount / "depot"

    def put_in(self) -> None:
        subprocess.run(["mount", "-o", "loop,ro", str(self._disk.image), str(self._disk.mount)], check=True)
        self.inside = True

    def pull(self) -> None:
        if self.inside:
            subprocess.run(["umount", "-l", str(self._disk.mount)], check=True)
        self.inside = False


@pytest.fixture(name="stick")
def stick_fixture(disks: Path) -> t.Iterator[Stick]:
    stick = Stick(disks)
    try:
        yield stick
    finally:
        stick.pull()


def reads(work: t.Callable[[t.Callable[[], object]], object]) -> int:
    """Count the blobs that `work` opens or asks for, by what it calls."""
    count = 0

    def tell() -> None:
        nonlocal count
        count += 1

    work(tell)
    return count


class Watched(Folder):
    """A folder that tells before each time that a file is opened."""

    def __init__(self, path: str, tell: t.Callable[[], object]) -> None:
        super().__init__(path)
        self._tell = tell
        self._watch = threading.Lock()

    @contextlib.contextmanager
    def _opened(self, name: str, flags: int = 0) -> t.Iterator[int | None]:
        with self._watch:
            self._tell()
        with super()._opened(name, flags) as fd:
            yield fd


@pytest.mark.parametrize("point", range(POINTS))
def test_a_stick_that_is_pulled_ends_the_sync_and_the_next_one_finishes(
    stick: Stick, depot: Depot, root: Path, point: int, tmp_path: Path
) -> None:
    stick.put_in()

    def work(tell: t.Callable[[], object], into: Path) -> Synced:
        return sync(Watched(str(stick.folder), tell), SyncRequest(depot.manifest, str(into)))

    counted = prepared(tmp_path / "counted")
    opened = reads(lambda tell: work(tell, counted))
    left = 1 + point * opened // POINTS

    def pull_then() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            stick.pull()

    with pytest.raises(DepotError) as caught:
        work(pull_then, root)
    assert caught.value.reason == "io_error"
    assert "put it in again" in str(caught.value)
    check_clean(root)
    stick.put_in()
    assert work(lambda: None, root).complete
    check_done(depot, root)


# The process is killed.


def steps(work: t.Callable[[], object]) -> int:
    count = 0

    def note(number: int) -> None:
        nonlocal count
        count = number

    with before_each_step(note):
        work()
    return count


@pytest.mark.parametrize("point", range(POINTS))
def test_a_sync_that_is_killed_leaves_nothing_half_and_the_next_one_finishes(
    depot: Depot, root: Path, point: int, tmp_path: Path
) -> None:
    counted = prepared(tmp_path / "counted")
    last = steps(lambda: run(depot, counted))
    assert killed_at(1 + point * (last - 10) // POINTS, lambda: run(depot, root))
    check_clean(root)
    done = run(depot, root)
    assert done.bytes_copied <= sum(map(len, depot.kept.values()))
    check_done(depot, root)


def test_what_was_copied_before_a_kill_is_not_copied_again(depot: Depot, root: Path, tmp_path: Path) -> None:
    last = steps(lambda: run(depot, tmp_path / "counted"))
    resumed = 0
    for step in range(last - 2, 0, -max(1, last // 20)):
        victim = tmp_path / f"victim{step}"
        if killed_at(step, functools.partial(run, depot, victim)):
            done = run(depot, victim)
            resumed += done.bytes_resumed
            check_done(depot, victim, before=False)
    assert resumed > 0


@pytest.mark.parametrize("point", range(POINTS))
def test_laying_out_that_is_killed_leaves_the_old_folder_or_the_new_one(
    depot: Depot, root: Path, point: int, tmp_path: Path
) -> None:
    run(depot, root)
    packages = dict(depot.manifest.packages["trixie"])
    dest = tmp_path / "apt"

    def old(to: Path) -> None:
        lay_out(str(root), {"Packages": packages["Packages"]}, str(to))

    old(tmp_path / "counted")
    last = steps(lambda: lay_out(str(root), packages, str(tmp_path / "counted")))
    old(dest)
    assert killed_at(1 + point * (last - 1) // POINTS, lambda: lay_out(str(root), packages, str(dest)))
    assert files(dest) in ({"Packages": b""}, depot.content.packages)
    lay_out(str(root), packages, str(dest))
    assert files(dest) == depot.content.packages
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []
    check_clean(root)


# The power is cut.


def stamped(root: Path) -> t.Iterator[Path]:
    """The content that the store takes for verified."""
    store = Store(str(root))
    for digest, stamp in store.read_stamps().items():
        path = Path(store.blob(digest))
        if path.exists() and Stamp.of(path.stat()) == stamp:
            yield path


@pytest.mark.parametrize("direct", [True, False], ids=["past the cache", "through the cache"])
def test_whenever_the_power_is_cut_nothing_unverified_is_believed_and_the_next_sync_finishes(
    disks: Path, depot: Depot, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not direct:
        without_direct(monkeypatch)
    disk = LoopDisk(disks / "host.img", 32 << 20)
    counted = prepared(disks / "counted")
    last = steps(lambda: run(depot, counted))
    at = {1 + point * (last - 1) // POINTS for point in range(POINTS)} | {last}
    pictures: list[Path] = []

    def picture(number: int) -> None:
        if number in at:
            pictures.append(disks / f"picture{number}.img")
            disk.picture(pictures[-1])

    with disk as mount:
        prepared(mount / "root")
        os.sync()
        with before_each_step(picture):
            run(depot, mount / "root")
        pictures.append(disks / "after.img")
        disk.picture(pictures[-1])
    assert len(pictures) > POINTS // 2
    for image in pictures:
        with LoopDisk(image) as mount:
            root = mount / "root"
            for path in stamped(root):
                assert sha256(path.read_bytes()) == path.name, image
            for version in (root / "models" / "speech").iterdir():
                assert files(version) == {"0": BEFORE, "1": depot.model()}[version.name], image
            assert (root / "models" / "speech" / "0").exists()
            if image.name == "after.img":
                assert (root / "models" / "speech" / "1").exists()
            run(depot, root)
            check_done(depot, root)
        image.unlink()


def test_a_folder_that_was_laid_out_outlasts_a_power_cut(disks: Path, depot: Depot, root: Path) -> None:
    run(depot, root)
    disk = LoopDisk(disks / "apt.img", 16 << 20)
    with disk as mount:  # on another file system: so these are copies
        os.sync()
        assert lay_out(str(root), depot.manifest.packages["trixie"], str(mount / "apt"))
        disk.picture(disks / "after.img")
    with LoopDisk(disks / "after.img") as mount:
        assert files(mount / "apt") == depot.content.packages


# Others, and disks.


def test_two_syncs_at_once_copy_once_and_both_succeed(depot: Depot, root: Path) -> None:
    done: list[Synced] = []
    errors: list[BaseException] = []
    together = threading.Barrier(2)

    def work() -> None:
        try:
            together.wait()
            done.append(run(depot, root))
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(one.bytes_copied for one in done) == sum(map(len, depot.kept.values()))
    check_done(depot, root)


def test_a_store_that_another_run_holds_is_waited_for_and_then_left(depot: Depot, root: Path) -> None:
    with Store(str(root)).locked(0):
        error = refusal(depot, root, lock_timeout=0)
    assert error.reason == "locked"
    assert str(os.getpid()) in str(error)
    check_clean(root)


def test_a_disk_that_is_too_small_is_refused_before_the_first_byte(disks: Path) -> None:
    big = Depot(disks / "big", Content(models={"1": {"m": noise(6 << 20)}}))
    with LoopDisk(disks / "small.img", 4 << 20) as mount:
        for check_mode in (True, False):
            error = refusal(big, mount / "root", check_mode=check_mode)
            assert error.reason == "no_space"
            assert 6 << 20 < error.details["needed"] < 7 << 20
            assert not (mount / "root").exists()


def test_a_disk_has_room_for_what_is_copied_once(disks: Path) -> None:
    """The peak is what is copied: no second copy is made on the way."""
    big = Depot(disks / "big", Content(models={"1": {"m": noise(5 << 20)}}))
    with LoopDisk(disks / "small.img", 8 << 20) as mount:
        assert run(big, mount / "root").published == ("speech/1",)


BROKEN = [
    pytest.param("posix_fallocate", errno.ENOSPC, 0, "no_space", id="no space to reserve"),
    pytest.param("pwrite", errno.ENOSPC, 1, "no_space", id="no space to write"),
    pytest.param("write", errno.ENOSPC, 3, "no_space", id="no space for something small"),
    pytest.param("pwrite", errno.EIO, 2, "io_error", id="a write fails"),
    pytest.param("pwrite", errno.EROFS, 2, "read_only", id="the disk turns read-only"),
    pytest.param("fsync", errno.EIO, 1, "io_error", id="a sync fails"),
    pytest.param("rename", errno.EIO, 2, "io_error", id="a rename fails"),
    pytest.param("link", errno.EMLINK, 0, "io_error", id="no further links"),
]


@pytest.mark.parametrize(("call", "code", "after", "reason"), BROKEN)
def test_a_disk_that_fails_meanwhile_leaves_nothing_half(
    depot: Depot, root: Path, call: str, code: int, after: int, reason: str
) -> None:
    original, left, lock = getattr(os, call), after, threading.Lock()

    def fail(*args: t.Any, **kwargs: t.Any) -> t.Any:
        nonlocal left
        with lock:
            left -= 1
            if left < 0:
                raise OSError(code, os.strerror(code))
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, fail)
        error = refusal(depot, root)
    assert error.reason == reason
    check_clean(root)
    run(depot, root)
    check_done(depot, root)


def test_on_a_read_only_disk_what_is_whole_passes_and_what_is_missing_is_refused(disks: Path, depot: Depot) -> None:
    disk = LoopDisk(disks / "host.img", 16 << 20)
    with disk as mount:
        prepared(mount / "root")
        old = Depot(disks / "old", Content(models={"0": BEFORE}))
        run(old, mount / "root")
        disk.remount("ro")
        assert not run(old, mount / "root").changed
        for check_mode in (True, False):
            assert refusal(depot, mount / "root", check_mode=check_mode).reason == "read_only"
        disk.remount("rw")
        run(depot, mount / "root")
        check_done(depot, mount / "root")


@pytest.mark.parametrize("place", ["store", "store/sha256", "store/partial", "models", "models/speech"])
def test_a_link_in_place_of_a_folder_of_the_store_is_refused(depot: Depot, tmp_path: Path, place: str) -> None:
    root, elsewhere = tmp_path / "fresh", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / place).parent.mkdir(parents=True)
    (root / place).symlink_to(elsewhere)
    assert refusal(depot, root).reason == "unsafe_path"
    assert os.listdir(elsewhere) == []
