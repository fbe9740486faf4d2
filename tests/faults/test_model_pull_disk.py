# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What model_pull does with disks that are full, read-only or broken, and with roots that lead elsewhere."""

from __future__ import annotations

import errno
import os
import random
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import canonical, digest
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit, Journal, encode_journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Identity
from ansible_collections.emorobcare.fleet.tests.faults._crash import LoopDisk, without_direct
from ansible_collections.emorobcare.fleet.tests.faults._pulls import (
    CHUNK,
    LARGE,
    PATIENCE,
    SMALL,
    Run,
    contents,
    gone,
    left_over,
    pull,
    resumable,
    sha256,
    version_of,
    wanted_file,
)
from ansible_collections.emorobcare.fleet.tests.faults._server import HANG_UP, Answer, FaultServer

pytestmark = pytest.mark.usefixtures("small_chunks")


def test_a_disk_that_is_too_small_is_refused_before_the_first_byte(disks: Path, server: FaultServer, run: Run) -> None:
    content = bytes(6 << 20)
    url = server.serve("/model.bin", content)
    with LoopDisk(disks / "small.img", 4 << 20) as mount:
        for check_mode in (True, False):
            result = run(wanted_file(url, content=content), root=str(mount / "root"), _ansible_check_mode=check_mode)
            assert result["reason"] == "no_space"
            assert len(content) < result["needed"] <= len(content) + 10 * os.statvfs(mount).f_frsize
            assert result["mount"] == str(mount)
            assert f"{result['needed']} bytes" in result["msg"]
            assert f"{result['available']} bytes" in result["msg"]
            assert not (mount / "root").exists()
    assert server.sent == 0


def fill(mount: Path, blocks_left: int) -> Path:
    filler = mount / "filler"
    with filler.open("wb") as file:
        free = os.statvfs(mount)
        os.posix_fallocate(file.fileno(), 0, (free.f_bavail - blocks_left) * free.f_frsize)
    return filler


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_and_the_next_run_finishes(
    disks: Path, server: FaultServer
) -> None:
    file = wanted_file(server.serve("/model.bin", SMALL, Answer(stall_after=5_000), Answer()))
    with LoopDisk(disks / "small.img", 8 << 20) as mount:
        errors: list[ModelError] = []

        def pull_and_fail() -> None:
            try:
                pull(mount / "root", file)
            except ModelError as exc:
                errors.append(exc)

        thread = threading.Thread(target=pull_and_fail)
        thread.start()
        assert server.stalled.wait(PATIENCE)
        filler = fill(mount, 4)
        server.release.set()
        thread.join()
        assert [error.reason for error in errors] == ["no_space"]
        assert left_over(mount / "root") == []
        filler.unlink()
        assert pull(mount / "root", file).plan.changed
        assert contents(version_of(mount / "root")) == {"model.bin": SMALL}


def test_the_space_of_a_large_file_is_its_own_from_the_first_byte(disks: Path, server: FaultServer) -> None:
    file = wanted_file(server.serve("/model.bin", LARGE, Answer(stall_after=CHUNK), Answer()), content=LARGE)
    with LoopDisk(disks / "small.img", 8 << 20) as mount:
        thread = threading.Thread(target=lambda: pull(mount / "root", file))
        thread.start()
        assert server.stalled.wait(PATIENCE)
        fill(mount, 64)
        server.release.set()
        thread.join()
        assert contents(version_of(mount / "root")) == {"model.bin": LARGE}


def test_what_an_interrupted_run_holds_is_counted_once(disks: Path, server: FaultServer, run: Run) -> None:
    """The disk has room for the file once: a second run must not want it a second time."""
    content = random.Random(2).randbytes(5 << 20)
    disk = LoopDisk(disks / "small.img", 8 << 20)
    root = disk.mount / "root"
    url = server.serve("/model.bin", content, Answer(cut_at=CHUNK + 9), gone(root, content, {0}))
    file = wanted_file(url, content=content)
    with disk:
        assert run(file, root=str(root))["failed"]
        assert left_over(root) == resumable(content)
        server.serve("/model.bin", content)
        for check_mode in (True, False):
            result = run(file, root=str(root), _ansible_check_mode=check_mode)
            assert result.get("changed"), result
        assert contents(version_of(root)) == {"model.bin": content}


@pytest.mark.parametrize("fault", [Answer(status=404), HANG_UP, Answer(more=1)], ids=["404", "closed", "another size"])
def test_a_file_of_which_nothing_came_holds_no_room(
    fault: Answer, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    """Its space is reserved before the first byte, and would be for as long as halves are kept."""
    assert run(wanted_file(server.serve("/model.bin", LARGE, fault), content=LARGE))["failed"]
    assert left_over(tmp_path / "root") == []


def test_what_an_interrupted_run_holds_is_given_up_where_another_file_needs_the_room(
    disks: Path, server: FaultServer, run: Run
) -> None:
    """Else a pin that was corrected could not be pulled for as long as the wrong one's half is kept."""
    old, new = (random.Random(seed).randbytes(5 << 20) for seed in (2, 3))
    disk = LoopDisk(disks / "small.img", 8 << 20)
    root = disk.mount / "root"
    url = server.serve("/model.bin", old, Answer(cut_at=CHUNK + 9), gone(root, old, {0}))
    with disk:
        assert run(wanted_file(url, content=old), root=str(root))["failed"]
        file = wanted_file(server.serve("/model.bin", new), content=new)
        for check_mode in (True, False):
            result = run(file, root=str(root), _ansible_check_mode=check_mode)
            assert result.get("changed"), result
        assert contents(version_of(root)) == {"model.bin": new}


def test_on_a_read_only_disk_what_is_whole_passes_and_what_is_missing_is_refused(
    disks: Path, server: FaultServer, run: Run
) -> None:
    file = wanted_file(server.serve("/model.bin", SMALL))
    disk = LoopDisk(disks / "disk.img", 8 << 20)
    with disk as mount:
        root = str(mount / "root")
        assert run(file, root=root)["changed"]
        disk.remount("ro")
        assert run(file, root=root)["changed"] is False
        assert run(file, root=root, state="verified")["changed"] is False
        for check_mode in (True, False):
            result = run(file, root=root, version="2", _ansible_check_mode=check_mode)
            assert result["reason"] == "read_only"


class FailingDisk:
    """Module os, whose calls of one name fail from the n-th one on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, error: int, after: int) -> None:
        self._original = getattr(os, name)
        self._error = error
        self._left = after
        self._lock = threading.Lock()
        monkeypatch.setattr(os, name, self._call)

    def _call(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        with self._lock:
            self._left -= 1
            if self._left < 0:
                raise OSError(self._error, os.strerror(self._error))
        return self._original(*args, **kwargs)


BROKEN = [
    pytest.param("posix_fallocate", errno.ENOSPC, 0, "no_space", id="no space to reserve"),
    pytest.param("pwrite", errno.ENOSPC, 1, "no_space", id="no space to write"),
    pytest.param("pwrite", errno.EIO, 2, "io_error", id="a write fails"),
    pytest.param("pwrite", errno.EROFS, 2, "read_only", id="the disk turns read-only"),
    pytest.param("fsync", errno.EIO, 10, "io_error", id="a sync fails"),
    pytest.param("rename", errno.EIO, 0, "io_error", id="a rename fails"),
    pytest.param("link", errno.EMLINK, 0, "io_error", id="no further links"),
]


@pytest.mark.parametrize(("call", "error", "after", "reason"), BROKEN)
def test_a_disk_that_fails_ends_the_task_and_the_next_run_finishes(
    call: str, error: int, after: int, reason: str, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    file = wanted_file(server.serve("/model.bin", LARGE), content=LARGE)
    with pytest.MonkeyPatch.context() as monkeypatch:
        FailingDisk(monkeypatch, call, error, after)
        result = run(file)
    assert (result.get("failed"), result.get("reason")) == (True, reason), result
    assert not version_of(tmp_path / "root").exists()
    assert run(file)["changed"]
    assert contents(version_of(tmp_path / "root")) == {"model.bin": LARGE}
    assert left_over(tmp_path / "root") == []


def test_a_disk_that_cannot_be_written_past_the_cache_is_written_through_it(
    server: FaultServer, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_direct(monkeypatch)
    assert run(wanted_file(server.serve("/model.bin", LARGE), content=LARGE))["changed"]
    assert contents(version_of(tmp_path / "root")) == {"model.bin": LARGE}


def test_a_disk_that_opens_past_the_cache_and_then_refuses_to_write_is_written_through_it(
    server: FaultServer, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    original = os.pwrite

    def refuse(fd: int, data: t.Any, offset: int) -> int:
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return original(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", refuse)
    assert run(wanted_file(server.serve("/model.bin", LARGE), content=LARGE))["changed"]
    assert contents(version_of(tmp_path / "root")) == {"model.bin": LARGE}


def test_a_disk_that_writes_less_than_it_was_given_is_given_the_rest(
    server: FaultServer, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: original(fd, memoryview(data)[:4096], offset))
    assert run(wanted_file(server.serve("/model.bin", LARGE), content=LARGE))["changed"]
    assert contents(version_of(tmp_path / "root")) == {"model.bin": LARGE}


LINKED = ["root", "root/store", "root/store/partial", "root/store/chunks", "root/models", "root/models/speech"]


@pytest.mark.parametrize("link", LINKED)
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_link_in_place_of_a_folder_of_the_store_is_refused(
    link: str, check_mode: bool, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(elsewhere)
    result = run(wanted_file(server.serve("/model.bin", SMALL)), _ansible_check_mode=check_mode)
    assert result["reason"] == "unsafe_path"
    assert str(tmp_path / link) in result["msg"]
    assert os.listdir(elsewhere) == []
    assert server.requests == []


@pytest.mark.parametrize("kind", ["part", "log"])
def test_a_link_in_place_of_a_partial_file_is_not_followed(
    kind: str, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    partial = tmp_path / "root" / "store" / "partial"
    partial.mkdir(parents=True)
    for name in resumable(LARGE):
        if name.endswith(kind):
            (partial / name).symlink_to(target)
        else:
            (partial / name).write_bytes(b"")
    result = run(wanted_file(server.serve("/model.bin", LARGE), content=LARGE))
    assert target.read_bytes() == b"precious"
    if not result.get("failed"):
        assert contents(version_of(tmp_path / "root")) == {"model.bin": LARGE}


@pytest.mark.parametrize("path", ["../model.bin", "a/../../b", "/etc/passwd", "a//b", "./a", "a\\b", ""])
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_path_that_leads_out_of_the_version_is_refused(
    path: str, check_mode: bool, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    result = run(wanted_file(server.serve("/model.bin", SMALL), path=path), _ansible_check_mode=check_mode)
    assert result["reason"] == "invalid"
    assert not (tmp_path / "root").exists()
    assert server.requests == []


def versions(root: Path) -> list[str]:
    return sorted(os.listdir(version_of(root).parent))


def test_only_the_newest_versions_are_kept_and_their_content(server: FaultServer, run: Run, tmp_path: Path) -> None:
    bodies = {version: version.encode() * 9 for version in ("one", "two", "three", "four")}
    for version, body in bodies.items():
        file = wanted_file(server.serve(f"/{version}", body), content=body)
        result = run(file, version=version, keep=2)
        assert result["changed"], result
    assert result["removed"] == ["two"]
    assert versions(tmp_path / "root") == ["four", "three"]
    blobs = tmp_path / "root" / "store" / "sha256"
    assert sorted(os.listdir(blobs)) == sorted(sha256(bodies[v]) for v in ("three", "four"))


def commit(root: Path, version: str) -> None:
    """Make what stack_release leaves of a committed release that mounts a version of the model."""
    document = {
        "schema": 1,
        "stack": "robot",
        "environment": "test",
        "compose": ["compose.yml"],
        "files": {"compose.yml": "0" * 64},
        "images": {},
        "models": [{"name": "speech", "version": version, "files": []}],
        "services": {"api": {"lifecycle": "stateless"}},
        "parameters": {},
        "secrets": {},
        "rollout": {"success_threshold": 1, "gate_timeout": 1},
    }
    content = canonical(document)
    stack = root / "stacks" / "robot"
    folder = stack / "releases" / digest(content)
    folder.mkdir(parents=True)
    (folder / "release.json").write_bytes(content)
    journal = Journal(stack="robot", key="00", committed=Commit(Identity(folder.name, "00"), "2026-01-01", {}, {}))
    (stack / "state.json").write_bytes(encode_journal(journal))


def test_a_version_that_a_release_mounts_is_not_removed(server: FaultServer, run: Run, tmp_path: Path) -> None:
    file = wanted_file(server.serve("/model.bin", SMALL))
    assert run(file)["changed"]
    commit(tmp_path / "root", "1")
    for check_mode in (True, False):
        result = run(state="absent", _ansible_check_mode=check_mode)
        assert (result["failed"], result["reason"]) == (True, "in_use"), result
        assert result["stacks"] == ["robot"]
    assert contents(version_of(tmp_path / "root")) == {"model.bin": SMALL}


def test_a_version_that_a_release_mounts_is_kept_besides_the_newest(
    server: FaultServer, run: Run, tmp_path: Path
) -> None:
    for version in ("1", "2", "3"):
        body = version.encode()
        assert run(wanted_file(server.serve(f"/{version}", body), content=body), version=version)["changed"]
        if version == "1":
            commit(tmp_path / "root", "1")
    body = b"4"
    result = run(wanted_file(server.serve("/4", body), content=body), version="4", keep=1)
    assert result.get("removed") == ["2", "3"], result
    assert versions(tmp_path / "root") == ["1", "4"]


def test_while_it_cannot_be_told_what_a_release_mounts_nothing_is_removed(
    server: FaultServer, run: Run, tmp_path: Path
) -> None:
    assert run(wanted_file(server.serve("/model.bin", SMALL)))["changed"]
    commit(tmp_path / "root", "2")
    (tmp_path / "root" / "stacks" / "robot" / "state.json").write_bytes(b"")
    result = run(state="absent")
    assert (result["failed"], result["reason"]) == (True, "in_use"), result
    assert "state.json" in result["msg"]
    assert contents(version_of(tmp_path / "root")) == {"model.bin": SMALL}
