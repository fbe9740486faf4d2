# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Writes that survive a power cut: same file system, temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import stat
import time
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError

_LOCK_POLL = 0.1  # seconds; flock has no wait with a time limit


def sync_dir(path: str) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file_system(path: str) -> None:
    """Make everything durable that was written to the file system of a folder: for many files, cheaper than each.

    Raises:
        OSError: the disk failed to write.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd):  # module os does not have it
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        os.fsync(fd)
    finally:
        os.close(fd)


def make_dirs(path: str, mode: int = 0o755) -> None:
    """Create a folder and what is missing above it, each durable in its parent. `mode` is for those created."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another run makes the same folders
            os.mkdir(folder)
            os.chmod(folder, mode)  # mkdir's mode is subject to the umask
        sync_dir(os.path.dirname(folder))


def write_json(path: str, document: t.Any) -> None:
    """Replace a small JSON file: after a crash it is the old one or the new one."""
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(document, file, sort_keys=True, separators=(",", ":"))
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    os.rename(temporary, path)
    sync_dir(os.path.dirname(path))


def read_json(path: str) -> t.Any:
    """Read a JSON file; None when it is missing or is no JSON (torn by a fault, edited by hand)."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def remove(path: str) -> None:
    """Remove a file, a link or a folder with all that is in it; nothing there is fine. Links are not followed."""
    try:
        is_dir = stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if is_dir:
        shutil.rmtree(path)
    else:
        os.unlink(path)


@contextlib.contextmanager
def locked(path: str, timeout: float) -> t.Iterator[None]:
    """Hold an exclusive lock on `path`, waiting for it up to `timeout` seconds. It goes with the process that dies.

    Raises:
        ModelError: with reason `locked` when another process still holds it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _wait_for(fd, path, timeout)
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(fd)


def _wait_for(fd: int, path: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
                raise ModelError(
                    f"{path} is locked by another run (process {holder}) and was for {timeout:g} s; wait for it to "
                    "end, or raise lock_timeout",
                    reason="locked",
                ) from None
            time.sleep(_LOCK_POLL)
        else:
            return
