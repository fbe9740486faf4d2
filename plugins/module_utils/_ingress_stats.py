# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What HAProxy's runtime API answers, read. Pure.

Source: HAProxy's management guide, 9.1 (CSV format), 9.3 (commands) and 9.4 (master CLI), version 3.0.
"""

from __future__ import annotations

import csv
import re
import typing as t
from dataclasses import dataclass

_WORKER = re.compile(r"^(?P<pid>[0-9]+)\s+worker\s")
_VALUE = re.compile(r'found=yes,.* value="(?P<value>[^"]*)"')
_SESSION = re.compile(r"^(?P<id>0x[0-9a-f]+): .* be=(?P<backend>\S+) ", re.MULTILINE)
_CHECKED = re.compile(r"L[467]OKC?")


@dataclass(frozen=True)
class Worker:
    """A worker process by its number in the container; an old one only ends what it began."""

    pid: int
    old: bool


@dataclass(frozen=True)
class Server:
    """A server of a backend; `sessions` are requests and connections that are under way."""

    backend: str
    name: str
    status: str
    check: str
    sessions: int

    @property
    def up(self) -> bool:
        """Whether a check has found it well. Before the first check HAProxy says UP without knowing."""
        return self.status.startswith("UP") and _CHECKED.fullmatch(self.check.lstrip("* ")) is not None


@dataclass(frozen=True)
class Stats:
    """What a worker counts: its servers, and by name the connections of clients to each frontend."""

    servers: tuple[Server, ...]
    clients: t.Mapping[str, int]

    def of(self, colour: str) -> tuple[Server, ...]:
        return tuple(server for server in self.servers if server.backend.startswith(f"{colour}-"))

    def sessions(self, colour: str) -> int:
        return sum(server.sessions for server in self.of(colour))

    def not_up(self, colour: str) -> dict[str, list[Server]]:
        """Return the colour's backends that have no server up, with their servers."""
        backends: dict[str, list[Server]] = {}
        for server in self.of(colour):
            backends.setdefault(server.backend, []).append(server)
        return {name: servers for name, servers in sorted(backends.items()) if not any(s.up for s in servers)}


def parse_workers(text: str) -> list[Worker]:
    """Read the answer to C(show proc), the current worker first."""
    workers: list[Worker] = []
    old = False
    for line in text.splitlines():
        old = old or line.startswith("# old workers")
        match = _WORKER.match(line)
        if match:
            workers.append(Worker(int(match["pid"]), old))
    return workers


def parse_stats(text: str) -> Stats:
    """Read the answer to C(show stat)."""
    rows = csv.DictReader(text.lstrip("# ").splitlines())
    servers: list[Server] = []
    clients: dict[str, int] = {}
    for row in rows:
        sessions = int(row.get("scur") or 0)
        kind = row["svname"]
        if kind == "FRONTEND":
            clients[row["pxname"]] = sessions
        elif kind != "BACKEND":
            servers.append(Server(row["pxname"], kind, row["status"], row.get("check_status") or "", sessions))
    return Stats(tuple(servers), clients)


def parse_sessions(text: str, colour: str) -> list[str]:
    """Read the answer to C(show sess); return the ids of what is under way on a colour."""
    return [match["id"] for match in _SESSION.finditer(text) if match["backend"].startswith(f"{colour}-")]


def parse_value(text: str) -> str | None:
    """Read the answer to C(get map); None where the map has no such entry."""
    match = _VALUE.search(text)
    return match["value"] if match else None


def parse_description(text: str) -> str:
    """Read the description in the answer to C(show info)."""
    for line in text.splitlines():
        name, _colon, value = line.partition(": ")
        if name.lower() == "description":
            return value.strip()
    return ""


def reloaded(text: str) -> bool:
    """Whether the answer to C(reload) says that a new worker serves."""
    return text.startswith("Success=1")


def complaints(text: str) -> str:
    """Return what HAProxy complains of, without what it only notes."""
    blocks = re.split(r"^(?=\[[A-Z]+\]\s)", text, flags=re.MULTILINE)
    grave = [block.partition(": ")[2].strip() for block in blocks if block.startswith("[ALERT]")]
    return "; ".join(" ".join(block.split()) for block in grave) or text.strip()
