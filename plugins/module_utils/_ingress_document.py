# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The C(ingress) of a release document, with a host's parameters put in. Pure.

{image, http, https: "ADDRESS:PORT" or null, tls: {certificate, authority} or null,
 routes: [{service, port, path, host, strip, tcp: "ADDRESS:PORT" or null}]}
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_config import (
    Ingress,
    Publish,
    Route,
    Tls,
    bad,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_settings import interpolate

_PUBLISH = re.compile(r"(?:(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]*)):)?(?P<port>[0-9]{1,5})")


def parse_ingress(data: t.Mapping[str, t.Any], values: t.Mapping[str, str]) -> Ingress:
    """Read the C(ingress) of a release document.

    Args:
        values: the host's value of each parameter.

    Raises:
        ReleaseError: with these values an address is none, or a port is published twice (`ingress_invalid`).
    """
    try:
        routes = tuple(_route(item, number, values) for number, item in enumerate(data["routes"]))
        tls = data.get("tls")
        ingress = Ingress(
            image=data["image"],
            routes=routes,
            http=_publish(data.get("http"), "http", values),
            https=_publish(data.get("https"), "https", values),
            tls=None if tls is None else Tls(tls.get("certificate"), tls.get("authority")),
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise bad(f"the release document's is none: {type(exc).__name__} {exc}") from exc
    taken: dict[int, str] = {}
    for where, publish in published(ingress):
        if publish.port in taken:
            raise bad(f"{where}: port {publish.port} is published by {taken[publish.port]} already; choose another")
        taken[publish.port] = where
    return ingress


def published(ingress: Ingress) -> list[tuple[str, Publish]]:
    """Return what of the host the ingress takes, with the place that says so."""
    found = [("http", ingress.http), ("https", ingress.https)]
    found += [(f"routes[{number}].tcp", route.tcp) for number, route in enumerate(ingress.routes)]
    return [(where, publish) for where, publish in found if publish is not None]


def parse_publish(text: str) -> Publish | None:
    """Read C(PORT), C(ADDRESS:PORT) or C([ADDRESS]:PORT); None where it is none of them."""
    match = _PUBLISH.fullmatch(text)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        return None
    address = match["six"] or match["four"] or ""
    try:
        return Publish(str(ipaddress.ip_address(address)) if address else "", int(match["port"]))
    except ValueError:
        return None


def _publish(text: str | None, where: str, values: t.Mapping[str, str]) -> Publish | None:
    if text is None:
        return None
    filled = interpolate(text, values)
    publish = parse_publish(filled)
    if publish is None:
        made = f" (from {text!r})" if filled != text else ""
        raise bad(f"{where}: {filled!r}{made} is no PORT, ADDRESS:PORT or [ADDRESS]:PORT; set its parameters")
    return publish


def _route(data: t.Mapping[str, t.Any], number: int, values: t.Mapping[str, str]) -> Route:
    return Route(
        service=data["service"],
        port=data["port"],
        path=data.get("path") or "/",
        host=data.get("host"),
        strip=bool(data.get("strip")),
        tcp=_publish(data.get("tcp"), f"routes[{number}].tcp", values),
    )
