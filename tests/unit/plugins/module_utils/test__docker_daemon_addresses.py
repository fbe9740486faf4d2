# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ipaddress
import re
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_addresses import (
    Taken,
    asked_for,
    collisions,
    free_network,
    read_networks,
    read_peers,
    read_taken,
)

ADDRESSES = [
    {"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}]},
    {
        "ifname": "eth0",
        "addr_info": [{"local": "10.1.2.3", "prefixlen": 24}, {"local": "fe80::1", "prefixlen": 64}],
    },
    {"ifname": "docker0", "addr_info": [{"local": "172.17.0.1", "prefixlen": 16}]},
    {"ifname": "wifi", "addr_info": [{"local": "2001:db8::5", "prefixlen": 64}]},
    {"ifname": "br-shop", "addr_info": [{"local": "172.30.0.1", "prefixlen": 16}]},
]
ROUTES = [
    {"dst": "default", "dev": "eth0"},
    {"dst": "0.0.0.0/1", "dev": "tun0"},
    {"dst": "10.1.2.0/24", "dev": "eth0"},
    {"dst": "192.168.50.0/24", "dev": "tun0"},
    {"dst": "172.17.0.0/16", "dev": "docker0"},
    {"dst": "172.18.0.0/16", "dev": "br-0123456789ab"},
    {"type": "local", "dst": "10.9.9.9", "dev": "eth0"},
    {"type": "multicast", "dst": "ff00::/8", "dev": "eth0"},
    {"dst": "10.77.0.1", "dev": "tun0"},
]


def texts(taken: t.Iterable[Taken]) -> list[str]:
    return [str(one) for one in taken]


def test_what_the_host_has_and_reaches_is_taken_but_not_its_engines_own() -> None:
    assert texts(read_taken(ADDRESSES, ROUTES, {"br-shop"})) == [
        "10.1.2.0/24 (the address of eth0)",
        "2001:db8::/64 (the address of wifi)",
        "192.168.50.0/24 (the route by tun0)",
        "10.77.0.1/32 (the route by tun0)",
    ]


def test_who_is_spoken_to_over_the_default_route_is_taken_but_not_the_host_itself_and_its_containers() -> None:
    listing = """0 0 192.0.2.5:22 10.8.0.5:51234
0      0            192.0.2.5:22            10.8.0.5:51300
0 0 [::ffff:192.0.2.5]:22 [::ffff:10.9.0.7]:40000
0 0 [2001:db8::5]:22 [2001:db8:9::1]:40000
0 0 [fe80::1%eth0]:22 [fe80::2%eth0]:22
0 0 127.0.0.1:8080 127.0.0.1:40000
0 0 172.17.0.1:40000 172.17.0.2:8000
0 0 172.30.0.1:40000 172.30.0.9:8000

"""
    resolver = "# ours\nnameserver 127.0.0.53\nnameserver 10.7.0.1\nnameserver\nnameserver x\nsearch example\n"
    assert texts(read_peers(listing, resolver, ADDRESSES, {"br-shop"})) == [
        "10.8.0.5/32 (who has a connection to this host now)",
        "10.9.0.7/32 (who has a connection to this host now)",
        "2001:db8:9::1/128 (who has a connection to this host now)",
        "10.7.0.1/32 (a nameserver of this host)",
    ]
    asked = asked_for({"default-address-pools": [{"base": "10.8.0.0/16", "size": 24}]}, {"default-address-pools"})
    assert len(collisions(asked, read_peers(listing, resolver, ADDRESSES, ()))) == 1


def test_networks_of_docker_are_taken_for_the_bridge_but_the_bridge_itself_is_not() -> None:
    raw: list[dict[str, t.Any]] = [
        {
            "Name": "bridge",
            "Id": "a" * 64,
            "Options": {"com.docker.network.bridge.name": "docker0"},
            "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]},
        },
        {"Name": "shop", "Id": "b" * 64, "Options": None, "IPAM": {"Config": [{"Subnet": "172.30.0.0/16"}]}},
        {"Name": "host", "Id": "c" * 64, "IPAM": {"Config": None}},
    ]
    taken, bridges = read_networks(raw)
    assert texts(taken) == ["172.30.0.0/16 (network shop of this engine)"]
    assert {"docker0", f"br-{'b' * 12}"} <= bridges
    bip = asked_for({"bip": "172.30.5.1/24"}, {"bip"})
    pool = asked_for({"default-address-pools": [{"base": "172.30.0.0/16", "size": 24}]}, {"default-address-pools"})
    assert len(collisions(bip, taken)) == 1
    assert not collisions(pool, taken)


@pytest.mark.parametrize(
    ("document", "hit"),
    [
        pytest.param({"bip": "10.1.2.1/16"}, "10.1.2.0/24", id="around it"),
        pytest.param({"fixed-cidr": "10.1.2.128/25"}, "10.1.2.0/24", id="within it"),
        pytest.param({"default-address-pools": [{"base": "10.0.0.0/8", "size": 24}]}, "10.1.2.0/24", id="a pool"),
        pytest.param({"bip6": "2001:db8::1/64"}, "2001:db8::/64", id="of the new protocol"),
        pytest.param({"bip": "10.2.0.1/16"}, "", id="beside it"),
    ],
)
def test_overlapping_networks_collide(document: dict[str, t.Any], hit: str) -> None:
    found = collisions(asked_for(document, set(document)), read_taken(ADDRESSES, [], ()))
    assert [str(other.network) for _asked, other in found] == ([hit] if hit else [])


def test_what_does_not_change_is_not_asked_for() -> None:
    assert asked_for({"bip": "10.1.2.1/24"}, {"debug"}) == []


@pytest.mark.parametrize(
    ("document", "says"),
    [
        pytest.param({"bip": "ten"}, "bip is 'ten'; allowed", id="no network"),
        pytest.param({"default-address-pools": ["10.0.0.0/8"]}, "default-address-pools[0]", id="no dictionary"),
        pytest.param({"default-address-pools": [{"size": 24}]}, "default-address-pools[0].base is None", id="no base"),
        pytest.param(
            {"default-address-pools": [{"base": "10.0.0.0/16", "size": 8}]}, "[0].size is 8; allowed", id="too big"
        ),
        pytest.param({"default-address-pools": [{"base": "10.0.0.0/16"}]}, "[0].size is None", id="no size"),
        pytest.param({"default-address-pools": [{"base": "10.0.0.0/16", "size": True}]}, "is True", id="no number"),
    ],
)
def test_what_is_no_network_is_named(document: dict[str, t.Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        asked_for(document, set(document))


def test_a_free_network_collides_with_nothing() -> None:
    taken = read_taken(ADDRESSES, ROUTES, ())
    free = ipaddress.ip_network(free_network(16, taken))
    assert not any(one.network.version == 4 and free.overlaps(one.network) for one in taken)
    everything = [Taken(ipaddress.ip_network("0.0.0.0/0"), "tun0", "route")]
    assert free_network(16, everything) == ""
