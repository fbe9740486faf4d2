# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._http_wire import BadAnswer, Body, Head, Wire, parse_head

Ends = tuple[Wire, socket.socket]


@pytest.fixture(name="ends")
def ends_fixture() -> t.Iterator[Ends]:
    """A wire that is patient for a moment only, and the socket at its other end."""
    near, far = socket.socketpair()
    with near, far:
        yield Wire(near, stall_timeout=0.05), far


def body_of(wire: Wire, far: socket.socket, headers: str, body: bytes = b"", method: str = "GET") -> Body:
    far.sendall(b"HTTP/1.1 200 OK\r\n" + headers.encode() + b"\r\n\r\n" + body)
    return Body(wire, wire.head(), method)


def read_all(body: Body, size: int = 1 << 16) -> bytes:
    buffer, got = memoryview(bytearray(size)), b""
    while True:
        count = body.readinto(buffer)
        if not count:
            return got
        got += bytes(buffer[:count])


@pytest.mark.parametrize(
    ("data", "head"),
    [
        (b"HTTP/1.1 200 OK", Head(200, "OK", {}, True)),
        (b"HTTP/1.1 200 ", Head(200, "", {}, True)),
        (b"HTTP/1.1 206", Head(206, "", {}, True)),
        (b"HTTP/1.0 404 Not Found", Head(404, "Not Found", {}, False)),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive", Head(200, "OK", {"connection": "Keep-Alive"}, True)),
        (b"HTTP/1.1 200 OK\r\nConnection: a, Close", Head(200, "OK", {"connection": "a, Close"}, False)),
        (b"HTTP/1.1 200 OK\nA:b\nC: d ", Head(200, "OK", {"a": "b", "c": "d"}, True)),
        (b"HTTP/1.1 200 OK\r\nA: b\r\na:c:d", Head(200, "OK", {"a": "b, c:d"}, True)),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n  c\r\nD:", Head(200, "OK", {"a": "b c", "d": ""}, True)),
        (b"HTTP/1.1 200 OK\r\nA: b\x85\x0bc", Head(200, "OK", {"a": "b\x85\x0bc"}, True)),
    ],
)
def test_a_head_is_read_as_servers_write_it(data: bytes, head: Head) -> None:
    assert parse_head(data) == head


@pytest.mark.parametrize(
    "data", [b"", b"SSH-2.0-OpenSSH", b"HTTP/2 200", b"HTTP/1.1 20", b"HTTP/1.1 OK", b"HTTP/1.1 200 OK\r\nodd"]
)
def test_what_is_no_head_is_refused(data: bytes) -> None:
    with pytest.raises(BadAnswer, match="the answer"):
        parse_head(data)


def test_interim_answers_are_passed_over(ends: Ends) -> None:
    wire, far = ends
    far.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
    assert wire.head().status == 200


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"HTTP/1.1 101 Switching\r\n\r\n", "not asked for"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 9, "not asked for"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * (1 << 17), "more than 65536 bytes"),
        (b"HTTP/1.1 200 OK\r\nA: ", "in the middle"),
    ],
)
def test_a_head_that_does_not_come_to_an_end_is_refused(ends: Ends, data: bytes, says: str) -> None:
    wire, far = ends
    with far:
        sender = threading.Thread(target=_send_and_close, args=(far, data))
        sender.start()
        with pytest.raises(BadAnswer, match=says):
            wire.head()
        wire.abort()
        sender.join()


def _send_and_close(far: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        far.sendall(data)
        far.shutdown(socket.SHUT_WR)


def test_no_answer_at_all_is_told_from_a_broken_one(ends: Ends) -> None:
    wire, far = ends
    wire.send(b"GET / HTTP/1.1\r\n\r\n")
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError, match="without an answer"):
        wire.head()
    assert not wire.heard


@pytest.mark.parametrize(
    ("headers", "sent", "read"),
    [
        pytest.param("Content-Length: 5", b"hello", b"hello", id="length"),
        pytest.param("Content-Length: 0", b"", b"", id="empty"),
        pytest.param("Transfer-Encoding: chunked", b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello", id="chunks"),
        pytest.param("Transfer-Encoding: Chunked", b"5 \r\nhello\r\n00\r\nT: x\r\n\r\n", b"hello", id="trailers"),
        pytest.param("Transfer-Encoding: chunked", b"0\r\n\r\n", b"", id="no chunk"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 4096])
def test_a_body_is_read_to_its_end_and_the_connection_stays_usable(
    ends: Ends, headers: str, sent: bytes, read: bytes, size: int
) -> None:
    wire, far = ends
    body = body_of(wire, far, headers, sent)
    assert read_all(body, size) == read
    assert (body.ended, body.reusable) == (True, True)


def test_chunks_that_come_byte_by_byte_are_put_together(ends: Ends) -> None:
    wire, far = ends
    body = body_of(wire, far, "Transfer-Encoding: chunked")
    buffer, got = memoryview(bytearray(64)), b""
    for byte in b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n":
        far.sendall(bytes([byte]))
        with contextlib.suppress(socket.timeout):
            got += bytes(buffer[: body.readinto(buffer)])
    assert got == b"abcde"
    assert body.ended


@pytest.mark.parametrize(
    ("headers", "method"), [("Content-Length: 5", "HEAD"), ("Transfer-Encoding: chunked", "HEAD")], ids=str
)
def test_the_answer_to_head_has_no_body(ends: Ends, headers: str, method: str) -> None:
    wire, far = ends
    body = body_of(wire, far, headers, method=method)
    assert (read_all(body), body.reusable) == (b"", True)


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        pytest.param("A: b", b"hello", id="until the connection's end"),
        pytest.param("Content-Length: 5\r\nConnection: close", b"hello", id="server says so"),
        pytest.param("Content-Length: 5", b"hello and more", id="more than announced"),
        pytest.param("Content-Length: 9", b"hello", id="less than announced"),
        pytest.param("Transfer-Encoding: chunked\r\nContent-Length: 5", b"5\r\nhello\r\n0\r\n\r\n", id="both framings"),
    ],
)
def test_a_connection_is_not_used_again_after(ends: Ends, headers: str, sent: bytes) -> None:
    wire, far = ends
    body = body_of(wire, far, headers, sent)
    far.shutdown(socket.SHUT_WR)
    assert read_all(body) == b"hello"
    assert not body.reusable


@pytest.mark.parametrize(
    ("headers", "sent", "says"),
    [
        ("Content-Length: five", b"", "'five'"),
        ("Content-Length: -5", b"", "'-5'"),
        ("Content-Length: 5\r\nContent-Length: 6", b"hello", "'5, 6'"),
        ("Transfer-Encoding: gzip, chunked", b"", "'gzip, chunked'"),
        ("Transfer-Encoding: chunked", b"0x5\r\nhello\r\n", "chunk of size b'0x5'"),
        ("Transfer-Encoding: chunked", b"\r\n", "chunk of size b''"),
        ("Transfer-Encoding: chunked", b"x" * 9000, "does not end"),
    ],
)
def test_framing_without_sense_is_refused(ends: Ends, headers: str, sent: bytes, says: str) -> None:
    wire, far = ends
    with pytest.raises(BadAnswer, match=says):
        read_all(body_of(wire, far, headers, sent))


def broken_off(far: socket.socket) -> type[Exception]:
    far.shutdown(socket.SHUT_WR)
    return BadAnswer


def reset(far: socket.socket) -> type[Exception]:
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    return ConnectionResetError


def stalled(_far: socket.socket) -> type[Exception]:
    return socket.timeout


@contextlib.contextmanager
def tcp_pair() -> t.Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        far = server.accept()[0]
        with far:
            yield near, far


@pytest.mark.parametrize("fail", [stalled, reset])
@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ("Content-Length: 9", b"hello"),
        ("A: b", b"hello"),
        ("Transfer-Encoding: chunked", b"9\r\nhello"),
        ("Transfer-Encoding: chunked", b"5\r\nhello"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
    ],
)
def test_bytes_that_came_before_a_failure_are_returned_first(
    headers: str, sent: bytes, fail: t.Callable[[socket.socket], type[Exception]]
) -> None:
    buffer = memoryview(bytearray(64))
    with tcp_pair() as (near, far):
        wire = Wire(near, stall_timeout=0.05)
        body = body_of(wire, far, headers, sent)
        expected = fail(far)
        assert bytes(buffer[: body.readinto(buffer)]) == b"hello"
        for _again in range(2):
            with pytest.raises(expected):
                body.readinto(buffer)
        assert not body.reusable


@pytest.mark.parametrize("sent", [b"9\r\nhello", b"5\r\nhello", b"5\r\nhello\r\n0", b"5\r\nhello\r\nodd\r\n"])
def test_chunks_that_stop_in_the_middle_are_a_failure_and_no_end(ends: Ends, sent: bytes) -> None:
    wire, far = ends
    body = body_of(wire, far, "Transfer-Encoding: chunked", sent)
    far.shutdown(socket.SHUT_WR)
    buffer = memoryview(bytearray(64))
    assert bytes(buffer[: body.readinto(buffer)]) == b"hello"
    with pytest.raises(BadAnswer):
        body.readinto(buffer)


def test_a_body_is_read_straight_into_the_whole_buffer(ends: Ends) -> None:
    wire, far = ends
    content = bytes(range(256)) * 4096
    sender = threading.Thread(target=_send_and_close, args=(far, content))
    body = body_of(wire, far, f"Content-Length: {len(content)}")
    sender.start()
    buffer = memoryview(bytearray(len(content) + 1))
    assert body.readinto(buffer) == len(content)
    assert buffer[:-1] == content
    sender.join()


def test_what_is_left_of_a_small_body_is_read_away_but_not_waited_for(ends: Ends) -> None:
    wire, far = ends
    body = body_of(wire, far, "Content-Length: 5", b"hello")
    body.drain(10)
    assert body.reusable
    for length in (6, 11):
        body = body_of(wire, far, f"Content-Length: {length}", b"hello")
        body.drain(10)
        assert not body.reusable
        read_away = memoryview(bytearray(5 if length == 11 else 1))
        far.sendall(b"!")
        body.readinto(read_away)


def test_a_request_that_nobody_takes_times_out(ends: Ends) -> None:
    wire, _far = ends
    with pytest.raises(socket.timeout):
        wire.send(bytes(1 << 24))


def test_a_wire_can_be_ended_under_its_reader() -> None:
    near, far = socket.socketpair()
    with near, far:
        wire = Wire(near, stall_timeout=60)
        body = body_of(wire, far, "Content-Length: 5")
        seen: list[int] = []
        reader = threading.Thread(target=lambda: seen.append(body.readinto(memoryview(bytearray(5)))))
        reader.start()
        wire.abort()
        reader.join()
        assert seen == [0]
        wire.abort()


def test_tls_that_has_to_be_waited_for_is_waited_for(ends: Ends) -> None:
    wire, far = ends
    far.sendall(b"x")
    wants = iter([ssl.SSLWantWriteError(3, "write"), ssl.SSLWantReadError(2, "read")])

    class Tls:
        """Has to write, then to read, before it has something."""

        def recv_into(self, view: memoryview, _size: int) -> int:
            for want in wants:
                raise want
            view[:1] = b"y"
            return 1

        def fileno(self) -> int:
            return real.fileno()

    real, wire._sock = wire._sock, t.cast("socket.socket", Tls())
    buffer = memoryview(bytearray(1))
    assert (wire.fill(buffer), bytes(buffer)) == (1, b"y")
