# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ingress between two running sides: real HAProxy, real networks, load from this machine alone.

Whatever a test makes is named fleet-test-<random> and removed again; base images stay, as a cache.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import ssl
import time
import typing as t
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._authority import ensure_certificate
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import STACK_LABEL, default_cli
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_compose import (
    SERVICE,
    connect_argv,
    ingress_compose,
    project_name,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_config import (
    COLOURS,
    Colour,
    Ingress,
    Publish,
    Route,
    Side,
    Tls,
    render,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_files import (
    IngressPlaces,
    install,
    saved_colour,
    write_certificate,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_runtime import IngressRuntime
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.tests.faults._load import Load
from ansible_collections.emorobcare.fleet.tests.faults._releases import PYTHON, docker, free_port, wait_for
from ansible_collections.emorobcare.fleet.tests.faults.test_bases import make

SWITCHES = 20

# Says its colour to requests, to connections that are upgraded, and to plain ones on port 9000.
SERVER = """
import http.server, os, socketserver, threading, time
COLOUR = os.environ["COLOUR"]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # An answer leaves in one piece: of one that ends half-way, nothing could be retried.
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.headers.get("Upgrade"):
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", "echo")
            self.end_headers()
            self.close_connection = True
            self.wfile.flush()
            for line in self.rfile:
                self.wfile.write(COLOUR.encode() + b":" + line)
                self.wfile.flush()
        elif self.path.endswith("/large"):
            self.answer(COLOUR.encode() + b":" + b"x" * (1 << 20))
        else:
            said = " ".join([self.path, *(f"{k.lower()}={v}" for k, v in self.headers.items())])
            self.answer(f"{COLOUR}:{said}".encode())
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(f"{COLOUR}:{len(body)}".encode())
    def log_message(self, *args):
        pass
class Plain(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(COLOUR.encode() + b":" + line)
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
class PlainServer(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
threading.Thread(target=PlainServer(("", 9000), Plain).serve_forever, daemon=True).start()
Server(("", 8000), Handler).serve_forever()
"""


@dataclass
class Door:
    """A stack's ingress and its two sides on the engine, with folders of their own."""

    root: Path
    image: str
    http: int = field(default_factory=free_port)
    https: int = field(default_factory=free_port)
    tcp: int = field(default_factory=free_port)
    stack: str = field(default_factory=lambda: f"fleet-test-{secrets.token_hex(4)}")
    certificate: str | None = None

    def __post_init__(self) -> None:
        # Longer than the path of a socket may be.
        self.places = IngressPlaces(str(self.root / ("a" * 90) / "ingress"))
        self.runtime = IngressRuntime(self.places, f"{self.project}-{SERVICE}-1", default_cli())

    @property
    def project(self) -> str:
        return project_name(self.stack)

    @property
    def routes(self) -> tuple[Route, ...]:
        return (
            Route("api", 8000, "/api"),
            Route("api", 8000, "/bare", strip=True),
            Route("api", 8000, "/", host="x.example"),
            Route("api", 9000, tcp=Publish("127.0.0.1", self.tcp)),
        )

    @property
    def ingress(self) -> Ingress:
        tls = {"https": Publish("127.0.0.1", self.https), "tls": Tls("cert")} if self.certificate else {}
        return Ingress(self.image, self.routes, http=Publish("127.0.0.1", self.http), **t.cast("t.Any", tls))

    def side(self, colour: Colour, replicas: int = 1) -> Side:
        return Side(colour, self.routes, {"api": self.network(colour)}, {"api": replicas})

    def network(self, colour: Colour) -> str:
        return f"{self.stack}-{colour}_default"

    def render(self, *colours: Colour, **more: t.Any) -> str:
        return render(self.ingress, [self.side(colour, **more) for colour in colours], self.certificate)

    def start(self, *colours: Colour, live: Colour | None = None) -> None:
        """Start the ingress as the release engine does."""
        install(self.places, self.render(*colours), live)
        compose = self.root / "ingress.json"
        compose.write_text(json.dumps(ingress_compose(self.stack, self.ingress, self.places.config, self.places.run)))
        docker("compose", "--file", str(compose), "up", "--detach", "--quiet-pull")
        for colour in COLOURS:
            self.make_network(colour)
            self.connect(colour)
        self.runtime.wait_until_answers(time.monotonic() + 60)

    def make_network(self, colour: Colour) -> None:
        docker("network", "create", "--label", f"{STACK_LABEL}={self.stack}", self.network(colour))

    def connect(self, colour: Colour) -> None:
        docker(*connect_argv(self.network(colour), f"{self.project}-{SERVICE}-1")[1:])

    def run_side(self, colour: Colour, base: str, number: int = 1) -> str:
        name = f"{self.stack}-{colour}-api-{number}"
        labels = ["--label", f"{STACK_LABEL}={self.stack}", "--network-alias", "api", "--env", f"COLOUR={colour}"]
        command = [base, PYTHON, "-S", "-c", SERVER]
        docker("run", "--detach", "--name", name, "--network", self.network(colour), *labels, *command)
        return name

    def stop_side(self, colour: Colour, number: int = 1) -> None:
        docker("rm", "--force", f"{self.stack}-{colour}-api-{number}")

    def get(self, path: str = "/api/x", host: str = "localhost") -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", headers={"Host": host})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return t.cast("bytes", answer.read()).decode()

    def plain(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.tcp), timeout=30)

    def upgraded(self) -> socket.socket:
        """A connection that was upgraded, as one of a WebSocket is."""
        connection = socket.create_connection(("127.0.0.1", self.http), timeout=30)
        connection.sendall(b"GET /api/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert b" 101 " in head
        return connection

    def soon(self) -> float:
        return time.monotonic() + 60

    def remove(self) -> None:
        ids = docker("ps", "-aq", "--filter", f"label={STACK_LABEL}={self.stack}").split()
        if ids:
            docker("rm", "--force", "--volumes", *ids)
        networks = docker("network", "ls", "-q", "--filter", f"label={STACK_LABEL}={self.stack}").split()
        if networks:
            docker("network", "rm", *networks)


def echo(connection: socket.socket) -> str:
    """Say something; return who answers, empty when the connection is cut."""
    try:
        connection.sendall(b"hello\n")
        return connection.makefile("rb").readline().decode().strip()
    except OSError:
        return ""


@pytest.fixture(name="haproxy", scope="session")
def haproxy_fixture() -> str:
    return make("base-haproxy")


@pytest.fixture(name="door")
def door_fixture(tmp_path: Path, haproxy: str) -> t.Iterator[Door]:
    door = Door(tmp_path, haproxy)
    try:
        yield door
    finally:
        door.remove()


@pytest.fixture(name="both")
def both_fixture(door: Door, base: str) -> Door:
    """Both sides run, and blue serves."""
    door.start("blue", "green")
    for colour in COLOURS:
        door.run_side(colour, base)
    for colour in COLOURS:
        door.runtime.wait_until_up(colour, door.soon())
    assert door.runtime.switch("blue")
    return door


def test_no_request_fails_when_colours_switch_and_the_next_one_is_of_the_new_colour(both: Door) -> None:
    colour: Colour = "blue"
    with Load(both.http) as load:
        for _number in range(SWITCHES):
            count = load.total
            wait_for(lambda count=count: load.total > count + 100)  # type: ignore[misc]
            colour = "green" if colour == "blue" else "blue"
            load.expect(None)
            assert both.runtime.switch(colour)
            load.expect(colour)
        wait_for(lambda: load.total > count + 200)
    assert load.failures == []
    assert min(load.answers.values()) > SWITCHES
    assert min(load.colours["blue"], load.colours["green"]) > 100
    print(f"\n{load.total} requests, {SWITCHES} switches, none failed: {dict(load.answers)}")
    assert not both.runtime.switch(colour)


def test_no_request_fails_when_a_side_comes_and_goes_and_haproxy_reloads(door: Door, base: str) -> None:
    """What an update does: the new side is connected, made known, switched to; the old one is drained and removed."""
    door.start("blue")
    door.run_side("blue", base)
    door.runtime.wait_until_up("blue", door.soon())
    door.runtime.switch("blue")
    old: Colour = "blue"
    docker("network", "disconnect", door.network("green"), f"{door.project}-{SERVICE}-1")
    with Load(door.http) as load:
        wait_for(lambda: load.total > 100)
        for _number in range(4):
            new: Colour = "green" if old == "blue" else "blue"
            door.connect(new)
            door.run_side(new, base)
            assert door.runtime.reload(door.render(old, new))
            ready = time.monotonic()
            door.runtime.wait_until_up(new, door.soon())
            door.runtime.switch(new)
            print(f"\nfrom the new side's start to its first request: {time.monotonic() - ready:.3f} s")
            assert door.runtime.drain(old, timeout=60) == 0
            assert door.runtime.reload(door.render(new))
            assert door.runtime.drain(old, timeout=60) == 0
            door.stop_side(old)
            docker("network", "disconnect", door.network(old), f"{door.project}-{SERVICE}-1")
            count = load.total
            wait_for(lambda count=count: load.total > count + 200)  # type: ignore[misc]
            old = new
    assert load.failures == []
    assert not door.runtime.reload(door.render(old))
    print(f"{load.total} requests, 4 updates, none failed")


def test_a_dead_server_of_the_live_colour_is_retried_on_another(door: Door, base: str) -> None:
    door.start()
    for number in (1, 2):
        door.run_side("blue", base, number)
    door.runtime.reload(door.render("blue", replicas=2))
    door.runtime.wait_until_up("blue", door.soon())
    wait_for(lambda: all(server.up for server in door.runtime._stats("@1").of("blue")))
    door.runtime.switch("blue")
    kinds = [kind for kind in Load(0)._kinds if kind.name == "small, new connections"]
    with Load(door.http, kinds * 3) as load:
        wait_for(lambda: load.total > 100)
        door.stop_side("blue", 2)
        count = load.total
        wait_for(lambda: load.total > count + 500)
    assert load.failures == []


def test_a_configuration_that_haproxy_refuses_changes_nothing(both: Door) -> None:
    before = Path(both.places.config_file).read_text()
    with pytest.raises(ReleaseError, match=r"unknown keyword 'nonsense' in 'backend' section") as caught:
        both.runtime.reload(both.render("blue") + "\nbackend x\n    nonsense\n")
    assert caught.value.reason == "ingress_invalid"
    assert Path(both.places.config_file).read_text() == before
    assert not Path(both.places.candidate).exists()
    assert both.get().startswith("blue:")
    assert not both.runtime.reload(before)


def test_a_reload_that_fails_leaves_the_old_worker_and_the_old_file(both: Door) -> None:
    """What only starting shows: a configuration without a fault, and a port that cannot be had."""
    before = Path(both.places.config_file).read_text()
    bad = both.render("blue") + "\nfrontend taken\n    bind 127.0.0.53:8404\n    bind 8.8.8.8:9999\n"
    with pytest.raises(ReleaseError, match=r"serves on with the one it has: .*8\.8\.8\.8"):
        both.runtime.reload(bad)
    assert Path(both.places.config_file).read_text() == before
    assert both.get().startswith("blue:")
    assert both.runtime.reload(both.render("blue"))
    assert both.get().startswith("blue:")


def test_an_upgraded_connection_lives_until_the_drain_is_over(both: Door) -> None:
    with both.upgraded() as connection:
        assert echo(connection) == "blue:hello"
        assert both.runtime.reload(both.render("green", "blue", replicas=2))  # an old worker holds it from now on
        both.runtime.switch("green")
        assert both.get().startswith("green:")
        assert echo(connection) == "blue:hello"
        assert both.runtime.sessions("blue") == 1
        assert both.runtime.drain("blue", timeout=0.5) == 1
        assert echo(connection) == ""
    assert both.runtime.sessions("blue") == 0


def test_what_serves_is_not_drained(both: Door) -> None:
    with pytest.raises(ReleaseError, match="blue serves; switch before you drain it"):
        both.runtime.drain("blue", timeout=0)


def test_a_side_that_does_not_listen_is_named(door: Door) -> None:
    door.start("green")
    with pytest.raises(ReleaseError, match=r"no server is up of green-api-8000 .*MAINT") as caught:
        door.runtime.wait_until_up("green", time.monotonic())
    assert caught.value.reason == "ingress_not_up"
    with pytest.raises(ReleaseError, match="has no blue side; reload it with one"):
        door.runtime.wait_until_up("blue", time.monotonic())


def test_a_restart_comes_back_with_the_right_colour(both: Door) -> None:
    both.runtime.switch("green")
    docker("restart", f"{both.project}-{SERVICE}-1")
    both.runtime.wait_until_answers(both.soon())
    both.runtime.wait_until_up("green", both.soon())
    assert (both.runtime.live(), saved_colour(both.places)) == ("green", "green")
    assert both.get().startswith("green:")


def test_routes_lead_by_path_and_host_and_say_who_asked(both: Door) -> None:
    said = both.get("/api/x?y=1")
    assert said.startswith("blue:/api/x?y=1 ")
    assert "x-forwarded-proto=http" in said
    assert "x-forwarded-for=" in said
    assert both.get("/bare/x?y=1").startswith("blue:/x?y=1 ")
    assert both.get("/bare").startswith("blue:/ ")
    assert both.get("/other", "x.example:8080").startswith("blue:/other ")
    for path in ("/other", "/apix", "/"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            both.get(path)
    both.runtime.switch(None)
    with pytest.raises(urllib.error.HTTPError, match="503"):
        both.get()


def test_a_tcp_route_switches_with_the_others(both: Door) -> None:
    with both.plain() as old:
        assert echo(old) == "blue:hello"
        both.runtime.switch("green")
        with both.plain() as new:
            assert (echo(new), echo(old)) == ("green:hello", "blue:hello")
            assert both.runtime.drain("blue", timeout=0) == 1
            assert (echo(new), echo(old)) == ("green:hello", "")


def ask_by_tls(door: Door, authority: Path) -> tuple[str, bytes]:
    """Ask as a client that trusts the authority; return the answer and the certificate."""
    context = ssl.create_default_context(cafile=str(authority / "authority.pem"))
    with (
        socket.create_connection(("127.0.0.1", door.https), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(b"GET /api/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = connection.makefile("rb").read().decode()
        certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    return answer, certificate


def test_https_is_served_with_a_given_certificate_and_a_new_one_after_a_reload(door: Door, base: str) -> None:
    authority = door.root / "authority"
    first = ensure_certificate(str(authority), "robot", ["localhost"])
    door.certificate = write_certificate(door.places, first.pem)
    door.start("blue", live="blue")
    door.run_side("blue", base)
    door.runtime.wait_until_up("blue", door.soon())
    answer, before = ask_by_tls(door, authority)
    assert "blue:/api/x" in answer
    assert "x-forwarded-proto=https" in answer
    renewed = ensure_certificate(str(authority), "robot", ["localhost", "robot.lan"])
    door.certificate = write_certificate(door.places, renewed.pem)
    assert door.runtime.reload(door.render("blue"))
    answer, after = ask_by_tls(door, authority)
    assert "blue:/api/x" in answer
    assert after != before
    names = {path.name for path in Path(door.places.config).glob("tls-*")}
    assert door.certificate in names
    assert len(names) == 2  # the previous one stays for the previous configuration


def test_a_certificate_that_is_none_is_refused_without_showing_it(both: Door) -> None:
    both.certificate = write_certificate(both.places, b"-----BEGIN PRIVATE KEY-----\ncanary\n")
    with pytest.raises(ReleaseError, match="unable to load") as caught:
        both.runtime.reload(both.render("blue"))
    assert "canary" not in str(caught.value)
    assert both.get().startswith("blue:")


def test_the_container_has_no_rights_and_is_healthy(both: Door) -> None:
    name = f"{both.project}-{SERVICE}-1"
    wait_for(lambda: docker("inspect", "--format", "{{.State.Health.Status}}", name) == "healthy")
    (found,) = json.loads(docker("inspect", name))
    assert (found["Config"]["User"], found["HostConfig"]["ReadonlyRootfs"]) == ("10001:10001", True)
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    status = Path(f"/proc/{found['State']['Pid']}/status").read_text()
    assert [line.split()[1] for line in status.splitlines() if line.startswith("CapEff")] == ["0" * 16]
    assert os.stat(both.places.folder).st_mode & 0o777 == 0o700
