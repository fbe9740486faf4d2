# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What daemon.json may hold: the kind of each value, its flag of dockerd, and how a change of it takes effect. Pure.

Engines from 23.0 on check their own file (`dockerd --validate`), and know keys that this table may lack. Older ones do
not, and there what is not in the table is refused. The fault tests hold the table against real engines.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

Kind = t.Literal["flag", "number", "text", "texts", "map", "pools", "size"]

VALIDATES = (23, 0)  # the first engine that has `dockerd --validate`

# How a kind of value is named to the user.
KINDS: t.Mapping[Kind, str] = {
    "flag": "true or false",
    "number": "a whole number",
    "text": "a text",
    "texts": "a list of texts",
    "map": "a dictionary",
    "pools": "a list of dictionaries, each with base (a network such as 10.200.0.0/16) and size (24, say)",
    "size": 'a size such as "64M"',
}


@dataclass(frozen=True)
class Key:
    """A top-level key of daemon.json.

    :ivar flag: the long option of dockerd that says the same; both at once keep the engine from starting.
    :ivar short: that option's letter, empty where it has none.
    :ivar reload: whether a new value takes effect by SIGHUP. One that is taken away never does: the engine keeps it.
    :ivar bridge: whether it shapes the default bridge, which the engine leaves as it is while containers run.
    :ivar since: the first engine that knows it, as (major, minor); those before 20.10 are not looked at.
    """

    name: str
    kind: Kind
    flag: str = ""
    short: str = ""
    reload: bool = False
    bridge: bool = False
    since: tuple[int, int] = (20, 10)


def _keys(kind: Kind, names: str, **more: t.Any) -> list[Key]:
    return [Key(name, kind, flag=name, **more) for name in names.split()]


_ALL = [
    *_keys("flag", "live-restore debug", reload=True),
    *_keys("number", "max-concurrent-downloads max-concurrent-uploads max-download-attempts", reload=True),
    *_keys("number", "shutdown-timeout", reload=True),
    *_keys("text", "default-runtime", reload=True),
    *_keys("flag", "icc ip-masq ipv6", bridge=True),
    *_keys("flag", "ip-forward-no-drop", since=(28, 0)),
    *_keys("flag", "allow-direct-routing", since=(28, 2)),
    *_keys("number", "mtu", bridge=True),
    *_keys("text", "bip bridge default-gateway default-gateway-v6 fixed-cidr fixed-cidr-v6 ip", bridge=True),
    *_keys("text", "bip6", bridge=True, since=(28, 0)),
    *_keys("text", "data-root storage-driver userns-remap userland-proxy-path"),
    *_keys("flag", "cri-containerd experimental init ip-forward ip6tables iptables no-new-privileges raw-logs"),
    *_keys("flag", "rootless selinux-enabled tls tlsverify userland-proxy"),
    *_keys("number", "cpu-rt-period cpu-rt-runtime network-control-plane-mtu oom-score-adjust"),
    *_keys("text", "api-cors-header cgroup-parent containerd containerd-namespace containerd-plugins-namespace"),
    *_keys("text", "default-cgroupns-mode default-ipc-mode exec-root group host-gateway-ip init-path log-driver"),
    *_keys("text", "log-level metrics-addr pidfile seccomp-profile swarm-default-advertise-addr"),
    *_keys("text", "tlscacert tlscert tlskey"),
    *_keys("text", "cluster-advertise cluster-store graph"),  # of engines before 23.0 alone
    Key("cluster-store-opts", "map", "cluster-store-opt"),
    *_keys("text", "log-format", since=(25, 0)),
    *_keys("size", "default-shm-size"),
    *_keys("texts", "dns dns-search"),
    Key("allow-nondistributable-artifacts", "texts", "allow-nondistributable-artifacts", reload=True),
    Key("authorization-plugins", "texts", "authorization-plugin", reload=True),
    Key("builder", "map"),
    Key("cdi-spec-dirs", "texts", "cdi-spec-dir", since=(25, 0)),
    Key("default-address-pools", "pools", "default-address-pool"),
    Key("default-network-opts", "map", "default-network-opt", since=(24, 0)),
    Key("default-ulimits", "map", "default-ulimit"),
    Key("deprecated-key-path", "text"),
    Key("dns-opts", "texts", "dns-opt"),
    Key("exec-opts", "texts", "exec-opt"),
    Key("features", "map"),  # a reload counts for some alone: not for cdi, nor for where images are stored
    Key("hosts", "texts", "host", "H"),
    Key("insecure-registries", "texts", "insecure-registry", reload=True),
    Key("labels", "texts", "label", reload=True),
    Key("log-opts", "map", "log-opt"),
    Key("node-generic-resources", "texts", "node-generic-resource"),
    Key("proxies", "map", since=(23, 0)),
    Key("registry-mirrors", "texts", "registry-mirror", reload=True),
    Key("runtimes", "map", "add-runtime", reload=True),
    Key("storage-opts", "texts", "storage-opt"),
]
_SHORT = {
    "bridge": "b",
    "debug": "D",
    "group": "G",
    "log-level": "l",
    "pidfile": "p",
    "storage-driver": "s",
}

KEYS: t.Mapping[str, Key] = {
    key.name: replace(key, short=_SHORT.get(key.name, key.short)) for key in sorted(_ALL, key=lambda key: key.name)
}

_SWITCH_LETTERS = frozenset(key.short for key in KEYS.values() if key.kind == "flag" and key.short)

# Whatever they are named: dictionaries of texts, in which the engine takes no number.
MAPS_OF_TEXTS = frozenset({"log-opts", "proxies"})


def known(version: tuple[int, int]) -> list[str]:
    """Return the keys of this table that an engine of a version knows, in order."""
    return [key.name for key in KEYS.values() if key.since <= version]


def checks_itself(version: tuple[int, int]) -> bool:
    """Tell whether an engine of this version can be asked about its own file."""
    return version >= VALIDATES


def flag_of(name: str) -> tuple[str, str]:
    """Return the long and the short option of dockerd that say the same as a key; what is unknown has its own name."""
    key = KEYS.get(name)
    return (key.flag, key.short) if key else (name, "")


def flags_in(arguments: t.Iterable[str]) -> frozenset[str]:
    """Return the options in arguments of dockerd: long ones by name, short ones by letter."""
    found = set()
    for word in arguments:
        if word.startswith("--"):
            found.add(word[2:].partition("=")[0])
        elif word.startswith("-"):
            for letter in word[1:].partition("=")[0]:
                found.add(letter)
                if letter not in _SWITCH_LETTERS:  # what follows is its value
                    break
    return frozenset(found)
