# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The bytes of a file from one source, whatever happens to the connections: retried, gone on with, slowed down."""

from __future__ import annotations

import contextlib
import random
import threading
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Origin, Stream, Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import Source
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import WantedFile

_LONGEST_DELAY = 60.0  # seconds between two tries, whatever the backoff or the server says
_PROGRESS = 1 << 20  # bytes after which a connection that breaks has brought something, and the tries begin anew
_SKIP = 1 << 20  # bytes received at once to be thrown away


class Stopped(Exception):
    """The transfer is being given up, by another thread."""


class Changed(Exception):
    """The source has another version of the file than the one that the first bytes are from."""


class RangeIgnored(Exception):
    """The server sends the file from its beginning though a later part was asked for."""


@dataclass(frozen=True)
class Retry:
    """How often a request is tried again, and the seconds before the first time."""

    count: int = 4
    delay: float = 1.0


def delay(tries: int, base: float, retry_after: float) -> float:
    """Return the seconds to wait after `tries` failures: doubling, jittered by half so that a fleet does not return
    in step, never less than the server asked for, and bounded."""
    backoff = base * 2.0 ** (tries - 1) * random.uniform(0.5, 1.0)
    return min(max(backoff, retry_after), _LONGEST_DELAY)


class Meter:
    """What all connections of a task share: it counts their bytes, holds them below a limit, and stops them.

    `limit` is in bytes a second, 0 for none. `clock` and `sleep` are for tests.
    """

    def __init__(
        self,
        limit: int = 0,
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], object] | None = None,
    ) -> None:
        self.received = 0
        self.stopped = threading.Event()
        self.sleep = sleep or self.stopped.wait
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock()  # when all that was received so far is within the limit

    def count(self, received: int) -> None:
        """Count bytes, and wait until they are within the limit.

        Raises:
            Stopped: the task is being given up.
        """
        wait = 0.0
        with self._lock:
            self.received += received
            if self._limit:
                now = self._clock()
                self._free_at = max(self._free_at, now - 1.0) + received / self._limit
                wait = self._free_at - now
        if wait > 0:
            self.sleep(wait)
        if self.stopped.is_set():
            raise Stopped

    def portion(self, room: int) -> int:
        """Return how many bytes to receive at once, so that a limit is felt as a flow and not as bursts."""
        return min(room, max(self._limit // 8, 4096)) if self._limit else room


class Versions:
    """The version of a file that each source has, by the source as shown; shared by the connections of one file."""

    def __init__(self, known: t.Mapping[str, str], note: t.Callable[[str, str], None]) -> None:
        self._known = dict(known)
        self._note = note
        self._lock = threading.Lock()

    def of(self, source: Source) -> str:
        return self._known.get(source.shown, "")

    def used(self) -> int:
        """Return from how many sources there are bytes."""
        return len(self._known)

    def check(self, source: Source, told: Told) -> None:
        """Note the version that a source has.

        Raises:
            Changed: it had another one before.
        """
        with self._lock:
            if source.shown not in self._known:
                self._known[source.shown] = told.validator
                self._note(source.shown, told.validator)
            elif self._known[source.shown] != told.validator:
                raise Changed


class Feed:
    """The bytes of one lease from one source. Opens connections as it needs them; one thread uses it."""

    def __init__(
        self,
        origin: Origin,
        source: Source,
        file: WantedFile,
        versions: Versions,
        meter: Meter,
        retry: Retry,
        alone: t.Callable[[], bool] = lambda: True,
    ) -> None:
        self._origin = origin
        self._source = source
        self._file = file
        self._versions = versions
        self._meter = meter
        self._retry = retry
        self._alone = alone  # whether it is the only one at work on this file
        self._stack = contextlib.ExitStack()
        self._stream: Stream | None = None
        self._end = 0  # where the stream's bytes end, as it was asked for
        self._tries = 0
        self._fresh = 0  # bytes since the last failure

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    @property
    def ranges(self) -> bool:
        """Whether the source does ranges, as far as it is known."""
        return self._stream is None or self._stream.told.ranges

    def read(self, buffer: memoryview, position: int, stop: int) -> int:
        """Receive bytes of the file from `position` on, at most to `stop`, at least one; return how many.

        Calls follow each other: each goes on where the one before ended.

        Raises:
            ModelError: the source does not give what is pinned; it is not worth another try.
            Changed: the source has another version of the file now.
            RangeIgnored: the server ignores ranges, and others are at work on this file.
            Stopped: the task is being given up.
        """
        while True:
            try:
                stream = self._stream or self._open(position, stop)
                count = stream.readinto(buffer[: self._meter.portion(len(buffer))])
                if not count and position == self._end:
                    self._hang_up()  # `stop` was lower when it was opened
                    continue
                if not count:
                    raise _truncated(self._file, self._source, position)
            except ModelError as exc:
                self._failed(exc)
            else:
                self._fresh += count
                self._meter.count(count)
                return count

    def check_end(self) -> None:
        """Refuse a source that has more bytes than are pinned. To be called after the last byte of the file.

        Raises:
            ModelError: with reason `size_mismatch`.
        """
        stream = self._stream
        if stream is None or stream.told.size is not None:
            return
        try:
            more = stream.readinto(memoryview(bytearray(1)))
        except ModelError:
            return  # the connection broke where the file ended
        if more:
            raise wrong_size(self._file, self._source, f"the source sends more: stopped after {self._file.size} bytes")

    def _open(self, position: int, stop: int) -> Stream:
        if self._meter.stopped.is_set():
            raise Stopped
        size = self._file.size
        # All of a file is asked for without a range, which some servers like better.
        end = None if (position, stop) == (0, size) else stop
        self._end = stop
        stream = self._stack.enter_context(
            self._origin.open(self._source, position, end, self._versions.of(self._source))
        )
        if stream.told.size not in (None, size):
            raise wrong_size(self._file, self._source, f"the source has {stream.told.size} bytes")
        self._versions.check(self._source, stream.told)
        if stream.offset != position:
            if stream.offset or not self._alone():
                raise RangeIgnored
            self._skip(stream, position)
        self._stream = stream
        return stream

    def _skip(self, stream: Stream, count: int) -> None:
        buffer = memoryview(bytearray(min(_SKIP, count)))
        while count:
            received = stream.readinto(buffer[: self._meter.portion(min(len(buffer), count))])
            if not received:
                raise _truncated(self._file, self._source, 0)
            count -= received
            self._meter.count(received)

    def _failed(self, exc: ModelError) -> None:
        """Wait before the next try; raise the error again if there is none."""
        self._hang_up()
        if self._fresh >= _PROGRESS:
            self._tries = 0
        self._fresh = 0
        self._tries += 1
        if not exc.transient:
            raise exc
        if self._tries > self._retry.count:
            tries = f"{self._tries} {'try' if self._tries == 1 else 'tries'}"
            raise ModelError(f"{exc} ({tries})", reason=exc.reason, tries=self._tries, **exc.details) from exc
        self._meter.sleep(delay(self._tries, self._retry.delay, exc.retry_after))
        if self._meter.stopped.is_set():
            raise Stopped

    def _hang_up(self) -> None:
        self._stream = None
        self._stack.close()


def _truncated(file: WantedFile, source: Source, received: int) -> ModelError:
    return ModelError(
        f"{file.path}: {source.shown} ended after {received} of {file.size} bytes",
        reason="truncated",
        transient=True,
        path=file.path,
        source=source.shown,
        expected=file.size,
        received=received,
    )


def wrong_size(file: WantedFile, source: Source, what: str) -> ModelError:
    """Return the error for a source that has another number of bytes than is pinned."""
    return ModelError(
        f"{file.path}: {source.shown}: size {file.size} is pinned, but {what}. Nothing of it was kept; correct "
        "the pin or the source",
        reason="size_mismatch",
        path=file.path,
        source=source.shown,
        expected=file.size,
    )


def wrong_digest(file: WantedFile, source: Source, digest: str, announced: bool = False) -> ModelError:
    """Return the error for a source whose bytes have, or will have as it says itself, another digest than is pinned."""
    what = f"{file.path}: the {file.size} bytes from {source.shown} have sha256 {digest}, not {file.sha256}; "
    if announced:
        what = f"{file.path}: {source.shown} says that its sha256 is {digest}, not {file.sha256}; nothing was fetched. "
    else:
        what += "they were deleted. "
    return ModelError(
        f"{what}Either the source serves other content than was pinned, or it was damaged on the way",
        reason="digest_mismatch",
        path=file.path,
        source=source.shown,
        expected=file.sha256,
        got=digest,
    )
