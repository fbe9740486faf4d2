# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_document import parse_ingress
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_ingress import UPSTREAM
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_relations import relation_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_schema import schema_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import parse_yaml

Load = t.Callable[..., dict[str, t.Any]]
Problems = t.Callable[..., list[str]]
Edit = t.Callable[[str, str, str], None]

HEAD = """\
name: x
parameters: {PORT: {type: port}}
secrets: {cert: {}}
services: {api: {lifecycle: stateless}, db: {lifecycle: stateful}}
"""
WEB = "{path: /, service: api, port: 8000}"
AT = "stack.yml:5: ingress"


def messages(ingress: str) -> list[str]:
    document = parse_yaml("stack.yml", f"{HEAD}ingress: {ingress}\n".replace("WEB", WEB).encode())
    return [str(problem) for problem in (schema_problems(document) or relation_problems(document))]


GOOD = [
    pytest.param("{http: 8080, routes: [WEB]}", id="a port"),
    pytest.param("{http: '[::1]:${PORT}', routes: [WEB]}", id="a parameter"),
    pytest.param("{https: 443, tls: {certificate: cert}, routes: [WEB]}", id="a certificate"),
    pytest.param("{https: 443, http: 80, tls: {authority: fleet}, routes: [WEB]}", id="the fleet's authority"),
    pytest.param("{routes: [{tcp: 5432, service: api, port: 5432}]}", id="TCP alone"),
    pytest.param("{http: 80, routes: [WEB, {host: a.b, path: /, service: api, port: 1}]}", id="a host's own"),
]


@pytest.mark.parametrize("ingress", GOOD)
def test_what_fits_together_passes(ingress: str) -> None:
    assert messages(ingress) == []


FAULTS = [
    pytest.param("{http: 80, routes: []}", f"{AT}.routes: must not be empty", id="no route"),
    pytest.param(
        "{http: 80, routes: [{path: /, service: app, port: 1}]}",
        f"{AT}.routes[0].service: unknown service 'app'; did you mean 'api'? Services: api, db",
        id="unknown service",
    ),
    pytest.param(
        "{http: 80, routes: [{path: /, service: db, port: 1}]}",
        f"{AT}.routes[0].service: service 'db' is stateful, and only stateless ones have two colours; publish its port"
        " in compose.yml. Allowed: api",
        id="a service that is not stateless",
    ),
    pytest.param(
        "{http: 80, routes: [WEB, {path: /, service: api, port: 1}]}",
        f'{AT}.routes[1].path: "/" of every host is led by routes[0] already; remove one',
        id="a route twice",
    ),
    pytest.param(
        "{routes: [WEB]}",
        f'{AT}: no port of the host takes the requests of its routes; add http, such as http: "127.0.0.1:8080"',
        id="nothing published",
    ),
    pytest.param(
        "{http: 80, routes: [{service: api, port: 1}]}",
        f"{AT}.routes[0]: a route has a path, or tcp; add path: / for every request",
        id="neither path nor tcp",
    ),
    pytest.param(
        "{routes: [{tcp: 1, path: /, service: api, port: 1}]}",
        f"{AT}.routes[0].path: a plain TCP connection has no path; remove it, or remove tcp",
        id="path and tcp",
    ),
    pytest.param(
        "{http: '${BIND}:${PORT}', routes: [WEB]}",
        f"{AT}.http: unknown parameter 'BIND'. Parameters: PORT",
        id="unknown parameter",
    ),
    pytest.param(
        "{http: 'localhost:80', routes: [WEB]}",
        f'{AT}.http: "localhost:80" is no port of the host; allowed: PORT, ADDRESS:PORT or [ADDRESS]:PORT, such as'
        " 127.0.0.1:8080",
        id="a name for an address",
    ),
    pytest.param(
        "{http: '127.0.0.1:${PORT}', routes: [WEB, {tcp: '${PORT}', service: api, port: 1}]}",
        f"{AT}.routes[1].tcp: port ${{PORT}} of the host is taken by ingress.http already; choose another",
        id="a port twice",
    ),
    pytest.param(
        "{https: 443, routes: [WEB]}",
        f"{AT}.https: https needs a certificate; add tls: {{certificate: <secret>}} or {{authority: fleet}}",
        id="HTTPS without a certificate",
    ),
    pytest.param(
        "{http: 80, tls: {authority: fleet}, routes: [WEB]}",
        f'{AT}.tls: no port of the host takes HTTPS; add https, such as https: "127.0.0.1:8443"',
        id="a certificate without HTTPS",
    ),
    pytest.param(
        "{https: 443, tls: {certificate: crt}, routes: [WEB]}",
        f"{AT}.tls.certificate: unknown secret 'crt'; did you mean 'cert'? Secrets: cert",
        id="a secret that is not declared",
    ),
    pytest.param(
        "{https: 443, tls: {certificate: cert, authority: fleet}, routes: [WEB]}",
        f"{AT}.tls: has 2 keys (certificate, authority); allowed: one",
        id="two certificates",
    ),
    pytest.param(
        "{http: 80, routes: [{path: 'api', service: api, port: 1}]}",
        f'{AT}.routes[0].path: "api" is not allowed; allowed: begins with / and does not end with one, except / itself;'
        ' letters, digits and -._~@+ ("/", "/api")',
        id="a path without a slash",
    ),
    pytest.param(
        "{http: 80, routes: [{path: /, host: 'A b', service: api, port: 1}]}",
        f'{AT}.routes[0].host: "A b" is not allowed; allowed: a name in lower-case letters, without a port'
        ' ("robot.example.org")',
        id="no host",
    ),
]


@pytest.mark.parametrize(("ingress", "message"), FAULTS)
def test_a_fault_is_told_with_place_value_and_way_out(ingress: str, message: str) -> None:
    assert messages(ingress) == [message]


INGRESS = """ingress:
          http: "127.0.0.1:${PORT}"
          https: 8443
          tls: {certificate: tls}
          routes: [{path: /, service: api, port: 8000}]
        services:"""


@pytest.fixture(name="with_ingress")
def with_ingress_fixture(edit: Edit, folder: pathlib.Path) -> None:
    edit("stack.yml", "services:", "\n".join(line.removeprefix("        ") for line in INGRESS.splitlines()))
    edit("stack.yml", "secrets:\n", "secrets:\n  tls: {}\n")
    edit("compose.yml", '    ports: ["127.0.0.1:${PORT}:8000"]\n', "")
    (folder.parent / "recipes" / "base-haproxy.yml").write_text("suite: trixie\npackages: [haproxy]\n")


@pytest.mark.usefixtures("with_ingress")
def test_the_release_carries_the_ingress_and_its_base_is_made(load: Load) -> None:
    stack = load("prod")
    base = stack["bases"][0]
    assert [base["name"] for base in stack["bases"]] == ["base-haproxy", "base-python"]
    route = {"service": "api", "port": 8000, "path": "/", "host": None, "strip": False, "tcp": None}
    assert stack["release"]["document"]["ingress"] == {
        "image": base["reference"],
        "http": "127.0.0.1:${PORT}",
        "https": "8443",
        "tls": {"certificate": "tls", "authority": None},
        "routes": [route],
    }
    parsed = parse_ingress(stack["release"]["document"]["ingress"], {"PORT": "80"})
    assert (str(parsed.http), str(parsed.https)) == ("127.0.0.1:80", "8443")


@pytest.mark.usefixtures("with_ingress")
def test_with_a_registry_the_upstream_image_is_pinned(load: Load) -> None:
    stack = load("prod", "registry")
    assert stack["bases"] == []
    assert stack["release"]["document"]["ingress"]["image"] == UPSTREAM


@pytest.mark.usefixtures("with_ingress")
def test_an_environment_without_the_services_of_the_routes_is_refused(problems: Problems, edit: Edit) -> None:
    edit("compose.dev.yml", "db: !reset null", "db: !reset null\n  api: !reset null")
    (problem,) = [problem for problem in problems("dev") if "ingress" in problem]
    assert problem.endswith(
        "ingress.routes: the environment has none of the services that the routes lead to (api); keep one of them"
    )


def test_a_stack_without_an_ingress_keeps_its_release(load: Load) -> None:
    """The ids are those of before there were ingresses: a host must not see an update where there is none."""
    document = load("prod")["release"]["document"]
    assert "ingress" not in document
    assert load("prod")["release"]["id"] == "7326afddf54f650e428580c16688022fd20cfa5681bfa763e622ef2d4066d26c"
    assert load("dev")["release"]["id"] == "f040992b8ccb951ac49c3a7e7260d8a8880aedc4bd797de90a9de7f52ed7d783"
