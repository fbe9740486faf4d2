# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The addresses that a host has and reaches, and whether containers would take them from it. Pure."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon import Document

Net = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

# What the engine names its own bridges, where it is not there to be asked.
_BRIDGE = re.compile(r"(docker0|docker_gwbridge|br-[0-9a-f]{12})\Z")
_NO_WAY_TO_ANYWHERE = frozenset({"local", "broadcast", "multicast", "anycast", "unreachable", "blackhole", "prohibit"})
# Where a default route is split in two, as some VPNs do, so that it comes before the one that was there.
_HALF = 1
_PRIVATE = tuple(ipaddress.ip_network(text) for text in ("172.16.0.0/12", "10.0.0.0/8", "192.168.0.0/16"))


@dataclass(frozen=True)
class Taken:
    """A network that the host has an address in or a route to, by a device; or that of a Docker network; or somebody.

    A `peer` is who has a connection to the host, the operator among them; a `nameserver` is asked by it.
    """

    network: Net
    device: str
    what: t.Literal["address", "route", "docker", "peer", "nameserver"]

    def __str__(self) -> str:
        if self.what == "peer":
            return f"{self.network} (who has a connection to this host now)"
        if self.what == "nameserver":
            return f"{self.network} (a nameserver of this host)"
        if self.what == "docker":
            return f"{self.network} (network {self.device} of this engine)"
        return f"{self.network} ({'the address of' if self.what == 'address' else 'the route by'} {self.device})"


@dataclass(frozen=True)
class Asked:
    """A network that a key of daemon.json gives to containers."""

    key: str
    value: str
    network: Net


def read_taken(
    addresses: t.Iterable[Document], routes: t.Iterable[Document], bridges: t.Collection[str]
) -> tuple[Taken, ...]:
    """Read what `ip -json address` and `ip -json route show table all` print, but for the engine's own bridges."""
    found: dict[tuple[str, str], Taken] = {}
    for link in addresses:
        device = str(link.get("ifname", ""))
        for info in link.get("addr_info", ()):
            network = ipaddress.ip_network(f"{info['local']}/{info['prefixlen']}", strict=False)
            if not (_is_bridge(device, bridges) or network.is_loopback or network.is_link_local):
                found[(str(network), device)] = Taken(network, device, "address")
    for route in routes:
        device = str(route.get("dev", ""))
        to = str(route.get("dst", "default"))
        if to == "default" or route.get("type") in _NO_WAY_TO_ANYWHERE or _is_bridge(device, bridges):
            continue
        network = ipaddress.ip_network(to, strict=False)
        if network.prefixlen > _HALF and not (network.is_multicast or network.is_link_local):
            found.setdefault((str(network), device), Taken(network, device, "route"))
    return tuple(found.values())


def read_peers(
    listing: str, resolver: str, addresses: t.Iterable[Document], bridges: t.Collection[str]
) -> tuple[Taken, ...]:
    """Read who is spoken to over a route that tells nothing, the default one say; but for the host and its containers.

    :param listing: what `ss` prints of established connections: the last word of a line is the peer and its port.
    :param resolver: what /etc/resolv.conf holds.
    :param addresses: what `ip -json address` prints.
    """
    ours = [
        ipaddress.ip_network(f"{info['local']}/{info['prefixlen']}", strict=False)
        for link in addresses
        if _is_bridge(str(link.get("ifname", "")), bridges)
        for info in link.get("addr_info", ())
    ]
    peers = [line.split()[-1].rpartition(":")[0] for line in listing.splitlines() if line.strip()]
    asked = [words[1] for words in map(str.split, resolver.splitlines()) if words[:1] == ["nameserver"] and words[1:]]
    found: dict[Net, Taken] = {}
    for text, what in (*((one, "peer") for one in peers), *((one, "nameserver") for one in asked)):
        network = _one(text)
        if network and not any(network.version == one.version and network.overlaps(one) for one in ours):
            found.setdefault(network, Taken(network, "", t.cast("t.Literal['peer', 'nameserver']", what)))
    return tuple(found.values())


def _one(text: str) -> Net | None:
    """Return the network of one address; None of one that is on the host or its link, or is none."""
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0].rstrip("]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    return None if address.is_loopback or address.is_link_local else ipaddress.ip_network(address)


def read_networks(networks: t.Iterable[Document]) -> tuple[tuple[Taken, ...], frozenset[str]]:
    """Read what `docker network inspect` prints: the networks but for the default one, and the names of all bridges."""
    taken, bridges = [], set()
    for network in networks:
        bridges.add((network.get("Options") or {}).get("com.docker.network.bridge.name") or f"br-{network['Id'][:12]}")
        for config in (network.get("IPAM") or {}).get("Config") or ():
            if network["Name"] != "bridge" and config.get("Subnet"):
                taken.append(Taken(ipaddress.ip_network(config["Subnet"], strict=False), network["Name"], "docker"))
    return tuple(taken), frozenset(bridges)


def _is_bridge(device: str, bridges: t.Collection[str]) -> bool:
    return device in bridges or bool(_BRIDGE.match(device))


def asked_for(document: Document, changed: t.Collection[str]) -> list[Asked]:
    """Return the networks that changed keys give to containers.

    :raises ValueError: one is no network; the message begins with the key.
    """
    found = []
    for key in ("bip", "bip6", "fixed-cidr", "fixed-cidr-v6"):
        if key in changed and document.get(key):
            found.append(_asked(key, document[key]))
    if "default-address-pools" in changed:
        for number, pool in enumerate(document.get("default-address-pools") or ()):
            where = f"default-address-pools[{number}]"
            if not isinstance(pool, t.Mapping):
                raise ValueError(f"{where} is {pool!r}; allowed: a dictionary with base and size")
            base = _asked(f"{where}.base", pool.get("base"))
            _check_size(where, pool, base.network)
            found.append(base)
    return found


def _asked(key: str, value: t.Any) -> Asked:
    try:
        return Asked(key, str(value), ipaddress.ip_interface(str(value)).network)
    except ValueError:
        raise ValueError(f"{key} is {value!r}; allowed: a network such as 10.200.0.0/16") from None


def _check_size(where: str, pool: Document, network: Net) -> None:
    size = pool.get("size")
    if isinstance(size, bool) or not isinstance(size, int) or not network.prefixlen <= size <= network.max_prefixlen:
        raise ValueError(
            f"{where}.size is {size!r}; allowed: a whole number from {network.prefixlen}, the size of its base, to "
            f"{network.max_prefixlen} (24 makes networks of 256 addresses)"
        )


def collisions(asked: t.Iterable[Asked], taken: t.Iterable[Taken]) -> list[tuple[Asked, Taken]]:
    """Return what is asked for beside what it collides with. A Docker network is in the way of the bridge alone."""
    taken = tuple(taken)
    return [
        (one, other)
        for one in asked
        for other in taken
        if one.network.version == other.network.version
        and one.network.overlaps(other.network)
        and (other.what != "docker" or one.key.startswith("bip"))
    ]


def free_network(prefix: int, taken: t.Iterable[Taken]) -> str:
    """Return the first private IPv4 network of a size that nothing is in the way of; empty where there is none."""
    used = [one.network for one in taken if isinstance(one.network, ipaddress.IPv4Network)]
    for private in _PRIVATE:
        if not isinstance(private, ipaddress.IPv4Network) or private.prefixlen > prefix:
            continue
        for network in private.subnets(new_prefix=prefix):
            if not any(network.overlaps(one) for one in used):
                return str(network)
    return ""
