# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The ingress of a stack as HAProxy's configuration. Pure.

Every backend belongs to a colour and is called C(<colour>-<service>-<port>). Which colour serves is one entry of a map
file: each request, also on a connection that is kept alive, and each TCP connection reads it once, so changing that
entry switches all routes at the same moment.

What was settled, and why:

- Connections to services are closed after each answer. A service that closes idle connections by itself would now and
  then do so while a request is on its way, and a request that must not be sent twice (POST, PATCH) would be lost.
- A request is sent again where nothing of it can have been done: the connection failed; or the service closed it
  without an answer and the method may be repeated.
- A reload takes the servers' addresses and states over from a file, so that a new worker serves from its first request.
- Kept-alive connections of clients are not cut by a reload: the old worker answers one last request on each.
"""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

Colour = t.Literal["blue", "green"]
COLOURS: tuple[Colour, ...] = ("blue", "green")

FOLDER = "/etc/haproxy"
"""Where the container sees the folder of the configuration."""
CONFIG = "haproxy.cfg"
LIVE_MAP = "live.map"
SERVER_STATE = "servers.state"
MAP_KEY = "live"
NOBODY = "none"
"""What the map says while no colour serves."""

HTTP_PORT, HTTPS_PORT, HEALTH_PORT = 8080, 8443, 8404
"""Ports in the container; nothing there may bind those below 1024."""
HEALTH_PATH = "/health"

_TCP_FIRST, _TCP_PORTS = 10000, 20000  # below the ports that the kernel gives to outgoing connections
_LONGEST_LABEL = 63

MAX_CONNECTIONS = 2000
"""For which the container's memory suffices."""

_HEAD = f"""\
    log stdout format raw local0 notice
    nbthread 2
    maxconn {MAX_CONNECTIONS}
    hard-stop-after 1h
    server-state-file {FOLDER}/{SERVER_STATE}
    ssl-default-bind-options ssl-min-ver TLSv1.2

defaults
    mode http
    log global
    option http-server-close
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response 0rtt-rejected
    load-server-state-from-file global
    timeout connect 500ms
    timeout client 10m
    timeout server 10m
    timeout http-request 10s
    timeout http-keep-alive 10s
    timeout queue 5s
    timeout tunnel 1h
    timeout check 1s
    default-server check inter 250ms fall 2 rise 1 resolvers docker resolve-prefer ipv4 init-addr last,none

resolvers docker
    nameserver dns 127.0.0.11:53
    timeout resolve 500ms
    timeout retry 250ms
    hold valid 1s

frontend health
    bind 127.0.0.1:{HEALTH_PORT}
    monitor-uri {HEALTH_PATH}
    no log

backend no-route
    http-request return status 503 content-type text/plain string "no release" if {{ var(txn.live) -m str {NOBODY} }}
    http-request return status 404 content-type text/plain string "no route"
"""


@dataclass(frozen=True)
class Publish:
    """An address (empty: every one) and a port of the host."""

    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}" if host else str(self.port)

    @property
    def tcp_port(self) -> int:
        """The port in the container of a TCP route that is published here."""
        return _TCP_FIRST + self.port % _TCP_PORTS


@dataclass(frozen=True)
class Route:
    """Where requests of a path (and host), or the connections to a port of the host, go.

    `strip`: the service sees the path without the route's own.
    """

    service: str
    port: int
    path: str = "/"
    host: str | None = None
    strip: bool = False
    tcp: Publish | None = None

    def backend(self, colour: Colour) -> str:
        kind = "-tcp" if self.tcp else f"-strip{self.depth}" if self.depth else ""
        return f"{colour}-{self.service}-{self.port}{kind}"

    @property
    def depth(self) -> int:
        """How many parts of the path are stripped."""
        return len(self.path.split("/")) - 1 if self.strip and self.path != "/" else 0

    @property
    def rank(self) -> tuple[bool, int, str, str]:
        """A route with a host goes before those without; the longest path goes first."""
        return (self.host is None, -len(self.path), self.path, self.host or "")


@dataclass(frozen=True)
class Tls:
    """Where the certificate comes from: a secret's name, or the fleet's own authority."""

    certificate: str | None = None
    authority: str | None = None


@dataclass(frozen=True)
class Ingress:
    """The ingress that a release wants."""

    image: str
    routes: tuple[Route, ...]
    http: Publish | None = None
    https: Publish | None = None
    tls: Tls | None = None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that routes name, which a certificate should be valid for."""
        return tuple(sorted({route.host for route in self.routes if route.host}))


@dataclass(frozen=True)
class Side:
    """One colour: the routes of its release, and by service the network on which the ingress meets it.

    `replicas`: how many containers a service has, where it is not one.
    """

    colour: Colour
    routes: tuple[Route, ...]
    networks: t.Mapping[str, str]
    replicas: t.Mapping[str, int] = field(default_factory=dict)


def render(ingress: Ingress, sides: t.Sequence[Side], certificate: str | None = None) -> str:
    """Return haproxy.cfg, the same for the same input whatever its order.

    Its C(description) is the digest of the rest, by which a running HAProxy tells what it runs.

    Args:
        sides: those that run; at most one of each colour.
        certificate: name of the file in the configuration's folder that holds chain and key, for C(https).

    Raises:
        ReleaseError: two routes cannot be had at once, or a name is too long for DNS (`ingress_invalid`).
    """
    if ingress.https and not certificate:
        raise bad(f"https: port {ingress.https} has no certificate; give one with tls")
    sides = sorted(sides, key=lambda side: side.colour)
    body = "".join(
        [
            _HEAD,
            *_http_frontend(ingress, sides, certificate),
            *_tcp_frontends(sides),
            *(line for side in sides for line in _backends(side)),
        ]
    )
    return f"global\n    description {hashlib.sha256(body.encode()).hexdigest()}\n{body}"


def description(config: str) -> str:
    """Return the digest that a configuration of ours carries, empty for any other text."""
    for line in config.splitlines()[:2]:
        word, _blank, value = line.strip().partition(" ")
        if word == "description":
            return value
    return ""


def live_map(colour: Colour | None) -> bytes:
    """Return the map file that says which colour serves."""
    return f"{MAP_KEY} {colour or NOBODY}\n".encode()


def bad(message: str) -> ReleaseError:
    return ReleaseError(f"ingress: {message}", reason="ingress_invalid")


def _http_frontend(ingress: Ingress, sides: t.Sequence[Side], certificate: str | None) -> t.Iterator[str]:
    if not ingress.http and not ingress.https:
        return
    yield "\nfrontend http\n"
    if ingress.http:
        yield f"    bind :{HTTP_PORT}\n"
    if ingress.https:
        yield f"    bind :{HTTPS_PORT} ssl crt {FOLDER}/{certificate} alpn h2,http/1.1\n"
    yield (
        "    option idle-close-on-response\n"
        f"    http-request set-var(txn.live) {_LIVE}\n"
        "    http-request set-var(txn.host) req.hdr(host),host_only,lower\n"
        "    http-request set-var(txn.path) path,concat(/)\n"
        "    http-request set-header X-Forwarded-For %[src]\n"
        "    http-request set-header X-Forwarded-Host %[req.hdr(host)]\n"
        "    http-request set-header X-Forwarded-Proto http\n"
        "    http-request set-header X-Forwarded-Proto https if { ssl_fc }\n"
        "    http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE }\n"
    )
    for side in sides:
        for route in sorted((route for route in side.routes if not route.tcp), key=lambda route: route.rank):
            yield f"    use_backend {route.backend(side.colour)} if {_condition(side.colour, route)}\n"
    yield "    default_backend no-route\n"


_LIVE = f"str({MAP_KEY}),map({FOLDER}/{LIVE_MAP},{NOBODY})"


def _condition(colour: Colour, route: Route) -> str:
    conditions = [f"var(txn.live) -m str {colour}"]
    if route.host:
        conditions.append(f"var(txn.host) -m str {route.host}")
    if route.path != "/":
        conditions.append(f"var(txn.path) -m beg {route.path}/")
    return " ".join(f"{{ {condition} }}" for condition in conditions)


def _tcp_frontends(sides: t.Sequence[Side]) -> t.Iterator[str]:
    published: dict[int, Publish] = {}
    rules: dict[int, list[str]] = {}
    for side in sides:
        for route in side.routes:
            if not route.tcp:
                continue
            inside = route.tcp.tcp_port
            if published.setdefault(inside, route.tcp).port != route.tcp.port:
                raise bad(
                    f"tcp: ports {published[inside].port} and {route.tcp.port} are {_TCP_PORTS} apart; change one"
                )
            rule = f"    use_backend {route.backend(side.colour)} if {{ var(sess.live) -m str {side.colour} }}\n"
            rules.setdefault(inside, []).append(rule)
    for inside, publish in sorted(published.items()):
        yield (
            f"\nfrontend tcp-{publish.port}\n"
            "    mode tcp\n"
            f"    bind :{inside}\n"
            "    timeout client 1h\n"
            f"    tcp-request connection set-var(sess.live) {_LIVE}\n"
        )
        yield from rules[inside]


def _backends(side: Side) -> t.Iterator[str]:
    backends = {route.backend(side.colour): route for route in side.routes}
    for name, route in sorted(backends.items()):
        yield f"\nbackend {name}\n"
        if route.tcp:
            yield "    mode tcp\n    timeout server 1h\n"
        if route.depth:
            yield f"    http-request replace-path '^(/[^/]+){{{route.depth}}}/?(.*)$' '/\\2'\n"
        count = side.replicas.get(route.service, 1)
        server = "server s1" if count <= 1 else f"server-template s 1-{count}"
        yield f"    {server} {_address(side, route)}\n"


def _address(side: Side, route: Route) -> str:
    """Return the name that Docker's DNS knows a service by, on a network that it shares with the ingress."""
    network = side.networks.get(route.service)
    if network is None:
        raise bad(f"service {route.service!r} has no network on the {side.colour} side; give it one")
    for label in (route.service, network):
        if len(label) > _LONGEST_LABEL:
            raise bad(f"{label!r} has {len(label)} characters, and a name in DNS at most {_LONGEST_LABEL}; shorten it")
    return f"{route.service}.{network}:{route.port}"
