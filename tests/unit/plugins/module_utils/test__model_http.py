# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import random
import re
import socket
import ssl
import threading
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.emorobcare.fleet.plugins.module_utils import _http_pool, _model_http
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_http import HttpOrigin, Transport
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network, Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import HttpSource

CONTENT = random.Random(1).randbytes(300_000)
SHORT = Network(connect_timeout=60, stall_timeout=0.1)
LONG = Network(connect_timeout=60, stall_timeout=60)


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: t.Mapping[str, str]  # names in lower case
    connection: int


@dataclass(frozen=True)
class Reply:
    """What the server sends, and what it does then."""

    status: str = "200 OK"
    body: bytes = b""
    headers: t.Mapping[str, str] = field(default_factory=dict)
    then: t.Literal["keep", "close", "stall"] = "keep"
    raw: bytes | None = None  # instead of all that

    def data(self, method: str) -> bytes:
        if self.raw is not None:
            return self.raw
        headers = {"Content-Length": str(len(self.body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status}", *(f"{name}: {value}" for name, value in headers.items() if value), "", ""]
        return "\r\n".join(lines).encode("latin-1") + (b"" if method == "HEAD" else self.body)


Answer = t.Callable[[Request], Reply]


def whole(request: Request) -> Reply:
    """Answer as a good server does that knows ranges."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    headers = {"ETag": '"v1"', "Accept-Ranges": "bytes"}
    if not match or request.headers.get("if-range", '"v1"') != '"v1"':
        return Reply(body=CONTENT, headers=headers)
    start, stop = int(match[1]), min(int(match[2] or len(CONTENT)), len(CONTENT) - 1) + 1
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(CONTENT)}"
    return Reply("206 Partial Content", CONTENT[start:stop], headers)


class Server:
    """Answers requests on loopback, over and over on one connection."""

    def __init__(self, answer: Answer = whole, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self.stalled = threading.Event()
        self._release = threading.Event()
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Server:
        self._threads[0].start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._release.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._socket.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.place}"

    def source(self, path: str = "/model", authorization: str | None = None) -> HttpSource:
        return HttpSource(self.url + path, self.url + path, authorization)

    def seen(self, name: str) -> list[str | None]:
        """Return what each request had in a header."""
        return [request.headers.get(name) for request in self.requests]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self._socket.accept()[0]
                self._open.append(connection)
                self.connections += 1
                self._threads.append(threading.Thread(target=self._serve, args=(connection, self.connections)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        # ValueError: a client that speaks something else
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, ValueError):
            stack.enter_context(connection)
            if self._tls:
                connection = stack.enter_context(self._tls.wrap_socket(connection, server_side=True))
            for request in read_requests(connection, number):
                self.requests.append(request)
                if not self.serve_one(connection, request):
                    return

    def serve_one(self, connection: socket.socket, request: Request) -> bool:
        """Answer one request; return whether there may be more."""
        reply = self.answer(request)
        connection.sendall(reply.data(request.method))
        if reply.then == "stall":
            self.stalled.set()
            self._release.wait()
        return reply.then == "keep"


def read_requests(connection: socket.socket, number: int) -> t.Iterator[Request]:
    with connection.makefile("rb") as file:
        while True:
            lines = list(iter(lambda: file.readline().decode("latin-1").rstrip("\r\n"), ""))
            if not lines:
                return
            method, target, _version = lines[0].split(" ")
            headers = dict(line.split(": ", 1) for line in lines[1:])
            yield Request(method, target, {name.lower(): value for name, value in headers.items()}, number)


class ProxyServer(Server):
    """A proxy that answers plain requests by itself, and makes tunnels to wherever it is asked to."""

    refusal: Reply | None = None

    def serve_one(self, connection: socket.socket, request: Request) -> bool:
        if request.method != "CONNECT" or self.refusal:
            connection.sendall((self.refusal or self.answer(request)).data("GET"))
            return True
        host, _colon, port = request.target.rpartition(":")
        with socket.create_connection((host, int(port))) as target:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(target, connection))
            back.start()
            pump(connection, target)
            back.join()
        return False


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            data = source.recv(1 << 16)
            if not data:
                break
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def _no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(name="server")
def server_fixture() -> t.Iterator[Server]:
    with Server() as server:
        yield server


@contextlib.contextmanager
def origin_of(network: Network = LONG) -> t.Iterator[HttpOrigin]:
    with contextlib.closing(HttpOrigin(network)) as origin:
        yield origin


def fetch(origin: HttpOrigin, source: HttpSource, *asked: t.Any) -> tuple[bytes, int, Told]:
    with origin.open(source, *asked) as stream:
        got, buffer = b"", memoryview(bytearray(1 << 16))
        while True:
            count = stream.readinto(buffer)
            if not count:
                return got, stream.offset, stream.told
            got += bytes(buffer[:count])


# Whole files and ranges


@pytest.mark.parametrize(
    ("start", "stop", "validator", "header"),
    [
        (0, None, "", None),
        (0, 10, "", "bytes=0-9"),
        (100, 200, '"v1"', "bytes=100-199"),
        (299_999, None, '"v1"', "bytes=299999-"),
        (299_000, 400_000, "", "bytes=299000-399999"),
    ],
)
def test_a_file_or_a_range_of_it_is_delivered(
    server: Server, start: int, stop: int | None, validator: str, header: str | None
) -> None:
    with origin_of() as origin:
        got, offset, told = fetch(origin, server.source(), start, stop, validator)
    assert (got == CONTENT[start:stop], offset) == (True, start)
    assert told == Told(len(CONTENT), '"v1"', True)
    assert server.seen("range") == [header]
    assert server.seen("if-range") == [validator or None]
    assert server.seen("accept-encoding") == ["identity"]


def test_of_another_version_the_whole_file_is_delivered_from_its_start(server: Server) -> None:
    with origin_of() as origin:
        got, offset, told = fetch(origin, server.source(), 100, 200, '"v0"')
    assert (got == CONTENT, offset, told) == (True, 0, Told(len(CONTENT), '"v1"', False))


def test_a_server_that_ignores_ranges_is_told_from_one_that_does_not(server: Server) -> None:
    server.answer = lambda _request: Reply(body=CONTENT)
    with origin_of() as origin:
        got, offset, told = fetch(origin, server.source(), 100, 200)
    assert (got == CONTENT, offset, told) == (True, 0, Told(len(CONTENT), "", False))


@pytest.mark.parametrize("name", ["Transfer-Encoding", "Connection"])
def test_a_body_without_length_has_no_size_and_is_delivered(server: Server, name: str) -> None:
    body = b"5\r\nhello\r\n0\r\n\r\n" if name == "Transfer-Encoding" else b"hello"
    value = "chunked" if name == "Transfer-Encoding" else "close"
    server.answer = lambda _request: Reply(body=body, headers={"Content-Length": "", name: value}, then="close")
    with origin_of() as origin:
        assert fetch(origin, server.source()) == (b"hello", 0, Told(None, "", True))


@pytest.mark.parametrize(
    ("reply", "says", "transient"),
    [
        (Reply("206 Partial Content", b"x", {"Content-Range": "bytes 8-8/9"}), "answers with bytes 8-8", False),
        (Reply("206 Partial Content", b"x", {"Content-Type": "multipart/byteranges"}), "multipart/byteranges", False),
        (Reply("416 Range Not Satisfiable", headers={"Content-Range": "bytes */1"}), "416", False),
        (Reply(body=b"x", headers={"Content-Encoding": "gzip"}), "encoding 'gzip'", False),
        (Reply("203 Transformed", b"x"), "status 203", False),
        (Reply("404 Not Found"), "is the URL right", False),
        (Reply("503 Busy", headers={"Retry-After": "17"}), "503 Busy", True),
        (Reply("304 Not Modified"), "304", False),
        (Reply("302 Found"), "302", False),
        (Reply(raw=b"SSH-2.0-OpenSSH\r\n\r\n"), "no HTTP/1.1", True),
        (Reply(raw=b"", then="close"), "without an answer", True),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-", then="close"), "in the middle", True),
        (Reply(raw=b"", then="stall"), "within timeout (stall_timeout: 0.1 s)", True),
    ],
)
def test_an_answer_without_the_file_is_explained(server: Server, reply: Reply, says: str, transient: bool) -> None:
    server.answer = lambda _request: reply
    with origin_of(SHORT) as origin, pytest.raises(ModelError) as caught:
        fetch(origin, server.source(), 2, 3)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{server.url}/model")
    reason = "stalled" if "stall_timeout" in says else "unavailable"
    assert (caught.value.reason, caught.value.transient) == (reason, transient)
    assert caught.value.retry_after == (17 if "503" in says else 0)


def test_no_more_than_was_asked_for_is_delivered(server: Server) -> None:
    server.answer = lambda _request: Reply("206 Partial Content", b"hello", {"Content-Range": "bytes 2-6/9"})
    with origin_of() as origin:
        assert fetch(origin, server.source(), 2, 4) == (b"he", 2, Told(9, "", True))


def test_bytes_before_a_stall_are_delivered_before_it_is_reported(server: Server) -> None:
    server.answer = lambda _request: Reply(body=b"hello", headers={"Content-Length": "9"}, then="stall")
    buffer = memoryview(bytearray(9))
    with origin_of(SHORT) as origin, origin.open(server.source()) as stream:
        assert bytes(buffer[: stream.readinto(buffer)]) == b"hello"
        with pytest.raises(ModelError, match="within timeout") as caught:
            stream.readinto(buffer)
    assert caught.value.transient


def test_a_body_that_is_cut_ends(server: Server) -> None:
    server.answer = lambda _request: Reply(body=b"hello", headers={"Content-Length": "9"}, then="close")
    with origin_of() as origin:
        assert fetch(origin, server.source()) == (b"hello", 0, Told(9, "", True))


# What is said without the bytes


def refusing_head(request: Request) -> Reply:
    return Reply("405 Method Not Allowed") if request.method == "HEAD" else whole(request)


def empty(request: Request) -> Reply:
    return Reply("416 No", headers={"Content-Range": "bytes */0"}) if request.method == "GET" else Reply("403 No")


def head_without_length(request: Request) -> Reply:
    return (
        Reply(headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
        if request.method == "HEAD"
        else whole(request)
    )


@pytest.mark.parametrize(
    ("answer", "told", "methods"),
    [
        (whole, Told(len(CONTENT), '"v1"', True), ["HEAD"]),
        (refusing_head, Told(len(CONTENT), '"v1"', True), ["HEAD", "GET"]),
        (head_without_length, Told(len(CONTENT), '"v1"', True), ["HEAD", "GET"]),
        (empty, Told(0, "", True), ["HEAD", "GET"]),
        (lambda _request: Reply(headers={"Accept-Ranges": "none"}), Told(0, "", False), ["HEAD"]),
    ],
    ids=["head", "head refused", "head without length", "empty", "no ranges"],
)
def test_size_and_version_are_told_without_the_bytes(
    server: Server, answer: Answer, told: Told, methods: list[str]
) -> None:
    server.answer = answer
    with origin_of() as origin:
        assert origin.probe(server.source()) == told
    assert [request.method for request in server.requests] == methods
    assert server.connections == 1


@pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found", "503 Busy"])
def test_a_refusal_to_tell_is_reported(server: Server, status: str) -> None:
    server.answer = lambda _request: Reply(status)
    with origin_of() as origin, pytest.raises(ModelError, match=status):
        origin.probe(server.source())
    assert len(server.requests) == 1


# Connections


def test_many_files_need_one_connection(server: Server) -> None:
    with origin_of() as origin:
        for number in range(20):
            fetch(origin, server.source(f"/{number}"), number)
            origin.probe(server.source(f"/{number}"))
    assert server.connections == 1
    assert len(server.requests) == 40


def test_threads_have_a_connection_each(server: Server) -> None:
    meet = threading.Barrier(4)

    def work() -> None:
        with origin.open(server.source()) as stream:
            meet.wait()
            stream.readinto(memoryview(bytearray(len(CONTENT))))

    with origin_of() as origin:
        for _round in range(3):
            threads = [threading.Thread(target=work) for _thread in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert server.connections == 4


def test_a_body_that_was_not_wanted_to_its_end_costs_the_connection(server: Server) -> None:
    with origin_of() as origin:
        with origin.open(server.source()) as stream:
            stream.readinto(memoryview(bytearray(10)))
        assert fetch(origin, server.source())[0] == CONTENT
    assert server.connections == 2


def test_a_connection_that_the_server_closed_meanwhile_is_replaced_without_a_word(server: Server) -> None:
    server.answer = lambda _request: Reply(body=b"hello", then="close")
    with origin_of() as origin:
        for _file in range(3):
            assert fetch(origin, server.source())[0] == b"hello"
    assert server.connections == 3


def test_a_kept_connection_that_stalls_is_not_tried_twice(server: Server) -> None:
    replies = iter([Reply(body=b"hello"), Reply(raw=b"", then="stall")])
    server.answer = lambda _request: next(replies)
    with origin_of(SHORT) as origin:
        fetch(origin, server.source())
        with pytest.raises(ModelError, match="within timeout"):
            fetch(origin, server.source())
    assert (server.connections, len(server.requests)) == (1, 2)


def test_a_connection_that_was_idle_for_long_is_not_trusted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http_pool, "_LONGEST_IDLE", -1.0)
    with origin_of() as origin:
        for _file in range(2):
            fetch(origin, server.source())
    assert server.connections == 2


def test_closing_ends_what_is_read_and_refuses_what_comes_after(server: Server) -> None:
    server.answer = lambda _request: Reply(body=b"hello", headers={"Content-Length": "9"}, then="stall")
    transport = Transport(LONG)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fetch(HttpOrigin(LONG, transport), server.source())[0]))
    reader.start()
    assert server.stalled.wait(60)
    transport.close()
    reader.join()
    assert got in ([b"hello"], [b""])
    with pytest.raises(ModelError, match="the transfer was stopped"):
        fetch(HttpOrigin(LONG, transport), server.source())


def test_an_origin_leaves_a_shared_transport_open(server: Server) -> None:
    with contextlib.closing(Transport(LONG)) as transport:
        for _origin in range(2):
            origin = HttpOrigin(LONG, transport)
            fetch(origin, server.source())
            origin.close()
    assert server.connections == 1


def test_a_server_that_is_not_there_is_a_transient_failure() -> None:
    with Server() as gone:
        source = gone.source()
    with origin_of() as origin, pytest.raises(ModelError, match="Connection refused") as caught:
        fetch(origin, source)
    assert caught.value.transient


def test_a_server_that_does_not_accept_within_the_connect_timeout_is_a_transient_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it has TLS to do, and does not begin
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        network = Network(connect_timeout=0.1, stall_timeout=60)
        with (
            origin_of(network) as origin,
            pytest.raises(ModelError, match=r"within timeout \(connect_timeout: 0.1 s\)"),
        ):
            fetch(origin, HttpSource(url, url))


# Redirects


def leading(**where: str) -> Answer:
    """Redirect from the paths /name to where they lead, and serve the content at all others."""

    def answer(request: Request) -> Reply:
        location = where.get(request.target.partition("?")[0].strip("/"))
        return Reply(where.get("status", "302 Found"), b"moved", {"Location": location}) if location else whole(request)

    return answer


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
def test_redirects_are_followed_over_one_connection(server: Server, status: str) -> None:
    server.answer = leading(model="/b#part", b="?c", status=status)
    with origin_of() as origin:
        server.answer = leading(model="/b", b=f"{server.url}/c d\xe9?e", status=status)
        assert fetch(origin, server.source(), 100, 200)[:2] == (CONTENT[100:200], 100)
    assert [request.target for request in server.requests] == ["/model", "/b", "/c%20d%E9?e"]
    assert server.seen("range") == ["bytes=100-199"] * 3
    assert server.connections == 1


def test_the_end_of_a_chain_of_redirects_is_remembered(server: Server) -> None:
    server.answer = leading(model="/end")
    with origin_of() as origin:
        for start in range(0, 300, 100):
            fetch(origin, server.source(), start, start + 100)
    assert [request.target for request in server.requests] == ["/model", "/end", "/end", "/end"]


def test_a_remembered_end_that_fails_is_looked_for_again_without_a_failure(server: Server) -> None:
    ends = iter(["/end?signed=1", "/end?signed=2"])

    def answer(request: Request) -> Reply:
        if request.target == "/model":
            return Reply("302 Found", headers={"Location": next(ends)})
        used = [earlier.target for earlier in server.requests].count(request.target)
        return Reply("403 Expired") if used > 1 else whole(request)

    server.answer = answer
    with origin_of() as origin:
        for _range in range(2):
            assert fetch(origin, server.source(), 0, 100)[0] == CONTENT[:100]
    assert [request.target for request in server.requests] == [
        "/model",
        "/end?signed=1",
        "/end?signed=1",
        "/model",
        "/end?signed=2",
    ]


def test_a_remembered_end_is_forgotten_in_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_model_http, "_REMEMBERED", -1.0)
    server.answer = leading(model="/end")
    with origin_of() as origin:
        for _range in range(2):
            fetch(origin, server.source(), 0, 100)
    assert [request.target for request in server.requests] == ["/model", "/end"] * 2


def test_credentials_stay_with_their_place_and_do_not_come_back(server: Server) -> None:
    with Server() as other, contextlib.closing(Transport(LONG)) as transport:
        server.answer = leading(a="/b", b=f"{other.url}/c")
        other.answer = leading(c=f"{server.url}/d")
        headers = {"authorization": "Bearer s3cret", "X-Token": "s3cret", "Accept": "x/y"}
        for _time in range(2):
            with transport.open(f"{server.url}/a", headers) as stream:
                stream.readinto(memoryview(bytearray(len(CONTENT))))
    assert [request.target for request in server.requests] == ["/a", "/b", "/d", "/d"]
    assert server.seen("authorization") == ["Bearer s3cret", "Bearer s3cret", None, None]
    assert server.seen("x-token") == ["s3cret", "s3cret", None, None]
    assert other.seen("authorization") == other.seen("x-token") == [None]
    assert set(server.seen("accept") + other.seen("accept")) == {"x/y"}


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://h/", "http://me:hunter2@127.0.0.1/", "//me:hunter2@h/", "http://[h/"]
)
def test_a_redirect_to_less_safety_is_not_followed(server: Server, location: str) -> None:
    server.answer = leading(model=location)
    with origin_of() as origin, pytest.raises(ModelError, match=r"not followed: not allowed are") as caught:
        fetch(origin, server.source())
    assert "hunter2" not in str(caught.value)
    assert not caught.value.transient


def test_redirects_in_a_circle_and_without_end_are_not_followed(server: Server) -> None:
    server.answer = leading(model="/b", b="/model")
    with origin_of() as origin, pytest.raises(ModelError, match="redirects in a circle"):
        fetch(origin, server.source())
    server.answer = lambda request: Reply("302 Found", headers={"Location": request.target + "x"})
    with origin_of() as origin, pytest.raises(ModelError, match="redirects more than 10 times"):
        fetch(origin, server.source())
    assert len(server.requests) == 2 + 11


# Small documents


def test_a_small_answer_is_returned_whatever_its_status(server: Server) -> None:
    challenge = {"WWW-Authenticate": 'Bearer realm="x"'}
    server.answer = lambda _request: Reply("401 Unauthorized", b"no", challenge)
    with contextlib.closing(Transport(LONG)) as transport:
        answer = transport.get_small(f"{server.url}/v2/", {"Accept": "a/b"})
        assert (answer.status, answer.reason, answer.body) == (401, "Unauthorized", b"no")
        assert answer.headers["www-authenticate"] == 'Bearer realm="x"'
        assert transport.get_small(f"{server.url}/v2/", method="HEAD").body == b""
    assert server.seen("accept") == ["a/b", None]
    assert server.connections == 1


def test_the_first_of_several_answers_can_be_had(server: Server) -> None:
    server.answer = leading(model="/end")
    with contextlib.closing(Transport(LONG)) as transport:
        assert transport.get_small(f"{server.url}/model", follow=False).status == 302
        assert transport.get_small(f"{server.url}/model").body == CONTENT


@pytest.mark.parametrize(
    ("headers", "body"),
    [({}, b"x" * 101), ({"Content-Length": "", "Connection": "close"}, b"x" * 101), ({"Content-Length": "999"}, b"x")],
)
def test_a_document_beyond_its_limit_is_refused(server: Server, headers: dict[str, str], body: bytes) -> None:
    server.answer = lambda _request: Reply(body=body, headers=headers, then="close")
    with contextlib.closing(Transport(LONG)) as transport, pytest.raises(ModelError):
        transport.get_small(f"{server.url}/x", limit=100)


def test_a_document_that_is_cut_is_a_transient_failure(server: Server) -> None:
    server.answer = lambda _request: Reply(body=b"{", headers={"Content-Length": "2"}, then="close")
    with contextlib.closing(Transport(LONG)) as transport, pytest.raises(ModelError, match="in the middle") as caught:
        transport.get_small(f"{server.url}/x?token=s3cret")
    assert caught.value.transient
    assert "s3cret" not in str(caught.value)


# Proxies


def test_a_proxy_is_asked_for_the_whole_url_with_its_own_credentials() -> None:
    with ProxyServer() as proxy:
        source = HttpSource("http://models.example/a", "shown", "Basic for-the-server")
        with origin_of(Network(proxy=f"http://me:hunter2@{proxy.place}")) as origin:
            for _file in range(2):
                assert fetch(origin, source)[0] == CONTENT
    assert [request.target for request in proxy.requests] == ["http://models.example/a"] * 2
    assert proxy.seen("host") == ["models.example"] * 2
    assert proxy.seen("proxy-authorization") == ["Basic bWU6aHVudGVyMg=="] * 2
    assert proxy.connections == 1


@pytest.mark.parametrize(("status", "transient"), [("407 Proxy Authentication Required", False), ("503 Busy", True)])
def test_a_proxy_that_makes_no_tunnel_is_named(status: str, transient: bool) -> None:
    proxy = ProxyServer()
    proxy.refusal = Reply(status)
    network = Network(proxy=f"http://me:hunter2@{proxy.place}")
    with proxy, origin_of(network) as origin, pytest.raises(ModelError) as caught:
        fetch(origin, HttpSource("https://models.example/a", "shown"))
    assert f"shown: the proxy http://***@{proxy.place}: the server answers {status}" in str(caught.value)
    assert caught.value.transient == transient


def test_a_proxy_that_is_not_there_is_named() -> None:
    with Server() as gone:
        place = gone.place
    with (
        origin_of(Network(proxy=place)) as origin,
        pytest.raises(ModelError, match=f"through the proxy http://{place}"),
    ):
        fetch(origin, HttpSource("https://models.example/a", "shown"))


# TLS


@dataclass(frozen=True)
class Authority:
    """An authority made for the test, and servers' TLS settings with certificates of its."""

    ca_path: str
    good: ssl.SSLContext
    expired: ssl.SSLContext
    other_name: ssl.SSLContext


def certificate(
    folder: Path, name: str, issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None, address: str, days: int
) -> tuple[x509.Name, ec.EllipticCurvePrivateKey]:
    """Write a certificate and its key to `folder`/`name`.pem; without an issuer it is an authority's."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signer, signing_key = issuer or (subject, key)
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder(signer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + builder.sign(signing_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / f"{name}.pem").write_bytes(pem)
    return subject, key


@pytest.fixture(name="authority", scope="module")
def authority_fixture(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("tls")
    issuer = certificate(folder, "authority", None, "127.0.0.1", 9)
    contexts = []
    for name, address, days in [("good", "127.0.0.1", 9), ("expired", "127.0.0.1", -1), ("other", "127.0.0.2", 9)]:
        certificate(folder, name, issuer, address, days)
        contexts.append(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        contexts[-1].load_cert_chain(folder / f"{name}.pem")
    return Authority(str(folder / "authority.pem"), *contexts)


def test_tls_is_verified_with_an_authority_of_ones_own(authority: Authority) -> None:
    with Server(tls=authority.good) as server, origin_of(Network(ca_path=authority.ca_path)) as origin:
        for start in range(3):
            assert fetch(origin, server.source(), start)[:2] == (CONTENT[start:], start)
    assert server.connections == 1


@pytest.mark.parametrize(
    ("which", "known", "says"),
    [("good", False, "ca_path"), ("expired", True, "clock"), ("other_name", True, "is the URL right")],
)
def test_a_bad_certificate_is_refused_for_good_with_the_way_out(
    authority: Authority, which: str, known: bool, says: str
) -> None:
    with Server(tls=getattr(authority, which)) as server:
        network = Network(ca_path=authority.ca_path if known else None)
        with origin_of(network) as origin, pytest.raises(ModelError, match=says) as caught:
            fetch(origin, server.source())
    assert not caught.value.transient
    assert server.requests == []


def test_a_server_without_tls_is_told_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        url = f"https://127.0.0.1:{plain.getsockname()[1]}/"

        def answer_as_plain_servers_do() -> None:
            with contextlib.suppress(OSError), plain.accept()[0] as connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(1)

        thread = threading.Thread(target=answer_as_plain_servers_do)
        thread.start()
        with origin_of() as origin, pytest.raises(ModelError, match="is it http://") as caught:
            fetch(origin, HttpSource(url, url))
        thread.join()
    assert not caught.value.transient


def test_over_tls_bytes_before_a_stall_are_delivered_before_it_is_reported(authority: Authority) -> None:
    buffer = memoryview(bytearray(len(CONTENT)))
    network = Network(stall_timeout=0.1, ca_path=authority.ca_path)
    with Server(tls=authority.good) as server, origin_of(network) as origin:
        length = {"Content-Length": str(len(CONTENT) + 1)}
        server.answer = lambda _request: Reply(body=CONTENT, headers=length, then="stall")
        with origin.open(server.source()) as stream:
            got = b""
            while len(got) < len(CONTENT):
                got += bytes(buffer[: stream.readinto(buffer)])
            with pytest.raises(ModelError, match="within timeout"):
                stream.readinto(buffer)
    assert got == CONTENT


def test_a_redirect_from_https_to_http_is_not_followed(authority: Authority, server: Server) -> None:
    network = Network(ca_path=authority.ca_path)
    with (
        Server(leading(model=server.url), authority.good) as secure,
        origin_of(network) as origin,
        pytest.raises(ModelError, match="not followed"),
    ):
        fetch(origin, secure.source())
    assert server.requests == []


def test_tls_goes_through_a_tunnel_that_only_the_proxy_sees_credentials_for(authority: Authority) -> None:
    with Server(tls=authority.good) as server, ProxyServer() as proxy:
        network = Network(proxy=f"http://me:hunter2@{proxy.place}", ca_path=authority.ca_path)
        with origin_of(network) as origin:
            for start in range(2):
                assert fetch(origin, server.source(authorization="Basic x"), start)[1] == start
    assert [(request.method, request.target) for request in proxy.requests] == [("CONNECT", server.place)]
    assert proxy.seen("proxy-authorization") == ["Basic bWU6aHVudGVyMg=="]
    assert proxy.seen("authorization") == [None]
    assert server.seen("authorization") == ["Basic x"] * 2
    assert server.seen("proxy-authorization") == [None] * 2
