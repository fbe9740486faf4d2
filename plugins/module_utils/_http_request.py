# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Where a request goes, by which proxy, and the words of it. Nothing here does I/O but reading the environment."""

from __future__ import annotations

import base64
import re
import typing as t
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import redact_url

AGENT = "emorobcare.fleet model_pull"
PORTS = {"http": 80, "https": 443}
_NOT_IN_HEADER = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_NOT_IN_URL = re.compile(r"[^\x21-\x7e]")


class Place(t.NamedTuple):
    """What credentials are for, and what a connection leads to."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and port, as CONNECT wants them."""
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def short(self) -> str:
        """Host, and the port unless it is the usual one: as signed in signed URLs."""
        return _bracketed(self.host) if self.port == PORTS[self.scheme] else self.authority


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True)
class Proxy:
    host: str
    port: int
    shown: str = field(compare=False)
    authorization: str | None = field(default=None, repr=False)


def split_url(url: str, shown: str) -> tuple[Place, SplitResult]:
    """Return where a URL leads.

    Raises:
        ModelError: it is no http(s) URL with a host, holds credentials, or has what must be percent-encoded.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc or _NOT_IN_URL.search(url):
        raise ModelError(
            f"{shown}: {redact_url(url)!r} cannot be asked for; it must be an http(s) URL with a host, percent-encoded "
            "and without credentials",
            reason="unavailable",
            source=shown,
        )
    return Place(parts.scheme, parts.hostname, PORTS[parts.scheme] if port is None else port), parts


def parse_proxy(text: str, what: str) -> Proxy:
    """Read a proxy as people write it: http://user:password@host:port, or host:port. `what` says who named it.

    Raises:
        ModelError: it is no such thing. The message shows no credentials.
    """
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
        raise ModelError(f"{what} {redact_url(url)!r} cannot be used; allowed: http://[user:password@]host[:port]")
    userinfo, at, _host = parts.netloc.rpartition("@")
    authorization = None
    if at:
        authorization = "Basic " + base64.b64encode(unquote(userinfo).encode("utf-8")).decode("ascii")
    return Proxy(parts.hostname, port or PORTS["http"], redact_url(url), authorization)


class Proxies:
    """Which proxy leads to a place: the one that is set for all, or what http_proxy, https_proxy and no_proxy say.

    Raises:
        ModelError: with reason `invalid`; the proxy set for all is no proxy.
    """

    def __init__(self, proxy: str | None) -> None:
        self._for_all = parse_proxy(proxy, "proxy") if proxy else None
        self._environment = {} if proxy else urllib.request.getproxies()
        self._known: dict[Place, Proxy | None] = {}

    def to(self, place: Place) -> Proxy | None:
        """Raises: ModelError; the environment names something that is no proxy."""
        if self._for_all:
            return self._for_all
        if place not in self._known:
            text = self._environment.get(place.scheme)
            by_proxy = text and not urllib.request.proxy_bypass(place.authority)
            self._known[place] = parse_proxy(text, f"{place.scheme}_proxy") if text and by_proxy else None
        return self._known[place]


def request_head(
    method: str, place: Place, parts: SplitResult, proxy: Proxy | None, headers: t.Mapping[str, str]
) -> bytes:
    """Return the head of a request: all of it, as there is no body.

    Raises:
        ModelError: with reason `invalid`; a header holds a control character or one that HTTP does not have.
    """
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"Host: {place.short}", f"User-Agent: {AGENT}", "Accept-Encoding: identity"]
    if proxy and place.scheme == "http":
        target = f"http://{place.short}{target}"
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
    for name, value in headers.items():
        if _NOT_IN_HEADER.search(name + value):
            raise ModelError(
                f"the {name!r} header for {place.short} has a character that HTTP does not allow there, such as a line "
                "break; look at the end of the token or password that it is made of"
            )
        lines.append(f"{name}: {value}")
    return "\r\n".join((f"{method} {target} HTTP/1.1", *lines, "", "")).encode("latin-1")


def connect_head(place: Place, proxy: Proxy) -> bytes:
    """Return what asks a proxy for a tunnel."""
    lines = [f"CONNECT {place.authority} HTTP/1.1", f"Host: {place.authority}", f"User-Agent: {AGENT}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return "\r\n".join((*lines, "", "")).encode("latin-1")
