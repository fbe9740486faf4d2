# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever happens while a stick is applied: the old release serves or the new one, and the next apply finishes it."""

from __future__ import annotations

import functools
import os
import subprocess
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_apply
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, DockerCli
from ansible_collections.emorobcare.fleet.tests.faults._applying import (
    Ended,
    Packed,
    Robot,
    read_releases,
    sha256,
    takes_a_good_one,
)
from ansible_collections.emorobcare.fleet.tests.faults._crash import KILLED, LoopDisk, before_each_step, killed_at
from ansible_collections.emorobcare.fleet.tests.faults._faults import ids, whole
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import Depot

NEVER = 1 << 40
POINTS = 12


def killed_after(number: int, work: t.Callable[[], object]) -> bool:
    """Do `work` in a process of its own that dies when it has started its child number `number`, which lives on."""
    start, count = subprocess.Popen.__init__, 0

    def started(*args: t.Any, **kwargs: t.Any) -> None:
        nonlocal count
        start(*args, **kwargs)
        count += 1
        if count == number:
            os._exit(KILLED)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", started)
        return killed_at(NEVER, work)


def count_steps(robot: Robot) -> tuple[int, int]:
    """Return how many steps on the file system, and how many child processes, an update takes."""
    steps = children = 0
    start = subprocess.Popen.__init__

    def started(*args: t.Any, **kwargs: t.Any) -> None:
        nonlocal children
        children += 1
        start(*args, **kwargs)

    def step(count: int) -> None:
        nonlocal steps
        steps = count

    stick, packed = robot.update("counted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", started)
        with before_each_step(step):
            robot.brings(stick, packed)
    return steps, children


@pytest.mark.parametrize("of", ["steps", "children"])
@pytest.mark.parametrize("points", [3, pytest.param(POINTS, marks=pytest.mark.slow)])
def test_killed_at_any_point_the_old_or_the_new_one_serves_and_the_next_apply_finishes(
    robot: Robot, of: str, points: int
) -> None:
    total = count_steps(robot)[of == "children"]
    assert total > 2 * POINTS
    served = []
    for point in range(points):
        assert robot.running
        old = robot.running.text
        stick, packed = robot.update(f"killed at {point} of {of}")
        killed = killed_at if of == "steps" else killed_after
        assert killed(1 + point * (total - 1) // points, functools.partial(robot.apply, stick))
        serving = robot.sides.serving()
        assert serving in (old, packed.text)
        served.append(serving == packed.text)
        assert read_releases(robot.places)[robot.sides.stack] <= packed.manifest.counter
        robot.brings(stick, packed)
        whole(robot.sides, packed.text)
    assert served[0] is False


def pulled_at(number: int, disk: LoopDisk, work: t.Callable[[], Ended]) -> Ended:
    """Do `work`, and pull the stick when it opens its file number `number` there."""
    count = 0
    open_file = Folder._opened
    one_at_a_time = threading.Lock()

    def opened(folder: Folder, name: str, flags: int = 0) -> t.ContextManager[int | None]:
        nonlocal count
        with one_at_a_time:
            count += 1
            if count == number:
                subprocess.run(["umount", "-l", str(disk.mount)], check=True)
        return open_file(folder, name, flags)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "_opened", opened)
        return work()


def count_reads(robot: Robot) -> int:
    """Return how many files of the stick an update opens until it has all that it needs of it."""
    count = enough = 0
    open_file, deploy = Folder._opened, _depot_apply._deploy

    def opened(folder: Folder, name: str, flags: int = 0) -> t.ContextManager[int | None]:
        nonlocal count
        count += 1
        return open_file(folder, name, flags)

    def deploying(*args: t.Any) -> t.Any:
        nonlocal enough
        enough = count
        return deploy(*args)

    stick, packed = robot.update("counted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "_opened", opened)
        patch.setattr(_depot_apply, "_deploy", deploying)
        robot.brings(stick, packed)
    return enough


@pytest.mark.parametrize("finish", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_stick_that_is_pulled_at_any_read_leaves_the_old_release_and_the_next_apply_finishes(
    robot: Robot, disks: Path, finish: bool
) -> None:
    total = count_reads(robot)
    assert total > POINTS
    for point in range(POINTS):
        disk = LoopDisk(disks / f"stick-{point}.img", 8 << 20)
        with disk as mount:
            stick, packed = robot.update(f"pulled at {point}", mount / "depot")
        disk.__enter__()
        before = ids(robot.sides)
        read = 2 + point * (total - 2) // POINTS
        ended = pulled_at(read, disk, functools.partial(robot.apply, stick))
        assert (ended.code, ended.reason) == (1, "io_error"), ended
        assert ids(robot.sides) == before
        assert os.listdir(disk.mount) == [], "something was written where the stick was"
        disk.mount.rmdir()
        if finish or point == POINTS - 1:
            with disk:
                robot.brings(stick, packed)
                whole(robot.sides, packed.text)


Of = t.Callable[[Packed], str]
PULLED: list[tuple[str, Of]] = [
    ("layer", Packed.layer),
    ("configuration", lambda packed: packed.manifest.images[-1].config),
    ("manifest", lambda packed: packed.manifest.images[-1].manifest),
]
COPIED: list[tuple[str, Of]] = [
    ("release document", lambda packed: packed.manifest.release),
    ("Compose file", lambda packed: packed.manifest.files["compose.yml"]),
]


def swap(stick: Depot, blob: str) -> bytes:
    """Put other content of the same size in a blob's place; return it."""
    path = stick.path / "blobs" / "sha256" / blob
    data = path.read_bytes()
    place = len(data) // 2
    evil = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    path.unlink()
    path.write_bytes(evil)
    return evil


@pytest.mark.parametrize("of", [pytest.param(of, id=name) for name, of in PULLED])
def test_what_is_changed_after_it_was_planned_is_never_loaded(
    robot: Robot, of: Of, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick, packed = robot.update("swapped")
    watch = DockerCli.watch
    swapped: list[bytes] = []

    def pull(cli: DockerCli, argv: list[str], *rest: t.Any) -> Answer:
        if "pull" in argv and not swapped:
            swapped.append(swap(stick, of(packed)))
        return watch(cli, argv, *rest)

    monkeypatch.setattr(DockerCli, "watch", pull)
    robot.refuses(stick, "blob_corrupt")
    assert len(swapped) == 1
    assert not robot.has(sha256(swapped[0]))
    takes_a_good_one(robot)


@pytest.mark.parametrize("of", [pytest.param(of, id=name) for name, of in COPIED])
def test_what_is_changed_before_it_is_copied_is_never_used(
    robot: Robot, of: Of, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick, packed = robot.update("swapped")
    open_blob = Folder.open_blob
    swapped: list[bytes] = []

    def opened(folder: Folder, blob: str, start: int = 0) -> t.Any:
        if blob == of(packed) and not swapped:
            swapped.append(swap(stick, blob))
        return open_blob(folder, blob, start)

    monkeypatch.setattr(Folder, "open_blob", opened)
    robot.refuses(stick, "blob_corrupt")
    assert len(swapped) == 1
    store = Path(robot.root, "store", "sha256")
    assert not (store / of(packed)).exists()
    assert not (store / sha256(swapped[0])).exists()
    takes_a_good_one(robot)


def test_what_is_changed_after_it_was_copied_does_not_matter(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    stick, packed = robot.update("swapped")
    deploy = _depot_apply._deploy

    def deploying(*args: t.Any) -> t.Any:
        for _name, of in (*PULLED, *COPIED):
            swap(stick, of(packed))
        return deploy(*args)

    monkeypatch.setattr(_depot_apply, "_deploy", deploying)
    robot.brings(stick, packed)


def test_a_stick_that_may_only_be_read_is_applied_and_the_receipt_stays_on_the_host(robot: Robot, disks: Path) -> None:
    disk = LoopDisk(disks / "stick.img", 8 << 20)
    with disk as mount:
        stick, packed = robot.update("read-only", mount / "depot")
        disk.remount("ro")
        ended = robot.brings(stick, packed)
        assert len(ended.err) == 1
        assert ended.err[0].startswith("the receipt is on this host alone")
        assert robot.receipts(stick.path) == []
    assert robot.receipts(robot.root)[-1].releases[robot.sides.stack]["counter"] == packed.manifest.counter


def test_a_receipt_never_follows_a_link_on_the_stick(robot: Robot, tmp_path: Path) -> None:
    stick, packed = robot.update("linked")
    (stick.path / "receipts").symlink_to(tmp_path)
    ended = robot.brings(stick, packed)
    assert "the receipt is on this host alone" in ended.err[0]
    assert os.listdir(tmp_path) == []
