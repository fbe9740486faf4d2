# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stop a process, or take a picture of its disk, at each of its steps on the file system."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import threading
import traceback
import typing as t
from pathlib import Path

import pytest

# What changes a file system, or makes a change durable. The step is stopped before it is done.
STEPS = (
    "open",
    "write",
    "writev",
    "pwrite",
    "pwritev",
    "posix_fallocate",
    "truncate",
    "ftruncate",
    "fsync",
    "fdatasync",
    "mkdir",
    "chmod",
    "fchmod",
    "utime",
    "link",
    "symlink",
    "rename",
    "replace",
    "unlink",
    "rmdir",
)
KILLED = 137  # what a shell reports for SIGKILL


@contextlib.contextmanager
def before_each_step(hook: t.Callable[[int], None]) -> t.Iterator[None]:
    """Call `hook` with 1, 2, 3 and so on before each call in `STEPS` that goes through module os, from any thread.

    One step is made at a time: while the hook looks at the disk, no other thread changes it.
    """
    originals = {name: getattr(os, name) for name in STEPS}
    count = 0
    one_at_a_time = threading.RLock()
    looking = False  # what the hook itself does is none of the steps

    def wrap(function: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def step(*args: t.Any, **kwargs: t.Any) -> t.Any:
            nonlocal count, looking
            with one_at_a_time:
                if not looking:
                    count += 1
                    looking = True
                    hook(count)
                    looking = False
                return function(*args, **kwargs)

        return step

    for name, function in originals.items():
        setattr(os, name, wrap(function))
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(os, name, function)


def killed_at(step: int, work: t.Callable[[], object]) -> bool:
    """Do `work` in a process of its own that dies at its step number `step`; return whether it got that far.

    Nothing is cleaned up in it, as after a SIGKILL. An exception in `work` is an error of the test.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:

            def die(count: int) -> None:
                if count == step:
                    os._exit(KILLED)

            with before_each_step(die):
                work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED), f"the process under test failed by itself, with code {code}"
    return code == KILLED


def without_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files be opened for writing past the page cache (O_DIRECT) as on a file system that cannot do that."""
    original = os.open

    def refuse(path: t.Any, flags: int, *args: t.Any, **kwargs: t.Any) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        return original(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)


class LoopDisk:
    """An ext4 file system in a file, mounted at `mount` for the time of the context.

    `commit=300` keeps the kernel from writing back on its own: a picture of the disk has what was synced, and no more.
    `noauto_da_alloc` keeps ext4 from syncing some files that their writer should have synced, as others do not either.
    """

    def __init__(self, image: Path, size: int | None = None) -> None:
        self.image = image
        self.mount = image.with_suffix(".mnt")
        if size is not None:
            with image.open("wb") as file:
                file.truncate(size)
            _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))

    def __enter__(self) -> Path:
        self.mount.mkdir()
        _run("mount", "-o", "loop,commit=300,noauto_da_alloc", str(self.image), str(self.mount))
        return self.mount

    def __exit__(self, *_exc: object) -> None:
        _run("umount", str(self.mount))
        self.mount.rmdir()

    def remount(self, option: str) -> None:
        _run("mount", "-o", f"remount,{option}", str(self.mount))

    def picture(self, to: Path) -> None:
        """Copy the disk as a power cut at this moment would leave it."""
        _run("cp", "--sparse=always", str(self.image), str(to))


def can_mount(folder: Path) -> bool:
    """Whether this user, on this machine, can make and mount a file system in a file."""
    try:
        with LoopDisk(folder / "probe.img", 4 << 20):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
