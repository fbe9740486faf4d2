# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Read a depot behind any static web server: in ranges where the server does them, retried where it fails."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import typing as t
from urllib.parse import quote

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError, Reason
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import (
    PIECE,
    Blob,
    BlobSource,
    Folder,
    missing,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import blob_name, part_name
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_feed import Retry, delay
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_http import HttpStream, Transport
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import HttpSource, parse_source

_GONE = (404, 410)  # statuses by which a server says that there is no such file
_PROGRESS = 1 << 20  # bytes after which a connection that breaks has brought something, and the tries begin anew
_SKIP = 1 << 20  # bytes read at once to be thrown away, where a server does no ranges

_T = t.TypeVar("_T")


def open_source(depot: str, ca_path: str | None = None) -> BlobSource:
    """Return what reads a depot: a folder of this machine (an absolute path), or an http(s) URL. Close it in the end.

    Args:
        ca_path: PEM file of authorities to trust besides the system's, for https.

    Raises:
        DepotError: it is neither (`invalid`).
    """
    if depot.lower().startswith(("http://", "https://")):
        return WebSource(depot, Network(ca_path=ca_path))
    if not os.path.isabs(depot):
        raise DepotError(
            f"depot {depot!r} must be the absolute path of a folder, or a URL such as https://host/depot",
            reason="invalid",
        )
    return Folder(os.path.normpath(depot))


class WebSource:
    """A depot behind a web server. Several threads use it at once; connections are kept and shared.

    Args:
        base_url: where the depot's own folder is, with credentials (user:password@) if it needs them.
        network: authorities, proxy and timeouts.
        retry: how often a request is tried again, and the seconds before the first time.
        sleep: waits so many seconds; for tests.

    Raises:
        DepotError: the URL cannot be used (`invalid`).
    """

    def __init__(
        self,
        base_url: str,
        network: Network | None = None,
        retry: Retry | None = None,
        sleep: t.Callable[[float], object] = time.sleep,
    ) -> None:
        self._base = _parse(base_url)
        self._retry = retry or Retry()
        self._sleep = sleep
        self._files: dict[str, list[tuple[str, int]]] = {}  # names and bytes of a blob's files
        self._lock = threading.Lock()
        with self._explained():
            self._transport = Transport(network or Network())

    @property
    def shown(self) -> str:
        return self._base.shown.rstrip("/")

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def read(self, name: str, limit: int) -> bytes | None:
        return self._told(lambda: self._read(name, limit))

    def blob_size(self, sha256: str) -> int | None:
        files = self._files_of(sha256)
        return sum(size for _name, size in files) if files else None

    def pieces(self, sha256: str, start: int = 0) -> t.Iterator[bytes]:
        with self.open_blob(sha256, start) as blob:
            buffer = memoryview(bytearray(PIECE))
            while count := blob.readinto(buffer):
                yield bytes(buffer[:count])

    @contextlib.contextmanager
    def open_blob(self, sha256: str, start: int = 0) -> t.Iterator[Blob]:
        files = self._files_of(sha256)
        if not files:
            raise missing(self.shown, sha256)
        with contextlib.closing(_WebBlob(self, files, start)) as blob:
            yield blob

    def stream(self, name: str, size: int, start: int) -> t.ContextManager[HttpStream]:
        """Open a file that has `size` bytes, from `start` on if the server can do that.

        Raises:
            ModelError: it cannot be had, now (transient) or at all.
        """
        end = None if start == 0 else size  # all of a file is asked for without a range, which some servers like better
        return self._transport.open(self.url(name), self._headers, start, end, shown=self.url_shown(name))

    def again(self, tries: int, exc: ModelError) -> None:
        """Wait before the next try after so many failures.

        Raises:
            DepotError: there is none.
        """
        if not exc.transient or tries > self._retry.count:
            raise self._error(exc, tries) from exc
        self._sleep(delay(tries, self._retry.delay, exc.retry_after))

    def url(self, name: str) -> str:
        return f"{self._base.url.rstrip('/')}/{quote(name)}"

    def url_shown(self, name: str) -> str:
        return f"{self.shown}/{quote(name)}"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._base.authorization} if self._base.authorization else {}

    def _files_of(self, sha256: str) -> list[tuple[str, int]]:
        """Return name and bytes of each file that a blob is made of, asked for once; none if it is not there."""
        with self._lock:
            known = self._files.get(sha256)
        if known is not None:
            return known
        whole = self._size(blob_name(sha256))
        files = [] if whole is None else [(blob_name(sha256), whole)]
        while whole is None and (size := self._size(part_name(sha256, len(files)))) is not None:
            files.append((part_name(sha256, len(files)), size))
        if files:
            with self._lock:
                self._files[sha256] = files
        return files

    def _size(self, name: str) -> int | None:
        told = self._told(
            lambda: self._transport.probe(self.url(name), self._headers, shown=self.url_shown(name)),
        )
        if told is not None and told.size is None:
            raise DepotError(
                f"{self.url_shown(name)}: the server does not say how many bytes the file has (no Content-Length), so "
                "it cannot be checked before it is copied. Serve the folder as plain files, without compression",
                reason="unavailable",
            )
        return told.size if told else None

    def _told(self, ask: t.Callable[[], _T]) -> _T | None:
        """Ask, again if need be; return None if there is no such file.

        Raises:
            DepotError: the server cannot be asked, or does not answer as it should.
        """
        tries = 0
        while True:
            try:
                return ask()
            except ModelError as exc:
                if exc.details.get("status") in _GONE:
                    return None
                tries += 1
                self.again(tries, exc)

    def _read(self, name: str, limit: int) -> bytes:
        shown = self.url_shown(name)
        with self._transport.open(self.url(name), self._headers, shown=shown) as stream:
            size = stream.told.size
            room = memoryview(bytearray(min(limit, limit if size is None else size) + 1))
            count = more = 0 if size is None or size <= limit else limit + 1
            while count < len(room) and (more := stream.readinto(room[count:])):
                count += more
        if count > limit:
            raise DepotError(
                f"{shown} has more than {limit} bytes, and nothing of that name has", reason="blob_corrupt"
            )
        if size is not None and size != count:
            raise cut_short(shown, count, size)
        return bytes(room[:count])

    @contextlib.contextmanager
    def _explained(self) -> t.Iterator[None]:
        try:
            yield
        except ModelError as exc:
            raise self._error(exc, 1) from exc

    def _error(self, exc: ModelError, tries: int) -> DepotError:
        if exc.reason == "invalid":
            return DepotError(str(exc), reason="invalid")
        reason: Reason = "unsafe_path" if exc.reason == "unsafe_path" else "unavailable"
        times = f" ({tries} tries)" if tries > 1 else ""
        return DepotError(
            f"{exc}{times}. Is the web server up, and is {self.shown} the depot's own folder there? The same run goes "
            "on from here",
            reason=reason,
            **exc.details,
        )


class _WebBlob:
    """A blob of a web server: one file, or its parts one after the other, each by as many requests as it takes."""

    def __init__(self, web: WebSource, files: t.Sequence[tuple[str, int]], start: int) -> None:
        self.size = sum(size for _name, size in files)
        self._web = web
        self._files = files
        self._position = start
        self._streamed = ""  # the file that the stream is of
        self._stream: HttpStream | None = None
        self._stack = contextlib.ExitStack()
        self._tries = 0
        self._fresh = 0  # bytes since the last failure

    def readinto(self, buffer: memoryview) -> int:
        offset = self._position
        for name, size in self._files:
            if offset < size:
                count = self._read(name, size, buffer[: size - offset], offset)
                self._position += count
                return count
            offset -= size
        return 0

    def close(self) -> None:
        self._stream = None
        self._stack.close()

    def _read(self, name: str, size: int, buffer: memoryview, offset: int) -> int:
        if not buffer:
            return 0
        while True:
            try:
                if self._stream is None or self._streamed != name:
                    self._open(name, size, offset)
                count = t.cast("HttpStream", self._stream).readinto(buffer)
                if not count:
                    raise cut_short(self._web.url_shown(name), offset, size)
            except ModelError as exc:
                self.close()
                self._tries = 1 if self._fresh >= _PROGRESS else self._tries + 1
                self._fresh = 0
                self._web.again(self._tries, exc)
            else:
                self._fresh += count
                return count

    def _open(self, name: str, size: int, offset: int) -> None:
        self.close()
        stream = self._stack.enter_context(self._web.stream(name, size, offset))
        if stream.told.size not in (None, size):
            raise DepotError(
                f"{self._web.url_shown(name)} has {stream.told.size} bytes by now instead of {size}: the depot is "
                "being written. Wait for that to end and run the same again",
                reason="blob_corrupt",
            )
        _skip(stream, offset - stream.offset, self._web.url_shown(name), size)
        self._stream, self._streamed = stream, name


def _skip(stream: HttpStream, count: int, shown: str, size: int) -> None:
    """Read bytes away that were not asked for."""
    room = memoryview(bytearray(min(_SKIP, count)))
    while count:
        received = stream.readinto(room[: min(len(room), count)])
        if not received:
            raise cut_short(shown, 0, size)
        count -= received


def cut_short(shown: str, received: int, size: int) -> ModelError:
    """Return the error for an answer that ended early: it is worth another try."""
    return ModelError(
        f"{shown} ended after {received} of {size} bytes", reason="truncated", transient=True, source=shown
    )


def _parse(base_url: str) -> HttpSource:
    try:
        source = parse_source(base_url, "depot")
    except ModelError as exc:
        raise DepotError(str(exc), reason="invalid") from exc
    if not isinstance(source, HttpSource) or "?" in source.url or "#" in base_url:
        raise DepotError(
            f"depot {source.shown!r} must be the URL of a folder, such as https://host/depot, without ? and #",
            reason="invalid",
        )
    return source
