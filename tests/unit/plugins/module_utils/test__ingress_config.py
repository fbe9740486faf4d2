# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_config import (
    Ingress,
    Publish,
    Route,
    Side,
    Tls,
    description,
    live_map,
    render,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

API = Route("api", 8000, "/api", strip=True)
PAGE = Route("page", 8080)
ROBOT = Route("page", 8080, host="robot.example")
BROKER = Route("broker", 1883, tcp=Publish("", 1883))
NETWORKS = {"api": "x-blue_backend", "page": "x-blue_edge", "broker": "x-blue_edge"}
HTTP = Ingress("haproxy", (), http=Publish("127.0.0.1", 80))


def blue(*routes: Route, **more: t.Any) -> Side:
    return Side("blue", routes, NETWORKS, **more)


def section(config: str, title: str) -> list[str]:
    """Return a section's lines."""
    found = re.search(rf"^{re.escape(title)}\n(.*?)(?=^\S|\Z)", config, re.MULTILINE | re.DOTALL)
    return [line.strip() for line in found[1].splitlines() if line.strip()] if found else []


def rules(config: str) -> list[str]:
    return [line for line in section(config, "frontend http") if line.startswith("use_backend")]


def test_routes_are_led_by_host_then_by_the_longest_path_whatever_their_order() -> None:
    config = render(HTTP, [blue(PAGE, API, Route("api", 8000, "/api/v2"), ROBOT)])
    assert rules(config) == [
        "use_backend blue-page-8080 if { var(txn.live) -m str blue } { var(txn.host) -m str robot.example }",
        "use_backend blue-api-8000 if { var(txn.live) -m str blue } { var(txn.path) -m beg /api/v2/ }",
        "use_backend blue-api-8000-strip1 if { var(txn.live) -m str blue } { var(txn.path) -m beg /api/ }",
        "use_backend blue-page-8080 if { var(txn.live) -m str blue }",
    ]
    assert config == render(HTTP, [blue(ROBOT, Route("api", 8000, "/api/v2"), API, PAGE)])


def test_which_colour_serves_is_read_once_for_each_request() -> None:
    config = render(HTTP, [blue(PAGE), Side("green", (PAGE,), {"page": "x-green_edge"})])
    reads = "http-request set-var(txn.live) str(live),map(/etc/haproxy/live.map,none)"
    assert config.count("live.map") == section(config, "frontend http").count(reads) == 1
    assert [line.split()[1] for line in rules(config)] == ["blue-page-8080", "green-page-8080"]


BACKENDS = [
    pytest.param(PAGE, {}, "blue-page-8080", ["server s1 page.x-blue_edge:8080"], id="one container"),
    pytest.param(
        PAGE,
        {"replicas": {"page": 3}},
        "blue-page-8080",
        ["server-template s 1-3 page.x-blue_edge:8080"],
        id="replicas",
    ),
    pytest.param(
        API,
        {},
        "blue-api-8000-strip1",
        ["http-request replace-path '^(/[^/]+){1}/?(.*)$' '/\\2'", "server s1 api.x-blue_backend:8000"],
        id="a path that is stripped",
    ),
    pytest.param(
        BROKER,
        {},
        "blue-broker-1883-tcp",
        ["mode tcp", "timeout server 1h", "server s1 broker.x-blue_edge:1883"],
        id="TCP",
    ),
]


@pytest.mark.parametrize(("route", "more", "name", "lines"), BACKENDS)
def test_a_backend_has_its_colours_servers(route: Route, more: dict[str, t.Any], name: str, lines: list[str]) -> None:
    assert section(render(HTTP, [blue(route, **more)]), f"backend {name}") == lines


def test_a_tcp_port_leads_to_the_live_colour() -> None:
    config = render(HTTP, [blue(BROKER), Side("green", (BROKER,), {"broker": "x-green"})])
    assert section(config, "frontend tcp-1883") == [
        "mode tcp",
        "bind :11883",
        "timeout client 1h",
        "tcp-request connection set-var(sess.live) str(live),map(/etc/haproxy/live.map,none)",
        "use_backend blue-broker-1883-tcp if { var(sess.live) -m str blue }",
        "use_backend green-broker-1883-tcp if { var(sess.live) -m str green }",
    ]


def test_a_side_may_have_routes_that_the_other_lacks() -> None:
    config = render(HTTP, [blue(PAGE, BROKER), Side("green", (API,), {"api": "x-green"})])
    assert [line.split()[1] for line in rules(config)] == ["blue-page-8080", "green-api-8000-strip1"]
    assert section(config, "frontend tcp-1883")[-1].startswith("use_backend blue-broker-1883-tcp")


def test_https_is_served_with_the_certificate_of_that_name() -> None:
    ingress = Ingress("haproxy", (), https=Publish("", 443), tls=Tls(authority="fleet"))
    binds = [line for line in section(render(ingress, [], "tls-0.pem"), "frontend http") if line.startswith("bind")]
    assert binds == ["bind :8443 ssl crt /etc/haproxy/tls-0.pem alpn h2,http/1.1"]


def test_only_what_may_be_repeated_is_sent_again_to_a_service_that_closed() -> None:
    config = render(HTTP, [blue(PAGE)])
    rule = "http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE }"
    assert rule in section(config, "frontend http")


FAULTS = [
    pytest.param(Ingress("x", (), https=Publish("", 443)), blue(PAGE), "https: port 443 has no certificate", id="TLS"),
    pytest.param(HTTP, Side("blue", (PAGE,), {}), "service 'page' has no network on the blue side", id="no network"),
    pytest.param(HTTP, Side("blue", (PAGE,), {"page": "x" * 64}), "has 64 characters, and a name in DNS", id="long"),
    pytest.param(
        HTTP,
        blue(BROKER, Route("api", 1, tcp=Publish("", 21883))),
        "ports 1883 and 21883 are 20000 apart; change one",
        id="two ports that are one inside",
    ),
]


@pytest.mark.parametrize(("ingress", "side", "message"), FAULTS)
def test_what_cannot_be_served_is_refused(ingress: Ingress, side: Side, message: str) -> None:
    with pytest.raises(ReleaseError, match=message) as caught:
        render(ingress, [side])
    assert caught.value.reason == "ingress_invalid"


def test_a_configuration_says_its_digest() -> None:
    one, other = render(HTTP, [blue(PAGE)]), render(HTTP, [blue(API)])
    assert len(description(one)) == 64
    assert description(one) != description(other)
    assert description("global\n    maxconn 1\n") == description("") == ""


def test_the_map_says_who_serves() -> None:
    assert [live_map("green"), live_map(None)] == [b"live green\n", b"live none\n"]
