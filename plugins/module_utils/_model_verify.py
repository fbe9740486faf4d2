# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Read content of the store again, on all cores, and tell which of its bytes are not what was pinned."""

from __future__ import annotations

import concurrent.futures
import errno
import fcntl
import os
import threading
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_chain import chains, new_hash
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_ranges import (
    Range,
    chunk_count,
    chunk_range,
    missing_ranges,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_transfer import aligned_buffer
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store

_BUFFER = 4 << 20  # bytes read at once
_MOST_THREADS = 8


class Content(t.NamedTuple):
    """A file on the host that should have a digest and a size."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Verdict:
    """Whether a file is what it should be; if not, and if that can be told (`by_chunk`), which chunks of it are.

    `good` has their chain values by their indexes.
    """

    right: bool
    by_chunk: bool = False
    good: t.Mapping[int, str] = field(default_factory=dict)

    def corrupt(self, size: int) -> tuple[Range, ...]:
        """Return the ranges of a file of `size` bytes that are wrong; none when that cannot be told."""
        return missing_ranges(size, self.good) if self.by_chunk and not self.right else ()


class Reader:
    """Reads files whose stamps say nothing. Reads no file twice while it stays what it is. One lasts for one task."""

    def __init__(self, store: Store, progress: t.Callable[[int], None] = lambda _count: None) -> None:
        self.bytes_read = 0
        self._store = store
        self._progress = progress  # called with bytes that were read, by several threads
        self._lock = threading.Lock()
        self._verdicts: dict[_Key, Verdict] = {}
        self._buffers = threading.local()

    def verdict(self, content: Content) -> Verdict:
        """Return whether a regular file is what it should be.

        Raises:
            ModelError: the disk cannot read it (`io_error`).
        """
        key = _key(content)
        if key not in self._verdicts:
            self._read({key: content})  # not `read`: somebody may touch the file right now
        return self._verdicts[key]

    def read(self, contents: t.Iterable[Content]) -> None:
        """Read files, each inode once, all at the same time; `verdict` knows them then.

        Raises:
            ModelError: the disk cannot read one (`io_error`).
        """
        keyed = [(_key(content), content) for content in contents]
        self._read({key: content for key, content in keyed if key not in self._verdicts})

    def _read(self, contents: t.Mapping[_Key, Content]) -> None:
        pending = {key: _Reading(content, key[0].size, self._states(content)) for key, content in contents.items()}
        self._check_all((reading, run) for reading in pending.values() for run in reading.pieces)
        self._check_all((reading, run) for reading in pending.values() for run in reading.doubtful())
        self._verdicts.update({key: reading.verdict() for key, reading in pending.items()})

    def _check_all(self, pieces: t.Iterable[tuple[_Reading, _Run]]) -> None:
        work = list(pieces)
        # Twice as many threads as processors: some wait for the disk while the others hash.
        threads = min(2 * len(os.sched_getaffinity(0)), _MOST_THREADS, len(work))
        if threads <= 1:
            for reading, run in work:
                self._check(reading, run)
            return
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(self._check, reading, run) for reading, run in work]:
                done.result()

    def _states(self, content: Content) -> list[str]:
        states = self._store.read_states(content.sha256, content.size) if chains() else []
        return states if len(states) == chunk_count(content.size) - 1 else []

    def _check(self, reading: _Reading, run: _Run) -> None:
        """Read some chunks of a file as one; note them if they are right."""
        try:
            right = self._is_right(reading, run)
        except OSError as exc:
            raise ModelError(
                f"{reading.content.path} cannot be read ({exc.strerror}); check the disk, then remove the file and run "
                "again",
                reason="io_error",
                path=reading.content.path,
            ) from exc
        if right:
            with self._lock:
                reading.right.append(run)

    def _is_right(self, reading: _Reading, run: _Run) -> bool:
        content = reading.content
        piece = Range(chunk_range(run.first, content.size).start, chunk_range(run.last, content.size).stop)
        hasher = new_hash(reading.states[run.first - 1] if run.first else "", piece.start)
        for data in self._data(content.path, piece):
            hasher.update(data)
        if run.last == reading.last:
            return hasher.hexdigest() == content.sha256
        return hasher.state() == reading.states[run.last]

    def _data(self, path: str, piece: Range) -> t.Iterator[memoryview]:
        """Yield the bytes of a range as the disk has them, not as the page cache does, where that can be asked for."""
        if not hasattr(self._buffers, "mine"):
            self._buffers.mine = aligned_buffer(_BUFFER)
        buffer: memoryview = self._buffers.mine
        with _opened(path) as fd:
            position = piece.start
            while position < piece.stop:
                count = min(_pread(fd, buffer, position), piece.stop - position)
                if not count:
                    return
                with self._lock:
                    self.bytes_read += count
                self._progress(count)
                yield buffer[:count]
                position += count


_Key = tuple[Stamp, str]


def _key(content: Content) -> _Key:
    return Stamp.of(os.lstat(content.path)), content.sha256


def _pread(fd: int, buffer: memoryview, position: int) -> int:
    try:
        return os.preadv(fd, [buffer], position)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        fcntl.fcntl(fd, fcntl.F_SETFL, 0)  # no O_DIRECT: some file systems open so, and then cannot read
        return os.preadv(fd, [buffer], position)


class _Run(t.NamedTuple):
    """Chunks that are read one after the other, from `first` to `last`."""

    first: int
    last: int


class _Reading:
    """A file that is being read, in `pieces` whose results can be told apart."""

    def __init__(self, content: Content, size: int, states: t.Sequence[str]) -> None:
        self.content = content
        self.states = states
        self.last = max(chunk_count(content.size) - 1, 0)
        self.right: list[_Run] = []
        self._sound = size == content.size
        # Of a file that lost its end, what is there may still be right.
        self._there = [index for index in range(self.last + 1) if chunk_range(index, content.size).stop <= size]
        self.pieces = [_Run(index, index) for index in self._there]
        if not states:
            self.pieces = [_Run(0, self.last)] if self._sound else []

    def doubtful(self) -> list[_Run]:
        """Return neighbours that are all wrong: perhaps it is the chain value on record between them that is.

        A chunk that is wrong alone is wrong: those after it prove the value at its end, up to the pinned digest.
        """
        right = {run.first for run in self.right}
        wrong = [index for index in self._there if index not in right] if self.states else []
        runs: list[_Run] = []
        for index in wrong:
            if runs and runs[-1].last == index - 1:
                runs[-1] = _Run(runs[-1].first, index)
            else:
                runs.append(_Run(index, index))
        return [run for run in runs if run.first < run.last]

    def verdict(self) -> Verdict:
        proven = sum(run.last - run.first + 1 for run in self.right)
        right = self._sound and proven == self.last + 1
        # Chain values within a longer run are not known to be right.
        good = {run.first: ([*self.states, ""])[run.first] for run in self.right if run.first == run.last}
        return Verdict(right, bool(self.states), good if self.states else {})


class _opened:
    """A file open for reading past the page cache, where its file system can do that."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> int:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._fd = os.open(self._path, flags | os.O_DIRECT)
        except OSError:
            self._fd = os.open(self._path, flags)
        return self._fd

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)
