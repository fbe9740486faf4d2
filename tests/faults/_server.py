# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A web server on loopback that misbehaves as told, to test what fetches from it.

with FaultServer() as server:
    url = server.serve("/model.bin", content, Answer(cut_after=1000), Answer())
    ...                       # the first request is cut short, the second and all further ones get it all
    assert [request.sent for request in server.requests] == [1000, len(content)]
"""

from __future__ import annotations

import http.server
import itertools
import threading
import typing as t
from dataclasses import dataclass, field

_BLOCK = 1 << 16  # bytes sent at once


@dataclass(frozen=True)
class Answer:
    """How one request is answered; without arguments, as it should be. Offsets and lengths in bytes of the body."""

    status: int = 200
    headers: t.Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None  # close the connection there
    corrupt_at: int | None = None  # flip the bits of that byte
    stall_after: int | None = None  # send no more from there on until `FaultServer.release`
    length: int | None = None  # claim this Content-Length
    no_length: bool = False  # claim none: the body ends where the connection does
    hang_up: bool = False  # close without any answer


@dataclass
class Request:
    """What was asked, noted when it came in, and how many bytes of the body have been sent in answer so far."""

    path: str
    headers: t.Mapping[str, str]
    sent: int = 0


class FaultServer:
    """Serves contents by path. Requests for one path get its answers in turn, and the last answer from then on."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.stalled = threading.Event()  # set when an answer has reached its stall
        self.release = threading.Event()  # set it to let stalled answers go on
        self._served: dict[str, tuple[bytes, t.Iterator[Answer]]] = {}
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> FaultServer:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()  # waits for the handlers
        self._thread.join()

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def serve(self, path: str, content: bytes, *answers: Answer) -> str:
        """Serve `content` at `path`; return its URL."""
        told = answers or (Answer(),)
        self._served[path] = (content, itertools.chain(told, itertools.repeat(told[-1])))
        return f"http://{self.place}{path}"

    def next_answer(self, path: str) -> tuple[bytes, Answer]:
        with self._lock:
            content, answers = self._served.get(path, (b"", iter([Answer(status=404)])))
            return content, next(answers)

    def note(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)


def _handler_for(faults: FaultServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content, answer = faults.next_answer(self.path.partition("?")[0])
            request = Request(self.path, dict(self.headers))
            faults.note(request)
            self.close_connection = True
            if not answer.hang_up:
                self._answer(content if answer.status == 200 else b"", answer, request)

        def _answer(self, content: bytes, answer: Answer, request: Request) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if not answer.no_length:
                self.send_header("Content-Length", str(len(content) if answer.length is None else answer.length))
            self.end_headers()
            self._send(_damage(content, answer.corrupt_at)[: answer.cut_after], answer.stall_after, request)

        def _send(self, body: bytes, stall_after: int | None, request: Request) -> None:
            stop = len(body) if stall_after is None else stall_after
            try:
                for part in (body[:stop], body[stop:]):
                    for start in range(0, len(part), _BLOCK):
                        self.wfile.write(part[start : start + _BLOCK])
                        request.sent += len(part[start : start + _BLOCK])
                    if stall_after is not None and not faults.release.is_set():
                        self.wfile.flush()
                        faults.stalled.set()
                        faults.release.wait()
            except OSError:
                pass  # the client has gone, which is what some tests are about

        def log_message(self, *_args: object) -> None:
            pass  # pytest's output is for failures

    return Handler


def _damage(content: bytes, offset: int | None) -> bytes:
    if offset is None:
        return content
    return content[:offset] + bytes([content[offset] ^ 0xFF]) + content[offset + 1 :]
