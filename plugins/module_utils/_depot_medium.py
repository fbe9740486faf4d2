# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The file system that a depot is written to: what it is, how much it takes, and what its failures mean.

A kernel without a driver for exFAT mounts it through FUSE and calls it fuseblk, as it does NTFS and FAT; the first
sector of the device tells which it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import PART_BYTES
from ansible_collections.emorobcare.fleet.plugins.module_utils._size import human

_FAT = ("vfat", "msdos", "fat", "fuse.fusefat")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")
_SECTOR = 512
# What stands where in the first sector, by the specifications of FAT, exFAT and NTFS.
_MARKS = ((3, b"EXFAT   ", "exfat"), (3, b"NTFS    ", "ntfs"), (82, b"FAT32   ", "vfat"), (54, b"FAT1", "vfat"))
_NAME_BYTES = 256  # of a folder, for one name of a blob: FAT takes seven entries of 32 bytes for it
_GONE = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOENT, errno.ENOTCONN, errno.ESTALE, errno.EROFS, errno.EBADF)


@dataclass(frozen=True)
class Mount:
    """A line of /proc/self/mountinfo, as far as it counts here."""

    point: str
    kind: str
    source: str
    read_only: bool


@dataclass(frozen=True)
class Medium:
    """What takes the depot: `free` and `block` in bytes. Without `free` it does not tell, without `inodes` it has none.

    `user_space`: it is a program's, through FUSE. `device`: its number (st_dev).
    """

    mount: str
    kind: str
    free: int | None
    block: int
    inodes: int | None
    read_only: bool = False
    user_space: bool = False
    device: int | None = None

    @property
    def part_size(self) -> int | None:
        """Bytes of a part, where a file may not be as large as it likes.

        Nobody knows what stands behind a file system in user space, so it gets parts as well: they are right anywhere.
        """
        limited = self.kind in _FAT or self.kind.startswith("fuse")
        return PART_BYTES if limited else None

    def takes(self, sizes: t.Iterable[int]) -> int:
        """Return the bytes that files of these sizes take here: whole blocks, and their names."""
        return sum(-(-size // self.block) * self.block + _NAME_BYTES for size in sizes)


def parse_mounts(text: str) -> list[Mount]:
    """Read /proc/self/mountinfo; its format is in proc_pid_mountinfo(5)."""
    mounts = []
    for line in text.splitlines():
        own, _dash, file_system = line.partition(" - ")
        fields, behind = own.split(" "), file_system.split(" ")
        if len(fields) < 6 or len(behind) < 3:
            continue
        read_only = "ro" in fields[5].split(",") or "ro" in behind[2].split(",")
        mounts.append(Mount(_plain(fields[4]), behind[0], _plain(behind[1]), read_only))
    return mounts


def mount_of(path: str, mounts: t.Sequence[Mount]) -> Mount | None:
    """Return the mount that an absolute path without links is on: the nearest one above it, the last one there."""
    found = None
    for mount in mounts:
        above = mount.point == "/" or path == mount.point or path.startswith(f"{mount.point}/")
        if above and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def sector_kind(sector: bytes) -> str | None:
    """Return which file system a device's first sector says it has; None if it is none of those on sticks."""
    return next((kind for at, mark, kind in _MARKS if sector[at : at + len(mark)] == mark), None)


def look_at_medium(path: str) -> Medium:
    """Return what a folder, or the nearest one above it that exists, is on.

    Raises:
        DepotError: the folder cannot be looked at (`io_error`).
    """
    with medium_errors(path):
        place = existing(path)
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mount = mount_of(os.path.realpath(place), parse_mounts(file.read())) or Mount("/", "unknown", "", False)
        status, device = os.statvfs(place), os.stat(place).st_dev
    return Medium(
        mount=mount.point,
        kind=(_device_kind(mount.source) or mount.kind) if mount.kind == "fuseblk" else mount.kind,
        # Some file systems in user space say 0 of 0 blocks, which tells nothing.
        free=status.f_bavail * status.f_frsize if status.f_blocks else None,
        block=max(status.f_frsize, _SECTOR),
        inodes=status.f_favail if status.f_files and status.f_blocks and not _countless(mount.kind) else None,
        read_only=mount.read_only or bool(status.f_flag & os.ST_RDONLY),
        user_space=mount.kind.startswith("fuse"),
        device=device,
    )


def refuse_unmounted(medium: Medium, path: str, begun: bool) -> None:
    """Refuse to begin a depot where the medium for it was not mounted: it would fill the system's own disk.

    Args:
        begun: whether there is a depot already.

    Raises:
        DepotError: `path` is on the file system of / or in memory (`invalid`).
    """
    if not begun and (medium.mount == "/" or medium.kind in _IN_MEMORY):
        raise DepotError(
            f"{path} holds no depot yet, and is on what is mounted at {medium.mount} ({medium.kind}), not on a medium "
            "of its own. Mount the stick there (lsblk shows it); if the depot is to be on this machine's own disk, say "
            "so with depot_on_disk=true",
            reason="invalid",
            mount=medium.mount,
        )


def existing(path: str) -> str:
    """Return a folder, or the nearest one above it while it does not exist."""
    place = os.path.abspath(path)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    return place


def check_room(medium: Medium, sizes: t.Sequence[int], spare: int = 0) -> None:
    """Refuse what the medium has no room for, before anything is written.

    Args:
        sizes: bytes of each file that will be written.
        spare: bytes that the run frees, or that earlier runs have written of these files.

    Raises:
        DepotError: with what is needed, what there is and what to do (`no_space`).
    """
    needed = max(medium.takes(sizes) - spare, 0)
    if sizes and medium.free is not None and needed > medium.free:
        raise DepotError(
            f"not enough space on {medium.mount} ({medium.kind}): {needed} bytes ({human(needed)}) needed, "
            f"{medium.free} bytes ({human(medium.free)}) available. Remove other files from it, take a larger medium, "
            "spread the depot over several (volumes, volume_size), or leave out what all hosts hold (held)",
            reason="no_space",
            needed=needed,
            available=medium.free,
            mount=medium.mount,
        )
    if medium.inodes is not None and len(sizes) > medium.inodes:
        raise DepotError(
            f"not enough inodes on {medium.mount} ({medium.kind}): {len(sizes)} needed, {medium.inodes} available. "
            "Remove other files from it, or make its file system anew with more",
            reason="no_space",
            needed_inodes=len(sizes),
            available_inodes=medium.inodes,
            mount=medium.mount,
        )


def refuse_read_only(medium: Medium, path: str) -> None:
    """Refuse a medium that nothing can be written to.

    Raises:
        DepotError: `read_only`.
    """
    if medium.read_only:
        raise DepotError(
            f"{path} is on {medium.mount} ({medium.kind}), which is mounted read-only. Look for a lock switch on the "
            "stick; if the kernel made it read-only after errors (dmesg), check its file system with fsck, then mount "
            "it again",
            reason="read_only",
            mount=medium.mount,
        )


@contextlib.contextmanager
def medium_errors(path: str) -> t.Iterator[None]:
    """Say in words what a failure of the medium that holds `path` means.

    Raises:
        DepotError: `no_space`, `io_error`, `read_only` or `unsafe_path`.
    """
    try:
        yield
    except OSError as exc:
        raise failed(path, exc) from exc


def failed(path: str, exc: OSError) -> DepotError:
    """Return the error for a failure of the medium that holds `path`."""
    said = exc.strerror or str(exc)
    where = exc.filename if isinstance(exc.filename, str) else path
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return DepotError(
            f"{path} is full: something else wrote to it meanwhile. Make room and run again: what was written so far "
            "is kept, and the depot is what it was",
            reason="no_space",
        )
    if exc.errno in (errno.EACCES, errno.EPERM):
        return DepotError(
            f"{where} cannot be written: {said}. Use become, or mount it for this user", reason="read_only"
        )
    if exc.errno in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR):
        return DepotError(
            f"{where} is a link, or no file where one belongs, and a depot has none. Remove it, and run again",
            reason="unsafe_path",
        )
    if exc.errno == errno.EFBIG:
        return DepotError(
            f"{where} is larger than its file system takes: set part_size to {PART_BYTES} or less", reason="io_error"
        )
    gone = "was pulled, or is failing" if exc.errno in _GONE else "cannot be used"
    return DepotError(
        f"the medium of {path} {gone} ({said}). Put it in again, mount it and run again: what was written so far is "
        "gone on with, and the depot is what it was. If this comes again, take another stick",
        reason="io_error",
        error=said,
    )


def _plain(text: str) -> str:
    """Return a name of mountinfo, in which blanks and the like are octal numbers."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)


def _countless(kind: str) -> bool:
    """Whether a file system has no inodes that could run out; what it says of them is made up."""
    return kind in (*_FAT, "exfat") or kind.startswith("fuse")


def _device_kind(device: str) -> str | None:
    try:
        with open(device, "rb", buffering=0) as file:
            return sector_kind(file.read(_SECTOR))
    except OSError:  # not root's, or no device of this machine's
        return None
