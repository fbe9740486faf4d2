# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Look at the host: what of a version is in the store and published, reading only content whose stamp does not hold."""

from __future__ import annotations

import collections
import os
import stat
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Found, FoundFile, Published
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_ranges import bytes_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_uses import uses
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_verify import Content, Reader
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import Wanted, WantedFile
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store, lstat
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_partial import read_log


class Damaged(t.NamedTuple):
    """A file that is wrong in part: where it is, and the chunks of it that are right (index to chain value)."""

    path: str
    good: t.Mapping[int, str]


@dataclass(frozen=True)
class Look:
    """`found` for the planner; by digest, the stamps of content that is right now, and what can be saved of others."""

    found: Found
    right: t.Mapping[str, Stamp] = field(default_factory=dict)
    damaged: t.Mapping[str, Damaged] = field(default_factory=dict)


def look(store: Store, wanted: Wanted, reader: Reader) -> Look:
    """Read the host. Changes nothing and needs no lock.

    Raises:
        ModelError: the root's layout is not safe to use, or content cannot be read.
    """
    store.check_layout(wanted.name, wanted.version)
    if wanted.state == "absent":
        return Look(_look_absent(store, wanted))
    return _look_present(store, wanted, reader)


def _look_present(store: Store, wanted: Wanted, reader: Reader) -> Look:
    folder = store.version(wanted.name, wanted.version)
    published = os.path.isdir(folder)
    statuses, extras = _walk(folder, wanted)
    inspector = _Inspector(store, reader, trust=wanted.state != "verified")
    inspector.read_ahead(wanted, folder, statuses)
    files = {file.path: inspector.look(file, folder, statuses.get(file.path)) for file in wanted.files}
    needed = [file for file in wanted.files if files[file.path].condition != "whole"]
    blobs = {file.sha256 for file in needed if inspector.blob(file) is not None}
    found = Found(
        published=published,
        pins=store.read_record(wanted.name, wanted.version),
        files=files,
        extras=tuple(sorted(extras)),
        blobs=frozenset(blobs),
        unstamped=inspector.unstamped,
        resumable={file.sha256: _held(store, file) for file in needed if file.sha256 not in blobs},
    )
    return Look(found, inspector.right, inspector.damaged)


def _held(store: Store, file: WantedFile) -> int:
    part = lstat(store.part(file.sha256))
    if part is None or part.st_size < file.size:
        return 0  # whatever the log says
    return bytes_of(read_log(store.log(file.sha256), file.size).chunks, file.size)


class _Inspector:
    """Finds the condition of files. Keeps what it learned: `right` has a stamp per digest whose content is right.

    With `trust` content whose stamp holds is not read.
    """

    def __init__(self, store: Store, reader: Reader, trust: bool) -> None:
        self.right: dict[str, Stamp] = {}
        self.damaged: dict[str, Damaged] = {}
        self._store = store
        self._reader = reader
        self._stamps = store.read_stamps()
        self._trust = trust
        self._blobs: dict[str, Stamp | None] = {}

    @property
    def unstamped(self) -> bool:
        return any(self._stamps.get(digest) != stamp for digest, stamp in self.right.items())

    def read_ahead(self, wanted: Wanted, folder: str, statuses: t.Mapping[str, os.stat_result]) -> None:
        """Read what will have to be read of the published files, all at once."""
        self._reader.read(
            Content(os.path.join(folder, file.path), file.sha256, file.size)
            for file in wanted.files
            if file.path in statuses and not self._holds(file.sha256, Stamp.of(statuses[file.path]))
        )

    def look(self, file: WantedFile, folder: str, status: os.stat_result | None) -> FoundFile:
        """Return the condition of one wanted path, given its status in the published folder."""
        if status is None:
            return FoundFile("missing")
        mode = stat.S_IMODE(status.st_mode)
        stamp = Stamp.of(status)
        if self._holds(file.sha256, stamp):
            # Whether the store has lost its own link to this inode does not matter to who reads the version.
            self.right[file.sha256] = stamp
            return FoundFile("whole", mode)
        path = os.path.join(folder, file.path)
        verdict = self._reader.verdict(Content(path, file.sha256, file.size))
        if not verdict.right:
            if verdict.good:
                self.damaged[file.sha256] = Damaged(path, verdict.good)
            corrupt = tuple((span.start, span.stop) for span in verdict.corrupt(file.size))
            return FoundFile("wrong", mode, corrupt, bytes_of(verdict.good, file.size))
        blob = self.blob(file)
        if blob is None:
            self._blobs[file.sha256] = self.right[file.sha256] = stamp  # what the store will have again
            return FoundFile("orphan", mode)
        return FoundFile("whole" if blob.inode == stamp.inode else "stray", mode)

    def blob(self, file: WantedFile) -> Stamp | None:
        """Return the stamp of the store's content for a file; None when it is missing or wrong."""
        if file.sha256 not in self._blobs:
            self._blobs[file.sha256] = self._look_blob(file)
        return self._blobs[file.sha256]

    def _look_blob(self, file: WantedFile) -> Stamp | None:
        path = self._store.blob(file.sha256)
        status = lstat(path)
        if status is None or not stat.S_ISREG(status.st_mode):
            return None
        stamp = Stamp.of(status)
        if not self._holds(file.sha256, stamp):
            verdict = self._reader.verdict(Content(path, file.sha256, file.size))
            if not verdict.right:
                if verdict.good:
                    self.damaged.setdefault(file.sha256, Damaged(path, verdict.good))
                return None
        self.right[file.sha256] = stamp
        return stamp

    def _holds(self, digest: str, stamp: Stamp) -> bool:
        return self._trust and self._stamps.get(digest) == stamp


def _walk(folder: str, wanted: Wanted) -> tuple[dict[str, os.stat_result], list[str]]:
    """Return the status of each wanted path that is a regular file, and the paths of all that is not wanted."""
    paths = wanted.pins.keys()
    folders = {"/".join(parts[:depth]) for parts in (p.split("/") for p in paths) for depth in range(len(parts))}
    statuses: dict[str, os.stat_result] = {}
    extras: list[str] = []
    pending = [""] if os.path.isdir(folder) else []
    while pending:
        prefix = pending.pop()
        with os.scandir(os.path.join(folder, prefix)) as entries:
            for entry in entries:
                path = f"{prefix}/{entry.name}" if prefix else entry.name
                if path in folders and entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                elif path in paths and entry.is_file(follow_symlinks=False):
                    statuses[path] = entry.stat(follow_symlinks=False)
                else:
                    extras.append(path)
    return statuses, extras


def _look_absent(store: Store, wanted: Wanted) -> Found:
    """Find what removing a version leaves behind: content that no other version has, by its record or by a link."""
    folder = store.version(wanted.name, wanted.version)
    # A folder that an interrupted removal left in staging is gone, too, once this run holds the lock.
    own_links = collections.Counter(status.st_ino for place in (folder, store.staging) for status in _all_files(place))
    others = [other for other in store.published() if other != (wanted.name, wanted.version)]
    needed = {digest for other in others for digest in (store.read_record(*other) or {}).values()}
    garbage: dict[str, int] = {}
    for digest, status in store.all_blobs():
        if digest not in needed and status.st_nlink - own_links[status.st_ino] <= 1:
            garbage[digest] = status.st_size
    used_by = tuple(uses(store.root).get((wanted.name, wanted.version), ()))
    return Found(published=os.path.isdir(folder), garbage=garbage, uses=used_by)


def published_versions(store: Store, name: str) -> list[Published]:
    """Return the versions of a model on this host, with when they were published and whether a release has them."""
    used = uses(store.root)
    versions = []
    for version in (version for other, version in store.published() if other == name):
        # The record is written once; the folder's time changes with every repair.
        status = lstat(store.record(name, version)) or os.lstat(store.version(name, version))
        versions.append(Published(version, status.st_mtime_ns, (name, version) in used))
    return versions


def _all_files(folder: str) -> t.Iterator[os.stat_result]:
    for parent, _folders, names in os.walk(folder):
        for name in names:
            status = lstat(os.path.join(parent, name))
            if status is not None:  # another run, which holds the lock, may be at work
                yield status
