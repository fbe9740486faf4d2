# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Hold new connections to published ports while an engine restarts.

Between its end and the rules of its next start, a published port refuses who knocks. A table of nftables drops those
packets instead, before anything answers them: the caller's kernel sends them again (after 1, 3 and 7 seconds), and what
comes when the engine is back gets through. Connections that stand are not touched.

The ports are elements of sets with a timeout, so that the kernel itself lets go of them: whatever happens to who holds
them, nobody is held for longer.
"""

from __future__ import annotations

import ipaddress
import json
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_engine import Run

TABLE = "fleet_hold"
_FAMILY = "inet"
_PRIORITY = -150  # after connections are known (-200), before the engine's own rules choose a container (-100)
_ANY = frozenset({"", "0.0.0.0", "::"})
_PATIENCE = 10.0  # seconds for a command

_BUSY = ("established", "syn-recv", "close-wait")


@dataclass(frozen=True, order=True)
class Port:
    """A published port; the address is empty where it is published on all of the host's."""

    number: int
    protocol: str = "tcp"
    address: str = ""


def published(containers: t.Iterable[t.Mapping[str, t.Any]]) -> tuple[Port, ...]:
    """Return the published ports of running containers, from what `docker container inspect` prints of them."""
    found = set()
    for container in containers:
        if not container.get("State", {}).get("Running"):
            continue
        for inner, bindings in (container.get("NetworkSettings", {}).get("Ports") or {}).items():
            protocol = inner.partition("/")[2]
            for binding in bindings or ():
                address = binding.get("HostIp", "")
                number = int(binding.get("HostPort") or 0)
                if number and protocol in ("tcp", "udp"):
                    found.add(Port(number, protocol, "" if address in _ANY else address))
    return tuple(sorted(found))


def ruleset(ports: t.Iterable[Port], seconds: int) -> str:
    """Return what nft is told, to hold new connections to ports for at most so many seconds."""
    sets: dict[str, list[str]] = {"any": [], "one4": [], "one6": []}
    for port in ports:
        where = f"{port.protocol} . {port.number} timeout {seconds}s"
        if not port.address:
            sets["any"].append(where)
        else:
            name = f"one{ipaddress.ip_address(port.address).version}"
            sets[name].append(f"{port.address} . {where}")
    return "\n".join(
        [
            f"table {_FAMILY} {TABLE}",
            f"delete table {_FAMILY} {TABLE}",  # an earlier one; the line above makes one where there is none
            f"table {_FAMILY} {TABLE} {{",
            *_set("any", "inet_proto . inet_service", sets["any"]),
            *_set("one4", "ipv4_addr . inet_proto . inet_service", sets["one4"]),
            *_set("one6", "ipv6_addr . inet_proto . inet_service", sets["one6"]),
            "chain held {",
            # Only what begins something: of TCP that packet is marked as such.
            "tcp flags & (fin | syn | rst | ack) != syn return",
            "meta l4proto udp ct state established,related return",
            "fib daddr type local meta l4proto . th dport @any counter drop",
            "ip daddr . meta l4proto . th dport @one4 counter drop",
            "ip6 daddr . meta l4proto . th dport @one6 counter drop",
            "}",
            *_chain("arriving", "prerouting"),
            *_chain("leaving", "output"),  # what the host asks itself
            "}",
            "",
        ]
    )


def _set(name: str, kind: str, elements: t.Sequence[str]) -> list[str]:
    inner = [f"elements = {{ {', '.join(elements)} }}"] if elements else []
    return [f"set {name} {{", f"type {kind}", "flags timeout", *inner, "}"]


def _chain(name: str, hook: str) -> list[str]:
    head = f"type filter hook {hook} priority {_PRIORITY}; policy accept;"
    return [f"chain {name} {{", head, "jump held", "}"]


def counted(listing: str) -> int:
    """Return how many packets a hold has dropped, from what `nft --json list table` prints; 0 where it prints else."""
    try:
        items = json.loads(listing)["nftables"]
    except (ValueError, KeyError, TypeError):
        return 0
    rules = (item["rule"]["expr"] for item in items if "rule" in item)
    return sum(part["counter"]["packets"] for rule in rules for part in rule if "counter" in part)


def standing_argv(ports: t.Iterable[Port]) -> list[str]:
    """Return the command that lists connections in which somebody still waits for an answer, by the host's own port.

    The kernel itself chooses them: who reads /proc/net/tcp on a busy host may miss some.
    """
    states = [word for state in _BUSY for word in ("state", state)]
    numbers = sorted({port.number for port in ports if port.protocol == "tcp"})
    chosen = " or ".join(f"sport = :{number}" for number in numbers)
    return ["ss", "--no-header", "--numeric", "--tcp", *states, f"( {chosen} )"]


def standing(run: Run, ports: t.Sequence[Port]) -> int:
    """Return how many connections to published TCP ports end in the engine's own proxy, and so would end with it.

    Those that the kernel passes on to a container do not appear on the host, and outlive the engine. Without `ss`
    nobody is known of.
    """
    if not any(port.protocol == "tcp" for port in ports):
        return 0
    answer = run(standing_argv(ports), "", _PATIENCE)
    return len(answer.stdout.splitlines()) if answer.code == 0 else 0


class Hold:
    """New connections to ports are held from `place` to `release`, and never for longer than `seconds`."""

    def __init__(self, run: Run, ports: t.Sequence[Port], seconds: int) -> None:
        self._run, self._ports, self._seconds = run, tuple(ports), seconds
        self.why_not = ""
        self.placed = False

    def place(self) -> bool:
        """Begin, if there is anything to hold; what is in the way is in `why_not`, and the restart goes on without."""
        if not self._ports or self._seconds <= 0:
            return False
        answer = self._run(["nft", "--file", "-"], ruleset(self._ports, self._seconds), _PATIENCE)
        self.placed = answer.code == 0
        if not self.placed:
            self.why_not = answer.stderr.strip() or "nft failed"
        return self.placed

    def release(self) -> int:
        """End; return how many packets were held, which counts those that were sent again."""
        if not self.placed:
            return 0
        listing = self._run(["nft", "--json", "list", "table", _FAMILY, TABLE], "", _PATIENCE)
        self._run(["nft", "delete", "table", _FAMILY, TABLE], "", _PATIENCE)
        self.placed = False
        return counted(listing.stdout)
