# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A web server on loopback that misbehaves as told, to test what fetches from it.

with FaultServer() as server:
    url = server.serve("/model.bin", content, Answer(cut_after=1000), Answer())
    ...                       # the first request is cut short, the second and all further ones get all they ask for
    assert server.sent == len(content)    # so the second one has asked for the rest only
"""

from __future__ import annotations

import collections
import contextlib
import http
import http.server
import select
import socket
import socketserver
import ssl
import sys
import threading
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.emorobcare.fleet.tests.faults._answers import HANG_UP, Answer, Content, Reply, reply

__all__ = ["HANG_UP", "Answer", "Content", "FaultServer", "Request"]

_BLOCK = 1 << 18  # bytes sent at once
SEND_BUFFER = 1 << 18  # bytes that a connection takes and may not have passed on; the kernel doubles it
_TICK = 0.02  # seconds between two blocks of an answer with a rate, and between two looks at a condition


@dataclass
class Request:
    """What was asked, noted when it came in, and how many bytes of a body have been sent in answer so far."""

    method: str
    path: str
    headers: t.Mapping[str, str]
    status: int = 0
    sent: int = 0

    @property
    def range(self) -> tuple[int, int | None] | None:
        """Start and stop of the range that was asked for."""
        unit, _equals, both = self.headers.get("Range", "").partition("=")
        first, _dash, last = both.partition("-")
        return (int(first), int(last) + 1 if last else None) if unit == "bytes" and first else None


class FaultServer:
    """Serves contents by path. Requests for one path get its answers in turn, and the last answer from then on.

    `requests` are all that came in, `connections` counts those made, `busiest` is the most requests that were being
    answered at one moment. With `tls` it speaks https.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.busiest = 0
        self.stalled = threading.Event()  # set when an answer has reached its stall
        self.release = threading.Event()  # set it to let stalled answers go on
        self.tls = tls
        self._served: dict[str, tuple[Content, collections.deque[Answer]]] = {}
        self._changed = threading.Condition()  # guards all of these
        self._sent = 0
        self._alarm: tuple[int, t.Callable[[], object]] | None = None
        self._busy: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        self._closing = False
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> FaultServer:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release.set()
        self._server.shutdown()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            for connection in self._open:
                _shut(connection)
        self._server.server_close()  # waits for the handlers
        self._thread.join()

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def gets(self) -> list[Request]:
        return [request for request in self.requests if request.method == "GET"]

    @property
    def sent(self) -> int:
        """Bytes of bodies that were sent, all in all."""
        with self._changed:
            return self._sent

    def serve(self, path: str, content: bytes | Path, *answers: Answer) -> str:
        """Serve `content` at `path` from now on; return its URL."""
        with self._changed:
            self._served[path] = (Content(content), collections.deque(answers or (Answer(),)))
        return f"{'https' if self.tls else 'http'}://{self.place}{path}"

    def when_sent(self, total: int, call: t.Callable[[], object]) -> None:
        """Call once, as soon as this many bytes of bodies have been sent, all in all."""
        with self._changed:
            self._alarm = (total, call)

    def settle(self) -> None:
        """Wait until no request is being answered any more: until who was killed is noticed to be gone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)

    # What the handlers need.

    def reply(self, request: Request) -> Reply:
        """Note a request, and take the answer whose turn it is."""
        with self._changed:
            self.requests.append(request)
            content, answers = self._served.get(
                request.path.partition("?")[0], (Content(b""), collections.deque([Answer(status=404)]))
            )
            told = reply(answers[0], content, request.method, request.headers)
            if told.status in (200, 206) and not told.reached:
                told = told.without_body_faults()
            elif len(answers) > 1:
                answers.popleft()
            request.status = told.status
            return told

    def send(self, connection: socket.socket, block: memoryview, request: Request) -> None:
        """Send bytes of a body. They count as sent before who gets them can act on that."""
        with self._changed:
            request.sent += len(block)
            self._sent += len(block)
        connection.sendall(block)
        with self._changed:
            due = self._alarm if self._alarm is not None and self._sent >= self._alarm[0] else None
            self._alarm = None if due else self._alarm
        if due is not None:
            due[1]()

    @contextlib.contextmanager
    def answering(self, connection: socket.socket) -> t.Iterator[t.Callable[[], None]]:
        """Count a request as being answered.

        What is yielded ends the counting. It is to be called before the last block is sent: who has received that may
        ask for more at once. Nor do connections count that the client has given up.
        """

        def end() -> None:
            with self._changed:
                self._busy.discard(connection)
                self._changed.notify_all()

        with self._changed:
            self._busy.add(connection)
            self.busiest = max(self.busiest, sum(map(_stands, self._busy)))
            self._changed.notify_all()
        try:
            yield end
        finally:
            end()

    def gather(self, together: int) -> None:
        """Wait until that many requests have been answered at once."""
        with self._changed:
            self._changed.wait_for(lambda: self.busiest >= together or self._closing)

    def wait_until(self, ready: t.Callable[[], bool] | None) -> None:
        while ready is not None and not ready() and not self._closing:
            time.sleep(_TICK)

    def stall(self) -> None:
        self.stalled.set()
        self.release.wait()

    def opened(self, connection: socket.socket) -> None:
        with self._changed:
            self.connections += 1
            self._open.add(connection)
            if self._closing:
                _shut(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.discard(connection)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the client was faster
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # TLS's own is not for other threads


def _stands(connection: socket.socket) -> bool:
    """Whether the client has not closed its side."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return not poll.poll(0)


class _Server(socketserver.ThreadingTCPServer):
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, faults: FaultServer) -> None:
        self.faults = faults
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        if not isinstance(sys.exception(), OSError):  # the client has gone, which is what some tests are about
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        self.faults = self.server.faults
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a body follows its head at once
        if self.faults.tls is not None:
            self.request = self.faults.tls.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
        self.faults.opened(self.request)
        super().setup()

    def handle(self) -> None:
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.faults.closed(self.request)
        self.request.close()

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        request = Request(self.command, self.path, dict(self.headers))
        told = self.faults.reply(request)
        self.faults.wait_until(told.answer.when)
        self.close_connection = self.close_connection or told.closes
        if told.answer.raw is not None:
            self.connection.sendall(told.answer.raw)
            return
        lines = [f"HTTP/1.1 {told.status} {http.HTTPStatus(told.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in told.headers.items()]
        self.wfile.write("\r\n".join(lines).encode("latin-1") + b"\r\n" + told.answer.insert + b"\r\n")
        if told.stop > told.start:
            self._send_body(told, request)

    def _send_body(self, told: Reply, request: Request) -> None:
        answer = told.answer
        with self.faults.answering(self.connection) as last_block_follows:
            for block, last in told.blocks(_BLOCK if answer.rate is None else max(1, int(answer.rate * _TICK))):
                if told.stalls(request.sent):
                    self.faults.stall()
                if request.sent:
                    self.faults.gather(answer.together)
                if last:
                    last_block_follows()
                self._send(block, answer.chunked, request)
                if answer.rate is not None:
                    time.sleep(len(block) / answer.rate)
        if answer.chunked and not self.close_connection:
            self.wfile.write(b"0\r\n\r\n")

    def _send(self, block: memoryview, chunked: bool, request: Request) -> None:
        if chunked:
            self.wfile.write(b"%x\r\n" % len(block))
        self.faults.send(self.connection, block, request)
        if chunked:
            self.wfile.write(b"\r\n")

    def log_message(self, *_args: object) -> None:
        pass  # pytest's output is for failures
