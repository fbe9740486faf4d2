# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Connections to servers: made through proxies and TLS, kept alive, and used again."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._http_error import broken, refused
from ansible_collections.emorobcare.fleet.plugins.module_utils._http_request import Place, Proxies, Proxy, connect_head
from ansible_collections.emorobcare.fleet.plugins.module_utils._http_wire import BadAnswer, Wire
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network

# Routers forget connections that are silent, without a word to either side; the shortest do so after a minute.
_LONGEST_IDLE = 30.0  # seconds

_Key = tuple[Place, t.Optional[Proxy]]


class Pool:
    """Connections by where they lead and through which proxy. Several threads use it at once."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._idle: dict[_Key, list[Wire]] = {}
        self._used: set[Wire] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        self._tls_lock = threading.Lock()
        self._proxies = Proxies(network.proxy)

    def proxy_to(self, place: Place) -> Proxy | None:
        """Raises: ModelError; the environment names something that is no proxy."""
        return self._proxies.to(place)

    def take(self, place: Place, proxy: Proxy | None) -> Wire | None:
        """Return a connection that served before, None when there is none. It may have been closed meanwhile."""
        with self._lock:
            idle = self._idle.get((place, proxy), [])
            while idle:
                wire = idle.pop()  # the one used last is the least likely to have been closed
                if time.monotonic() - wire.idle_since < _LONGEST_IDLE:
                    self._used.add(wire)
                    return wire
                wire.close()
        return None

    def give(self, place: Place, proxy: Proxy | None, wire: Wire, reusable: bool) -> None:
        """Take a connection back, for others if it is `reusable`."""
        with self._lock:
            self._used.discard(wire)
            if reusable and not self._closed:
                wire.idle_since = time.monotonic()
                self._idle.setdefault((place, proxy), []).append(wire)
                return
        wire.close()

    def connect(self, place: Place, proxy: Proxy | None, shown: str) -> Wire:
        """Make a new connection, ready for a request.

        Raises:
            ModelError: with reason `unavailable`; it cannot be made.
        """
        try:
            sock = self._dial(place, proxy, shown)
        except (OSError, BadAnswer, ValueError) as exc:  # ValueError: a host that no certificate can be for
            timeout = f"connect_timeout: {self._network.connect_timeout:g} s"
            raise broken(shown, exc, timeout, proxy.shown if proxy else "") from exc
        wire = Wire(sock, self._network.stall_timeout)
        with self._lock:
            if not self._closed:
                self._used.add(wire)
                return wire
        wire.close()
        raise ModelError(f"{shown}: not asked for, because the transfer was stopped", reason="unavailable")

    def close(self) -> None:
        """Close what is idle, and end what is used under those who use it: to them it looks like the server's doing."""
        with self._lock:
            self._closed = True
            for wire in self._used:
                wire.abort()
            for wires in self._idle.values():
                for wire in wires:
                    wire.close()
            self._idle.clear()

    def _dial(self, place: Place, proxy: Proxy | None, shown: str) -> socket.socket:
        address = (proxy.host, proxy.port) if proxy else (place.host, place.port)
        context = self._context() if place.scheme == "https" else None
        sock = socket.create_connection(address, timeout=self._network.connect_timeout)
        with contextlib.ExitStack() as undo:
            undo.callback(sock.close)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context and proxy:
                self._tunnel(sock, place, proxy, shown)
            if context:
                sock = context.wrap_socket(sock, server_hostname=place.host)
            undo.pop_all()
        return sock

    def _tunnel(self, sock: socket.socket, place: Place, proxy: Proxy, shown: str) -> None:
        wire = Wire(sock, self._network.connect_timeout)
        wire.send(connect_head(place, proxy))
        head = wire.head()
        if not 200 <= head.status < 300:
            raise refused(f"{shown}: the proxy {proxy.shown}", head.status, head.reason, head.headers)
        if not wire.clean:
            raise BadAnswer("the proxy sends bytes that nobody asked for")
        sock.settimeout(self._network.connect_timeout)

    def _context(self) -> ssl.SSLContext:
        """Return how TLS is done here; made when it is needed, because reading all authorities takes a while.

        Raises:
            ModelError: with reason `invalid`; `ca_path` cannot be used.
        """
        with self._tls_lock:
            if self._tls is None:
                self._tls = make_context(self._network.ca_path)
            return self._tls


def make_context(ca_path: str | None) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities and those in `ca_path`, a PEM file.

    Raises:
        ModelError: with reason `invalid`; the file cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # the default only since Python 3.10
    # Python 3.13 and later want certificates made by the letter of RFC 5280, which many house-made authorities are not:
    # what one host trusts, the next must too. Chains, names and dates are verified all the same.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    if ca_path:
        try:
            context.load_verify_locations(cafile=ca_path)
        except ssl.SSLError as exc:
            raise ModelError(f"ca_path {ca_path!r} holds no certificate in PEM form") from exc
        except OSError as exc:
            raise ModelError(f"ca_path {ca_path!r} cannot be read on this host: {exc.strerror}") from exc
    return context
