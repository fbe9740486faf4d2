# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Files that are on the host already: on a mounted stick, say, or in a depot's folder."""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import FileSource


class FileStream:
    """A file of the host, or a range of it, as it is read. Streams of one file do not disturb each other."""

    def __init__(self, fd: int, told: Told, start: int, stop: int | None, shown: str) -> None:
        self.told = told
        self.offset = start
        self._fd = fd
        self._position = start
        self._stop = stop
        self._shown = shown

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`; return the bytes read, 0 at the end.

        Raises:
            ModelError: with reason `unavailable`; the medium cannot be read (a pulled stick).
        """
        if self._stop is not None:
            buffer = buffer[: max(self._stop - self._position, 0)]
        if not buffer:
            return 0
        try:
            count = os.preadv(self._fd, [buffer], self._position)
        except OSError as exc:
            raise unreadable(self._shown, exc) from exc
        self._position += count
        return count


class FileOrigin:
    """Opens files of the host. It holds nothing, so threads need no care."""

    def probe(self, source: FileSource) -> Told:
        """Say how big the file is, and which version of it this is.

        Raises:
            ModelError: as for `open`.
        """
        with opened(source.path, source.shown) as fd:
            return _told(fd)

    @contextlib.contextmanager
    def open(
        self, source: FileSource, start: int = 0, stop: int | None = None, validator: str = ""
    ) -> t.Iterator[FileStream]:
        """Open a regular file, or its bytes start..stop-1.

        Raises:
            ModelError: with reason `unavailable`; there is no such file, or it is no regular one.
        """
        with opened(source.path, source.shown) as fd:
            yield stream(fd, source.shown, start, stop, validator)

    def close(self) -> None:
        """There is nothing to give back."""


@contextlib.contextmanager
def opened(path: str, shown: str) -> t.Iterator[int]:
    """Give a file descriptor of a regular file. `shown` is the source, for messages.

    Raises:
        ModelError: with reason `unavailable`.
    """
    try:
        # Without O_NONBLOCK a FIFO would be waited for instead of refused.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise unreadable(shown, exc) from exc
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ModelError(f"{shown} is not a regular file", reason="unavailable", source=shown)
        yield fd
    finally:
        os.close(fd)


def stream(fd: int, shown: str, start: int, stop: int | None, validator: str) -> FileStream:
    """Return the bytes start..stop-1 of an open file; all of them when it is another version than `validator`."""
    told = _told(fd)
    if validator and validator != told.validator:
        return FileStream(fd, told._replace(ranges=False), 0, None, shown)
    return FileStream(fd, told, start, stop, shown)


def _told(fd: int) -> Told:
    status = os.fstat(fd)
    return Told(status.st_size, f"{status.st_mtime_ns}-{status.st_size}", True)


def unreadable(shown: str, exc: OSError) -> ModelError:
    """Return the error for a file that the system does not let us read."""
    return ModelError(
        f"{shown} cannot be read on this host: {exc.strerror}; is it mounted, is the path right?",
        reason="unavailable",
        source=shown,
    )
