# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Receive files into the store: several at once, each from the first of its sources that gives the pinned bytes.

Threads, called workers, receive: each takes what is next to do, a whole small file, or a range of a large one whose
`Transfer` hashes and writes. There are as few of them as bring the most: one more is started while the network is what
limits, and while the one before has brought something. The caller's thread decides what follows when a file is
through: it is there, its source lied, or it has no source left.
"""

from __future__ import annotations

import collections
import contextlib
import os
import threading
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_chain import new_hash
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_feed import (
    Changed,
    Feed,
    Meter,
    RangeIgnored,
    Retry,
    Stopped,
    Versions,
    wrong_digest,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_growth import Growth, most_large
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network, Origins
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_ranges import Lease
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import Source
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_transfer import (
    BLOCK,
    Block,
    Buffers,
    Result,
    Transfer,
    Writer,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import WantedFile
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_partial import Partial

_TICK = 0.25  # seconds between two looks at how it goes


@dataclass(frozen=True)
class Settings:
    """How to fetch. `concurrency` is connections at most; `bandwidth_limit` bytes a second, 0 for none."""

    network: Network = field(default_factory=Network)
    retry: Retry = field(default_factory=Retry)
    concurrency: int = 8
    bandwidth_limit: int = 0


@dataclass(frozen=True)
class Fetched:
    """A file that the store has now: where from, bytes received, bytes that were there from an earlier run.

    `states` are the SHA-256 chain values after each chunk; none for a file of one block.
    """

    file: WantedFile
    stamp: Stamp
    served_by: str
    received: int
    resumed: int = 0
    states: tuple[str, ...] = ()


class _Job:
    """A file on its way. Everything in it is guarded by the fetch's lock."""

    def __init__(self, file: WantedFile) -> None:
        self.file = file
        self.left = list(file.sources)  # those not yet tried, the current one first
        self.errors: list[ModelError] = []
        self.received = 0
        self.transfer: Transfer | None = None
        self.workers = 0
        self.single = True  # one connection at a time: the current source does no ranges, or has not answered yet
        self.answered = False
        self.restart = False  # once no worker is at it any more, it begins anew
        self.restarts = 0  # how often it did with the current source
        self.clean: Source | None = None  # the source that all bytes are from, because it began anew with it

    @property
    def small(self) -> bool:
        return self.file.size <= BLOCK

    @property
    def source(self) -> Source:
        return self.left[0]


class Fetch:
    """The fetching of some files. `unavailable` has, by digest, the error of each file that is not required."""

    def __init__(
        self,
        store: Store,
        files: t.Sequence[WantedFile],
        settings: Settings,
        origins: Origins,
        meter: Meter | None = None,
    ) -> None:
        self.unavailable: dict[str, ModelError] = {}
        self.meter = meter or Meter(settings.bandwidth_limit)
        self.total = sum(file.size for file in files)
        self._resumed = 0
        self._store = store
        self._settings = settings
        self._origins = origins
        self._waiting = collections.deque(_Job(file) for file in files)
        self._large: list[_Job] = []
        self._open = len(files)  # not through yet
        self._ended: collections.deque[tuple[_Job, _Ending]] = collections.deque()
        self._fatal: BaseException | None = None
        self._changed = threading.Condition()
        self._buffers = Buffers()
        self._writer = Writer()
        self._workers: list[threading.Thread] = []
        self._growth = Growth(settings.concurrency)

    @property
    def resumed(self) -> int:
        """Bytes that an earlier run has brought, as far as they have proven right so far."""
        with self._changed:
            return self._resumed + sum(job.transfer.resumed for job in self._large if job.transfer)

    def run(self, tick: t.Callable[[], None] = lambda: None) -> t.Iterator[Fetched]:
        """Yield each file as soon as the store has it; call `tick` a few times a second.

        Raises:
            ModelError: a required file has no source that gives the pinned bytes. What the store has by then is
                yielded first, and stays; what was received of large files stays for the next run.
            OSError: the store's disk fails.
        """
        try:
            yield from self._receive(tick)
        except Exception:
            self._close()  # ends the workers: from here on nothing becomes whole that nobody would hear of
            while self._ended:
                job, result = self._ended.popleft()
                if isinstance(result, (Fetched, os.stat_result)):
                    yield self._whole(job, result)
            raise
        finally:
            self._close()

    def _receive(self, tick: t.Callable[[], None]) -> t.Iterator[Fetched]:
        due = 0.0
        for _number in range(self._growth.start([job.file for job in self._waiting])):
            self._add_worker()
        while self._open:
            with self._changed:
                if not self._ended and not self._fatal:
                    self._changed.wait(_TICK)
            while self._ended:
                yield from self._settle(*self._ended.popleft())
            if self._fatal:
                raise self._fatal
            if time.monotonic() >= due:  # not after each of thousands of small files
                due = time.monotonic() + _TICK
                tick()
                self._grow()

    def _close(self) -> None:
        self.meter.stopped.set()
        with self._changed:
            transfers = [job.transfer for job in self._large if job.transfer]
            self._changed.notify_all()
        with contextlib.ExitStack() as stack:
            stack.callback(self._writer.close)
            for transfer in transfers:
                stack.callback(transfer.close)
            stack.callback(self._origins.close)
        for worker in self._workers:
            worker.join(_TICK)  # one that waits for a server goes with the process

    def _add_worker(self) -> None:
        worker = threading.Thread(target=self._work, name=f"model receiver {len(self._workers)}", daemon=True)
        self._workers.append(worker)
        worker.start()

    def _grow(self) -> None:
        with self._changed:
            useful = bool(self._waiting) or any(
                job.transfer and not job.single and job.transfer.leases.splittable for job in self._large
            )
        if useful and self._growth.due(len(self._workers), self.meter.received, self._buffers.waits, time.monotonic()):
            self._add_worker()

    # What workers do.

    def _work(self) -> None:
        try:
            while True:
                task = self._next()
                if task is None:
                    return
                self._try(*task)
        except Stopped:
            return
        except BaseException as exc:  # handed to the caller's thread, which raises it
            self._give_up(exc)

    def _next(self) -> tuple[_Job, Lease | None] | None:
        """Wait for something to do; return a job, and its range if it is a large one."""
        with self._changed:
            while self._open and not self.meter.stopped.is_set():
                task = self._pick()
                if task is not None:
                    task[0].workers += 1
                    return task
                self._changed.wait()
        return None

    def _pick(self) -> tuple[_Job, Lease | None] | None:
        for split in (False, True):
            for job in self._large:
                if job.transfer and job.left and not job.restart and not (job.single and job.workers):
                    lease = job.transfer.leases.take(split and not job.single)
                    if lease is not None:
                        return job, lease
            if not split and self._waiting and (self._waiting[0].small or len(self._large) < most_large()):
                job = self._waiting.popleft()
                if not job.small:
                    self._large.append(job)
                return job, None
        return None

    def _try(self, job: _Job, lease: Lease | None) -> None:
        source = job.source
        try:
            if job.small:
                self._receive_small(job, source)
            else:
                self._receive_large(job, source, lease or self._start(job))
        except Changed:
            with self._changed:
                job.restart = True
                if job.transfer:
                    job.transfer.stop()
        except RangeIgnored:
            with self._changed:
                job.single = True
        except Stopped:
            pass  # of this transfer, or of all
        except ModelError as exc:
            self._source_failed(job, source, exc)
        finally:
            with self._changed:
                job.workers -= 1
                if job.restart and not job.workers:
                    self._ended.append((job, Changed()))
                self._changed.notify_all()

    def _start(self, job: _Job) -> Lease:
        """Begin with a large file."""
        file = job.file
        with contextlib.ExitStack() as undo:
            partial = Partial(self._store.part(file.sha256), self._store.log(file.sha256), file.size)
            undo.callback(partial.close)
            transfer = Transfer(
                partial,
                file.sha256,
                self._store.blob(file.sha256),
                self._buffers,
                self._writer,
                lambda result: self._end(job, result),
                self._wake,
            )
            with self._changed:
                if self.meter.stopped.is_set():
                    raise Stopped  # nobody would close it
                undo.pop_all()
                job.transfer = transfer
                transfer.start()
        with self._changed:
            lease = transfer.leases.take()
            if lease is None:
                raise Stopped  # all of it is there: its hasher does the rest
            self._changed.notify_all()
            return lease

    def _receive_large(self, job: _Job, source: Source, lease: Lease) -> None:
        transfer = t.cast("Transfer", job.transfer)
        size = job.file.size
        try:
            with self._feed(job, source, transfer.versions, lambda: transfer.leases.active == 1) as feed:
                while lease.position < lease.stop:
                    buffer = self._buffers.get(self.meter.stopped)
                    try:
                        room = min(BLOCK, lease.stop - lease.position)
                        self._fill(job, feed, buffer[:room], lease.position, lease.stop)
                        if lease.position + room == size:
                            feed.check_end()
                    except BaseException:
                        self._buffers.put(buffer)
                        raise
                    transfer.put(Block(buffer, room, lease.position))
                    transfer.leases.advance(lease, room)
        finally:
            with self._changed:
                transfer.leases.end(lease)

    def _receive_small(self, job: _Job, source: Source) -> None:
        file = job.file
        buffer = self._buffers.get(self.meter.stopped)
        try:
            data = buffer[: file.size]
            with self._feed(job, source, Versions({}, lambda *_args: None), lambda: True) as feed:
                self._fill(job, feed, data, 0, file.size)
                feed.check_end()
            hasher = new_hash()
            hasher.update(data)
            if hasher.hexdigest() != file.sha256:
                raise wrong_digest(file, source, hasher.hexdigest())
            stamp = self._store.put_small(file.sha256, buffer, file.size)
        finally:
            self._buffers.put(buffer)
        self._end(job, Fetched(file, stamp, source.shown, job.received))

    def _fill(self, job: _Job, feed: Feed, buffer: memoryview, position: int, stop: int) -> None:
        filled = 0
        try:
            while filled < len(buffer):
                filled += feed.read(buffer[filled:], position + filled, stop)
                if not job.small and (not job.answered or not (job.single or feed.ranges)):
                    self._hear(job, feed.ranges)
        finally:
            with self._changed:
                job.received += filled

    def _hear(self, job: _Job, ranges: bool) -> None:
        """Note whether the current source does ranges, now that it has answered: others may take a part then."""
        with self._changed:
            job.single = not ranges or (job.answered and job.single)
            job.answered = True
            self._changed.notify_all()

    def _feed(self, job: _Job, source: Source, versions: Versions, alone: t.Callable[[], bool]) -> Feed:
        digest = self._origins.announced_sha256(source)
        if digest not in (None, job.file.sha256):
            raise wrong_digest(job.file, source, digest, announced=True)
        return Feed(self._origins.of(source), source, job.file, versions, self.meter, self._settings.retry, alone)

    def _source_failed(self, job: _Job, source: Source, exc: ModelError) -> None:
        """Leave a source for the next one; what was received stays, the digest will tell."""
        with self._changed:
            if not job.left or job.source is not source or job.restart:
                return  # another worker has found out before
            if job.workers > 1:
                job.single = True  # others are served: the server may not like so many connections
                return
            self._next_source(job, exc)
            if job.left and job.small:
                self._waiting.appendleft(job)
            elif not job.left:
                self._ended.append((job, exc))

    @staticmethod
    def _next_source(job: _Job, exc: ModelError) -> None:
        job.errors.append(exc)
        job.left.pop(0)
        job.single, job.answered = True, False
        job.restarts = 0

    def _end(self, job: _Job, result: _Ending) -> None:
        with self._changed:
            self._ended.append((job, result))
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _give_up(self, exc: BaseException) -> None:
        with self._changed:
            self._fatal = self._fatal or exc
            self._changed.notify_all()

    # What the caller's thread does.

    def _settle(self, job: _Job, result: _Ending) -> t.Iterator[Fetched]:
        """Decide what follows when a file is through, or a try at it is."""
        if isinstance(result, (Fetched, os.stat_result)):
            self._through(job)
            yield self._whole(job, result)
        elif isinstance(result, str):
            self._settle_lie(job, result)
        elif isinstance(result, Changed):
            self._settle_change(job)
        elif isinstance(result, ModelError):
            self._settle_lack(job)
        else:
            raise result

    @staticmethod
    def _whole(job: _Job, result: Fetched | os.stat_result) -> Fetched:
        """Return what there is to say of a file that the store has now."""
        if isinstance(result, Fetched):
            return result
        transfer = t.cast("Transfer", job.transfer)
        transfer.close()  # its thread has nothing left to do
        served_by = job.source.shown if job.received else ""
        stamp, states = Stamp.of(result), tuple(transfer.states)
        return Fetched(job.file, stamp, served_by, job.received, transfer.resumed, states)

    def _through(self, job: _Job) -> None:
        with self._changed:
            self._resumed += job.transfer.resumed if job.transfer else 0
            self._open -= 1
            if job in self._large:
                self._large.remove(job)
            self._changed.notify_all()

    def _settle_lie(self, job: _Job, digest: str) -> None:
        """Deal with a file whose bytes are all there and have not the pinned digest."""
        transfer = t.cast("Transfer", job.transfer)
        mixed = transfer.resumed or transfer.versions.used() > 1
        if mixed and job.clean is not job.source:
            job.clean = job.source  # who sent the wrong bytes cannot be told: once more, all from this one
        else:
            self._next_source(job, wrong_digest(job.file, job.source, digest))
        self._discard(job)
        if not job.left:
            self._settle_lack(job)

    def _settle_change(self, job: _Job) -> None:
        """Deal with a source whose file has changed between two connections."""
        job.restarts += 1
        if job.restarts > max(self._settings.retry.count, 1):  # once it may have changed since an earlier run
            self._next_source(job, _restless(job.file, job.source))
        self._discard(job)
        if not job.left:
            self._settle_lack(job)

    def _discard(self, job: _Job) -> None:
        """Forget what was received of a file, and have it fetched from the beginning while it has a source left."""
        with self._changed:  # from here on nobody gets a range of it
            transfer, job.transfer = job.transfer, None
            if job in self._large:
                self._large.remove(job)
        if transfer:
            transfer.close()
            transfer.discard()
        with self._changed:
            job.restart = False
            if job.left:
                self._waiting.appendleft(job)
            self._changed.notify_all()

    def _settle_lack(self, job: _Job) -> None:
        """Deal with a file that no source gives.

        Raises:
            ModelError: it is required.
        """
        if job.transfer:
            job.transfer.close()
        error = _no_source(job.file, job.errors)
        if job.file.required:
            raise error
        self.unavailable[job.file.sha256] = error
        self._through(job)


_Ending = t.Union[Fetched, Result, ModelError, Changed]


def _restless(file: WantedFile, source: Source) -> ModelError:
    return ModelError(
        f"{file.path}: {source.shown} has another version of the file (ETag, date or length) with every connection; "
        "use a URL that stands for one version",
        reason="unavailable",
        path=file.path,
        source=source.shown,
    )


def _no_source(file: WantedFile, errors: t.Sequence[ModelError]) -> ModelError:
    """Return the error for a file whose sources have all failed: the one, or what each one said."""
    if len(errors) == 1:
        return errors[0]
    said = "; ".join(f"({number}) {error}" for number, error in enumerate(errors, 1))
    return ModelError(
        f"{file.path}: none of its {len(errors)} sources gives it: {said}",
        reason=errors[-1].reason,
        path=file.path,
        errors=[{"reason": error.reason, "source": error.details.get("source", "")} for error in errors],
    )
