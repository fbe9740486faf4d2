# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The ingress of a stack file: what must hold in it, its image, and what of it an environment has."""

from __future__ import annotations

import pathlib
import re
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_document import parse_publish
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._bases import Base, BaseSource, load_base
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._dockerfile import Arg
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import (
    Finding,
    KeyPath,
    Problem,
    one_of,
    show,
    unknown,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_model import Stack, plain
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._variables import VariableError, variables
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document

UPSTREAM = "haproxy:3.0-alpine@sha256:56b887da77428b7a6621e59e480cdbd330cc805c22d3cedb66ceea76ffdea2c6"
"""HAProxy 3.0.29, of the same branch with long support that Debian 13 has."""

_BASE = Arg("BASE_HAPROXY", None, 1)
_INGRESS: KeyPath = ("ingress",)
_HTTP_ONLY = ("path", "host", "strip")


def ingress_findings(data: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    """Return what a stack file's C(ingress) breaks."""
    ingress = data["ingress"]
    parameters = data.get("parameters", {})
    for key in ("http", "https"):
        if key in ingress:
            yield from _publish_findings((*_INGRESS, key), ingress[key], parameters)
    yield from _tls_findings(ingress, data.get("secrets", {}))
    routes = ingress["routes"]
    if not {"http", "https"} & set(ingress) and any("tcp" not in route for route in routes):
        yield _INGRESS, 'no port of the host takes the requests of its routes; add http, such as http: "127.0.0.1:8080"'
    for number, route in enumerate(routes):
        yield from _route_findings((*_INGRESS, "routes", number), route, data["services"], parameters)
    yield from _repeated(ingress)


def ingress_image(stack_file: Document, base_source: BaseSource, recipes: pathlib.Path) -> tuple[str, tuple[Base, ...]]:
    """Return the reference of the ingress' image, and the base that has to be made for it, if any.

    Raises:
        StackFileError: the recipe is missing or none.
    """
    if base_source == "registry":
        return UPSTREAM, ()
    base = load_base(_BASE, stack_file.file, recipes)
    return base.reference, (base,)


def ingress_document(stack: Stack, services: t.Container[str], image: str) -> dict[str, t.Any] | None:
    """Return C(ingress) of the release document; None without one.

    Routes to services that the environment lacks are left out.
    """
    if stack.ingress is None:
        return None
    document: dict[str, t.Any] = plain(stack.ingress)
    return {**document, "image": image, "routes": [r for r in document["routes"] if r["service"] in services]}


def ingress_problems(stack_file: Document, stack: Stack, services: t.Container[str]) -> t.Iterator[Problem]:
    """Return a problem where an environment has none of the services that the ingress leads to."""
    if stack.ingress and not any(route.service in services for route in stack.ingress.routes):
        names = one_of(dict.fromkeys(route.service for route in stack.ingress.routes))
        message = f"the environment has none of the services that the routes lead to ({names}); keep one of them"
        yield stack_file.problem((*_INGRESS, "routes"), message)


def _publish_findings(path: KeyPath, value: t.Any, parameters: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    text = str(value)
    try:
        used = variables(text)
    except VariableError as exc:
        yield path, str(exc)
        return
    for variable in used:
        if variable.name not in parameters:
            yield path, unknown("parameter", variable.name, parameters, "Parameters")
    if not used and parse_publish(text) is None:
        allowed = "PORT, ADDRESS:PORT or [ADDRESS]:PORT, such as 127.0.0.1:8080"
        yield path, f"{show(value)} is no port of the host; allowed: {allowed}"


def _tls_findings(ingress: t.Mapping[str, t.Any], secrets: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    tls = ingress.get("tls")
    if "https" in ingress and tls is None:
        yield (*_INGRESS, "https"), "https needs a certificate; add tls: {certificate: <secret>} or {authority: fleet}"
    if tls is None:
        return
    if "https" not in ingress:
        yield (*_INGRESS, "tls"), 'no port of the host takes HTTPS; add https, such as https: "127.0.0.1:8443"'
    name = tls.get("certificate")
    if name is not None and name not in secrets:
        yield (*_INGRESS, "tls", "certificate"), unknown("secret", name, secrets, "Secrets")


def _route_findings(
    path: KeyPath, route: t.Mapping[str, t.Any], services: t.Mapping[str, t.Any], parameters: t.Mapping[str, t.Any]
) -> t.Iterator[Finding]:
    name = route["service"]
    if name not in services:
        yield (*path, "service"), unknown("service", name, services, "Services")
    elif services[name]["lifecycle"] != "stateless":
        stateless = [key for key, service in services.items() if service["lifecycle"] == "stateless"]
        message = f"service {name!r} is {services[name]['lifecycle']}, and only stateless ones have two colours"
        yield (*path, "service"), f"{message}; publish its port in compose.yml. Allowed: {one_of(stateless)}"
    if "tcp" not in route:
        if "path" not in route:
            yield path, "a route has a path, or tcp; add path: / for every request"
        return
    yield from _publish_findings((*path, "tcp"), route["tcp"], parameters)
    for key in _HTTP_ONLY:
        if key in route:
            yield (*path, key), f"a plain TCP connection has no {key}; remove it, or remove tcp"


def _repeated(ingress: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    """Find what two places say that only one can have."""
    ports: dict[str, str] = {}
    requests: dict[tuple[str, str], int] = {}
    for path, text in _published(ingress):
        port = re.sub(r"^.*:(?![^{]*\})", "", text)
        if port in ports:
            yield path, f"port {port} of the host is taken by {ports[port]} already; choose another"
        ports.setdefault(port, ".".join(map(str, path)))
    for number, route in enumerate(ingress["routes"]):
        if "tcp" in route or "path" not in route:
            continue
        request = (route.get("host", ""), route["path"])
        if request in requests:
            what = f"{show(route['path'])} of {request[0] or 'every host'}"
            message = f"{what} is led by routes[{requests[request]}] already; remove one"
            yield (*_INGRESS, "routes", number, "path"), message
        requests.setdefault(request, number)


def _published(ingress: t.Mapping[str, t.Any]) -> t.Iterator[tuple[KeyPath, str]]:
    for key in ("http", "https"):
        if key in ingress:
            yield (*_INGRESS, key), str(ingress[key])
    for number, route in enumerate(ingress["routes"]):
        if "tcp" in route:
            yield (*_INGRESS, "routes", number, "tcp"), str(route["tcp"])
