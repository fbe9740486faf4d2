# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""One large file on its way into the store: received by several threads, hashed in order by one, written by another.

Blocks go from whoever receives them to the writer and, where they are the next ones of the file, at the same time to
the file's hasher; those that come early are only written, and read back once when it is their turn. So memory is what
the pool of buffers has, whatever the sizes and however many connections there are.
"""

from __future__ import annotations

import collections
import errno
import functools
import mmap
import os
import queue
import threading
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_chain import Hash, new_hash
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_feed import Stopped, Versions
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_ranges import (
    CHUNK,
    Leases,
    bytes_of,
    chunk_count,
    chunk_range,
    missing_ranges,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_partial import Partial

BLOCK = 4 << 20  # bytes; a chunk is a whole number of them
_BUFFERS = 8  # 32 MiB: some being received, some hashed and written
_POLL = 0.2  # seconds between two looks whether the task is being given up


def aligned_buffer(size: int) -> memoryview:
    """Return memory that starts at a page, as reading and writing past the page cache asks for."""
    return memoryview(mmap.mmap(-1, size))


class Buffers:
    """The memory that all transfers of a task share."""

    def __init__(self, count: int = _BUFFERS) -> None:
        self.waits = 0  # how often somebody found none free: hashing or the disk is what limits
        self._count = count
        self._made = 0
        self._lock = threading.Lock()
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()

    def get(self, stopped: threading.Event) -> memoryview:
        """Return a buffer, as soon as one is free.

        Raises:
            Stopped: the task is being given up.
        """
        with self._lock:
            if self._free.empty() and self._made < self._count:
                self._made += 1
                return aligned_buffer(BLOCK)
            self.waits += self._free.empty()
        while not stopped.is_set():
            try:
                return self._free.get(timeout=_POLL)
            except queue.Empty:
                continue
        raise Stopped

    def put(self, buffer: memoryview) -> None:
        self._free.put(buffer)


class Block:
    """Received bytes: the first `count` of `buffer` belong at `offset`. Its buffer is free when `users` is 0."""

    __slots__ = ("buffer", "count", "offset", "users")

    def __init__(self, buffer: memoryview, count: int, offset: int) -> None:
        self.buffer = buffer
        self.count = count
        self.offset = offset
        self.users = 1


class Writer:
    """The thread that writes to the disk, for all transfers, in the order in which it is asked to."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[t.Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="model writer", daemon=True)
        self._thread.start()

    def put(self, write: t.Callable[[], object]) -> None:
        """Have something done after all that was asked for before; it raises nothing."""
        self._queue.put(write)

    def flush(self) -> None:
        """Wait until all that was asked for before is done."""
        done = threading.Event()
        self.put(done.set)
        done.wait()

    def close(self) -> None:
        """End the thread when all that it was given is done."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        for write in iter(self._queue.get, None):
            write()


Result = t.Union[os.stat_result, str, BaseException]


class Transfer:
    """The bytes of one file that is larger than a buffer. Its methods are called by several threads.

    `finished` is called once, by the thread of the transfer: with the status of the file in the store, with a digest
    (text) that is not the pinned one, or with an error, of the disk usually.
    """

    def __init__(
        self,
        partial: Partial,
        digest: str,
        blob: str,
        buffers: Buffers,
        writer: Writer,
        finished: t.Callable[[Result], None],
        wanting: t.Callable[[], None],
    ) -> None:
        self._partial = partial
        self._digest = digest
        self._blob = blob
        self._buffers = buffers
        self._writer = writer
        self._finished = finished
        self._wanting = wanting  # called when a chunk that was there has turned out wrong and must be fetched again
        self._size = partial.size
        log = partial.start()
        self.versions = Versions(log.sources, partial.note_source)
        self.leases = Leases(missing_ranges(self._size, log.chunks))
        self.resumed = bytes_of(log.chunks, self._size)
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._closed = False
        self._claimed = dict(log.chunks)  # what the log says of chunks that were not read again yet
        self._logged = dict(log.chunks)
        # The chain value after each chunk that is hashed ("" where this host has none).
        self._states: list[str | None] = [None] * chunk_count(self._size)
        self._unwritten = [chunk_range(index, self._size).size for index in range(chunk_count(self._size))]
        self._written = bytearray(-(-self._size // BLOCK))  # 1 for each block that is on the disk
        for index in log.chunks:
            self._mark(index, written=True)
        self._queue: collections.deque[Block] = collections.deque()  # the next ones to hash, in memory
        self._queued = 0  # the byte after the last one that is hashed, in the queue, or being read back
        self._thread = threading.Thread(target=self._run, name="model hasher", daemon=True)

    def start(self) -> None:
        """Begin to hash; what is there already at once."""
        self._thread.start()

    @property
    def states(self) -> list[str]:
        """The chain value after each chunk, once all are hashed; nothing where this host has none."""
        return [state for state in self._states if state]

    def put(self, block: Block) -> None:
        """Take a block that was received. Blocks start at multiples of BLOCK; only the file's last one is shorter.

        Raises:
            Stopped: the transfer is closed.
        """
        with self._changed:
            if self._closed or self._error:
                self._buffers.put(block.buffer)
                raise Stopped
            if block.offset == self._queued:
                block.users = 2
                self._queue.append(block)
                self._queued += block.count
                self._changed.notify_all()
        self._writer.put(functools.partial(self._write, block))

    def _write(self, block: Block) -> None:
        try:
            if not self._closed:
                self._partial.write(block.buffer, block.count, block.offset)
            with self._changed:
                if not self._error and not self._closed:
                    self._note_written(block)
        except BaseException as exc:  # the thread of the transfer raises it; the writer works for others, too
            with self._changed:
                self._error = self._error or exc
        finally:
            with self._changed:
                self._release(block)
                self._changed.notify_all()

    def stop(self) -> None:
        """Take no more blocks and come to an end; what is there stays."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop, and wait for the end."""
        self.stop()
        self._thread.join()

    def discard(self) -> None:
        """Remove what is there. The transfer is closed, or has called `finished`."""
        self._thread.join()
        self._partial.discard()

    def _note_written(self, block: Block) -> None:
        index = block.offset // CHUNK
        self._written[block.offset // BLOCK] = 1
        self._unwritten[index] -= block.count
        ahead = chunk_range(index, self._size).start >= self._queued
        if self._unwritten[index] == 0 and (ahead or self._states[index] is not None):
            self._log(index)

    def _log(self, index: int) -> None:
        state = self._states[index] or ""
        if self._logged.get(index) != state:
            self._logged[index] = state
            self._partial.note_chunk(index, state)

    def _release(self, block: Block) -> None:
        block.users -= 1
        if not block.users:
            self._buffers.put(block.buffer)

    def _mark(self, index: int, written: bool) -> None:
        piece = chunk_range(index, self._size)
        first, last = piece.start // BLOCK, -(-piece.stop // BLOCK)
        self._written[first:last] = bytes([written]) * (last - first)
        self._unwritten[index] = 0 if written else piece.size

    def _run(self) -> None:
        result: Result
        try:
            digest = self._hash()
            result = self._partial.finish(self._blob) if digest == self._digest else digest
        except Stopped:
            self._leave()
            return
        except BaseException as exc:  # whoever waits for `finished` is told
            result = exc
        self._leave()
        self._finished(result)

    def _leave(self) -> None:
        """Give the buffers back, and close the file once the writer is through with it."""
        with self._changed:
            self._closed = True
            while self._queue:
                self._release(self._queue.popleft())
        self._writer.flush()
        if self._logged:
            self._partial.close()
        else:
            self._partial.discard()  # nothing to go on from, but all of its space is reserved

    def _hash(self) -> str:
        """Hash the file in order as it comes; return the digest."""
        hasher, position, spare = new_hash(), 0, None
        while position < self._size:
            block = self._next(position)
            if block is not None:
                hasher.update(block.buffer[: block.count])
                position += block.count
                with self._changed:
                    self._release(block)
            else:
                spare = spare or aligned_buffer(BLOCK)
                position += self._read_back(hasher, spare, position)
            if position % CHUNK == 0 or position == self._size:
                position, hasher = self._check_chunk((position - 1) // CHUNK, position, hasher)
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._closed or not any(self._unwritten))
            self._raise()
        return hasher.hexdigest()

    def _next(self, position: int) -> Block | None:
        """Wait for the block at `position`; return it, or None when it is on the disk and not in memory."""
        with self._changed:
            while True:
                self._raise()
                if self._queue:
                    return self._queue.popleft()
                if self._written[position // BLOCK]:
                    # From here on, what comes next is kept in memory.
                    self._queued = min(position + BLOCK, self._size)
                    return None
                self._changed.wait()

    def _read_back(self, hasher: Hash, spare: memoryview, position: int) -> int:
        count = min(BLOCK, self._size - position)
        received = self._partial.read(spare, position)
        if received < count:
            raise OSError(errno.EIO, "the disk gives back less than was written", self._partial.path)
        hasher.update(spare[:count])
        return count

    def _check_chunk(self, index: int, position: int, hasher: Hash) -> tuple[int, Hash]:
        """Note the chain value after a chunk; return where to go on: at its beginning, if it is not what it was."""
        state = hasher.state()
        with self._changed:
            claimed = self._claimed.pop(index, "")
            if not claimed or not state or claimed == state:
                self._states[index] = state
                if self._unwritten[index] == 0:
                    self._log(index)
                return position, hasher
            # The disk has not kept what an earlier run wrote (a power cut): it is fetched again, alone. What is
            # in memory already will be read back.
            while self._queue:
                self._release(self._queue.popleft())
            wrong = chunk_range(index, self._size)
            self._mark(index, written=False)
            self._queued = wrong.start
            self.resumed -= wrong.size
            self.leases.add(wrong)
        self._wanting()
        return wrong.start, new_hash(self._states[index - 1] or "" if index else "", wrong.start)

    def _raise(self) -> None:
        if self._error:
            raise self._error
        if self._closed:
            raise Stopped
