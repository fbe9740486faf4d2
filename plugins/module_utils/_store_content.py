# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The host store: verified content by digest, and the notes about it.

Layout below the root (format 2; format 1 had neither logs nor chunks):

    store/sha256/<digest>              content, mode 0444, linked into each version that has it
    store/chunks/<digest>              {"schema": 1, "size": n, "chunk": n, "states": […]}: for content of more than one
                                       chunk, the SHA-256 chain value after each of its chunks but the last
    store/partial/<digest>.part, .log  what is being received; an interrupted run's are gone on with by the next
    store/staging/                     folders about to be renamed into models/, or renamed out of it; emptied by the
                                       next run that writes
    store/progress/                    how far tasks are that are at work, for who watches them
    store/versions/<name>@<version>.json   {"schema": 1, "files": {path: sha256}}: written before the version appears
    store/stamps.json                  {"schema": 1, "stamps": {sha256: [inode, size, mtime_ns, ctime_ns]}}
    store/lock                         held (flock) by the run that writes
    models/<name>/<version>/<path>     hard links into store/sha256

A stamp is taken when content has just been verified: while inode, size and both times are what they were, nobody has
written to it through the file system and it need not be read again. A lost stamp costs one read, never correctness.
Making and removing links changes an inode's ctime, so whoever does that takes new stamps.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_ranges import CHUNK
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_space import Space
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import (
    locked,
    make_dirs,
    read_json,
    remove,
    sync_dir,
    sync_file_system,
    write_json,
)

_SCHEMA = 1
_STATE = re.compile(r"[0-9a-f]{64}")
_KEEP_PARTIAL = 30 * 86400  # seconds
_ALIGN = 4096  # bytes; what O_DIRECT asks of lengths and addresses
_KEEP_PROGRESS = 3600  # seconds


@dataclass(frozen=True)
class Stamp:
    """What tells whether a file was written to since: times in nanoseconds, size in bytes."""

    inode: int
    size: int
    mtime: int
    ctime: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def same_content(self, other: Stamp) -> bool:
        """Whether only links or permissions can have changed between the two."""
        return (self.inode, self.size, self.mtime) == (other.inode, other.size, other.mtime)


class Store:
    """Paths and notes of the store below one root. Holds no state but the root itself."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.blobs = os.path.join(root, "store", "sha256")
        self.partial = os.path.join(root, "store", "partial")
        self.staging = os.path.join(root, "store", "staging")
        self.versions = os.path.join(root, "store", "versions")
        self.chunks = os.path.join(root, "store", "chunks")
        self.models = os.path.join(root, "models")
        self.progress = os.path.join(root, "store", "progress")
        self._stamps = os.path.join(root, "store", "stamps.json")
        self._lock = os.path.join(root, "store", "lock")

    def blob(self, digest: str) -> str:
        return os.path.join(self.blobs, digest)

    def part(self, digest: str) -> str:
        return os.path.join(self.partial, f"{digest}.part")

    def log(self, digest: str) -> str:
        return os.path.join(self.partial, f"{digest}.log")

    def version(self, name: str, version: str) -> str:
        return os.path.join(self.models, name, version)

    def record(self, name: str, version: str) -> str:
        return os.path.join(self.versions, f"{name}@{version}.json")

    def check_layout(self, name: str, version: str) -> None:
        """Refuse a root in which a link, or a file, would redirect what we write or read.

        Raises:
            ModelError: with reason `unsafe_path`.
        """
        folders = [self.root, os.path.dirname(self.blobs), self.blobs, self.partial, self.staging, self.versions]
        folders += [self.chunks, self.models, os.path.join(self.models, name), self.version(name, version)]
        devices: dict[int, str] = {}
        for folder in folders:
            status = lstat(folder)
            if status is None:
                continue
            if not stat.S_ISDIR(status.st_mode):
                kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a folder"
                raise ModelError(
                    f"{folder} is {kind}; the store needs real folders. Remove it, or give the real path as root",
                    reason="unsafe_path",
                )
            devices.setdefault(status.st_dev, folder)
        if len(devices) > 1:
            raise ModelError(
                f"{' and '.join(devices.values())} are on different file systems; versions are hard links into the "
                "store, so put all of root on one",
                reason="unsafe_path",
            )

    def space(self, digests: t.Collection[str], held: t.Mapping[str, int]) -> Space:
        """Return the room on the file system of the root, with what the next run clears away, or gives up if need be.

        What is reserved for the contents `digests` is theirs, except for the bytes (`held`) that are in it already.
        Whatever else an interrupted run has left is given up (`make_room`) rather than that they are refused.
        """
        place = self.existing()
        status = os.statvfs(place)
        available = self._available(digests, held) + sum(_tree_bytes(part) for part in self._others(digests))
        mount = place
        while not os.path.ismount(mount):
            mount = os.path.dirname(mount)
        inodes = status.f_favail if status.f_files else None  # btrfs and others make inodes as they go
        return Space(mount=mount, available=available, inodes=inodes, block=status.f_frsize)

    def make_room(self, needed: int, digests: t.Collection[str], held: t.Mapping[str, int]) -> None:
        """Give up what interrupted runs have left of other contents, the oldest first, until there is the room."""
        for part in self._others(digests):
            if self._available(digests, held) >= needed:
                return
            remove(f"{part[: -len('.part')]}.log")
            remove(part)

    def _available(self, digests: t.Collection[str], held: t.Mapping[str, int]) -> int:
        status = os.statvfs(self.existing())
        leftovers = self._leftovers()
        available = status.f_bavail * status.f_frsize + _tree_bytes(self.staging)
        available += sum(_tree_bytes(os.path.join(self.partial, name)) for name in leftovers)
        for digest in digests:
            part = lstat(self.part(digest))
            if part is not None and f"{digest}.part" not in leftovers:
                available += max(part.st_blocks * 512 - held.get(digest, 0), 0)
        return available

    def _others(self, digests: t.Collection[str]) -> list[str]:
        """Return the partial files of contents that are not among `digests`, the one not written to longest first."""
        parts = {os.path.join(self.partial, name) for name in _names(self.partial) if name.endswith(".part")}
        parts -= {self.part(digest) for digest in digests}
        parts -= {os.path.join(self.partial, name) for name in self._leftovers()}
        statuses = {part: status for part in parts if (status := lstat(part)) is not None}
        return sorted(statuses, key=lambda part: statuses[part].st_mtime)

    def existing(self) -> str:
        """Return the root, or the nearest folder above it while the root does not exist."""
        place = self.root
        while not os.path.isdir(place):
            place = os.path.dirname(place)
        return place

    @contextlib.contextmanager
    def locked(self, timeout: float) -> t.Iterator[None]:
        """Hold the store for writing: its folders exist and nothing of an interrupted run is left in them."""
        for folder in (self.blobs, self.versions, self.chunks, self.models):
            make_dirs(folder)
        for folder in (self.partial, self.staging):
            make_dirs(folder, 0o700)
        with locked(self._lock, timeout):
            for name in os.listdir(self.staging):
                remove(os.path.join(self.staging, name))
            self._clear_partial()
            self._clear_progress()
            yield

    def _clear_partial(self) -> None:
        for name in self._leftovers():
            remove(os.path.join(self.partial, name))

    def _leftovers(self) -> set[str]:
        """Return what no run will go on with: scratch files, halves, and what nobody has asked for in a long time."""
        names = set(_names(self.partial))
        oldest = time.time() - _KEEP_PARTIAL
        kept = set()
        for name in names:
            digest, _dot, kind = name.rpartition(".")
            pair = {f"{digest}.part", f"{digest}.log"}
            log = lstat(self.log(digest)) if kind == "log" and pair <= names else None
            if log is not None and log.st_mtime >= oldest:
                kept |= pair
        return names - kept

    def _clear_progress(self) -> None:
        """Remove what tasks that were killed have left; those at work write every second."""
        oldest = time.time() - _KEEP_PROGRESS
        for name in _names(self.progress):
            path = os.path.join(self.progress, name)
            status = lstat(path)
            if status is not None and status.st_mtime < oldest:
                remove(path)

    def read_record(self, name: str, version: str) -> dict[str, str] | None:
        """Return path to digest as recorded at publication; None without a record that can be read."""
        document = read_json(self.record(name, version))
        if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
            return None
        files = document.get("files")
        return files if isinstance(files, dict) else None

    def write_record(self, name: str, version: str, pins: t.Mapping[str, str]) -> None:
        write_json(self.record(name, version), {"schema": _SCHEMA, "files": dict(pins)})

    def published(self) -> t.Iterator[tuple[str, str]]:
        """Yield name and version of everything that is published."""
        for name in _names(self.models):
            for version in _names(os.path.join(self.models, name)):
                yield name, version

    def read_stamps(self) -> dict[str, Stamp]:
        document = read_json(self._stamps)
        if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
            return {}
        try:
            return {digest: Stamp(*map(int, numbers)) for digest, numbers in document["stamps"].items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            return {}  # stamps only save reading: without them content is read again

    def write_stamps(self, stamps: t.Mapping[str, Stamp]) -> None:
        numbers = {digest: [s.inode, s.size, s.mtime, s.ctime] for digest, s in stamps.items()}
        write_json(self._stamps, {"schema": _SCHEMA, "stamps": numbers})

    def read_states(self, digest: str, size: int) -> list[str]:
        """Return the chain value after each chunk of content but the last; nothing if they are not on record."""
        document = read_json(os.path.join(self.chunks, digest))
        if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
            return []
        states = document.get("states")
        if (document.get("size"), document.get("chunk")) != (size, CHUNK) or not isinstance(states, list):
            return []
        return states if all(isinstance(state, str) and _STATE.fullmatch(state) for state in states) else []

    def write_states(self, digest: str, size: int, states: t.Sequence[str]) -> None:
        document = {"schema": _SCHEMA, "size": size, "chunk": CHUNK, "states": list(states)}
        write_json(os.path.join(self.chunks, digest), document)

    def put_small(self, digest: str, buffer: memoryview, size: int) -> Stamp:
        """Write verified content, the first `size` bytes of a page-aligned buffer; return its stamp.

        It is durable after `sync`: nothing may claim it before.
        """
        part = os.path.join(self.partial, f"{digest}.small")
        try:
            stamp = _write_file(part, buffer, size)
            os.rename(part, self.blob(digest))
        except BaseException:
            remove(part)
            raise
        return stamp

    def sync(self) -> None:
        """Make all content durable that was put into the store."""
        sync_file_system(self.blobs)

    def forget(self, digest: str) -> None:
        """Remove content and what is known of it; the content last, so that what is interrupted is found again."""
        remove(os.path.join(self.chunks, digest))
        remove(self.blob(digest))

    def link(self, digest: str, path: str) -> None:
        """Make a hard link to content at `path`, where nothing is."""
        blob = self.blob(digest)
        if stat.S_IMODE(os.lstat(blob).st_mode) != 0o444:
            os.chmod(blob, 0o444)  # somebody changed it: a link shares the mode
        os.link(blob, path, follow_symlinks=False)

    def relink(self, digest: str, path: str) -> None:
        """Make a hard link to content at `path`, atomically in place of the file that is there."""
        temporary = os.path.join(self.staging, f"{digest}.link")
        self.link(digest, temporary)
        os.rename(temporary, path)

    def adopt(self, path: str, digest: str) -> None:
        """Make the store's link to content that is known to be right and is published at `path`."""
        temporary = os.path.join(self.staging, f"{digest}.adopted")
        os.link(path, temporary, follow_symlinks=False)
        os.rename(temporary, self.blob(digest))
        self.sync_blobs()

    def all_blobs(self) -> t.Iterator[tuple[str, os.stat_result]]:
        """Yield digest and status of all content in the store."""
        for digest in _names(self.blobs):
            status = lstat(self.blob(digest))
            if status is not None:  # another run, which holds the lock, may be at work
                yield digest, status

    def sync_blobs(self) -> None:
        sync_dir(self.blobs)


def _write_file(path: str, buffer: memoryview, size: int) -> Stamp:
    """Write a file past the page cache, where its file system can do that: nobody will read it from there."""
    whole_blocks = -(-size // _ALIGN) * _ALIGN
    try:
        return _write_with(os.O_DIRECT, path, buffer[:whole_blocks], size)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        return _write_with(0, path, buffer[:size], size)


def _write_with(flag: int, path: str, data: memoryview, size: int) -> Stamp:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC | flag, 0o444)
    try:
        longer = len(data) > size
        while data:
            data = data[os.write(fd, data) :]
        if longer:
            os.ftruncate(fd, size)
        os.fchmod(fd, 0o444)  # what open gives is subject to the umask
        return Stamp.of(os.fstat(fd))
    finally:
        os.close(fd)


def lstat(path: str) -> os.stat_result | None:
    """Return the status of what is at a path, links not followed; None when nothing is."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _tree_bytes(place: str) -> int:
    """Bytes on disk of a file, or of those in a folder, that have no other link (removing those frees nothing)."""
    paths = [place, *(os.path.join(parent, name) for parent, _folders, names in os.walk(place) for name in names)]
    statuses = [status for status in map(lstat, paths) if status is not None]
    return sum(one.st_blocks * 512 for one in statuses if one.st_nlink == 1 and not stat.S_ISDIR(one.st_mode))
