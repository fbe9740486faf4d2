# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fault server does what it is told: the other fault tests rest on that."""

from __future__ import annotations

import http.client
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.tests.faults._server import HANG_UP, Answer, Content, FaultServer

CONTENT = bytes(range(100))
ETAG = Content(CONTENT).etag


@pytest.fixture(name="client")
def client_fixture(server: FaultServer) -> t.Iterator[http.client.HTTPConnection]:
    client = http.client.HTTPConnection(server.place, timeout=30)
    yield client
    client.close()


def ask(
    client: http.client.HTTPConnection, method: str = "GET", **headers: str
) -> tuple[int, t.Mapping[str, str], bytes]:
    client.request(method, "/file", headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = client.getresponse()
    try:
        body = response.read()
    except http.client.IncompleteRead as exc:
        body = exc.partial
    return response.status, dict(response.headers), body


ASKED = [
    # request headers, status, Content-Range, body
    pytest.param({}, 200, None, CONTENT, id="all"),
    pytest.param({"Range": "bytes=10-19"}, 206, "bytes 10-19/100", CONTENT[10:20], id="a range"),
    pytest.param({"Range": "bytes=90-"}, 206, "bytes 90-99/100", CONTENT[90:], id="to the end"),
    pytest.param({"Range": "bytes=90-200"}, 206, "bytes 90-99/100", CONTENT[90:], id="past the end"),
    pytest.param({"Range": "bytes=-10"}, 206, "bytes 90-99/100", CONTENT[90:], id="the last bytes"),
    pytest.param({"Range": "bytes=100-"}, 416, "bytes */100", b"", id="after the end"),
    pytest.param({"Range": "bytes=9-", "If_Range": ETAG}, 206, "bytes 9-99/100", CONTENT[9:], id="the same version"),
    pytest.param({"Range": "bytes=9-", "If_Range": '"other"'}, 200, None, CONTENT, id="another version"),
]


@pytest.mark.parametrize(("headers", "status", "content_range", "body"), ASKED)
def test_a_good_server_answers_as_the_standard_has_it(
    headers: dict[str, str],
    status: int,
    content_range: str | None,
    body: bytes,
    server: FaultServer,
    client: http.client.HTTPConnection,
) -> None:
    server.serve("/file", CONTENT)
    got, told, received = ask(client, **headers)
    assert (got, told.get("Content-Range"), received) == (status, content_range, body)
    assert (told["ETag"], told["Content-Length"]) == (ETAG, str(len(body)))
    assert server.sent == len(body)


def test_connections_are_kept_and_head_has_no_body(server: FaultServer, client: http.client.HTTPConnection) -> None:
    server.serve("/file", CONTENT)
    for method, length in (("HEAD", 0), ("GET", 100), ("HEAD", 0)):
        status, headers, body = ask(client, method)
        assert (status, headers["Content-Length"], len(body)) == (200, "100", length)
    assert server.connections == 1
    assert [request.method for request in server.gets] == ["GET"]


MISBEHAVIOUR = [
    # answer, request headers, status, a header and what it says, body
    pytest.param(Answer(cut_after=7), {}, 200, ("Content-Length", "100"), CONTENT[:7], id="cut"),
    pytest.param(Answer(cut_at=13), {"Range": "bytes=10-"}, 206, None, CONTENT[10:13], id="cut at a place"),
    pytest.param(Answer(corrupt_at=1), {}, 200, None, b"\0\xfe" + CONTENT[2:], id="a flipped byte"),
    pytest.param(Answer(ranges=False), {"Range": "bytes=10-"}, 200, None, CONTENT, id="ranges ignored"),
    pytest.param(Answer(more=5), {}, 200, ("Content-Length", "105"), CONTENT, id="claims more"),
    pytest.param(Answer(more=-5), {}, 200, ("Content-Length", "95"), CONTENT[:95], id="claims less"),
    pytest.param(
        Answer(more=5, shift=2),
        {"Range": "bytes=0-9"},
        206,
        ("Content-Range", "bytes 2-11/105"),
        CONTENT[:10],
        id="another place",
    ),
    pytest.param(Answer(content=Content(b"new")), {}, 200, ("ETag", Content(b"new").etag), b"new", id="new content"),
    pytest.param(Answer(no_length=True), {}, 200, ("Content-Length", None), CONTENT, id="no length"),
    pytest.param(Answer(chunked=True), {}, 200, ("Transfer-Encoding", "chunked"), CONTENT, id="chunked"),
    pytest.param(Answer(rate=10_000), {}, 200, None, CONTENT, id="slow"),
    pytest.param(Answer(drops=True), {}, 200, ("Connection", None), CONTENT, id="closes behind the body"),
    pytest.param(Answer(insert=b"X-Odd: 1\r\n"), {}, 200, ("X-Odd", "1"), CONTENT, id="a line put in"),
    pytest.param(Answer(headers={"ETag": ""}), {}, 200, ("ETag", None), CONTENT, id="a line left out"),
    pytest.param(Answer(status=503, headers={"Retry-After": "7"}), {}, 503, ("Retry-After", "7"), b"", id="503"),
    pytest.param(Answer(raw=b"HTTP/1.1 200 OK\r\n\r\nhi"), {}, 200, None, b"hi", id="raw"),
]


@pytest.mark.parametrize(("answer", "headers", "status", "told", "body"), MISBEHAVIOUR)
def test_a_bad_server_does_wrong_what_it_was_told_to(
    answer: Answer,
    headers: dict[str, str],
    status: int,
    told: tuple[str, str | None] | None,
    body: bytes,
    server: FaultServer,
    client: http.client.HTTPConnection,
) -> None:
    server.serve("/file", CONTENT, answer, Answer())
    got, received_headers, received = ask(client, **headers)
    assert (got, received) == (status, body)
    if told is not None:
        assert received_headers.get(told[0]) == told[1]
    client.close()
    assert ask(client) == (200, ask(client)[1], CONTENT), "the next answer is as it should be"


def test_a_fault_in_the_body_waits_for_the_request_that_gets_there(
    server: FaultServer, client: http.client.HTTPConnection
) -> None:
    server.serve("/file", CONTENT, Answer(corrupt_at=50), HANG_UP, Answer())
    assert ask(client, "HEAD")[0] == 200
    assert ask(client, Range="bytes=0-49")[2] == CONTENT[:50]
    assert ask(client, Range="bytes=50-")[2] == b"\xcd" + CONTENT[51:]
    with pytest.raises(http.client.RemoteDisconnected):
        ask(client)
    assert ask(client)[2] == CONTENT


def test_big_files_are_served_and_a_count_of_bytes_raises_an_alarm(
    server: FaultServer, client: http.client.HTTPConnection, tmp_path: Path
) -> None:
    content = bytes(1 << 20) + b"end"
    (tmp_path / "big").write_bytes(content)
    server.serve("/file", tmp_path / "big")
    alarms: list[int] = []
    server.when_sent(1 << 19, lambda: alarms.append(server.sent))
    assert ask(client)[2] == content
    assert len(alarms) == 1
    assert 1 << 19 <= alarms[0] <= len(content)
    assert server.sent == len(content)


def test_answers_wait_for_each_other_where_told_to(server: FaultServer) -> None:
    server.serve("/file", CONTENT, Answer(together=2))
    first, second = (http.client.HTTPConnection(server.place, timeout=30) for _client in range(2))
    first.request("GET", "/file")
    second.request("GET", "/file")
    assert [client.getresponse().read() for client in (first, second)] == [CONTENT] * 2
    assert (server.busiest, server.connections) == (2, 2)
    first.close()
    second.close()
