# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The rules about containers: facts in, evidence out, for what runs and for what a document says shall run. Pure.

A cause is said once: that a privileged container has every device and every capability is not held against it by the
rules about those.
"""

from __future__ import annotations

import posixpath
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_compose_facts import (
    CPU_KEYS,
    facts_of_service,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_container_controls import (
    CONTAINER_CONTROLS,
    ENGINE_CONTROLS,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_container_facts import (
    ContainerFacts,
    Engine,
    Mounted,
    Published,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Control, Looked
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_images import USER_CONTROL
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError

__all__ = [
    "CONTAINER_CONTROLS",
    "ENGINE_CONTROLS",
    "RULES",
    "Level",
    "Rule",
    "look_at_compose",
    "look_at_container",
    "look_at_engine",
]

Level = t.Literal["fail", "warn", "off"]
"""What a violation is in a stack of whose rules nobody said anything; off is not asked for."""

DANGEROUS_CAPABILITIES = frozenset(
    {
        "ALL",
        *("AUDIT_CONTROL", "BPF", "CHECKPOINT_RESTORE", "DAC_READ_SEARCH", "MAC_ADMIN", "MAC_OVERRIDE", "NET_ADMIN"),
        *("PERFMON", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO", "SYS_TIME"),
    }
)
"""Capabilities that rule the host, or lead there, from inside a container."""

DEFAULT_CAPABILITIES = frozenset(
    {
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    }
)
"""What the engine gives a container that says nothing."""

_SENSITIVE = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr"),
    *("/var/lib/containerd", "/var/lib/docker", "/var/run", "/var/spool/cron"),
)
# What containers are given as a matter of course, and cannot hurt where they only read it; a stack's own secrets.
_HARMLESS_TO_READ = (
    *("/etc/ca-certificates", "/etc/fleet/secrets", "/etc/localtime", "/etc/ssl/certs", "/etc/timezone"),
    *("/usr/share/ca-certificates", "/usr/share/zoneinfo"),
)
_HARMLESS = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_SOCKETS = re.compile(r".*/(?:docker|containerd|podman|crio|buildkitd)\.sock(?:\.raw)?")
# Disks and memory: who has one of these has the host.
_DANGEROUS_DEVICES = re.compile(
    r"/dev|/dev/(?:mem|kmem|port|kvm|disk(?:/.*)?|mapper(?:/.*)?|[shv]d[a-z]\d*|xvd[a-z]\d*|nvme.*|mmcblk.*|dm-.*|md\d.*"
    r"|loop.*|sg\d+|fuse)"
)
_DANGEROUS_RULES = re.compile(r"\s*(?:a|b)\b.*|\s*c\s+(?:\*|1:(?:\*|[124])\b).*")
_EVERYWHERE = ("", "0.0.0.0", "::", "[::]", "*")
_SSHD = re.compile(r"(?:\S*/)?sshd(?:-session)?:?")


@dataclass(frozen=True)
class Rule:
    """A control, how it is looked at, and what a violation is in a stack that says nothing of it.

    `level` may hang on the facts: some capabilities are worse than others. `keys` are the keys of a Compose service
    that the rule reads, the likeliest first.
    """

    control: Control
    look: t.Callable[[ContainerFacts], Looked]
    level: t.Callable[[ContainerFacts], Level]
    keys: tuple[str, ...]


def look_at_container(facts: ContainerFacts) -> dict[str, Looked]:
    """Return what each rule about containers says, by the slug of its control, that of the user (4.1) included."""
    return {rule.control.slug: rule.look(facts) for rule in RULES}


def look_at_engine(engine: Engine) -> dict[str, Looked]:
    """Return what section 5 asks of the engine itself, by the slug of the control."""
    if engine.swarm is None:
        return {"swarm-mode": Looked(not_applicable="which engine will run it is not in a document")}
    return {"swarm-mode": Looked(("this engine is part of a Swarm",)) if engine.swarm else Looked(seen="no Swarm")}


def look_at_compose(document: t.Any) -> dict[str, dict[str, Looked]]:
    """Return what the rules say of each service of a Compose document, by the service's name and the control's slug.

    :raises HostError: it is no Compose document.
    """
    services = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, dict) or not all(isinstance(one, dict) for one in services.values()):
        raise HostError(
            "this is no Compose document: it must be a mapping with the key services, a mapping of names to services. "
            "`docker compose config --format json` prints one",
            reason="compose_invalid",
        )
    return {str(name): look_at_container(facts_of_service(str(name), one, document)) for name, one in services.items()}


def _found(evidence: t.Iterable[str], seen: str) -> Looked:
    found = tuple(dict.fromkeys(evidence))
    return Looked(found) if found else Looked(seen=seen)


def _apparmor(facts: ContainerFacts) -> Looked:
    if facts.option("apparmor") == "unconfined":
        return Looked(("apparmor=unconfined in security_opt",))
    if facts.engine.apparmor is False:
        return Looked(not_applicable="this host's engine does not use AppArmor")
    if facts.apparmor == "unconfined":
        return Looked(("its profile is unconfined",))
    return Looked(seen=f"profile {facts.option('apparmor') or facts.apparmor or 'of the engine'}")


def _selinux(facts: ContainerFacts) -> Looked:
    off = facts.option("label") == "disable"
    # The engine writes label=disable by itself there.
    if facts.running and (facts.privileged or "host" in (facts.pid, facts.ipc)):
        return Looked(not_applicable="the engine turns it off for what shares the host, which is held against it there")
    if off and facts.engine.selinux is not False:
        return Looked(("label=disable in security_opt",))
    if facts.engine.selinux is None:
        return Looked(not_applicable="whether the host has SELinux is not in a document")
    if not facts.engine.selinux:
        return Looked(not_applicable="this host's engine does not use SELinux")
    return Looked(seen=facts.process_label) if facts.process_label else Looked(("it has no label",))


def _capabilities(facts: ContainerFacts) -> Looked:
    if facts.privileged:
        return Looked(not_applicable="privileged: it has every capability, which is held against it there (5.5)")
    added = [name for name in facts.cap_add if name not in DEFAULT_CAPABILITIES]
    evidence = [f"adds {name}{', which rules the host' if name in DANGEROUS_CAPABILITIES else ''}" for name in added]
    if not ("ALL" in facts.cap_drop or set(facts.cap_drop) >= DEFAULT_CAPABILITIES):
        evidence.append("keeps capabilities that it was not given by name: cap_drop is not ALL")
    return _found(evidence, f"none but {', '.join(facts.cap_add)}" if facts.cap_add else "none")


def _capabilities_level(facts: ContainerFacts) -> Level:
    return "fail" if DANGEROUS_CAPABILITIES & set(facts.cap_add) else "warn"


def _privileged(facts: ContainerFacts) -> Looked:
    return _found(["it is privileged"] if facts.privileged else [], "not privileged")


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _is_sensitive(mount: Mounted) -> bool:
    source = mount.source
    if not mount.bind or not source.startswith("/") or source in _HARMLESS or _SOCKETS.fullmatch(source):
        return False
    if mount.read_only and any(_is_below(source, path) for path in _HARMLESS_TO_READ):
        return False
    return source == "/" or any(_is_below(source, path) or _is_below(path, source) for path in _SENSITIVE)


def _host_paths(facts: ContainerFacts) -> Looked:
    return _of_mounts(facts, filter(_is_sensitive, facts.mounts), "none of the host's own")


def _of_mounts(facts: ContainerFacts, mounts: t.Iterable[Mounted], seen: str) -> Looked:
    looked = _found(map(str, mounts), seen)
    return Looked(unknown=facts.mounts_problem) if facts.mounts_problem and not looked.evidence else looked


def _ssh_server(facts: ContainerFacts) -> Looked:
    ran = [*facts.command[:1], *(line.split()[0] for line in facts.processes or () if line.split())]
    evidence = [f"runs {word}" for word in ran if _SSHD.fullmatch(word)]
    evidence += [f"publishes port 22 of the container: {port}" for port in facts.ports if port.target == "22"]
    if evidence or facts.processes is not None:
        return _found(evidence, f"{len(facts.processes or ())} processes, none of them sshd")
    if facts.running:
        return Looked(unknown="what runs inside: its processes are not told from the host's, or it has none just now")
    return Looked(not_applicable="nothing runs inside before it runs")


def _is_low(port: Published) -> bool:
    first = port.port.partition("-")[0]
    return first.isdigit() and 0 < int(first) < 1024


def _privileged_ports(facts: ContainerFacts) -> Looked:
    return _found((f"port {port}" for port in facts.ports if _is_low(port)), "no port below 1024")


def _needed_ports(facts: ContainerFacts) -> Looked:
    published = ", ".join(map(str, facts.ports)) or "none"
    return Looked(unseen=f"which are needed, only who runs it knows; published: {published}")


def _port_address(facts: ContainerFacts) -> Looked:
    wide = [port for port in facts.ports if port.address in _EVERYWHERE]
    return _found((f"port {port} on every address of the host" for port in wide), "on chosen addresses only")


def _memory(facts: ContainerFacts) -> Looked:
    memory = facts.limits.memory
    return Looked(seen=f"{memory} bytes") if memory else Looked(("no limit of memory",))


def _cpu(facts: ContainerFacts) -> Looked:
    return Looked(seen=facts.limits.cpu) if facts.limits.cpu else Looked(("nothing is said of processors",))


def _pids(facts: ContainerFacts) -> Looked:
    pids = facts.limits.pids
    return Looked(seen=f"{pids} processes") if pids > 0 else Looked(("no limit of processes",))


def _read_only(facts: ContainerFacts) -> Looked:
    return Looked(seen="read-only") if facts.read_only else Looked(("its root file system can be written",))


def _restart(facts: ContainerFacts) -> Looked:
    name, _colon, most = facts.restart.partition(":")
    if name in ("", "no"):
        return Looked(seen="it is not started again")
    if name != "on-failure":
        return Looked((f"restart: {facts.restart} has no end",))
    if not most.isdigit() or not 0 < int(most) <= 5:
        return Looked((f"restart: {facts.restart}; at most 5 attempts are allowed",))
    return Looked(seen=facts.restart)


def _namespace(facts: ContainerFacts, mode: str, key: str) -> Looked:
    return Looked((f"{key}: host",)) if mode == "host" else Looked(seen=mode or "its own")


def _devices(facts: ContainerFacts) -> Looked:
    handed = [f"device {path}" for path in facts.devices if path not in _HARMLESS]
    handed += [f"device by request: {request}" for request in facts.device_requests]
    return _found([*handed, *(f"device rule {rule}" for rule in facts.device_rules)], "none")


def _devices_level(facts: ContainerFacts) -> Level:
    disks = any(_DANGEROUS_DEVICES.fullmatch(posixpath.normpath(path)) for path in facts.devices)
    return "fail" if disks or any(_DANGEROUS_RULES.fullmatch(rule) for rule in facts.device_rules) else "warn"


def _ulimits(facts: ContainerFacts) -> Looked:
    lifted = [name for name, soft, hard in facts.ulimits if -1 in (soft, hard)]
    names = ", ".join(name for name, _soft, _hard in facts.ulimits)
    return _found((f"{name} has no limit" for name in lifted), f"limits of {names}" if names else "the engine's own")


def _propagation(facts: ContainerFacts) -> Looked:
    shared = [mount for mount in facts.mounts if mount.propagation in ("shared", "rshared")]
    return _found((f"{mount} is {mount.propagation}" for mount in shared), "nothing is shared")


def _seccomp(facts: ContainerFacts) -> Looked:
    profile = facts.option("seccomp")
    if profile == "unconfined":
        return Looked(("seccomp=unconfined in security_opt",))
    if profile in (None, "") and facts.engine.seccomp is False:
        return Looked(("the engine has no seccomp profile, and the container brings none",))
    # A profile of one's own is the whole document in what the engine says of the container.
    return Looked(seen="a profile of its own" if profile and profile != "builtin" else "the engine's profile")


def _exec(facts: ContainerFacts) -> Looked:
    if not facts.running:
        return Looked(not_applicable="nobody runs commands in what does not run yet")
    return Looked(unseen="the engine keeps no record of what was run in a container with docker exec")


def _cgroup_parent(facts: ContainerFacts) -> Looked:
    return _found([f"cgroup_parent: {facts.cgroup_parent}"] if facts.cgroup_parent else [], "the engine's own")


def _new_privileges(facts: ContainerFacts) -> Looked:
    said = facts.option("no-new-privileges")
    if said in ("", "true") or (said is None and facts.engine.no_new_privileges):
        return Looked(seen="no-new-privileges")
    return Looked(("no-new-privileges is not set",))


def _health(facts: ContainerFacts) -> Looked:
    if facts.job:
        return Looked(not_applicable="a job has no health, it ends")
    if facts.health and facts.health[0] != "NONE":
        return Looked(seen="it is checked")
    off = "the health check is turned off" if facts.health else "no health check"
    return Looked((off,))


def _image_version(facts: ContainerFacts) -> Looked:
    image = facts.image
    if not image:
        return Looked(not_applicable="it is built, and has no name that could move")
    if "$" in image or image.startswith("sha256:") or re.fullmatch("[0-9a-f]{12,64}", image):
        return Looked(seen=image)
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    if "@" in image or tag not in ("", "latest"):
        return Looked(seen=image)
    return Looked((f"{image} is whatever was the latest when it was pulled",))


def _default_bridge(facts: ContainerFacts) -> Looked:
    shared = facts.network in ("bridge", "default") or "bridge" in facts.networks
    return _found(["it is on docker0"] if shared else [], facts.network or "a network of its own")


def _sockets(facts: ContainerFacts) -> Looked:
    mounts = (mount for mount in facts.mounts if _SOCKETS.fullmatch(mount.source))
    return _of_mounts(facts, mounts, "no socket of an engine")


def _user(facts: ContainerFacts) -> Looked:
    if facts.user is None:
        return Looked(not_applicable="the user is the image's")
    name = facts.user.partition(":")[0]
    if name in ("", "root") or (name.isdigit() and int(name) == 0):
        return Looked((f"it runs as root (user: {facts.user})" if name else "it runs as root: it names no user",))
    return Looked(seen=facts.user)


_LevelOf = t.Union[Level, t.Callable[[ContainerFacts], Level]]


def _level(level: _LevelOf) -> t.Callable[[ContainerFacts], Level]:
    return level if callable(level) else lambda _facts: level


_LIMITS = ("deploy",)
_ROWS: tuple[tuple[str, t.Callable[[ContainerFacts], Looked], _LevelOf, tuple[str, ...]], ...] = (
    ("apparmor-profile", _apparmor, "fail", ("security_opt",)),
    ("selinux-labels", _selinux, "fail", ("security_opt",)),
    ("capabilities", _capabilities, _capabilities_level, ("cap_add", "cap_drop")),
    ("privileged", _privileged, "fail", ("privileged",)),
    ("host-paths", _host_paths, "fail", ("volumes", "secrets", "configs")),
    ("ssh-server", _ssh_server, "warn", ("command", "entrypoint", "ports")),
    ("privileged-ports", _privileged_ports, "warn", ("ports",)),
    ("needed-ports", _needed_ports, "off", ("ports",)),
    ("host-network", lambda facts: _namespace(facts, facts.network, "network_mode"), "fail", ("network_mode",)),
    ("memory-limit", _memory, "warn", ("mem_limit", *_LIMITS)),
    ("cpu-limit", _cpu, "warn", (*CPU_KEYS, *_LIMITS)),
    ("read-only-root", _read_only, "warn", ("read_only",)),
    ("port-address", _port_address, "warn", ("ports",)),
    ("restart-limit", _restart, "off", ("restart",)),
    ("host-pid", lambda facts: _namespace(facts, facts.pid, "pid"), "fail", ("pid",)),
    ("host-ipc", lambda facts: _namespace(facts, facts.ipc, "ipc"), "fail", ("ipc",)),
    ("devices", _devices, _devices_level, ("devices", "gpus", "device_cgroup_rules", *_LIMITS)),
    ("container-ulimits", _ulimits, "warn", ("ulimits",)),
    ("mount-propagation", _propagation, "fail", ("volumes",)),
    ("host-uts", lambda facts: _namespace(facts, facts.uts, "uts"), "fail", ("uts",)),
    ("seccomp-profile", _seccomp, "fail", ("security_opt",)),
    ("exec-privileged", _exec, "off", ()),
    ("exec-root", _exec, "off", ()),
    ("cgroup-parent", _cgroup_parent, "warn", ("cgroup_parent",)),
    ("new-privileges", _new_privileges, "warn", ("security_opt",)),
    ("health-check", _health, "warn", ("healthcheck",)),
    ("image-version", _image_version, "warn", ("image",)),
    ("pids-limit", _pids, "warn", ("pids_limit", *_LIMITS)),
    ("default-bridge", _default_bridge, "warn", ("network_mode",)),
    ("host-userns", lambda facts: _namespace(facts, facts.userns, "userns_mode"), "fail", ("userns_mode",)),
    ("docker-socket-mounted", _sockets, "fail", ("volumes", "use_api_socket")),
    ("image-user", _user, "warn", ("user",)),
)
_CONTROLS = {control.slug: control for control in (*CONTAINER_CONTROLS, USER_CONTROL)}
RULES = tuple(Rule(_CONTROLS[slug], look, _level(level), keys) for slug, look, level, keys in _ROWS)
"""The rules about containers: those of section 5, in its order, and of section 4 who the container runs as."""
