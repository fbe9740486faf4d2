# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import HttpCheck, TcpCheck
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_net import connect, send


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(
            json.dumps({"path": self.path, "type": self.headers["Content-Type"], "body": body.decode()}).encode()
        )

    def do_GET(self) -> None:
        if self.path == "/hang":
            self.server.hold.wait(30)  # type: ignore[attr-defined]  # until the test is over
        elif self.path == "/trickle":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while not self.server.hold.wait(0.05):  # type: ignore[attr-defined]  # likewise
                    self.wfile.write(b".")
        else:
            self.answer(b"hello")

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: t.Any) -> None:
        pass


@pytest.fixture(name="port", scope="module")
def port_fixture() -> t.Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hold = threading.Event()
        server.hold = hold  # type: ignore[attr-defined]  # what keeps the slow answers waiting
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        hold.set()
        server.shutdown()
        thread.join()


def test_a_request_is_sent_as_the_check_says(port: int) -> None:
    check = HttpCheck(port, path="/a?b=c", method="POST", headers=(("Content-Type", "text/x"),))
    reply = send(check, ("127.0.0.1",), b"hello", 10)
    assert reply.status == 200
    assert json.loads(reply.body) == {"path": "/a?b=c", "type": "text/x", "body": "hello"}
    assert reply.latency > 0


def test_the_first_address_that_accepts_is_taken(port: int) -> None:
    assert send(HttpCheck(port), ("127.0.0.2", "127.0.0.1"), None, 10).body == b"hello"


@pytest.mark.parametrize("path", ["/hang", "/trickle"])
def test_a_request_takes_no_longer_than_its_limit(port: int, path: str) -> None:
    reply = send(HttpCheck(port, path=path), ("127.0.0.1",), None, 0.2)
    assert "no complete answer within 0.2 s" in reply.error


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return t.cast(int, probe.getsockname()[1])


def test_what_does_not_answer_is_told_with_its_address() -> None:
    port = closed_port()
    assert f"127.0.0.1:{port} refused the connection" in send(HttpCheck(port), ("127.0.0.1",), None, 10).error
    assert "no network address" in send(HttpCheck(port), (), None, 10).error


def test_an_answer_that_is_not_http_is_an_error() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def serve() -> None:
            connection, _peer = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-x\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        reply = send(HttpCheck(server.getsockname()[1]), ("127.0.0.1",), None, 10)
        thread.join()
    assert "SSH-2.0-x" in reply.error


def test_a_connection_is_made_to_the_first_address_that_accepts_it(port: int) -> None:
    reply = connect(TcpCheck(port), ("127.0.0.2", "127.0.0.1"), 10)
    assert reply.error == ""
    assert reply.latency > 0


def test_a_port_that_accepts_nothing_is_told_with_its_address() -> None:
    port = closed_port()
    assert f"127.0.0.1:{port} refused the connection" in connect(TcpCheck(port), ("127.0.0.1",), 10).error
    assert "no network address" in connect(TcpCheck(port), (), 10).error


@pytest.mark.parametrize(("max_latency", "cut"), [(None, True), (0.1, True)])
def test_a_connection_that_hangs_is_given_up(max_latency: float | None, cut: bool) -> None:
    with socket.socket() as server, contextlib.ExitStack() as held:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        # The queue is full from here on, so that the kernel leaves further ones unanswered.
        held.enter_context(socket.create_connection(address))
        with contextlib.suppress(TimeoutError):
            held.enter_context(socket.create_connection(address, 0.2))
        reply = connect(TcpCheck(address[1], max_latency), ("127.0.0.1",), 0.2)
    assert "accepted no connection within 0.2 s" in reply.error
    assert reply.cut is cut
