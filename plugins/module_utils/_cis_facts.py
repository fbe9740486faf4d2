# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What an audit found on a host and at its engine. Pure; rules judge it, _cis_look gathers it.

Whatever could not be looked at says why in a `problem`; a rule that needs it must not let that pass.
"""

from __future__ import annotations

import shlex
import typing as t
from dataclasses import dataclass, field

CONFIG = "/etc/docker/daemon.json"
DATA_ROOT = "/var/lib/docker"

# What `docker info` says on every engine; its values may be null.
_SAID = (
    *("Driver", "ExperimentalBuild", "LiveRestoreEnabled", "LoggingDriver", "Plugins", "RegistryConfig"),
    *("SecurityOptions", "ServerVersion", "Swarm"),
)

Kind = t.Literal["absent", "file", "folder", "socket", "other"]


@dataclass(frozen=True)
class FileFact:
    """A path as it is on the host; of a link that to which it leads.

    :ivar mode: permission bits, 0o7777 at most; meaningless where it is absent.
    :ivar problem: why nothing could be told; kind is `other` then.
    """

    path: str
    kind: Kind = "absent"
    mode: int = 0
    owner: str = ""
    group: str = ""
    real: str = ""
    problem: str = ""

    @property
    def there(self) -> bool:
        return self.kind != "absent"


@dataclass(frozen=True)
class Listing:
    """Paths of one purpose; `problem` says why there may be more than these."""

    paths: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class AuditFacts:
    """The kernel's audit rules as `auditctl -l` prints them.

    :ivar enabled: whether the kernel writes events at all.
    """

    lines: tuple[str, ...] = ()
    enabled: bool = False
    installed: bool = False
    problem: str = ""


@dataclass(frozen=True)
class PackageFacts:
    """The engine's package: what is installed and what apt could install.

    :ivar lists_age: days since apt last fetched its lists; None where it has none.
    """

    name: str = ""
    installed: str = ""
    candidate: str = ""
    lists_age: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class SystemFacts:
    """What tells whether the machine below the engine is hardened.

    :ivar kernel: value by the name of a kernel parameter, those that there are.
    :ivar sshd: what sshd goes by, by its option in small letters; empty without sshd.
    :ivar clock_synchronised: what the kernel says of the clock; None where it says nothing.
    :ivar input_policies: what happens to packets for this machine that no rule names, by chain.
    """

    kernel: t.Mapping[str, str] = field(default_factory=dict)
    sshd: t.Mapping[str, str] = field(default_factory=dict)
    sshd_problem: str = ""
    clock_synchronised: bool | None = None
    input_policies: t.Mapping[str, str] = field(default_factory=dict)
    firewall_problem: str = ""


@dataclass(frozen=True)
class HostFacts:
    """A host, apart from what its engine says.

    :ivar container: what the host itself runs in (`docker`), empty for a machine.
    :ivar files: each path that a rule may ask for.
    :ivar socket_listens: the network addresses on which systemd listens for the engine; `socket_paths` are the paths,
        `socket_group` is the group that the unit gives them.
    :ivar socket_users: who is in each group that a socket of the engine belongs to, by the group's name.
    :ivar trusted: who may be, as the task says.
    """

    container: str = ""
    files: t.Mapping[str, FileFact] = field(default_factory=dict)
    service_units: Listing = Listing()
    socket_units: Listing = Listing()
    socket_listens: tuple[str, ...] = ()
    socket_paths: Listing = Listing()
    socket_group: str = "root"
    certificates: Listing = Listing()
    audit: AuditFacts = AuditFacts()
    socket_users: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trusted: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    package: PackageFacts = PackageFacts()
    system: SystemFacts = SystemFacts()


@dataclass(frozen=True)
class SwarmFacts:
    """What only a member of a Swarm has.

    :ivar state: addresses by their name in the engine's docker-state.json.
    :ivar networks: options by the name of an overlay network.
    :ivar environments: environment (`NAME=value`) by the name of a service; a manager knows, others do not.
    """

    state: t.Mapping[str, t.Any] = field(default_factory=dict)
    state_problem: str = ""
    networks: t.Mapping[str, t.Mapping[str, str]] = field(default_factory=dict)
    networks_problem: str = ""
    environments: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    services_problem: str = ""


@dataclass(frozen=True)
class StoredImage:
    """An image that the engine has; without a name and a digest nobody can ask for it."""

    id: str
    name: str = ""
    digest: str = ""


@dataclass(frozen=True)
class EngineFacts:
    """The engine.

    :ivar problem: why it does not answer; then only its options are known.
    :ivar info: its own account of itself, as `docker info` gives it.
    :ivar bridge: options of the network `bridge`; None where there is none.
    :ivar options: what it was started with, by the names of daemon.json: the file and the flags together.
    :ivar options_problem: why they are not known.
    :ivar pending: says since when daemon.json differs from what the engine has read, if it does.
    :ivar containers: every container, as `docker container inspect` gives it.
    :ivar commands: command lines that run in a container, by its id, where they can be seen.
    :ivar volumes: options of the driver of each volume that a running container has, by its name.
    :ivar used: each image that a running container is made from, as `docker image inspect` gives it, and its history,
        the last step first.
    """

    problem: str = ""
    info: t.Mapping[str, t.Any] = field(default_factory=dict)
    bridge: t.Mapping[str, str] | None = None
    bridge_problem: str = ""
    options: t.Mapping[str, t.Any] = field(default_factory=dict)
    options_problem: str = ""
    pending: str = ""
    containers: tuple[t.Mapping[str, t.Any], ...] = ()
    containers_problem: str = ""
    commands: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    volumes: t.Mapping[str, t.Mapping[str, t.Any]] = field(default_factory=dict)
    volumes_problem: str = ""
    used: tuple[tuple[t.Mapping[str, t.Any], tuple[str, ...]], ...] = ()
    used_problem: str = ""
    images: tuple[StoredImage, ...] = ()
    images_problem: str = ""
    swarm: SwarmFacts = SwarmFacts()

    @property
    def silent(self) -> str:
        """Why its own word is not to be had: it does not answer, or what answers leaves out what an engine says."""
        missing = [name for name in _SAID if self.info.get(name, ...) is ...]
        return self.problem or (f"docker info does not say {', '.join(missing)}" if missing else "")

    @property
    def running(self) -> tuple[t.Mapping[str, t.Any], ...]:
        """The containers that have a process, or are between two: the engine is about to start them again."""
        states = ((one, one.get("State") or {}) for one in self.containers)
        return tuple(one for one, state in states if state.get("Pid") or state.get("Restarting"))

    @property
    def security(self) -> dict[str, str]:
        """Security options by name; of `name=seccomp,profile=builtin` the profile, else an empty string."""
        found = {}
        for option in self.info.get("SecurityOptions") or ():
            words = dict(word.partition("=")[::2] for word in str(option).split(","))
            found[words.get("name", str(option))] = words.get("profile", "")
        return found

    @property
    def in_swarm(self) -> bool:
        return bool((self.info.get("Swarm") or {}).get("LocalNodeState") not in (None, "", "inactive"))

    @property
    def data_root(self) -> str:
        """Where the engine keeps its data; with remapped users one folder above that of their ids."""
        root = str(self.info.get("DockerRootDir") or self.options.get("data-root") or DATA_ROOT)
        return root.rpartition("/")[0] if "userns" in self.security else root


@dataclass(frozen=True)
class Found:
    """All that an audit looked at."""

    host: HostFacts
    engine: EngineFacts


# Flags of dockerd whose option in daemon.json is called otherwise (the file has the plural of what may be repeated).
_NAMES = {
    "D": "debug",
    "G": "group",
    "H": "hosts",
    "l": "log-level",
    "p": "pidfile",
    "s": "storage-driver",
    "authorization-plugin": "authorization-plugins",
    "default-ulimit": "default-ulimits",
    "host": "hosts",
    "insecure-registry": "insecure-registries",
    "label": "labels",
    "log-opt": "log-opts",
    "registry-mirror": "registry-mirrors",
    "storage-opt": "storage-opts",
}
_LISTS = ("authorization-plugins", "hosts", "insecure-registries", "labels", "registry-mirrors", "storage-opts")
_MAPPINGS = ("default-ulimits", "log-opts")
# Flags that take no word after them.
_SWITCHES = (
    *("allow-direct-routing", "cri-containerd", "debug", "experimental", "help", "icc", "init", "ip-forward"),
    *("ip-forward-no-drop", "ip-masq", "ip6tables", "iptables", "ipv6", "live-restore", "no-new-privileges"),
    *("raw-logs", "rootless", "selinux-enabled", "tls", "tlsverify", "userland-proxy", "validate", "version"),
)


def read_flags(argv: t.Sequence[str]) -> dict[str, t.Any]:
    """Return what a command line of dockerd sets (without the program), by the names of daemon.json.

    A word that begins with `-` is no value, for a flag that nobody knows here may take none.
    """
    options: dict[str, t.Any] = {}
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("--") and len(name) > 1:
            if _NAMES.get(name[0]) in _SWITCHES:  # -DH fd://
                words.insert(0, f"-{word[2:]}")
                name, equals, value = name[0], "", ""
            else:  # -Hfd://
                name, equals, value = name[0], "=", name[1:] + equals + value
        name = _NAMES.get(name, name)
        if not equals and name not in _SWITCHES and words and not words[0].startswith("-"):
            value = words.pop(0)
        _set(options, name, value, bool(equals))
    return options


def _set(options: dict[str, t.Any], name: str, value: str, given: bool) -> None:
    if name in _SWITCHES:
        options[name] = value.lower() in ("1", "t", "true") if given else True
    elif name in _LISTS:
        options.setdefault(name, []).append(value)
    elif name in _MAPPINGS:
        key, _equals, rest = value.partition("=")
        options.setdefault(name, {})[key] = rest
    else:
        options[name] = value


@dataclass(frozen=True)
class AuditRule:
    """A rule that makes the kernel tell of all use of a path, or of none.

    :ivar below: whether of what is in the folder too.
    :ivar permissions: of which use, some of `rwxa` (read, write, execute, change of attributes).
    :ivar never: it makes the kernel keep silent, for some users or calls at least; without a path of everything.
    """

    path: str
    below: bool
    permissions: frozenset[str]
    never: bool = False

    def covers(self, path: str) -> bool:
        """Tell whether it is about each write to a path and each change of its owner and mode."""
        same = path == self.path or (self.below and path.startswith(f"{self.path}/"))
        return same and (self.never or {"w", "a"} <= self.permissions)


def deciding_rule(rules: t.Iterable[AuditRule], names: t.Collection[str]) -> AuditRule | None:
    """Return the rule by which the kernel tells of a path, or does not: the first that covers one of its names."""
    return next((rule for rule in rules if any(rule.covers(name) for name in names)), None)


def read_audit_rules(lines: t.Iterable[str]) -> list[AuditRule]:
    """Read what `auditctl -l` prints, in the kernel's order: rules about tasks come before those about calls.

    Rules that tell of something for some users or calls only do not count.
    """
    words = [shlex.split(line) for line in lines]
    rules = (_audit_rule(one) for one in sorted(words, key=lambda one: not _AUDIT_TASK & set(one)))
    return [rule for rule in rules if rule is not None]


_AUDIT_TASK = {"never,task", "task,never"}
_AUDIT_NEVER = {"never,exit", "exit,never", *_AUDIT_TASK}


def _audit_rule(words: list[str]) -> AuditRule | None:
    path, below, permissions, narrow = "", False, "rwxa", False
    never = bool(_AUDIT_NEVER & set(words))
    for flag, value in zip(words, words[1:]):
        if flag == "-w":
            path, below = value, True
        elif flag == "-p":
            permissions = value
        elif flag == "-a":
            narrow |= "always" not in value.split(",")
        elif flag == "-C" or (flag == "-S" and value != "all"):
            narrow = True
        elif flag == "-F":
            name, equals, field_value = value.partition("=")
            if name in ("path", "dir") and equals:
                path, below = field_value, name == "dir"
            elif name == "perm" and equals:
                permissions = field_value
            elif name not in ("key", "arch"):
                narrow = True
    if (narrow or not path) and not never:
        return None
    return AuditRule(path.rstrip("/"), below or not path, frozenset(permissions), never)
