# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A file on its way into the store: its bytes at their places, and a log of which chunks are there.

The log (store/partial/<digest>.log) is text, one JSON array a line, appended to and never rewritten:

    ["file", 1, size, chunk]       first: format, bytes, bytes in a chunk
    ["from", source, validator]    a source that bytes came from, and what told its version (ETag, Last-Modified, or "")
    ["chunk", index, state]        the chunk is written; state is the SHA-256 chain value after it, "" if not known

A line that cannot be read ends the log: what a power cut tore was not promised to anybody. The log may even claim a
chunk that the disk has lost; so whoever goes on from it reads the chunks once and lets the chain values, and in the
end the pinned digest, decide.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_ranges import CHUNK, chunk_count
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import remove

_FORMAT = 1
_ALIGN = 4096  # bytes; what O_DIRECT asks of offsets, lengths and addresses on every common file system
_WINDOW = 32 << 20  # bytes written through the page cache before they are sent to the disk and dropped from it
_SYNC_EVERY = 2.0  # seconds between two moments from which a power cut cannot take chunks away


@dataclass(frozen=True)
class Log:
    """What a log tells: the chunks that are written, with their chain values, and the sources they came from."""

    chunks: t.Mapping[int, str] = field(default_factory=dict)
    sources: t.Mapping[str, str] = field(default_factory=dict)


def read_log(path: str, size: int) -> Log:
    """Read the log of a file that is to have `size` bytes; an empty one if there is none, or it is about another."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().split("\n")[:-1]  # what has no end of line was cut off
    except (FileNotFoundError, NotADirectoryError):
        return Log()
    entries = list(_entries(lines))
    if not entries or entries[0] != ["file", _FORMAT, size, CHUNK]:
        return Log()
    chunks: dict[int, str] = {}
    sources: dict[str, str] = {}
    for entry in entries[1:]:
        if entry[0] == "chunk":
            chunks[entry[1]] = entry[2]
        else:
            sources[entry[1]] = entry[2]
    valid = range(chunk_count(size))
    return Log({index: state for index, state in chunks.items() if index in valid}, sources)


def _entries(lines: t.Iterable[str]) -> t.Iterator[list[t.Any]]:
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            return
        kinds = [type(part) for part in entry] if isinstance(entry, list) else []
        shapes = {"file": [str, int, int, int], "from": [str, str, str], "chunk": [str, int, str]}
        if not kinds or kinds != shapes.get(entry[0] if kinds[0] is str else "", []):
            return
        yield entry


class Partial:
    """A partial file that is open for writing, by several threads as long as they write to different chunks.

    Bytes go to the disk past the page cache (O_DIRECT) where the file system can do that: a file of many gigabytes
    would push out of memory what the host's services need. Where it cannot, they go through it in windows.
    """

    def __init__(self, path: str, log: str, size: int) -> None:
        self.path = path
        self.size = size
        self._log_path = log
        self._log = -1
        self._synced = time.monotonic()
        self._window = 0
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._direct = -1
        with contextlib.suppress(OSError):
            self._direct = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECT)
        self._direct_works = self._direct >= 0

    def start(self) -> Log:
        """Reserve the space; return what is there already.

        Raises:
            OSError: there is no space.
        """
        found = read_log(self._log_path, self.size) if os.fstat(self._fd).st_size >= self.size else Log()
        if not found.chunks and not found.sources:
            self.restart()
        else:
            self._open_log()
        return found

    def restart(self) -> None:
        """Forget all that is there."""
        if self._log >= 0:
            os.close(self._log)
        remove(self._log_path)
        os.ftruncate(self._fd, 0)
        if self._direct_works and self.size:
            os.posix_fallocate(self._fd, 0, self.size)  # the C library would emulate it slowly where O_DIRECT fails
        os.ftruncate(self._fd, self.size)
        self._open_log()
        self._append(["file", _FORMAT, self.size, CHUNK])

    def note_source(self, source: str, validator: str) -> None:
        """Log that bytes come from a source (as it may be shown), and its version."""
        self._append(["from", source, validator])

    def note_chunk(self, index: int, state: str) -> None:
        """Log that a chunk is written. One thread at a time."""
        now = time.monotonic()
        due = now - self._synced >= _SYNC_EVERY
        if due:
            os.fdatasync(self._fd)  # first the bytes, then the claim that they are there
        self._append(["chunk", index, state])
        if due:
            os.fdatasync(self._log)
            self._synced = now

    def write(self, buffer: memoryview, count: int, offset: int) -> None:
        """Write the first `count` bytes of `buffer`, which is page-aligned, at `offset`, a multiple of 4096."""
        padded = -(-count // _ALIGN) * _ALIGN  # only at the end of the file; `finish` cuts that off
        if self._direct_works and padded <= len(buffer):
            try:
                _write_all(self._direct, buffer[:padded], offset)
                return
            except OSError as exc:
                if exc.errno != errno.EINVAL:
                    raise
                self._direct_works = False  # opened, but never usable: some file systems in user space
        _write_all(self._fd, buffer[:count], offset)
        self._drop(count)

    def copy_from(self, source: int, offset: int, count: int) -> None:
        """Copy `count` bytes at `offset` of another file (its descriptor) to the same place of this one."""
        with mmap.mmap(-1, _WINDOW) as memory, memoryview(memory) as buffer:
            while count:
                copied = os.preadv(source, [buffer[: min(count, _WINDOW)]], offset)
                if not copied:
                    raise OSError(errno.EIO, "it ends early", self.path)
                self.write(buffer, copied, offset)
                offset, count = offset + copied, count - copied

    def _drop(self, count: int) -> None:
        self._window += count
        if self._window >= _WINDOW:
            self._window = 0
            os.fdatasync(self._fd)
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def read(self, buffer: memoryview, offset: int) -> int:
        """Fill a page-aligned buffer with what was written at `offset`; return the bytes read."""
        if self._direct_works and offset % _ALIGN == 0:
            try:
                return os.preadv(self._direct, [buffer], offset)
            except OSError as exc:
                if exc.errno != errno.EINVAL:
                    raise
                self._direct_works = False
        return os.preadv(self._fd, [buffer], offset)

    def finish(self, blob: str) -> os.stat_result:
        """Make it content of the store, durable but for its name; return its status."""
        os.ftruncate(self._fd, self.size)  # the last block was written whole
        os.fchmod(self._fd, 0o444)
        os.fsync(self._fd)
        status = os.fstat(self._fd)
        os.rename(self.path, blob)
        self.close()
        remove(self._log_path)
        return status

    def discard(self) -> None:
        """Remove it: nothing of it can be gone on from."""
        self.close()
        remove(self._log_path)
        remove(self.path)

    def close(self) -> None:
        """Close it; what is there stays for the next run."""
        self._log, self._fd, self._direct = map(self._close, (self._log, self._fd, self._direct))

    def _open_log(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._log = os.open(self._log_path, flags, 0o600)

    def _append(self, entry: list[t.Any]) -> None:
        os.write(self._log, json.dumps(entry, separators=(",", ":")).encode("utf-8") + b"\n")

    @staticmethod
    def _close(fd: int) -> int:
        if fd >= 0:
            os.close(fd)
        return -1


def _write_all(fd: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written
