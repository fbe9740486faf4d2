# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What a probe's container runs. The host runs it too, to know what a container could do at best.

It is passed to Python as its source, so it needs nothing but the standard library, and prints one line of JSON: by the
probe's name, whether it went well, and a sentence.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import typing as t

PORT = 8080
SHARED, VOLUME = "/probe", "/volume"  # where the folder of the host and the volume are
GIVEN, TAKEN = "given", "taken"  # files there: what the host wrote, and what we did

Said = tuple[bool, str]


def main(order: str) -> None:
    """Do what is ordered: a JSON object with `dns`, `outbound`, `timeout` (seconds) and, in a container, `token`."""
    ordered = json.loads(order)
    token = ordered.get("token", "")
    if token:
        signal.signal(signal.SIGTERM, _end)  # first, since a first process that does not ask for it never gets it
        threading.Thread(target=_serve, args=(_listen(), token.encode()), daemon=True).start()
    said = {}
    if token:
        said["bind_mount"] = _guarded(lambda: copy(SHARED, token))
        said["volume"] = _guarded(lambda: keep(VOLUME, token))
    if ordered["dns"]:
        said["dns"] = _guarded(lambda: resolve(ordered["dns"]))
    if ordered["outbound"]:
        said["outbound"] = _guarded(lambda: connect(ordered["outbound"], ordered["timeout"]))
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    while token:
        signal.pause()


def resolve(name: str) -> Said:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return True, f"{name} is {found[0][4][0]}"


def connect(address: str, timeout: float) -> Said:
    """Connect to host:port; an address of IPv6 stands in square brackets."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host.strip("[]"), int(port)), timeout):
        return True, f"{address} takes connections"


def copy(folder: str, token: str) -> Said:
    """Read what the host wrote into a folder of its own, and write as much beside it."""
    with open(os.path.join(folder, GIVEN), encoding="ascii") as file:
        if file.read() != token:
            return False, "a container reads something else than the host wrote"
    return keep(folder, token)


def keep(folder: str, token: str) -> Said:
    with open(os.path.join(folder, TAKEN), "w", encoding="ascii") as file:
        file.write(token)
    return True, "written"


def _guarded(doing: t.Callable[[], Said]) -> Said:
    try:
        return doing()
    except (OSError, ValueError) as exc:
        return False, f"{type(exc).__name__}: {exc}"


def _end(_number: int, _frame: object) -> None:
    os._exit(0)


def _listen() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", PORT))
    listener.listen()
    return listener


def _serve(listener: socket.socket, token: bytes) -> None:
    while True:
        connection = listener.accept()[0]
        with connection:
            connection.sendall(token)
