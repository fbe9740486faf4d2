# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.
"""Read a depot in a folder: small files whole, blobs in pieces, never through a link.

Nothing here trusts what it reads, and nothing here writes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import (
    LAYOUT,
    TIMESTAMP,
    VOLUME,
    Volume,
    blob_name,
    parse_volume,
    part_name,
)

PIECE = 1 << 20  # bytes; larger ones gain nothing, and a pulled stick is noticed between two
_VOLUME_LIMIT = 16 << 20
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not make us wait
Entry = t.Literal["file", "folder", "other"]  # other: a link, a pipe, a device
_LINKS = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)


class Source(t.Protocol):
    """Where a depot is read from: a folder, a web server."""

    @property
    def shown(self) -> str:
        """What messages call it."""

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a small file; None if there is none.

        Raises:
            DepotError: it has more bytes than `limit`, is no plain file, or cannot be read.
        """

    def blob_size(self, sha256: str) -> int | None:
        """Return the bytes of a blob, of all its parts together; None if it is not there."""

    def pieces(self, sha256: str, start: int = 0) -> t.Iterator[bytes]:
        """Return a blob's bytes from `start` on, in pieces.

        Raises:
            DepotError: it is not there, or cannot be read to its end.
        """


class Blob(t.Protocol):
    """A blob that is open. One thread reads it, into memory of its own."""

    @property
    def size(self) -> int:
        """Bytes of the blob, of all its parts together."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` with what comes next; return how many bytes, perhaps fewer than fit, 0 only at the end.

        Raises:
            DepotError: it cannot be read to its end.
        """


class BlobSource(Source, t.Protocol):
    """A source whose blobs are read without a copy in between, by several threads at once."""

    def open_blob(self, sha256: str, start: int = 0) -> t.ContextManager[Blob]:
        """Open a blob, to be read from `start` on.

        Raises:
            DepotError: it is not there, or cannot be read.
        """

    def close(self) -> None:
        """Give back what the source holds, such as connections. It is not used any more then."""


class Folder:
    """A depot in a folder of this machine."""

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def shown(self) -> str:
        return self.path

    def read(self, name: str, limit: int) -> bytes | None:
        with self._opened(name) as fd:
            if fd is None:
                return None
            size = os.fstat(fd).st_size
            if size > limit:
                raise DepotError(
                    f"{self.path}/{name} has {size} bytes, and nothing of that name has more than {limit}",
                    reason="blob_corrupt",
                )
            return b"".join(self._rest(fd, name, size))

    def blob_size(self, sha256: str) -> int | None:
        whole = self._size(blob_name(sha256))
        if whole is not None:
            return whole
        parts: list[int] = []
        while (size := self._size(part_name(sha256, len(parts)))) is not None:
            parts.append(size)
        return sum(parts) if parts else None

    def pieces(self, sha256: str, start: int = 0) -> t.Iterator[bytes]:
        whole = self._size(blob_name(sha256)) is not None
        number, found = 0, False
        while True:
            name = blob_name(sha256) if whole else part_name(sha256, number)
            with self._opened(name) as fd:
                if fd is None:
                    break
                found = True
                size = os.fstat(fd).st_size
                if start < size:
                    yield from self._rest(fd, name, size - start, start)
                start = max(start - size, 0)
            if whole:
                return
            number += 1
        if not found:
            raise missing(self.shown, sha256)

    @contextlib.contextmanager
    def open_blob(self, sha256: str, start: int = 0) -> t.Iterator[Blob]:
        with contextlib.ExitStack() as stack:
            yield self._blob(stack, sha256, start)

    def _blob(self, stack: contextlib.ExitStack, sha256: str, start: int) -> _FolderBlob:
        """Open a blob; whatever is to be closed is on the stack."""
        fd = stack.enter_context(self._opened(blob_name(sha256)))
        if fd is not None:
            return _FolderBlob(self, [(blob_name(sha256), os.fstat(fd).st_size)], start, fd)
        files: list[tuple[str, int]] = []
        while (size := self._size(part_name(sha256, len(files)))) is not None:
            files.append((part_name(sha256, len(files)), size))
        if not files:
            raise missing(self.shown, sha256)
        return stack.enter_context(contextlib.closing(_FolderBlob(self, files, start)))

    def close(self) -> None:
        """There is nothing to give back."""

    def entries(self, folder: str) -> dict[str, Entry]:
        """Return what each name in a folder of the depot is, links not followed; none if it is not there."""
        with self._opened(folder, os.O_DIRECTORY) as fd:
            if fd is None:
                return {}
            try:
                with os.scandir(fd) as found:
                    return {entry.name: _kind(entry) for entry in found}
            except OSError as exc:
                raise self._unreadable(folder, exc) from exc

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder of the depot; none if it is not there."""
        with self._opened(folder, os.O_DIRECTORY) as fd:
            try:
                return [] if fd is None else sorted(os.listdir(fd))
            except OSError as exc:
                raise self._unreadable(folder, exc) from exc

    def _size(self, name: str) -> int | None:
        with self._opened(name) as fd:
            return None if fd is None else os.fstat(fd).st_size

    @contextlib.contextmanager
    def _opened(self, name: str, flags: int = 0) -> t.Iterator[int | None]:
        """Open a file of the depot, folder by folder, so that no link leads anywhere; None if it is not there."""
        fds: list[int] = []
        try:
            yield self._descend(fds, name, flags)
        finally:
            for fd in reversed(fds):
                os.close(fd)

    def _descend(self, fds: list[int], name: str, flags: int) -> int | None:
        """Open the folders above a file, and the file, one in the other; whatever is open is in `fds`."""
        parts = name.split("/")
        try:
            # The depot's own folder may be reached by a link: that is for whoever named it.
            fds.append(os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            for part in parts[:-1]:
                fds.append(os.open(part, os.O_RDONLY | os.O_DIRECTORY | _SAFE, dir_fd=fds[-1]))
            fds.append(os.open(parts[-1], os.O_RDONLY | flags | _SAFE, dir_fd=fds[-1]))
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise self._unreadable(name, exc) from exc
        mode = os.fstat(fds[-1]).st_mode
        if not (stat.S_ISDIR(mode) if flags & os.O_DIRECTORY else stat.S_ISREG(mode)):
            raise DepotError(f"{self.path}/{name} is no plain file", reason="unsafe_path")
        return fds[-1]

    def _rest(self, fd: int, name: str, size: int, start: int = 0) -> t.Iterator[bytes]:
        """Return so many bytes of a file: what grew meanwhile is not read, and what shrank is an error."""
        left = size
        while left:
            try:
                piece = os.pread(fd, min(PIECE, left), start + size - left)
            except OSError as exc:
                raise self._unreadable(name, exc) from exc
            if not piece:
                raise self._shorter(name)
            left -= len(piece)
            yield piece

    def _shorter(self, name: str) -> DepotError:
        return DepotError(f"{self.path}/{name} became shorter while it was read", reason="blob_corrupt")

    def _unreadable(self, name: str, exc: OSError) -> DepotError:
        if exc.errno in _LINKS:
            return DepotError(
                f"{self.path}/{name} is a link, or is below one, and a depot has none: its content could be anywhere. "
                "Write the depot again",
                reason="unsafe_path",
            )
        return DepotError(
            f"{self.path}/{name} cannot be read: {exc.strerror}. If the stick was pulled, put it in again; if not, it "
            "is failing: write the depot to another one",
            reason="io_error",
        )


class _FolderBlob:
    """A blob of a folder: one file, or its parts one after the other, of which one is open at a time."""

    def __init__(self, folder: Folder, files: t.Sequence[tuple[str, int]], start: int, fd: int = -1) -> None:
        self.size = sum(size for _name, size in files)
        self._folder = folder
        self._files = files
        self._position = start
        self._fd = fd  # of the first file, where somebody else has opened it
        self._opened = "" if fd < 0 else files[0][0]
        self._stack = contextlib.ExitStack()

    def readinto(self, buffer: memoryview) -> int:
        offset = self._position
        for name, size in self._files:
            if offset < size:
                count = self._read(name, buffer[: size - offset], offset)
                self._position += count
                return count
            offset -= size
        return 0

    def _read(self, name: str, buffer: memoryview, offset: int) -> int:
        if name != self._opened:
            self._open(name)
        try:
            count = os.preadv(self._fd, [buffer], offset)
        except OSError as exc:
            raise self._folder._unreadable(name, exc) from exc
        if buffer and not count:
            raise self._folder._shorter(name)
        return count

    def _open(self, name: str) -> None:
        self._stack.close()
        fd = self._stack.enter_context(self._folder._opened(name))
        if fd is None:  # it was there a moment ago
            raise self._folder._unreadable(name, OSError(errno.ENOENT, os.strerror(errno.ENOENT)))
        self._opened, self._fd = name, fd

    def close(self) -> None:
        self._stack.close()


def _kind(entry: os.DirEntry[str]) -> Entry:
    if entry.is_file(follow_symlinks=False):
        return "file"
    return "folder" if entry.is_dir(follow_symlinks=False) else "other"


def missing(shown: str, sha256: str) -> DepotError:
    """Return the error for a blob that should be there."""
    return DepotError(
        f"{shown} lacks blob {sha256}; it was not copied whole. Write or copy the depot again (a run of depot_write "
        "writes what is missing)",
        reason="blob_missing",
        blob=sha256,
    )


def check_layout(source: Source) -> Volume:
    """Refuse what is no depot; return what this medium holds.

    Raises:
        DepotError: `not_a_depot`, with what is missing.
    """
    layout = source.read(LAYOUT, 4096)
    if layout is None or b'"1.0.0"' not in layout:
        raise DepotError(
            f"{source.shown} is no depot: it has no {LAYOUT} of version 1.0.0. Is the stick mounted there?",
            reason="not_a_depot",
        )
    if source.read(TIMESTAMP, 1 << 20) is None:
        raise DepotError(
            f"{source.shown} is no whole depot: it has no {TIMESTAMP}, which is written last. Write it again",
            reason="not_a_depot",
        )
    volume = source.read(VOLUME, _VOLUME_LIMIT)
    return Volume() if volume is None else parse_volume(volume)


def read_blob(source: Source, sha256: str, limit: int, size: int | None = None) -> bytes:
    """Return a small blob, checked.

    Args:
        size: bytes that it must have.

    Raises:
        DepotError: it is missing, too large, or has another digest than its name says.
    """
    found = source.blob_size(sha256)
    if found is None:
        raise missing(source.shown, sha256)
    if found > limit or size not in (None, found):
        raise corrupt(source.shown, sha256, f"has {found} bytes instead of {limit if size is None else size}")
    data = b"".join(source.pieces(sha256))
    if hashlib.sha256(data).hexdigest() != sha256:
        raise corrupt(source.shown, sha256, "has other content than its name says")
    return data


def corrupt(shown: str, sha256: str, what: str) -> DepotError:
    """Return the error for a blob that is not what it should be."""
    return DepotError(
        f"{shown}: blob {sha256} {what}. The stick is failing, or somebody changed it. Write the depot again with "
        "verify_held=true of depot_write (-e depot_verify_held=true): without it only sizes are looked at",
        reason="blob_corrupt",
        blob=sha256,
    )
