# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Look at files of a host, and give them content, mode, owner and extended attributes so that a power cut tears none.

A path that is named is never followed when it is a link; the folders above it may be links.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change import ABSENT, FileState, Kind, digest
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, sync_dir

LIMIT = 4 << 20  # bytes; this is for configuration
_NEW = ".fleet-new"  # a dot in front keeps such a file from being read by those who take all of a drop-in folder
_FOLDER_MODE = 0o755
_NO_XATTRS = (errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ENODATA)


@contextlib.contextmanager
def writing(what: str) -> t.Iterator[None]:
    """Turn what the disk says no to into an error that names what could not be written.

    :raises HostError: with reason `write_failed`.
    """
    try:
        yield
    except OSError as exc:
        where = f" ({exc.filename})" if exc.filename and exc.filename != what else ""
        raise HostError(f"cannot write {what}{where}: {exc.strerror}", reason="write_failed") from exc


def look(path: str, content: bool) -> tuple[FileState, bytes | None]:
    """Return what a path holds, and what is in it if it is a file and that is asked for.

    :raises HostError: it cannot be read, or is too large.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT, None
    try:
        found = os.fstat(fd)
        kind = _kind(found.st_mode)
        inside = _read(path, fd) if kind == "file" and content else None
        xattrs = _xattrs(fd) if kind == "file" else ()
    except OSError as exc:
        raise HostError(f"cannot read {path}: {exc.strerror}", reason="unsafe_path") from exc
    finally:
        os.close(fd)
    sha256 = None if inside is None else digest(inside)
    return FileState(kind, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, sha256, xattrs), inside


def _kind(mode: int) -> Kind:
    kinds: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    return kinds.get(stat.S_IFMT(mode), "other")


def _read(path: str, fd: int) -> bytes:
    with open(_same(fd), "rb") as file:
        inside = file.read(LIMIT + 1)
    if len(inside) > LIMIT:
        raise HostError(f"{path} is larger than {LIMIT} bytes, too large for configuration", reason="unsafe_path")
    return inside


def _same(fd: int) -> str:
    """Return a path that leads to what a descriptor holds, whatever its own path holds by now."""
    return f"/proc/self/fd/{fd}"


def _xattrs(fd: int) -> tuple[tuple[str, str], ...]:
    try:
        names = os.listxattr(_same(fd))
        return tuple((name, os.getxattr(_same(fd), name).hex()) for name in sorted(names))
    except OSError as exc:
        if exc.errno in _NO_XATTRS:
            return ()
        raise


def missing_folders(path: str) -> list[str]:
    """Return the folders above a path that are not there, the highest first."""
    missing: list[str] = []
    folder = os.path.dirname(path)
    while not os.path.isdir(folder):
        if os.path.lexists(folder):
            raise HostError(f"{path} cannot be there: {folder} is no folder", reason="unsafe_path")
        missing.insert(0, folder)
        folder = os.path.dirname(folder)
    return missing


def staged(path: str) -> str:
    """Return the temporary name beside a path."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}{_NEW}")


def put(path: str, state: FileState, read: t.Callable[[str], bytes]) -> None:
    """Make a path hold this, durably. What holds it already is not touched, so this may be done twice.

    :param read: returns a content by its digest.
    :raises OSError: the disk says no.
    """
    found, _content = look(path, state.sha256 is not None)
    if found.is_as(state):
        return
    if state.kind == "absent":
        os.unlink(path)
        sync_dir(os.path.dirname(path))
    elif state.sha256 is None or (found.kind == "file" and found.sha256 == state.sha256):
        if found.kind == state.kind:  # a socket, say, that has gone is not for us to make
            _set_attributes(path, state)
    else:
        make_dirs(os.path.dirname(path), _FOLDER_MODE)
        _replace(path, state, read(state.sha256))


def _set_attributes(path: str, state: FileState) -> None:
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        if _kind(os.fstat(fd).st_mode) == "link":
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        os.chown(_same(fd), state.uid, state.gid)  # first, since it takes the bits for set-user-id away
        os.chmod(_same(fd), state.mode)
    finally:
        os.close(fd)
    sync_dir(path if state.kind == "folder" else os.path.dirname(path))


def _replace(path: str, state: FileState, content: bytes) -> None:
    new = staged(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    write_new(new, content, state)
    os.rename(new, path)
    sync_dir(os.path.dirname(path))


def write_new(path: str, content: bytes, state: FileState) -> None:
    """Make a file that is not there yet, and see that the disk holds it; its name is not durable yet."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(fd, left) :]
        os.fchown(fd, state.uid, state.gid)
        for name, value in state.xattrs:
            with contextlib.suppress(OSError):  # of a file system that has none, or of a kind that only the kernel sets
                os.setxattr(fd, name, bytes.fromhex(value))
        os.fchmod(fd, state.mode)
        os.fsync(fd)
    finally:
        os.close(fd)


def drop_folders(folders: t.Iterable[str]) -> None:
    """Remove folders that are empty, the deepest first."""
    for folder in sorted(folders, key=len, reverse=True):
        try:
            os.rmdir(folder)
            sync_dir(os.path.dirname(folder))
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY):
                raise
