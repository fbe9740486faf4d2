# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""HTTP/1.1 (RFC 9112) on a connected socket: send a request, read the head and the body of its answer.

Not http.client, for two reasons. It parses headers with the email package, which costs more than all the rest of a
request for a small file (2,000 files of 256 KiB over one connection: 0.35 s of processor time instead of 0.15 s). And
its buffered reader forgets what it has read when a read fails halfway, where we want to keep every byte.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import time
import typing as t

_BLOCK = 1 << 14  # bytes read ahead while an answer's head is looked for; a TLS record has no more
_MAX_HEAD = 1 << 16  # bytes
_MAX_LINE = 1 << 12  # bytes of a chunk's size with its extensions, or of a trailer
_MAX_INTERIM = 8  # 1xx answers before the final one
_PAUSE = 0.05  # seconds to wait for more when there is something to return already
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (.*))?")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_DIGITS = re.compile(r"[0-9]{1,18}")


class BadAnswer(Exception):
    """The other side does not speak HTTP as it should, or stopped in the middle of it."""


class CutShort(BadAnswer):
    """The other side stopped in the middle of a body."""


class Head(t.NamedTuple):
    """The status line and headers of an answer; names in lower case, repeated headers joined by ", "."""

    status: int
    reason: str
    headers: t.Mapping[str, str]
    keeps_alive: bool = False


def parse_head(data: bytes) -> Head:
    """Read a status line and headers, without the empty line behind them.

    Raises:
        BadAnswer: they are not what RFC 9112 allows.
    """
    # Not splitlines: it knows many more line ends than HTTP does.
    lines = [line.rstrip("\r") for line in data.decode("latin-1").split("\n")]
    match = _STATUS_LINE.fullmatch(lines[0])
    if not match:
        raise BadAnswer(f"the answer is no HTTP/1.1: it begins with {lines[0][:40]!r}")
    headers: dict[str, str] = {}
    name = ""
    for line in lines[1:]:
        if line[:1] in (" ", "\t") and name:  # folded, as old servers do
            headers[name] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise BadAnswer(f"the answer has a header without a colon: {line[:40]!r}")
        name = name.strip().lower()
        value = value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    options = headers.get("connection", "").lower().replace(",", " ").split()
    keeps_alive = "close" not in options and (match[1] == "1" or "keep-alive" in options)
    return Head(int(match[2]), (match[3] or "").strip(), headers, keeps_alive)


class Wire:
    """A connection that serves one request after the other. One thread uses it at a time; `abort` is for any.

    `heard` says whether a byte of the answer to the last request has arrived.
    """

    def __init__(self, sock: socket.socket, stall_timeout: float) -> None:
        self.heard = False
        self.idle_since = 0.0  # for the pool
        self._sock = sock
        self._stall_timeout = stall_timeout
        self._rest = b""  # read ahead, from `_at` on
        self._at = 0
        self._failure: Exception | None = None
        # Without blocking, what has arrived can be told from what has to be waited for, and how long.
        sock.setblocking(False)
        self._poll = select.poll()
        self._poll.register(sock.fileno())

    @property
    def clean(self) -> bool:
        """Whether nothing has arrived that nobody asked for."""
        return self._at == len(self._rest) and self._failure is None

    def close(self) -> None:
        self._sock.close()

    def abort(self) -> None:
        """End the connection under the thread that waits for it, which then sees its end."""
        with contextlib.suppress(OSError):  # it may have ended already
            # Not SSLSocket.shutdown: it takes TLS away, and the reader would get ciphertext.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def send(self, data: bytes) -> None:
        """Raises: OSError; socket.timeout when the other side takes nothing for the stall timeout."""
        self.heard = False
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except _NOT_NOW as exc:
                self._wait(exc, select.POLLOUT)

    def head(self) -> Head:
        """Return the head of the final answer.

        Raises:
            OSError: the connection broke (ConnectionError), or nothing came within the stall timeout (socket.timeout).
            BadAnswer: what came is no HTTP.
        """
        for _interim in range(_MAX_INTERIM):
            head = parse_head(self._read_head())
            if head.status >= 200:
                return head
            if head.status == 101:
                break
        raise BadAnswer("the server answers something that was not asked for, and goes on so")

    def _read_head(self) -> bytes:
        while True:
            end = _HEAD_END.search(self._rest, self._at)
            if end:
                data = self._rest[self._at : end.start()]
                self._at = end.end()
                return data
            if len(self._rest) - self._at > _MAX_HEAD:
                raise BadAnswer(f"the headers of the answer have more than {_MAX_HEAD} bytes")
            if not self._read_ahead(True):
                if not self.heard:
                    raise ConnectionResetError("the server closed the connection without an answer")
                raise BadAnswer("the connection was closed in the middle of the answer's headers")

    def line(self, wait: bool) -> bytes | None:
        """Return the next line without its end; None when it is not there yet and this should not `wait` for it.

        Raises:
            OSError, BadAnswer: as `head`.
        """
        self._raise_failure()
        while True:
            end = self._rest.find(b"\n", self._at)
            if end >= 0:
                line = self._rest[self._at : end]
                self._at = end + 1
                return line.rstrip(b"\r")
            if len(self._rest) - self._at > _MAX_LINE:
                raise BadAnswer("a line between the chunks of the answer does not end")
            before = len(self._rest) - self._at
            if not self._read_ahead(wait):
                raise CutShort("the connection was closed in the middle of the answer")
            if len(self._rest) == before:
                return None

    def _read_ahead(self, wait: bool) -> bool:
        """Read more behind what is unread; return False where the connection ends. Not to `wait`: there may be none."""
        while True:
            try:
                more = self._sock.recv(_BLOCK)
                break
            except _NOT_NOW as exc:
                if wait:
                    self._wait(exc, select.POLLIN)
                    continue
                self._rest, self._at = self._rest[self._at :], 0
                return True
        self._rest, self._at = self._rest[self._at :] + more, 0
        self.heard = self.heard or bool(more)
        return bool(more)

    def fill(self, view: memoryview, wait: bool = True) -> int:
        """Put the next bytes into `view`, which is not empty; return how many: fewer than fit where the other side
        pauses, 0 where the connection ends (or, when this should not `wait`, where there is none yet).

        A failure after the first byte is kept for the next call.

        Raises:
            OSError: as `head`.
        """
        self._raise_failure()
        done, size, until = self._take_rest(view), len(view), 0.0
        receive = self._sock.recv_into
        try:
            while done < size:
                try:
                    count = receive(view[done:], size - done)
                except _NOT_NOW as exc:
                    if wait and not done:
                        self._wait(exc, select.POLLIN)
                        continue
                    until = until or time.monotonic() + _PAUSE
                    if not self._ready(exc, select.POLLIN, until - time.monotonic()):
                        break
                    continue
                if not count:
                    break
                done += count
        except OSError as exc:
            if not done:
                raise
            self.fail_later(exc)
        return done

    def fail_later(self, exc: Exception) -> None:
        """Raise `exc` at the next read: there are bytes to be returned first."""
        self._failure = exc.with_traceback(None)  # it would keep buffers alive

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _take_rest(self, view: memoryview) -> int:
        count = min(len(self._rest) - self._at, len(view))
        if count:
            view[:count] = self._rest[self._at : self._at + count]
            self._at += count
        return count

    def _wait(self, exc: OSError, event: int) -> None:
        if not self._ready(exc, event, self._stall_timeout):
            raise socket.timeout("timed out")

    def _ready(self, exc: OSError, event: int, seconds: float) -> bool:
        # TLS may have to write before it can read, and the other way round.
        if isinstance(exc, ssl.SSLWantReadError):
            event = select.POLLIN
        elif isinstance(exc, ssl.SSLWantWriteError):
            event = select.POLLOUT
        self._poll.modify(self._sock.fileno(), event)
        return bool(self._poll.poll(max(0.0, seconds) * 1000))


class Body:
    """The body of an answer (RFC 9112, section 6.3), as it arrives. `length` in bytes, None when it is not said.

    Raises:
        BadAnswer: its framing has no sense.
    """

    def __init__(self, wire: Wire, head: Head, method: str = "GET") -> None:
        self.length: int | None = None
        self._wire = wire
        self._left = 0  # of the body, or of the chunk
        self._state = "size"  # of a chunked body: what the next line is; "end" after the last one
        self._framing: t.Literal["length", "chunks", "connection"] = "length"
        coding = head.headers.get("transfer-encoding", "").lower()
        length = head.headers.get("content-length")
        if method == "HEAD" or head.status in (204, 304):
            self.length = 0
        elif coding:
            if coding != "chunked":
                raise BadAnswer(f"the answer comes in the transfer coding {coding[:40]!r}, which was not asked for")
            self._framing = "chunks"
        elif length is None:
            self._framing = "connection"
        elif not _DIGITS.fullmatch(length):
            raise BadAnswer(f"the answer has Content-Length {length[:40]!r}, which is no number")
        else:
            self.length = self._left = int(length)
        # Who says both may mean an attack on whoever reads them differently: such a connection serves once.
        self._keeps_alive = head.keeps_alive and not (coding and length is not None)

    @property
    def ended(self) -> bool:
        """Whether it was read to its end: never, where only the connection's end tells."""
        if self._framing == "chunks":
            return self._state == "end"
        return self._framing == "length" and self._left == 0

    @property
    def reusable(self) -> bool:
        """Whether the connection can serve another request now."""
        return self._keeps_alive and self.ended and self._wire.clean

    def readinto(self, buffer: memoryview) -> int:
        """Put what comes next into `buffer`; return how many bytes, 0 at the end or where the connection was closed.

        Bytes that arrived before a failure are returned; the next call raises it.

        Raises:
            OSError: nothing came for the stall timeout (socket.timeout), or the connection broke.
            BadAnswer: a chunked body stops before its end, or is no such.
        """
        return self._read(buffer, True)

    def drain(self, limit: int) -> None:
        """Read what is left away if it is here and has at most `limit` bytes, so that the connection stays usable."""
        if self.ended or self._left > limit or self._framing == "connection":
            return
        scrap = memoryview(bytearray(_BLOCK))
        with contextlib.suppress(OSError, BadAnswer):  # then it is not usable
            count = 1
            while count and limit > 0 and not self.ended:
                count = self._read(scrap, False)
                limit -= count

    def _read(self, buffer: memoryview, wait: bool) -> int:
        if self._framing == "chunks":
            return self._read_chunks(buffer, wait)
        if self._framing == "length":
            buffer = buffer[: self._left]
        if not len(buffer):
            return 0
        count = self._wire.fill(buffer, wait)
        if self._framing == "length":
            self._left -= count
        return count

    def _read_chunks(self, buffer: memoryview, wait: bool) -> int:
        done = 0
        try:
            while done < len(buffer) and (self._left or self._begin_chunk(wait and not done)):
                wanted = buffer[done : done + self._left]
                count = self._wire.fill(wanted, wait and not done)
                if not count and not done:
                    raise CutShort("the connection was closed in the middle of the answer")
                self._left -= count
                done += count
                if count < len(wanted):
                    break
        except (OSError, BadAnswer) as exc:
            if not done:
                raise
            self._wire.fail_later(exc)
        return done

    def _begin_chunk(self, wait: bool) -> bool:
        """Read the lines up to the next bytes; return False where there are none (yet). RFC 9112, section 7.1."""
        while self._state != "end":
            line = self._wire.line(wait)
            if line is None:
                return False
            if self._state == "size":
                size = _CHUNK_SIZE.fullmatch(line)
                if not size:
                    raise BadAnswer(f"the answer has a chunk of size {line[:40]!r}, which is no number")
                self._left = int(size[1], 16)
                self._state = "data" if self._left else "trailer"
                if self._left:
                    return True
            elif self._state == "data":  # what ends it
                if line:
                    raise BadAnswer("the answer has a chunk that does not end where it should")
                self._state = "size"
            elif not line:  # what ends the trailers
                self._state = "end"
        return False
