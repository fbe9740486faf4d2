# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Ask a container over the network: a request, or whether a port accepts a connection."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import HttpCheck, TcpCheck
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_judge import Reply

_PATIENCE = 10.0  # seconds for one request, unless its max_latency is longer
_LARGEST_ANSWER = 16 * 1024 * 1024  # bytes
_PIECE = 64 * 1024  # bytes


def send(check: HttpCheck, addresses: t.Sequence[str], body: bytes | None, limit: float) -> Reply:
    """Send a request to the first of the addresses that accepts a connection; read the whole answer.

    All of it takes `limit` seconds at most.
    """

    def exchange(address: str, began: float, patience: float) -> Reply:
        return _exchange(check, address, body, began, patience)

    return _first_of(check, addresses, exchange, "gave no complete answer", limit)


def connect(check: TcpCheck, addresses: t.Sequence[str], limit: float) -> Reply:
    """Connect to the first of the addresses that accepts it, within `limit` seconds; say nothing, and hang up."""

    def accept(address: str, began: float, patience: float) -> Reply:
        with socket.create_connection((address, check.port), max(began + patience - time.monotonic(), 0.01)):
            return Reply(latency=time.monotonic() - began)

    return _first_of(check, addresses, accept, "accepted no connection", limit)


def _first_of(
    check: HttpCheck | TcpCheck,
    addresses: t.Sequence[str],
    attempt: t.Callable[[str, float, float], Reply],
    late: str,
    limit: float,
) -> Reply:
    """Return what the first attempt that succeeds brings, else why the last one failed."""
    wanted = max(_PATIENCE, check.max_latency or 0.0)
    patience, cut = min(limit, wanted), False
    began = time.monotonic()
    error = "the container has no network address that this host can reach"
    for address in addresses:
        try:
            return attempt(address, began, patience)
        except ConnectionRefusedError:
            error = f"{address}:{check.port} refused the connection: nothing listens there, or only on loopback"
        except (TimeoutError, socket.timeout):  # two classes before Python 3.10
            error = f"{address}:{check.port} {late} within {patience:g} s"
            cut = patience < wanted
        except (OSError, http.client.HTTPException) as exc:
            error = f"{address}:{check.port}: {exc or type(exc).__name__}"
    return Reply(error=error, latency=time.monotonic() - began, cut=cut)


def _exchange(check: HttpCheck, address: str, body: bytes | None, began: float, patience: float) -> Reply:
    connection = _connection(check, address, max(began + patience - time.monotonic(), 0.01))
    try:
        connection.request(check.method, check.path, body=body, headers=dict(check.headers))
        response = connection.getresponse()
        content = bytearray()
        while True:
            # The socket's own limit is for one piece only: a trickle must not hold the gate up.
            if time.monotonic() - began > patience:
                raise TimeoutError
            piece = response.read1(_PIECE)
            if not piece:
                return Reply(response.status, bytes(content), time.monotonic() - began)
            content += piece
            if len(content) > _LARGEST_ANSWER:
                return Reply(error=f"the answer is longer than {_LARGEST_ANSWER} bytes", latency=patience)
    finally:
        connection.close()


def _connection(check: HttpCheck, address: str, timeout: float) -> http.client.HTTPConnection:
    if check.scheme == "http":
        return http.client.HTTPConnection(address, check.port, timeout=timeout)
    # Asked by address on this very host, no certificate can name it; what is checked is that the service answers.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(address, check.port, timeout=timeout, context=context)
