# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetching feeds from the web: with limits on size and time, and from nowhere but the web.

People may type any address. A host's own network is no place to fetch from, so a connection is made only to addresses
that are public, and to the very address that was looked at. Feeds inside the stack are named in the settings.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
import typing as t
import urllib.parse
import zlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import httpcore

from .errors import FeedError

MAX_BYTES = 2 * 1024 * 1024
MAX_SECONDS = 15.0  # for everything
WAIT_SECONDS = 5.0  # for one answer
MAX_REDIRECTS = 4
MAX_URL = 2_000  # characters
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GZIP = 31  # zlib's window bits for it

Resolve = Callable[[str, int], list[str]]


@dataclass(frozen=True)
class Fetched:
    """An answer. ``content`` is None where the server says that nothing has changed since."""

    content: bytes | None
    etag: str = ""
    modified: str = ""


def check_url(url: str) -> str:
    """The address of a feed, without what servers never see. Raises FeedError."""
    try:
        parts = urllib.parse.urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise FeedError(f"this is not an address: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise FeedError("the address of a feed starts with http:// or https:// and names a host")
    if parts.username is not None or parts.password is not None:
        raise FeedError("an address with a user or a password cannot be kept: everybody would see it")
    checked = parts._replace(fragment="", path=parts.path or "/").geturl()
    if len(checked) > MAX_URL or not checked.isascii() or not checked.isprintable() or " " in checked:
        raise FeedError(f"an address has at most {MAX_URL} characters, ASCII, and no spaces; write others with %")
    return checked


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host. Raises OSError."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Fetcher:
    def __init__(self, inside: Collection[str] = (), resolve: Resolve = resolve) -> None:
        self._inside = frozenset(inside)
        self._resolve = resolve
        self._tls = ssl.create_default_context()

    def fetch(self, url: str, etag: str = "", modified: str = "") -> Fetched:
        """Get a feed, unless it is the one that was got with ``etag`` and ``modified``. Raises FeedError."""
        deadline = time.monotonic() + MAX_SECONDS
        is_inside = url in self._inside
        for _hop in range(MAX_REDIRECTS + 1):
            network = _Network(deadline, None if is_inside else self._resolve)
            try:
                answer = self._ask(network, url, etag, modified)
            except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
                raise FeedError(f"{_host(url)} cannot be asked: {error or type(error).__name__}") from error
            except (ValueError, httpcore.UnsupportedProtocol) as error:
                raise FeedError(f"{_host(url)} cannot be asked: {error}") from error
            if isinstance(answer, Fetched):
                return answer
            url, is_inside = check_url(urllib.parse.urljoin(url, answer)), False
        raise FeedError(f"the address leads to another one more than {MAX_REDIRECTS} times")

    def _ask(self, network: _Network, url: str, etag: str, modified: str) -> Fetched | str:
        """One request: the answer, or where it leads."""
        headers: dict[bytes | str, bytes | str] = {
            "Host": urllib.parse.urlsplit(url).netloc,
            "User-Agent": "newscast",
            "Accept": "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.9",
            "Accept-Encoding": "gzip",
            "Connection": "close",
        }
        headers |= {"If-None-Match": etag} if etag else {}
        headers |= {"If-Modified-Since": modified} if modified else {}
        waits = dict.fromkeys(("connect", "read", "write", "pool"), WAIT_SECONDS)
        with (
            httpcore.ConnectionPool(ssl_context=self._tls, network_backend=network) as pool,
            pool.stream("GET", url, headers=headers, extensions={"timeout": waits}) as response,
        ):
            found = {name.decode().lower(): value.decode("latin-1") for name, value in reversed(response.headers)}
            if response.status == 304:
                return Fetched(None, etag, modified)
            if response.status in _REDIRECTS and "location" in found:
                return found["location"]
            if response.status != 200:
                raise FeedError(f"{_host(url)} answered {response.status}")
            content = _unpacked(_limited(response.iter_stream()), found.get("content-encoding", "identity"))
            return Fetched(content, found.get("etag", "")[:500], found.get("last-modified", "")[:100])


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc


def _limited(chunks: Iterable[bytes]) -> bytes:
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > MAX_BYTES:
            raise FeedError(f"the feed is larger than {MAX_BYTES // 1024 // 1024} MiB")
    return bytes(content)


def _unpacked(content: bytes, encoding: str) -> bytes:
    if encoding == "identity":
        return content
    if encoding not in ("gzip", "x-gzip"):
        raise FeedError(f"the feed is packed as {encoding[:30]!r}, which was not asked for")
    packer = zlib.decompressobj(_GZIP)
    try:
        unpacked = packer.decompress(content, MAX_BYTES + 1)
    except zlib.error as error:
        raise FeedError(f"the feed is packed wrongly: {error}") from error
    return _limited([unpacked])


class _Network(httpcore.NetworkBackend):
    """Connections with one deadline. With a ``resolve``, to public addresses only."""

    def __init__(self, deadline: float, resolve: Resolve | None) -> None:
        self._network = httpcore.SyncBackend()
        self._deadline = deadline
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: t.Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        address = host if self._resolve is None else _public(host, self._resolve(host, port))
        wait = _remaining(self._deadline, timeout)
        return _Stream(self._network.connect_tcp(address, port, wait, local_address, socket_options), self._deadline)


class _Stream(httpcore.NetworkStream):
    """A stream that ends at a deadline, however little is sent at a time."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _remaining(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _remaining(self._deadline, timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        wait = _remaining(self._deadline, timeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, wait), self._deadline)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> t.Any:
        return self._stream.get_extra_info(info)


def _remaining(deadline: float, wait: float | None) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout(f"more than {MAX_SECONDS:.0f} seconds")
    return left if wait is None else min(wait, left)


def _public(host: str, addresses: list[str]) -> str:
    """An address that everybody may reach. One that is not is a reason to refuse them all: it is no mistake."""
    if not addresses or not all(_is_public(address) for address in addresses):
        raise FeedError(f"{host} is not on the public web")
    return addresses[0]


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    # IPv4 behind 6to4 and NAT64 is not looked into: such addresses are refused.
    is_tunnel = found.version == 6 and any(found in network for network in _TUNNELS)
    return not is_tunnel and (mapped or found).is_global and not (mapped or found).is_multicast


_TUNNELS = [ipaddress.ip_network(network) for network in ("64:ff9b::/96", "2002::/16", "2001::/32")]
