# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What model_pull does when servers and the way to them fail."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_feed
from ansible_collections.emorobcare.fleet.tests.faults._pulls import (
    CHUNK,
    LARGE,
    SMALL,
    Run,
    contents,
    left_over,
    resumable,
    version_of,
    wanted_file,
)
from ansible_collections.emorobcare.fleet.tests.faults._server import HANG_UP, Answer, Content, FaultServer

pytestmark = pytest.mark.usefixtures("small_chunks")

RETRIES = 2  # as the fixture `run` has it
STALL = 0.3  # seconds; the stall timeout where a server does stall
PLACE = len(SMALL) // 3  # of a fault in the body
SIZES = [pytest.param(SMALL, id="small"), pytest.param(LARGE, id="large")]

OTHER = Answer(content=Content(b""))  # stands for other content of the same size; see `fitting`

# id, answer, reason when it lasts, what the message says besides the source
PASSING = {
    "cut short": (Answer(cut_at=PLACE), "truncated", "ended after"),
    "cut before the first byte": (Answer(cut_after=0), "truncated", "ended after 0 of"),
    "cut short, without a length": (Answer(cut_at=PLACE, no_length=True), "truncated", "ended after"),
    "cut short, in chunked coding": (Answer(cut_at=PLACE, chunked=True), "truncated", "ended after"),
    "stalled": (Answer(stall_after=9), "stalled", "stall_timeout"),
    "stalled before the first byte": (Answer(stall_after=0), "stalled", "stall_timeout"),
    "closed without an answer": (HANG_UP, "unavailable", ""),
    "closed amid the header": (Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Le"), "unavailable", ""),
    "garbage for an answer": (Answer(raw=b"SSH-2.0-OpenSSH_9.2p1\r\n"), "unavailable", ""),
    "garbage amid the header": (Answer(insert=b"no colon in here\r\n", cut_after=0), "unavailable", "without a colon"),
    "408": (Answer(status=408), "unavailable", "408"),
    "425": (Answer(status=425), "unavailable", "425"),
    "rate limit": (Answer(status=429, headers={"Retry-After": "0"}), "unavailable", "429"),
    "500": (Answer(status=500), "unavailable", "500"),
    "502": (Answer(status=502), "unavailable", "502"),
    "503": (Answer(status=503), "unavailable", "503"),
    "504": (Answer(status=504), "unavailable", "504"),
}
# These do not pass by themselves, so the source is asked once.
LASTING = {
    "400": (Answer(status=400), "unavailable", "400"),
    "401": (Answer(status=401), "unavailable", "credentials"),
    "403": (Answer(status=403), "unavailable", "expired"),
    "404": (Answer(status=404), "unavailable", "is the URL right"),
    "410": (Answer(status=410), "unavailable", "410"),
    "416": (Answer(status=416), "unavailable", "416"),
    "204": (Answer(status=204), "unavailable", "204"),
    "claims less": (Answer(more=-1), "size_mismatch", "is pinned"),
    "claims more": (Answer(more=1), "size_mismatch", "is pinned"),
    "compressed": (Answer(headers={"Content-Encoding": "gzip"}), "unavailable", "gzip"),
    "a flipped byte": (Answer(corrupt_at=PLACE), "digest_mismatch", "have sha256"),
    "other content of that size": (OTHER, "digest_mismatch", "have sha256"),
    "redirect to a file": (Answer(302, {"Location": "file:///etc/passwd"}), "unavailable", "not followed"),
    "redirect to credentials": (
        Answer(302, {"Location": "http://me:hunter2@127.0.0.1/"}),
        "unavailable",
        "http://***@127.0.0.1/",
    ),
    "redirect to itself": (Answer(302, {"Location": "/model.bin"}), "unavailable", "redirect"),
    "redirect to nowhere": (Answer(302), "unavailable", "302"),
}
FAULTS = [
    pytest.param(fault, passes, reason, says, id=name)
    for table, passes in ((PASSING, True), (LASTING, False))
    for name, (fault, reason, says) in table.items()
]


def fitting(fault: Answer, content: bytes) -> Answer:
    return Answer(content=Content(b"?" * len(content))) if fault is OTHER else fault


def patience(fault: Answer) -> float:
    """The stall timeout in seconds: short only where the server does stall, lest a busy machine looks like that."""
    return 20.0 if fault.stall_after is None else STALL


@pytest.mark.parametrize("content", SIZES)
@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, (fault, *_says) in PASSING.items()])
def test_a_fault_that_passes_is_retried_and_the_version_published(
    content: bytes, fault: Answer, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    url = server.serve("/model.bin", content, *[fault] * RETRIES, Answer())
    result = run(wanted_file(url, content=content), stall_timeout=patience(fault))
    assert result["changed"], result
    assert contents(version_of(tmp_path / "root")) == {"model.bin": content}
    assert left_over(tmp_path / "root") == []
    assert result["bytes_fetched"] == server.sent
    assert server.sent == len(content), "what had arrived was asked for again"


@pytest.mark.parametrize(("fault", "passes", "reason", "says"), FAULTS)
def test_a_fault_that_lasts_is_reported_and_nothing_is_published(
    fault: Answer, passes: bool, reason: str, says: str, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    url = server.serve("/model.bin", SMALL, fitting(fault, SMALL))
    result = run(wanted_file(url), stall_timeout=patience(fault))
    assert result["failed"]
    assert result["reason"] == reason, result["msg"]
    tries = "3 tries" if passes else ""
    assert [text for text in ("/model.bin", says, tries) if text not in result["msg"]] == []
    if "redirect" not in says:
        assert len(server.gets) == (RETRIES + 1 if passes else 1)
    assert not version_of(tmp_path / "root").exists()
    assert left_over(tmp_path / "root") == []
    assert contents(tmp_path / "root" / "store" / "sha256") == {}


@pytest.mark.parametrize(("fault", "passes", "reason", "says"), FAULTS)
def test_what_a_fault_leaves_of_a_large_file_is_good_for_the_next_run_or_nothing(
    fault: Answer, passes: bool, reason: str, says: str, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    url = server.serve("/model.bin", LARGE, fitting(fault, LARGE))
    assert run(wanted_file(url, content=LARGE), stall_timeout=patience(fault), retries=0)["failed"]
    assert not version_of(tmp_path / "root").exists()
    assert left_over(tmp_path / "root") in ([], *([] if reason == "digest_mismatch" else [resumable(LARGE)]))
    server.serve("/model.bin", LARGE)
    assert run(wanted_file(url, content=LARGE))["changed"]
    assert contents(version_of(tmp_path / "root")) == {"model.bin": LARGE}
    assert left_over(tmp_path / "root") == []


@pytest.mark.parametrize("content", SIZES)
@pytest.mark.parametrize(("fault", "passes", "reason", "says"), FAULTS)
def test_what_one_source_does_not_give_the_next_one_does(
    content: bytes,
    fault: Answer,
    passes: bool,
    reason: str,
    says: str,
    server: FaultServer,
    mirror: FaultServer,
    run: Run,
    tmp_path: Path,
) -> None:
    first, second = server.serve("/model.bin", content, fitting(fault, content)), mirror.serve("/copy.bin", content)
    result = run(wanted_file(first, second, content=content), stall_timeout=patience(fault), retries=1)
    assert result["changed"], result
    assert [file["served_by"] for file in result["files"]] == [second]
    assert contents(version_of(tmp_path / "root")) == {"model.bin": content}
    assert left_over(tmp_path / "root") == []
    assert mirror.sent <= len(content)
    if passes and content is LARGE:
        assert server.sent + mirror.sent <= len(content) + CHUNK
    if "redirect" not in says:
        assert len(server.gets) == (2 if passes else 1)


def test_the_sources_are_tried_in_their_order_and_all_their_faults_are_told(
    server: FaultServer, mirror: FaultServer, run: Run
) -> None:
    sources = [
        server.serve("/1", SMALL, Answer(status=404)),
        mirror.serve("/2", SMALL, Answer(corrupt_at=0)),
        server.serve("/3", SMALL, Answer(status=403)),
    ]
    result = run(wanted_file(*sources))
    assert result["failed"]
    assert [source for source in sources if source not in result["msg"]] == []
    assert [request.path for request in (*server.gets, *mirror.gets)] == ["/1", "/3", "/2"]


@pytest.mark.parametrize("content", SIZES)
def test_however_many_sources_are_bad_the_good_one_is_found(content: bytes, server: FaultServer, run: Run) -> None:
    faults = [Answer(status=404), Answer(corrupt_at=1), Answer(cut_at=PLACE), HANG_UP, Answer(more=1)] * 6
    bad = [server.serve(f"/{number}", content, fault) for number, fault in enumerate(faults)]
    good = server.serve("/good", content)
    result = run(wanted_file(*bad, good, content=content), retries=0)
    assert result.get("changed"), result
    assert result["files"][0]["served_by"] == good


def test_a_source_that_lied_is_not_asked_again_for_that_file(
    server: FaultServer, mirror: FaultServer, run: Run
) -> None:
    lie = server.serve("/model.bin", LARGE, Answer(corrupt_at=len(LARGE) - 1), Answer())
    result = run(wanted_file(lie, mirror.serve("/model.bin", LARGE), content=LARGE))
    assert result["changed"], result
    assert server.sent == mirror.sent == len(LARGE)


def test_the_next_run_after_a_lasting_fault_succeeds(server: FaultServer, run: Run, tmp_path: Path) -> None:
    url = server.serve("/model.bin", SMALL, Answer(corrupt_at=0), Answer())
    assert run(wanted_file(url))["reason"] == "digest_mismatch"
    assert run(wanted_file(url))["changed"]
    assert contents(version_of(tmp_path / "root")) == {"model.bin": SMALL}


@pytest.mark.parametrize("content", SIZES)
def test_a_body_without_end_is_stopped_soon_after_the_pinned_size(
    content: bytes, server: FaultServer, run: Run
) -> None:
    endless = content + bytes(100 << 20)
    url = server.serve("/model.bin", endless, Answer(no_length=True))
    result = run(wanted_file(url, content=content))
    assert result["reason"] == "size_mismatch"
    assert "the source sends more" in result["msg"]
    assert server.sent < len(endless) - (50 << 20)


ODD = {
    "no length": Answer(no_length=True),
    "chunked coding": Answer(chunked=True),
    "neither ranges nor HEAD": Answer(ranges=False, head=False),
    "neither ETag nor date": Answer(headers={"ETag": "", "Last-Modified": ""}),
    "a weak ETag": Answer(headers={"ETag": 'W/"1"'}),
    "a folded header line": Answer(insert=b"X-Long: one\r\n two\r\n"),
    "a header that is not ASCII": Answer(insert=b"X-Caf\xe9: \xe9\xff\r\n"),
    "slow, but never for longer than the timeout": Answer(rate=12_000),
    "slow and in chunked coding": Answer(rate=12_000, chunked=True),
}


@pytest.mark.parametrize("answer", [pytest.param(answer, id=name) for name, answer in ODD.items()])
def test_an_odd_server_that_gives_the_right_bytes_is_as_good_as_any(
    answer: Answer, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    result = run(wanted_file(server.serve("/model.bin", SMALL, answer)), stall_timeout=1)
    assert result["changed"], result
    assert contents(version_of(tmp_path / "root")) == {"model.bin": SMALL}
    assert server.sent == len(SMALL)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(SMALL)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
RIGHT = {
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + SMALL,
    "answers before the answer": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"
    + HEAD
    + b"\r\n"
    + SMALL,
    "bare line feeds": HEAD.replace(b"\r", b"") + b"\n" + SMALL,
    "no reason": HEAD.replace(b" OK", b"") + b"\r\n" + SMALL,
    "upper case": HEAD.replace(b"Content-Length", b"CONTENT-LENGTH") + b"\r\n" + SMALL,
    "chunks with extensions and trailers": CHUNKED
    + b"%x;name=value\r\n" % len(SMALL)
    + SMALL
    + b"\r\n0\r\nX-Trailer: 1\r\n\r\n",
}
NONSENSE = {
    "nothing but a line end": b"\r\n",
    "another protocol": b"RTSP/1.0 200 OK\r\n\r\n",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "a status beyond all": b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    "a status that is no number": b"HTTP/1.1 OK\r\n\r\n",
    "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20),
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (1 << 18),
    "answers before the answer without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    "another protocol from now on": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    "a length beyond all": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 5\r\n\r\n" + SMALL,
    "a chunk that is none": CHUNKED + b"many\r\n" + SMALL,
    "a negative chunk": CHUNKED + b"-5\r\n" + SMALL,
    "a chunk beyond all": CHUNKED + b"f" * 5000 + b"\r\n" + SMALL,
    "a chunk without its line end": CHUNKED + b"5\r\nhellohello",
    "trailers without end": CHUNKED + b"0\r\n" + b"X: y\r\n" * (1 << 18),
    "a coding that nobody knows": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: zip, chunked\r\n\r\n" + SMALL,
    "many ranges": b"HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=x\r\n\r\n--x\r\n",
    "zeros": bytes(1 << 20),
}


@pytest.mark.parametrize("answer", [pytest.param(answer, id=name) for name, answer in RIGHT.items()])
def test_an_answer_of_any_form_that_http_allows_is_understood(
    answer: bytes, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    result = run(wanted_file(server.serve("/model.bin", SMALL, Answer(raw=answer))), retries=0)
    assert result.get("changed"), result
    assert contents(version_of(tmp_path / "root")) == {"model.bin": SMALL}


@pytest.mark.parametrize("answer", [pytest.param(answer, id=name) for name, answer in NONSENSE.items()])
def test_an_answer_that_makes_no_sense_is_a_failure_of_its_source_alone(
    answer: bytes, server: FaultServer, mirror: FaultServer, run: Run, tmp_path: Path
) -> None:
    bad = server.serve("/model.bin", SMALL, Answer(raw=answer))
    result = run(wanted_file(bad), retries=0)
    assert result["failed"]
    assert result["reason"] in ("unavailable", "truncated", "size_mismatch"), result
    assert bad in result["msg"]
    assert len(result["msg"]) < 1000
    assert run(wanted_file(bad, mirror.serve("/copy.bin", SMALL)), retries=0)["changed"]


def test_connections_that_end_between_two_requests_cost_no_try(server: FaultServer, run: Run, tmp_path: Path) -> None:
    parts = {f"part{number}": b"%d" % number for number in range(20)}
    files = [
        wanted_file(server.serve(f"/{path}", body, Answer(drops=True)), content=body, path=path)
        for path, body in parts.items()
    ]
    assert run(*files, concurrency=1, retries=0)["changed"]
    assert contents(version_of(tmp_path / "root")) == parts


def test_a_server_that_says_when_to_come_back_is_given_that_time(
    server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Answer(503, {"Retry-After": "17"})
    asked: list[float] = []

    def note(_tries: int, _base: float, retry_after: float) -> float:
        asked.append(retry_after)
        return 0

    monkeypatch.setattr(_model_feed, "delay", note)
    assert run(wanted_file(server.serve("/model.bin", SMALL, busy, busy, Answer())))["changed"]
    assert asked == [17, 17]


def test_a_second_run_asks_no_server_and_reads_nothing(server: FaultServer, run: Run) -> None:
    files = [wanted_file(server.serve(f"/{name}", name.encode()), content=name.encode(), path=name) for name in "abc"]
    assert run(*files)["changed"]
    asked = len(server.requests)
    result = run(*files)
    assert (result["changed"], result["action"], result["bytes_read"]) == (False, "none", 0)
    assert len(server.requests) == asked


def test_many_small_files_take_few_connections(server: FaultServer, run: Run, tmp_path: Path) -> None:
    parts = {f"part{number}": b"%d" % number for number in range(100)}
    files = [wanted_file(server.serve(f"/{path}", body), content=body, path=path) for path, body in parts.items()]
    assert run(*files, concurrency=4)["changed"]
    assert contents(version_of(tmp_path / "root")) == parts
    assert server.connections <= 4


def test_files_received_before_a_failure_are_not_fetched_again(server: FaultServer, run: Run, tmp_path: Path) -> None:
    good = wanted_file(server.serve("/good", b"good"), content=b"good", path="good")
    bad = wanted_file(server.serve("/bad", b"bad", Answer(status=404), Answer()), content=b"bad", path="bad")
    assert run(good, bad, concurrency=1)["failed"]
    assert not version_of(tmp_path / "root").exists()
    result = run(good, bad)
    assert result["bytes_fetched"] == len(b"bad")
    assert [request.path for request in server.gets] == ["/good", "/bad", "/bad"]
    assert contents(version_of(tmp_path / "root")) == {"good": b"good", "bad": b"bad"}


class Optional(t.NamedTuple):
    """A version of a file that is needed and one that is not."""

    needed: dict[str, t.Any]
    extra: dict[str, t.Any]


@pytest.fixture(name="optional")
def optional_fixture(server: FaultServer) -> Optional:
    needed = wanted_file(server.serve("/needed", SMALL), path="needed")
    gone = server.serve("/extra", b"extra", Answer(status=404))
    return Optional(needed, wanted_file(gone, content=b"extra", path="extra", required=False))


def test_an_optional_file_that_no_source_has_is_left_out_with_a_warning(
    optional: Optional, run: Run, tmp_path: Path
) -> None:
    result = run(*optional)
    assert (result["changed"], result["unavailable"]) == (True, ["extra"]), result
    assert "extra" in " ".join(str(warning) for warning in result["warnings"])
    assert [file["available"] for file in result["files"]] == [True, False]
    assert contents(version_of(tmp_path / "root")) == {"needed": SMALL}


def test_a_run_that_finds_an_optional_file_still_unavailable_changes_nothing(optional: Optional, run: Run) -> None:
    run(*optional)
    result = run(*optional)
    assert (result["changed"], result["unavailable"]) == (False, ["extra"]), result


def test_an_optional_file_is_added_once_its_source_has_it(
    optional: Optional, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    run(*optional)
    server.serve("/extra", b"extra")
    result = run(*optional)
    assert (result["changed"], result["unavailable"]) == (True, []), result
    assert contents(version_of(tmp_path / "root")) == {"needed": SMALL, "extra": b"extra"}


def test_an_optional_file_whose_source_lies_is_left_out_as_well(
    optional: Optional, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    server.serve("/extra", b"extra", Answer(corrupt_at=0))
    assert run(*optional)["unavailable"] == ["extra"]
    assert contents(version_of(tmp_path / "root")) == {"needed": SMALL}


def test_a_required_file_that_no_source_has_fails_the_task_whatever_else_is_there(
    optional: Optional, run: Run, tmp_path: Path
) -> None:
    result = run(optional.needed, {**optional.extra, "required": True})
    assert result["reason"] == "unavailable"
    assert not version_of(tmp_path / "root").exists()


def test_credentials_are_sent_shown_nowhere_and_do_not_follow_a_redirect_to_another_host(
    server: FaultServer, mirror: FaultServer, run: Run
) -> None:
    there = mirror.serve("/there", SMALL)
    server.serve("/here", SMALL, Answer(307, {"Location": "/moved"}))
    server.serve("/moved", SMALL, Answer(308, {"Location": there}))
    result = run(wanted_file(f"http://robot:hunter2@{server.place}/here?token=s3cret"))
    assert {request.headers.get("Authorization") for request in server.requests} == {"Basic cm9ib3Q6aHVudGVyMg=="}
    assert {request.headers.get("Authorization") for request in mirror.requests} == {None}
    assert server.requests[0].path == "/here?token=s3cret"
    assert result["changed"]
    assert result["files"][0]["served_by"] == f"http://***@{server.place}/here?token=***"
    assert not [secret for secret in ("hunter2", "s3cret") if secret in json.dumps(result)]


def test_credentials_that_a_redirect_brings_back_from_another_host_are_not_sent_again(
    server: FaultServer, mirror: FaultServer, run: Run
) -> None:
    server.serve("/here", SMALL, Answer(302, {"Location": mirror.serve("/there", SMALL)}))
    mirror.serve("/there", SMALL, Answer(302, {"Location": server.serve("/back", SMALL)}))
    assert run(wanted_file(f"http://robot:hunter2@{server.place}/here"))["changed"]
    assert {request.headers.get("Authorization") for request in server.requests if request.path == "/back"} == {None}


@pytest.mark.parametrize("fault", [Answer(status=404), Answer(cut_after=9), Answer(corrupt_at=9), HANG_UP])
def test_a_failure_shows_no_credentials(fault: Answer, server: FaultServer, run: Run) -> None:
    server.serve("/gone", SMALL, fault)
    result = run(wanted_file(f"http://robot:hunter2@{server.place}/gone?token=s3cret"))
    assert f"http://***@{server.place}/gone?token=***" in result["msg"]
    assert not [secret for secret in ("hunter2", "s3cret") if secret in json.dumps(result)]


def test_a_redirect_is_followed_for_every_range(server: FaultServer, mirror: FaultServer, run: Run) -> None:
    there = mirror.serve("/there", LARGE, Answer(cut_after=20_000_000), Answer())
    url = server.serve("/model.bin", LARGE, Answer(302, {"Location": there}))
    assert run(wanted_file(url, content=LARGE))["changed"]
    assert mirror.sent == len(LARGE)


ASKED = [
    pytest.param(Answer(), id="HEAD"),
    pytest.param(Answer(head=False), id="a range, where HEAD is refused"),
    pytest.param(Answer(head=False, ranges=False), id="the whole file, where both are"),
]


@pytest.mark.parametrize("answer", ASKED)
@pytest.mark.parametrize("size", [None, "1MB", "1kB"])
@pytest.mark.parametrize("content", SIZES)
def test_a_size_that_is_not_pinned_is_asked_of_the_source(
    content: bytes, size: str | None, answer: Answer, server: FaultServer, run: Run, tmp_path: Path
) -> None:
    result = run(wanted_file(server.serve("/model.bin", content, answer), content=content, size=size))
    assert result.get("changed"), result
    assert result["files"][0]["size"] == len(content)
    assert contents(version_of(tmp_path / "root")) == {"model.bin": content}


def test_a_size_that_nobody_tells_is_an_error_with_the_way_out(server: FaultServer, run: Run, tmp_path: Path) -> None:
    result = run(wanted_file(server.serve("/model.bin", SMALL, Answer(chunked=True, ranges=False)), size=None))
    assert result.get("reason") == "no_size", result
    assert "pin" in result["msg"]
    assert not version_of(tmp_path / "root").exists()


def test_a_size_that_a_source_lies_about_is_found_out(server: FaultServer, run: Run, tmp_path: Path) -> None:
    url = server.serve("/model.bin", SMALL, Answer(more=-5))
    assert run(wanted_file(url, size=None))["failed"]
    assert not version_of(tmp_path / "root").exists()
    server.serve("/model.bin", SMALL)
    assert run(wanted_file(url, size=None))["changed"]
