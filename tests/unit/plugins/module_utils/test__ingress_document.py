# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_config import Publish, Route, Tls
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_document import parse_ingress, parse_publish
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

DATA: dict[str, t.Any] = {
    "image": "haproxy:1",
    "http": "${BIND}:${PORT}",
    "https": None,
    "tls": None,
    "routes": [
        {"service": "api", "port": 8000, "path": "/api", "host": None, "strip": True, "tcp": None},
        {"service": "db", "port": 5432, "path": None, "host": None, "strip": False, "tcp": "5432"},
    ],
}
VALUES = {"BIND": "127.0.0.1", "PORT": "8080"}


def test_a_host_s_values_are_put_in() -> None:
    ingress = parse_ingress(DATA, VALUES)
    assert (ingress.image, ingress.http, ingress.https) == ("haproxy:1", Publish("127.0.0.1", 8080), None)
    assert ingress.routes == (
        Route("api", 8000, "/api", strip=True),
        Route("db", 5432, tcp=Publish("", 5432)),
    )
    assert parse_ingress({**DATA, "tls": {"certificate": "x", "authority": None}}, VALUES).tls == Tls("x", None)


PUBLISHED = [
    pytest.param("80", Publish("", 80), id="port"),
    pytest.param("127.0.0.1:80", Publish("127.0.0.1", 80), id="IPv4"),
    pytest.param("[::1]:80", Publish("::1", 80), id="IPv6"),
    pytest.param(":80", Publish("", 80), id="empty address"),
    pytest.param("0", None, id="port 0"),
    pytest.param("65536", None, id="port too high"),
    pytest.param("127.0.0.300:80", None, id="no address"),
    pytest.param("localhost:80", None, id="a name"),
    pytest.param("8000-8010", None, id="a range"),
    pytest.param("80/udp", None, id="a protocol"),
]


@pytest.mark.parametrize(("text", "publish"), PUBLISHED)
def test_a_port_of_the_host_is_read(text: str, publish: Publish | None) -> None:
    assert parse_publish(text) == publish
    assert publish is None or parse_publish(str(publish)) == publish


FAULTS = [
    pytest.param(
        {}, {"BIND": "x", "PORT": "1"}, r"http: 'x:1' \(from '\$\{BIND\}:\$\{PORT\}'\) is no PORT", id="address"
    ),
    pytest.param({"https": "x"}, VALUES, "https: 'x' is no PORT", id="no port"),
    pytest.param(
        {}, {**VALUES, "PORT": "5432"}, r"routes\[1\]\.tcp: port 5432 is published by http already", id="twice"
    ),
    pytest.param({"routes": [{}]}, VALUES, "the release document's is none: KeyError 'service'", id="no route"),
]


@pytest.mark.parametrize(("changes", "values", "message"), FAULTS)
def test_what_cannot_be_had_is_refused(changes: dict[str, t.Any], values: dict[str, str], message: str) -> None:
    with pytest.raises(ReleaseError, match=message):
        parse_ingress({**DATA, **changes}, values)
