# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A blob while it is written: one file of partial/, or several where the medium takes no file so large."""

from __future__ import annotations

import contextlib
import hashlib
import os
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import part_sizes

PIECE = 4 << 20  # bytes; what is read, hashed and written at once
_MOST_PARTS = 9999  # their numbers have four digits
_INLINE = 1 << 20  # bytes; hashing less than that is done before a thread is awake
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC

Source = t.Callable[[], t.Iterator[bytes]]
"""Gives a blob's bytes from the beginning; raises DepotError where it cannot. All but a spool's give them again."""


@dataclass(frozen=True)
class Blob:
    """Content to write: its SHA-256, its size in bytes, where its bytes come from, and what messages call it."""

    sha256: str
    size: int
    source: Source
    title: str


def of_bytes(data: bytes) -> Source:
    """Return the source of content that is in memory."""
    return lambda: iter((data,))


def of_file(path: str) -> Source:
    """Return the source of content that is in a file of this host, which must not be a link."""

    def pieces() -> t.Iterator[bytes]:
        try:
            fd = os.open(path, os.O_RDONLY | _FLAGS)
            with open(fd, "rb", buffering=0) as file:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
                while piece := file.read(PIECE):
                    yield piece
        except OSError as exc:
            raise DepotError(f"{path} cannot be read: {exc.strerror}", reason="io_error") from exc

    return pieces


def of_spool(path: str) -> Source:
    """Return the source of content in a file that was made for this alone: it is removed once it was given whole.

    What was removed before the kernel wrote it back never costs its disk a write.
    """

    def pieces() -> t.Iterator[bytes]:
        yield from of_file(path)()
        with contextlib.suppress(OSError):  # whoever made the folder removes what is left in it
            os.unlink(path)

    return pieces


class Hasher:
    """SHA-256 beside other work: one piece is hashed while the caller writes it."""

    def __init__(self, size: int) -> None:
        self._hash = hashlib.sha256()
        self._pool = ThreadPoolExecutor(1) if size > _INLINE else None
        self._last: Future[None] | None = None

    def update(self, piece: bytes) -> None:
        if self._pool is None:
            self._hash.update(piece)
            return
        self._wait()
        self._last = self._pool.submit(self._hash.update, piece)

    def hexdigest(self) -> str:
        self._wait()
        return self._hash.hexdigest()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()


class Parts:
    """Files that together hold a blob, each but the last with `limit` bytes; the last may not be there yet.

    Raises OSError like the files themselves.
    """

    def __init__(self, paths: t.Sequence[str], limit: int) -> None:
        self._paths, self._limit = paths, limit
        self._fd, self._open = -1, -1

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._close()

    def size(self) -> int:
        """Return how many bytes there are from the beginning without a gap."""
        total = 0
        for path in self._paths:
            try:
                size = os.stat(path, follow_symlinks=False).st_size
            except FileNotFoundError:
                break
            total += min(size, self._limit)
            if size < self._limit:
                break
        return total

    def same(self, data: memoryview, offset: int) -> bool:
        """Whether these bytes are there already."""
        while data:
            count, at = self._span(len(data), offset)
            if os.pread(self._file(offset), count, at) != data[:count]:
                return False
            data, offset = data[count:], offset + count
        return True

    def write(self, data: memoryview, offset: int) -> None:
        while data:
            count, at = self._span(len(data), offset)
            count = os.pwrite(self._file(offset), data[:count], at)
            data, offset = data[count:], offset + count

    def finish(self, size: int, sync: bool) -> None:
        """Cut off what is behind the last byte; make it durable, where nobody else does (`sync`)."""
        for number, length in enumerate(part_sizes(size, self._limit)):
            fd = self._file(number * self._limit)
            if os.fstat(fd).st_size != length:
                os.ftruncate(fd, length)
            if sync:
                os.fsync(fd)

    def _span(self, length: int, offset: int) -> tuple[int, int]:
        """Return how many bytes from there are in one file, and where in it."""
        at = offset % self._limit
        return min(length, self._limit - at), at

    def _file(self, offset: int) -> int:
        number = offset // self._limit
        if number != self._open:
            self._close()
            self._fd = os.open(self._paths[number], os.O_RDWR | os.O_CREAT | _FLAGS, 0o644)
            self._open = number
        return self._fd

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._open = -1, -1


def fill(blob: Blob, paths: t.Sequence[str], limit: int, sync: bool, check: bool = True) -> int:
    """Write a blob into its partial files; return the bytes that had to be written.

    What an interrupted run left is compared with what belongs there, and gone on with where the two part: after a
    power cut the end of it may be anything.

    Args:
        check: hash what the source gives. Who reads back what was written, and compares that, need not do it twice.

    Raises:
        DepotError: the source has other content than was announced (`blob_corrupt`); the partial files are gone then.
        OSError: the medium failed.
    """
    offset = written = 0
    with contextlib.ExitStack() as held:
        parts = held.enter_context(Parts(paths, limit))
        hasher = held.enter_context(contextlib.closing(Hasher(blob.size))) if check else None
        there = parts.size()
        for piece in blob.source():
            if hasher:
                hasher.update(piece)
            data = memoryview(piece)
            if offset + len(data) > blob.size:
                offset = -1
                break
            if offset + len(data) > there or not parts.same(data, offset):
                there = 0  # from here on all is written: nothing behind a difference is worth reading
                parts.write(data, offset)
                written += len(data)
            offset += len(data)
        right = offset == blob.size and (hasher is None or hasher.hexdigest() == blob.sha256)
        if right:
            parts.finish(blob.size, sync)
    if not right:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        raise wrong_source(blob)
    return written


def wrong_source(blob: Blob) -> DepotError:
    """Return the error for a blob whose source does not give what was announced."""
    return DepotError(
        f"{blob.title} on this host is not what it is said to be: its digest should be {blob.sha256}. It changed "
        "meanwhile, or the disk of this host is failing; have it made or fetched again, then run again",
        reason="blob_corrupt",
        blob=blob.sha256,
    )


def gives_another(blob: Blob) -> bool:
    """Whether a blob's source gives other content than was announced; not where it cannot be read any more."""
    hasher = hashlib.sha256()
    try:
        for piece in blob.source():
            hasher.update(piece)
    except DepotError:
        return False
    return hasher.hexdigest() != blob.sha256


def count_parts(size: int, part_size: int | None) -> int:
    """Return in how many files a blob is kept; 1 is the file of the blob itself.

    Raises:
        DepotError: they would be more than there are names for (`invalid`).
    """
    if part_size is None or size <= part_size:
        return 1
    count = len(part_sizes(size, part_size))
    if count > _MOST_PARTS:
        raise DepotError(f"part_size {part_size}: a blob of {size} bytes would have {count} parts", reason="invalid")
    return count
