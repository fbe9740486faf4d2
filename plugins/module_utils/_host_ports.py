# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Who holds a port of this host."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import socket
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container

_WILDCARDS = ("", "0.0.0.0", "::")
_LISTENING, _UNCONNECTED = "0A", "07"  # states in /proc/net/tcp and /proc/net/udp
_SOCKET = re.compile(r"socket:\[([0-9]+)\]")

State = t.Literal["free", "taken", "no_address"]
_STATES: dict[int, State] = {errno.EADDRINUSE: "taken", errno.EADDRNOTAVAIL: "no_address"}


@dataclass(frozen=True)
class Bound:
    """A socket of /proc/net that others cannot share; the inode tells whose it is."""

    address: str
    port: int
    inode: str


def try_port(address: str, port: int, protocol: str) -> State:
    """Return whether Docker could bind a port now, by binding it for a moment."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(family, kind) as probe:
        try:
            if kind == socket.SOCK_STREAM:
                # As Docker does: connections of an earlier holder that are still dying do not count.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            if kind == socket.SOCK_STREAM:
                probe.listen(1)
        except OSError as exc:
            # Whatever else is wrong, Docker will say so better than we could.
            return _STATES.get(exc.errno or 0, "free")
    return "free"


def container_on(address: str, port: int, protocol: str, containers: t.Iterable[Container]) -> Container | None:
    """Return the container that a port of the host leads to."""
    for container in containers:
        for published in container.published:
            if (published.port, published.protocol) == (port, protocol) and _overlap(published.address, address):
                return container
    return None


def parse_bound(text: str, state: str) -> list[Bound]:
    """Read the sockets in a state from the text of /proc/net/tcp, tcp6, udp or udp6."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == state:
            address, _colon, port = fields[1].partition(":")
            found.append(Bound(_address(address), int(port, 16), fields[9]))
    return found


def holder(address: str, port: int, protocol: str, proc: str = "/proc") -> str:
    """Return the process that holds a port, for people; one that may not be looked at stays unnamed."""
    state = _UNCONNECTED if protocol == "udp" else _LISTENING
    inodes = set()
    for table in (protocol, f"{protocol}6"):
        with contextlib.suppress(OSError), open(f"{proc}/net/{table}", encoding="ascii") as file:
            bound = parse_bound(file.read(), state)
            inodes |= {one.inode for one in bound if one.port == port and _overlap(one.address, address)}
    for folder in glob.iglob(f"{proc}/[0-9]*"):
        if inodes & _sockets(folder):
            with contextlib.suppress(OSError), open(f"{folder}/comm", encoding="utf-8", errors="replace") as file:
                return f"process {file.read().strip()} (pid {os.path.basename(folder)})"
    return "a process that cannot be named"


def _sockets(folder: str) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # the process ended, or is not ours to look at
        for entry in os.scandir(f"{folder}/fd"):
            with contextlib.suppress(OSError):
                match = _SOCKET.fullmatch(os.readlink(entry.path))
                if match:
                    found.add(match[1])
    return found


def _overlap(one: str, other: str) -> bool:
    return one in _WILDCARDS or other in _WILDCARDS or one == other


def _address(text: str) -> str:
    """Decode an address of /proc/net: 32-bit words in hex, each in the machine's (little-endian) byte order."""
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    packed = b"".join(words)
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    if packed[:12] == b"\0" * 10 + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)
