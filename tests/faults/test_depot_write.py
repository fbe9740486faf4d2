# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever happens while a depot is written, it is the old one or the new one, and the next run finishes it."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import (
    _depot_partial,
    _depot_publish,
    _depot_store,
    _depot_write,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_medium import (
    Medium,
    check_room,
    look_at_medium,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import parse_manifest
from ansible_collections.emorobcare.fleet.tests.faults._crash import LoopDisk, before_each_step, killed_at
from ansible_collections.emorobcare.fleet.tests.faults._debian_tools import Tools, debian_tools
from ansible_collections.emorobcare.fleet.tests.faults.test_model_pull_crash import Cuts
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_writing import (
    MODELS,
    Builder,
    Result,
    encoded,
    sha256,
    signed,
    stored,
)

STRIDES = [pytest.param(5, id="every fifth step"), pytest.param(1, id="every step", marks=pytest.mark.slow)]
NEW = {"voice": {**MODELS["voice"], "weights.bin": random.Random(2).randbytes(400_000), "more.bin": b"m" * 70_000}}


class Update:
    """A builder whose depot has release 1 of the stack, and is to get release 2, after which 1 is pruned."""

    def __init__(self, folder: Path, depot: Path) -> None:
        self.builder = Builder(folder)
        self.builder.depot = depot
        stored(self.builder.root, NEW)
        self.first = self.done(self.builder.content())["target"]
        self.done(self.builder.publish(1, self.first))
        assert self.builder.release_of() == 1

    def done(self, result: Result) -> Result:
        assert not result.get("failed"), result["msg"]
        return result

    def content(self, **more: t.Any) -> Result:
        told = {self.first["path"]: [self.first["sha256"], self.first["length"]]}
        return self.builder.content(NEW, targets=told, **more)

    def look(self) -> int | None:
        """Return the release that a host would take; what has the name of a blob is that blob, and is complete."""
        folder = self.builder.depot / "blobs" / "sha256"
        blobs = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert all(sha256(data) == name for name, data in blobs.items())
        for data in blobs.values():
            if data.startswith(b'{"architecture"'):
                assert set(parse_manifest(data).carried) <= set(blobs), "the manifest came before what it names"
        return self.builder.release_of()

    def run(self, **more: t.Any) -> None:
        target = self.done(self.content(**more))["target"]
        self.done(self.builder.publish(2, target, prune=True))

    def finish(self) -> None:
        """Run again; the depot has the new release then, and nothing else."""
        self.run()
        assert self.builder.release_of() == 2
        names = [name for name in self.builder.files() if name.startswith(("blobs/", "partial/"))]
        assert f"blobs/sha256/{sha256(MODELS['voice']['weights.bin'])}" not in names
        assert [name for name in names if name.startswith("partial/")] == []
        assert self.builder.content(NEW)["changed"] is False


@pytest.fixture(name="small", autouse=True)
def small_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces and batches as small as the contents here, so that a run has many steps."""
    monkeypatch.setattr(_depot_partial, "PIECE", 64 << 10)
    monkeypatch.setattr(_depot_store, "PIECE", 64 << 10)
    monkeypatch.setattr(_depot_store, "BATCH", 300_000)


@pytest.mark.parametrize("stride", STRIDES)
def test_killed_at_any_step_the_depot_is_the_old_or_the_new_one_and_the_next_run_finishes(
    stride: int, tmp_path: Path
) -> None:
    step, killed, seen = 1 - stride, True, set()
    while killed:
        step += stride
        folder = tmp_path / str(step)
        folder.mkdir()
        update = Update(folder, folder / "depot")
        killed = killed_at(step, update.run)
        seen.add(update.look())
        update.finish()
    assert step > 50, "the steps were not seen, so nothing was tested"
    assert seen == {1, 2}


def test_killed_while_a_stick_is_taken_over_no_root_of_the_other_fleet_stays_and_the_next_run_finishes(
    tmp_path: Path,
) -> None:
    theirs = {"1.root.json": b'{"fleet": "other"}', "2.root.json": b'{"fleet": "other"}'}
    step, killed, seen = 0, True, set()
    while killed:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        update = Update(folder, folder / "depot")
        builder, listed = update.builder, update.first
        others = encoded({**signed(9, listed), **theirs})
        update.done(builder.run(state="published", metadata=others, take_over=True))
        killed = killed_at(step, functools.partial(builder.publish, 2, listed, take_over=True))
        names = builder.files()
        ours = names.get("metadata/1.root.json") == signed(2)["1.root.json"]
        assert not (ours and "metadata/2.root.json" in names)
        seen.add((ours, "metadata/timestamp.json" in names))
        update.done(builder.publish(2, listed, take_over=True))
        assert "metadata/2.root.json" not in builder.files()
        assert builder.release_of() == 1
    assert seen == {(False, True), (False, False), (True, False), (True, True)}


def test_a_killed_run_is_gone_on_with_instead_of_begun_again(tmp_path: Path) -> None:
    update = Update(tmp_path, tmp_path / "depot")
    total = update.builder.content(NEW, _ansible_check_mode=True)["bytes"]
    written = []
    for step in range(10, 200, 10):
        if killed_at(step, update.content):
            partial = sum(path.stat().st_size for path in (tmp_path / "depot" / "partial").iterdir())
            written.append(partial)
    assert max(written) > 64 << 10, "no run was killed in the middle of a blob"
    assert update.content()["written"] < total


class BusyCuts(Cuts):
    """Cuts on a disk whose names are made durable before each of them, as the kernel does at any time, and no content.

    Somebody else's fsync commits the journal, and with it every new name; what the files hold is not written for that.
    """

    def take(self, count: int) -> None:
        with (self.disk.mount / "other").open("wb") as file:
            file.write(b"%d" % count)
            file.flush()
            os.fsync(file.fileno())
        super().take(count)


@pytest.fixture(name="cuts", params=[Cuts, BusyCuts], ids=["what was synced", "names that nobody synced"])
def cuts_fixture(request: pytest.FixtureRequest, disks: Path) -> Cuts:
    return t.cast("Cuts", request.param(disks))


def test_after_a_power_cut_at_any_step_the_depot_is_the_old_or_the_new_one(cuts: Cuts, tmp_path: Path) -> None:
    with cuts.disk as mount:
        update = Update(tmp_path, mount / "depot")
        with cuts.during():
            update.run(verify_written=False)  # reading back has the kernel write what it was told to forget
    seen = []
    for picture in cuts.some(8 if isinstance(cuts, BusyCuts) else 1):
        with LoopDisk(picture) as mount:
            update.builder.depot = mount / "depot"
            seen.append(update.look())
            update.finish()
    assert len(cuts.pictures) > 10, "the steps were not seen, so nothing was tested"
    assert (seen[0], seen[-1], set(seen)) == (1, 2, {1, 2}), "it was reported as done before it was on the disk"


def test_after_a_power_cut_at_any_step_the_first_depot_is_none_or_a_whole_one(cuts: Cuts, tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    with cuts.disk as mount:
        builder.depot = mount / "depot"
        with cuts.during():
            target = builder.content()["target"]
            builder.publish(1, target)
    seen = []
    for picture in cuts.some(8 if isinstance(cuts, BusyCuts) else 1):
        with LoopDisk(picture) as mount:
            builder.depot = mount / "depot"
            seen.append(builder.release_of())
            builder.content(targets={})
            builder.publish(1, target)
            assert builder.release_of() == 1, picture.name
    assert (seen[0], seen[-1]) == (None, 1)


def pulled_at(step: int, disk: LoopDisk, work: t.Callable[[], Result]) -> Result | None:
    """Do `work`, and pull the stick at a step after it was looked at; None if it did not come that far."""
    steps, pulled = 0, False
    looked = threading.Event()

    def look(path: str) -> Medium:
        medium = look_at_medium(path)
        looked.set()
        return medium

    def pull(_count: int) -> None:
        nonlocal steps, pulled
        steps += looked.is_set()
        if steps == step and not pulled:
            subprocess.run(["umount", "-l", str(disk.mount)], check=True)
            pulled = True

    with pytest.MonkeyPatch.context() as patch, before_each_step(pull):
        patch.setattr(_depot_write, "look_at_medium", look)
        patch.setattr(_depot_publish, "look_at_medium", look)
        result = work()
    return result if pulled else None


@pytest.mark.parametrize("state", ["content", "published"])
def test_a_stick_that_is_pulled_at_any_step_keeps_a_depot_and_the_run_says_so(
    state: str, disks: Path, tmp_path: Path
) -> None:
    disk = LoopDisk(disks / "stick.img", 8 << 20)
    with disk as mount:
        update = Update(tmp_path, mount / "depot")
        ready = update.builder.publish
        if state == "published":
            target = update.done(update.content())["target"]
    results = []
    for step in range(1, 400, 6 if state == "content" else 2):
        work = update.content if state == "content" else functools.partial(ready, 2, target, prune=True)
        stack = contextlib.ExitStack()
        stack.enter_context(disk)
        result = pulled_at(step, disk, work)
        if result is None:
            stack.close()
            break
        assert list(disk.mount.iterdir()) == [], "it wrote where the stick was"
        disk.mount.rmdir()
        results.append(result)
        with disk:
            assert update.builder.release_of() in ((1,) if state == "content" else (1, 2))
    reasons = {result["reason"] for result in results if result.get("failed")}
    assert len(results) >= 10, "the steps were not seen, so nothing was tested"
    assert reasons == {"io_error"}
    assert any("Put it in again" in result["msg"] for result in results if result.get("failed"))
    with disk:
        update.finish()


def test_a_stick_that_becomes_read_only_keeps_its_depot(disks: Path, tmp_path: Path) -> None:
    """What the kernel does with a FAT or ext4 that it finds damaged."""
    disk = LoopDisk(disks / "stick.img", 8 << 20)
    with disk as mount:
        update = Update(tmp_path, mount / "depot")

        def lock(*args: t.Any) -> None:
            check_room(*args)
            disk.remount("ro")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_depot_write, "check_room", lock)
            result = update.content()
        assert (result["reason"], "read-only" in result["msg"].lower()) == ("io_error", True), result["msg"]
        for check_mode in (True, False):
            refused = update.builder.content(NEW, _ansible_check_mode=check_mode)
            assert refused["reason"] == "read_only"
        assert update.builder.release_of() == 1
        disk.remount("rw")
        update.finish()


def test_a_stick_that_is_too_small_is_refused_before_anything_is_written(disks: Path, tmp_path: Path) -> None:
    models = {"voice": {"weights.bin": random.Random(4).randbytes(6 << 20)}}
    builder = Builder(tmp_path)
    stored(builder.root, models)
    with LoopDisk(disks / "stick.img", 4 << 20) as mount:
        builder.depot = mount / "depot"
        for check_mode in (True, False):
            result = builder.content(models, _ansible_check_mode=check_mode)
            assert result["reason"] == "no_space"
            assert result["needed"] > 6 << 20 > result["available"]
            assert result["mount"] == str(mount)
            assert builder.files() == {}


def test_a_stick_that_fills_up_meanwhile_keeps_its_depot(
    disks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopDisk(disks / "stick.img", 8 << 20) as mount:
        update = Update(tmp_path, mount / "depot")

        def check_and_fill(*args: t.Any) -> None:
            check_room(*args)
            with (mount / "filler").open("wb") as file:
                free = os.statvfs(mount)
                os.posix_fallocate(file.fileno(), 0, (free.f_bavail - 20) * free.f_frsize)

        with monkeypatch.context() as patch:
            patch.setattr(_depot_write, "check_room", check_and_fill)
            result = update.content()
        assert result["reason"] == "no_space", result["msg"]
        assert update.builder.release_of() == 1
        (mount / "filler").unlink()
        update.finish()


def test_two_writers_are_one_after_the_other(tmp_path: Path) -> None:
    update = Update(tmp_path, tmp_path / "depot")
    with _depot_store.DepotStore(str(tmp_path / "depot")).locked():
        assert update.content()["reason"] == "locked"
        assert update.builder.publish(2, update.first)["reason"] == "locked"
        assert not update.builder.content(_ansible_check_mode=True).get("failed")
    update.finish()


class Stick:
    """A file system of sticks in a file: by the kernel's driver, or by one in user space where it has none."""

    def __init__(self, folder: Path, tools: Tools) -> None:
        self.tools, self.image, self.mount = tools, folder / "stick.img", folder / "mnt"
        self.mount.mkdir()

    @contextlib.contextmanager
    def fat(self) -> t.Iterator[Path]:
        kernel = subprocess.run(
            ["mount", "-t", "vfat", "-o", "loop", str(self.image), str(self.mount)], capture_output=True, check=False
        )
        if kernel.returncode != 0:
            self.tools.start("fusefat", "-o", "rw+", self.image, self.mount)
        with self._unmounted():
            yield self.mount

    @contextlib.contextmanager
    def exfat(self) -> t.Iterator[Path]:
        device = subprocess.run(
            ["losetup", "--find", "--show", str(self.image)], capture_output=True, text=True, check=True
        ).stdout.strip()
        try:
            self.tools.start("mount.exfat-fuse", device, self.mount)
            with self._unmounted():
                yield self.mount
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)

    @contextlib.contextmanager
    def _unmounted(self) -> t.Iterator[None]:
        try:
            yield
        finally:
            subprocess.run(["umount", str(self.mount)], check=True)
            self._wait_for_driver()

    def _wait_for_driver(self) -> None:
        """One in user space writes what it still has after it was unmounted, and is no child of ours."""
        deadline = time.monotonic() + 60
        while any(_points_at(link, self.image) for link in Path("/proc").glob("[0-9]*/fd/*")):
            assert time.monotonic() < deadline, "the file system's driver does not end"
            time.sleep(0.05)


def _points_at(link: Path, target: Path) -> bool:
    try:
        return link.readlink() == target
    except OSError:  # the process has ended
        return False


@pytest.fixture(name="stick")
def stick_fixture(disks: Path) -> Stick:
    if not os.path.exists("/dev/fuse"):
        pytest.skip("needs FUSE")
    packages = ("dosfstools", "exfatprogs", "fusefat", "exfat-fuse", "libfuse2")
    return Stick(disks, debian_tools(disks, *packages))


def test_a_depot_on_fat_is_whole_after_the_stick_was_pulled_out_and_in(stick: Stick, tmp_path: Path) -> None:
    with stick.image.open("wb") as file:
        file.truncate(48 << 20)
    stick.tools.start("mkfs.fat", "-F", "32", stick.image)
    with stick.fat() as mount:
        update = Update(tmp_path, mount / "depot")
        result = update.done(update.builder.content(NEW, part_size="1MiB"))
        assert result["medium"]["part_size"] == 1 << 20
        assert update.builder.content(NEW)["medium"]["part_size"] == 2 << 30, "FAT takes no file of 4 GiB"
        update.run()
    stick.tools.start("fsck.fat", "-n", stick.image)
    with stick.fat():
        update.finish()


def test_a_depot_on_exfat_is_whole_and_not_in_parts(stick: Stick, tmp_path: Path) -> None:
    with stick.image.open("wb") as file:
        file.truncate(48 << 20)
    stick.tools.start("mkfs.exfat", stick.image)
    with stick.exfat() as mount:
        update = Update(tmp_path, mount / "depot")
        result = update.builder.content(NEW)
        assert (result["medium"]["kind"], result["medium"]["part_size"]) == ("exfat", None)
        update.run()
    stick.tools.start("fsck.exfat", "-n", stick.image)
    with stick.exfat():
        update.finish()
