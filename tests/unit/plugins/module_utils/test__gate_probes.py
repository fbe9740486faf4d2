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
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate import Reply
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import Gate, HttpCheck, ServiceGate
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_probes import (
    ProjectLook,
    log_tail,
    read_bodies,
    run_gate,
    send,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

CHECK = HttpCheck(8000, path="/x", method="POST", body_file="gate/x")
GATE = Gate((ServiceGate("web", http=(CHECK,)),), success_threshold=2, timeout=30.0)


class Clock:
    """Time passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1000.0 + self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def box(status: str = "running", restarts: int = 0, name: str = "web") -> Container:
    return Container("c1", f"shop-{name}-1", service=name, status=status, restarts=restarts, addresses=("10.0.0.2",))


def replay(*states: tuple[Container, ...]) -> t.Callable[[], tuple[Container, ...]]:
    """See each state once, the last one ever after."""
    left = list(states)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_requests_begin_when_the_container_is_well_and_the_gate_passes_after_enough_rounds() -> None:
    asked: list[tuple[str, tuple[str, ...], bytes | None]] = []

    def ask(check: HttpCheck, addresses: t.Sequence[str], body: bytes | None, limit: float) -> Reply:
        asked.append((check.label, tuple(addresses), body))
        return Reply(200, b"fine", 0.1)

    run = run_gate(GATE, replay((), (box("created"),), (box(),)), {"gate/x": b"hello"}, ask=ask, clock=Clock())
    assert run.passed
    assert len(run.rounds) == 4
    assert asked == [("http POST :8000/x", ("10.0.0.2",), b"hello")] * 2


def test_pauses_are_short_and_grow_to_a_second_only_while_something_fails() -> None:
    clock = Clock()
    replies = iter([Reply(error="refused")] * 8 + [Reply(200)] * 2)
    run = run_gate(GATE, replay((box(),)), {"gate/x": b""}, ask=lambda *_args: next(replies), clock=clock)
    assert run.passed
    assert clock.pauses[0] == pytest.approx(0.375)
    assert clock.pauses[7] == 1.0
    assert clock.pauses[8] == 0.25


def test_the_gate_ends_when_its_time_is_over_and_not_later() -> None:
    clock = Clock()
    run = run_gate(GATE, replay((box(),)), {"gate/x": b""}, ask=lambda *_args: Reply(500), clock=clock)
    assert run.decision.verdict == "timeout"
    assert clock.now == pytest.approx(30.0)


def test_a_dead_container_ends_the_gate_at_once() -> None:
    run = run_gate(GATE, replay((box("exited"),)), {}, ask=lambda *_args: Reply(), clock=Clock())
    assert (run.decision.verdict, len(run.rounds)) == ("fail", 1)


@pytest.mark.parametrize(
    ("before", "verdict"),
    [
        pytest.param(None, "pass", id="counted from the first sight"),
        pytest.param({"c1": 3}, "pass", id="counted from what was known"),
        pytest.param({}, "fail", id="a new container counts from zero"),
    ],
)
def test_restarts_are_counted_from_the_right_number(before: dict[str, int] | None, verdict: str) -> None:
    run = run_gate(
        GATE,
        replay((box(restarts=4),)),
        {"gate/x": b""},
        ask=lambda *_args: Reply(200),
        clock=Clock(),
        restarts_before=before,
    )
    assert run.decision.verdict == verdict


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


def test_what_does_not_answer_is_told_with_its_address() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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


def test_bodies_are_read_from_their_folder_and_nowhere_else(tmp_path: Path) -> None:
    root = tmp_path / "files"
    root.mkdir()
    (root / "in").write_bytes(b"in")
    (tmp_path / "out").write_bytes(b"out")
    (root / "link").symlink_to(tmp_path / "out")

    def read(name: str, where: str | None = str(root)) -> dict[str, bytes]:
        return read_bodies([ServiceGate("web", http=(HttpCheck(1, body_file=name),))], where)

    assert read("in") == {"in": b"in"}
    for name, message in (("link", "leads out"), ("none", "No such file")):
        with pytest.raises(ReleaseError, match=message):
            read(name)
    with pytest.raises(ReleaseError, match="needs files_root"):
        read("in", None)


class Docker:
    """Answers `container ls` and `container inspect` from what is there."""

    def __init__(self, there: list[str]) -> None:
        self.there = there
        self.said: list[str] = []

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        self.said.append(argv[2])
        if argv[2] == "ls":
            return Answer(0, "\n".join(self.there), "")
        if argv[2] == "logs":
            return Answer(0, "out\n", f"err of {argv[-1]}\n")
        found = [self.inspected(name) for name in argv[argv.index("--") + 1 :] if name in self.there]
        return Answer(0, json.dumps(found), "")

    def watch(self, argv: t.Sequence[str], timeout: float, glance: t.Callable[[], bool], every: float = 0.5) -> Answer:
        raise AssertionError(argv)

    def inspected(self, name: str) -> dict[str, t.Any]:
        return {
            "Id": name,
            "Name": name,
            "Image": "",
            "State": {"Status": "running"},
            "Config": {"Labels": {"com.docker.compose.service": name[0]}},
            "HostConfig": {},
        }


def test_known_containers_are_inspected_without_listing_them_again() -> None:
    docker = Docker(["a1"])
    look = ProjectLook(docker, "shop", ["a"])
    assert [container.id for container in look()] == ["a1"]
    assert [container.id for container in look()] == ["a1"]
    assert docker.said == ["ls", "inspect", "inspect"]

    docker.there = ["a2"]
    assert [container.id for container in look()] == ["a2"]
    assert docker.said[3:] == ["inspect", "ls", "inspect"]


def test_a_service_without_a_container_is_looked_for_each_time() -> None:
    docker = Docker(["a1"])
    look = ProjectLook(docker, "shop", ["a", "b"])
    look()
    docker.there = ["a1", "b1"]
    assert [container.id for container in look()] == ["a1", "b1"]


def test_the_end_of_a_services_log_is_that_of_all_its_containers() -> None:
    containers = [box(name="web"), box(name="db")]
    assert log_tail(Docker([]), containers, "web") == ("out", "err of c1")
