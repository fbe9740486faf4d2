# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Write blobs and small files into a depot, so that what has a name there is whole and durable.

    partial/<sha256>[.p<nnnn>]   written, synced, read back from the medium, and only then renamed into blobs/sha256

That is done for many blobs at once: one sync of the file system costs as much as one of a single file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import (
    BLOBS,
    LAYOUT,
    LAYOUT_CONTENT,
    METADATA,
    PARTIAL,
    blob_name,
    is_sha256,
    part_name,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_medium import existing, medium_errors
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_partial import (
    PIECE,
    Blob,
    count_parts,
    fill,
    gives_another,
    wrong_source,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import sync_file_system

BATCH = 64 << 20
"""Bytes after which blobs are synced, read back and named, while the next ones are written."""

_BATCH_BLOBS = 512
_READERS = 4  # threads that read back; more than a stick can serve do not help
_SMALL = 64 << 20  # bytes; metadata and the like


@dataclass(frozen=True)
class Form:
    """How a depot is written: `part_size` in bytes, or None; whether to read back; whether each file needs a sync.

    File systems in user space need that: what syncs them as a whole does not reach them on every kernel. `device` is
    the number of the one that the depot is to be on: another one is there when the stick was pulled.
    """

    part_size: int | None = None
    verify: bool = True
    sync_each: bool = False
    device: int | None = None


class DepotStore:
    """A depot in a folder, for whoever writes it."""

    def __init__(self, path: str, form: Form | None = None) -> None:
        self.path = path
        self.folder = Folder(path)
        self._form = form or Form()
        self._place: tuple[int, int] | None = None

    @property
    def part_size(self) -> int | None:
        """Bytes that a file has at most; None where it has as many as it likes."""
        return self._form.part_size

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        """Hold the depot for writing: its folder exists, and no other run writes it.

        The lock is on the folder itself, which takes no file and works on file systems that know no locks.

        Raises:
            DepotError: another run writes it (`locked`), or the medium fails.
        """
        with contextlib.ExitStack() as held:
            with medium_errors(self.path):
                self._make_folder()
                fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                held.callback(os.close, fd)
                _lock(fd, self.path)
                status = os.fstat(fd)
                self._place = (status.st_dev, status.st_ino)
                if self._form.device not in (None, status.st_dev):
                    raise _changed(self.path)
            try:
                yield
            except DepotError:
                # On a medium that is gone nothing is found: that is what is wrong then, and not what was missed.
                with medium_errors(self.path):
                    self._check_place()
                raise

    def prepare(self) -> None:
        """Make the folders of the depot, and make it an OCI image layout.

        Raises:
            DepotError: something in it is a link (`unsafe_path`), or the medium fails.
        """
        with medium_errors(self.path):
            for name in (os.path.dirname(BLOBS), BLOBS, PARTIAL, METADATA):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(self._at(name))
                if not stat.S_ISDIR(os.lstat(self._at(name)).st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self._at(name))
        self.put(LAYOUT, LAYOUT_CONTENT)

    def sizes(self, blobs: t.Iterable[str]) -> dict[str, int]:
        """Return the bytes of those of the blobs that the depot has, as it says; nothing is read of them."""
        found = {}
        with medium_errors(self.path):
            names = set(self.folder.names(BLOBS))
            for sha256 in blobs:
                if sha256 in names or f"{sha256}.p0000" in names:
                    size = self.folder.blob_size(sha256)
                    if size is not None:
                        found[sha256] = size
        return found

    def held(self) -> set[str]:
        """Return all blobs that the depot has."""
        return {name for name in self._files() if is_sha256(name)}

    def partial_bytes(self) -> int:
        """Return what interrupted runs have left: the next one goes on with it, or removes it."""
        total = 0
        for name in self.folder.names(PARTIAL):
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(self._at(f"{PARTIAL}/{name}")).st_size
        return total

    def clear(self, planned: t.Collection[Blob]) -> None:
        """Remove what interrupted runs have left of blobs that nobody wants now."""
        kept = {os.path.basename(path) for blob in planned for path in self._partial(blob)}
        with medium_errors(self.path):
            for name in self.folder.names(PARTIAL):
                if name not in kept:
                    os.unlink(self._at(f"{PARTIAL}/{name}"))

    def write(self, blobs: t.Sequence[Blob]) -> int:
        """Write blobs in this order; return the bytes that had to be written. Each is durable once it has its name.

        Raises:
            DepotError: the medium failed or gives back other bytes, or a source did not give what it should.
        """
        written = 0
        with medium_errors(self.path), ThreadPoolExecutor(1) as beside:
            settled: Future[None] | None = None
            there = self._files()
            for batch in _batches(blobs):
                for blob in batch:
                    self._take_back(blob, there.get(blob.sha256, []))
                    limit = self._form.part_size or max(blob.size, 1)
                    # What is read back is hashed then, and a hash costs more than writing to a fast disk.
                    form = self._form
                    written += fill(blob, self._partial(blob), limit, form.sync_each, check=not form.verify)
                if settled is not None:
                    settled.result()
                settled = beside.submit(self._settle, batch)
            if settled is not None:
                settled.result()
            self.sync()
        return written

    def has(self, name: str, data: bytes) -> bool:
        """Whether a small file has this content."""
        return self.folder.read(name, _SMALL) == data

    def put(self, name: str, data: bytes) -> bool:
        """Replace a small file; return whether it was another one. Its name is durable after `sync`."""
        with medium_errors(self.path):
            if self.has(name, data):
                return False
            temporary = self._at(f"{PARTIAL}/{os.path.basename(name)}.new")
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            with open(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._at(name))
        return True

    def remove(self, names: t.Iterable[str]) -> None:
        """Remove files of the depot, by their names in it; one that is gone already is fine."""
        with medium_errors(self.path):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._at(name))

    def remove_blobs(self, blobs: t.Collection[str]) -> None:
        """Remove blobs, in parts or not. The first part goes first: without it the rest is no blob."""
        files = self._files()
        self.remove(f"{BLOBS}/{name}" for blob in sorted(blobs) for name in files.get(blob, ()))

    def sync(self) -> None:
        """Make all that was written durable, and see that it is still the same medium that is there."""
        with medium_errors(self.path):
            sync_file_system(self.path)
            self._check_place()

    def corrupt(self, blobs: t.Sequence[str]) -> list[str]:
        """Read blobs that the depot has, past what the kernel remembers of them; return those that are wrong."""
        with medium_errors(self.path), ThreadPoolExecutor(_READERS) as pool:
            files = self._files()
            # A whole file counts before parts, as for whoever reads the depot.
            names = [[blob] if blob in files.get(blob, ()) else files.get(blob, []) for blob in blobs]
            paths = [[self._at(f"{BLOBS}/{one}") for one in found] for found in names]
            return [blob for blob, found in zip(blobs, pool.map(_read_back, paths)) if found != blob]

    def _check_place(self) -> None:
        status = os.stat(self.path)
        if self._place not in (None, (status.st_dev, status.st_ino)):
            raise _changed(self.path)

    def _make_folder(self) -> None:
        """Make the depot's folder and those above it, without modes: not every file system lets them be set."""
        place = existing(self.path)
        if self._form.device not in (None, os.stat(place).st_dev):
            raise _changed(self.path)
        if place != os.path.abspath(self.path):
            os.makedirs(self.path, exist_ok=True)

    def _take_back(self, blob: Blob, there: t.Sequence[str]) -> None:
        """Go on with what has the blob's name and is not the blob: the parts of an interrupted run, a torn file."""
        wanted = [os.path.basename(path) for path in self._partial(blob)]
        for name in there:
            place = self._at(f"{PARTIAL}/{name}")
            if name in wanted and not os.path.lexists(place):
                os.replace(self._at(f"{BLOBS}/{name}"), place)
            else:
                os.unlink(self._at(f"{BLOBS}/{name}"))

    def _files(self) -> dict[str, list[str]]:
        """Return the names of the files of each blob that the depot has, or has parts of."""
        found: dict[str, list[str]] = {}
        for name in self.folder.names(BLOBS):
            found.setdefault(name.partition(".")[0], []).append(name)
        return found

    def _settle(self, batch: t.Sequence[Blob]) -> None:
        """Make blobs durable, read them back, and give them their names."""
        self.sync()
        if self._form.verify:
            self._verify(batch)
        for blob in batch:
            # The first part comes last: until then there is no blob of that name, rather than a short one.
            for path, name in reversed(list(zip(self._partial(blob), self._names(blob)))):
                os.replace(path, self._at(name))

    def _verify(self, batch: t.Sequence[Blob]) -> None:
        with ThreadPoolExecutor(_READERS) as pool:
            found = list(pool.map(_read_back, map(self._partial, batch)))
        wrong = [blob for blob, sha256 in zip(batch, found) if sha256 != blob.sha256]
        for blob in wrong:
            self.remove(f"{PARTIAL}/{os.path.basename(path)}" for path in self._partial(blob))
        for blob in filter(gives_another, wrong):
            raise wrong_source(blob)
        if wrong:
            raise DepotError(
                f"{self.path}: {wrong[0].title} was written and reads back otherwise, as did {len(wrong) - 1} others. "
                "The stick is failing, or has less room than it says: take another one, or check this one whole before "
                "it is used again. The depot on it is what it was",
                reason="blob_corrupt",
                blob=wrong[0].sha256,
            )

    def _names(self, blob: Blob) -> list[str]:
        count = count_parts(blob.size, self._form.part_size)
        if count == 1:
            return [blob_name(blob.sha256)]
        return [part_name(blob.sha256, number) for number in range(count)]

    def _partial(self, blob: Blob) -> list[str]:
        return [self._at(f"{PARTIAL}/{os.path.basename(name)}") for name in self._names(blob)]

    def _at(self, name: str) -> str:
        return os.path.join(self.path, name)


def _changed(path: str) -> OSError:
    return OSError(errno.ENODEV, "it is not mounted there any more", path)


def _batches(blobs: t.Sequence[Blob]) -> t.Iterator[list[Blob]]:
    batch: list[Blob] = []
    for blob in blobs:
        batch.append(blob)
        if sum(one.size for one in batch) >= BATCH or len(batch) >= _BATCH_BLOBS:
            yield batch
            batch = []
    if batch:
        yield batch


def _lock(fd: int, path: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DepotError(
            f"another run writes {path}; wait for it to end. What a killed run held is free by itself", reason="locked"
        ) from None


def _read_back(paths: t.Sequence[str]) -> str:
    """Return the SHA-256 of what the medium has in some files together; what the kernel remembers is dropped first."""
    digest, memory = hashlib.sha256(), bytearray(PIECE)
    for path in paths:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb", buffering=0) as file:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            with memoryview(memory) as view:
                while count := file.readinto(memory):
                    digest.update(view[:count])
    return digest.hexdigest()
