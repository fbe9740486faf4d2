# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.
"""Section 1 of the benchmark: the host. Facts in, evidence out; pure."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Control, Looked, Rule
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import (
    CONFIG,
    DATA_ROOT,
    Found,
    HostFacts,
    SystemFacts,
    deciding_rule,
    read_audit_rules,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_files import engine_sockets, present

PROGRAM_FOLDERS = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
OLDEST_LISTS = 30
"""Days; package lists that are older say nothing of what is the newest version."""

KERNEL: t.Mapping[str, tuple[str, ...]] = {
    "fs.protected_hardlinks": ("1",),
    "fs.protected_symlinks": ("1",),
    "fs.suid_dumpable": ("0", "2"),
    "kernel.dmesg_restrict": ("1",),
    "kernel.kptr_restrict": ("1", "2"),
    "kernel.randomize_va_space": ("2",),
    "kernel.unprivileged_bpf_disabled": ("1", "2"),
    "net.ipv4.conf.all.accept_redirects": ("0",),
    "net.ipv4.conf.all.accept_source_route": ("0",),
    "net.ipv4.conf.default.accept_redirects": ("0",),
    "net.ipv4.conf.default.accept_source_route": ("0",),
    "net.ipv4.icmp_echo_ignore_broadcasts": ("1",),
    "net.ipv4.tcp_syncookies": ("1",),
}
"""Kernel parameters of a hardened host and the values that they may have. Forwarding must stay on, for containers."""

NO_IPV6 = "net.ipv6.conf.all.disable_ipv6"
KERNEL_NAMES = (*KERNEL, NO_IPV6)
"""What must be known of the kernel."""

SSHD: t.Mapping[str, tuple[str, ...]] = {
    "passwordauthentication": ("no",),
    "kbdinteractiveauthentication": ("no",),
    "permitemptypasswords": ("no",),
    "permitrootlogin": ("no", "prohibit-password", "without-password", "forced-commands-only"),
}
"""What sshd of a hardened host goes by: nobody gets in with a password, nor with one that PAM asks for."""

# What each control wants watched: number, slug, what it is, and where it may be. Programs are looked for in
# PROGRAM_FOLDERS, since Debian has dockerd and runc in /usr/sbin.
_DATA = "1.1.5"  # the control about the engine's data

_WATCHED: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("1.1.3", "audit-dockerd", "the engine's program", ("dockerd",)),
    ("1.1.4", "audit-run-containerd", "containerd's state", ("/run/containerd",)),
    ("1.1.5", "audit-data-root", "the engine's data", (DATA_ROOT,)),
    ("1.1.6", "audit-etc-docker", "the engine's configuration", ("/etc/docker",)),
    ("1.1.7", "audit-docker-service", "the engine's unit", ()),
    (
        "1.1.8",
        "audit-containerd-sock",
        "containerd's socket",
        ("/run/containerd/containerd.sock", "/run/docker/containerd/containerd.sock"),
    ),
    ("1.1.9", "audit-docker-sock", "the engine's socket and its unit", ("/run/docker.sock",)),
    ("1.1.10", "audit-etc-default-docker", "the engine's defaults on Debian", ("/etc/default/docker",)),
    ("1.1.11", "audit-daemon-json", "daemon.json", (CONFIG,)),
    ("1.1.12", "audit-containerd-config", "containerd's configuration", ("/etc/containerd/config.toml",)),
    ("1.1.13", "audit-etc-sysconfig-docker", "the engine's defaults on Red Hat", ("/etc/sysconfig/docker",)),
    ("1.1.14", "audit-containerd", "containerd's program", ("containerd",)),
    ("1.1.15", "audit-containerd-shim", "containerd's first shim", ("containerd-shim",)),
    ("1.1.16", "audit-containerd-shim-runc-v1", "containerd's shim for runc, version 1", ("containerd-shim-runc-v1",)),
    ("1.1.17", "audit-containerd-shim-runc-v2", "containerd's shim for runc, version 2", ("containerd-shim-runc-v2",)),
    ("1.1.18", "audit-runc", "runc's program", ("runc",)),
)


def places(names: t.Iterable[str]) -> tuple[str, ...]:
    """Return each path at which one of these may be: a path itself, a program in any folder of programs."""
    return tuple(
        place
        for name in names
        for place in ([name] if name.startswith("/") else [f"{folder}/{name}" for folder in PROGRAM_FOLDERS])
    )


def watched_paths() -> tuple[str, ...]:
    """Return all paths that the rules of this section ask for, whether they are there or not."""
    return tuple(dict.fromkeys(place for *_words, names in _WATCHED for place in places(names)))


def _separate_partition(found: Found) -> Looked:
    if found.engine.silent:
        return Looked(unknown=found.engine.silent)
    root = found.engine.data_root
    if root in found.host.mounts:
        return Looked(seen=f"{root} is a file system of its own")
    return Looked((f"{root} shares its file system with the rest of the host",))


def _trusted_users(found: Found) -> Looked:
    host = found.host
    sockets, nothing = present(engine_sockets, found)
    if nothing is not None:
        return nothing
    users = {socket.group: host.socket_users.get(socket.group, ()) for socket in sockets}
    strangers = tuple(
        f"{name} is in group {group}"
        for group, names in users.items()
        for name in names
        if name not in ("root", *host.trusted)
    )
    return Looked(
        strangers, seen="; ".join(f"group {group}: {', '.join(names) or 'nobody'}" for group, names in users.items())
    )


def _watch(number: str, names: tuple[str, ...]) -> t.Callable[[Found], Looked]:
    def look(found: Found) -> Looked:
        host = found.host
        if host.container:
            return Looked(not_applicable=f"a container ({host.container}) has no audit of its own, its machine has")
        paths, problem = _to_watch(number, names, found)
        if problem:
            return Looked(unknown=problem)
        if not paths:
            return Looked(not_applicable=f"not on this host: {', '.join(names) or 'a unit file'}")
        return _watched(host, paths)

    return look


def _to_watch(number: str, names: tuple[str, ...], found: Found) -> tuple[list[str], str]:
    host = found.host
    paths = [place for place in places(names) if host.files[place].there]
    if number == _DATA:
        paths = [found.engine.data_root]
    units = {"1.1.7": host.service_units, "1.1.9": host.socket_units}.get(number)
    return [*paths, *(units.paths if units else ())], units.problem if units else ""


def _watched(host: HostFacts, paths: t.Iterable[str]) -> Looked:
    audit = host.audit
    if not audit.installed:
        return Looked(("auditd is not installed",))
    if audit.problem:
        return Looked(unknown=audit.problem)
    # A rule on a path that was no folder when it was loaded looks like one on a folder.
    rules = [
        replace(rule, below=False) if rule.path in host.files and host.files[rule.path].kind != "folder" else rule
        for rule in read_audit_rules(audit.lines)
    ]
    missing = []
    for path in paths:
        fact = host.files.get(path)
        names = {path, fact.real if fact and fact.real else path}
        rule = deciding_rule(rules, names)
        if rule is None:
            missing.append(f"{path}: no rule tells of writes and changed attributes")
        elif rule.never:
            missing.append(f"{path}: the first rule about it says never ({rule.path or 'of everything'})")
    if missing or audit.enabled:
        return Looked(tuple(missing), seen=f"rules for {', '.join(paths)}")
    return Looked(("the rules are loaded, and the kernel's audit is off",))


def _hardened(found: Found) -> Looked:
    system, evidence = found.host.system, []
    # Within a container only the network is the host's own; all else is the outer machine's.
    inside = bool(found.host.container)
    for name, allowed in KERNEL.items():
        value = system.kernel.get(name)
        if value is not None and value not in allowed and not (inside and not name.startswith("net.")):
            evidence.append(f"kernel: {name} is {value}, not {' or '.join(allowed)}")
    for option, allowed in SSHD.items():
        value = system.sshd.get(option)
        if value is not None and value not in allowed:
            evidence.append(f"ssh: {option} is {value}, not {' or '.join(allowed)}")
    if not inside and system.clock_synchronised is False:
        evidence.append("time: nothing keeps the clock right")
    if not system.firewall_problem:
        evidence += _firewall(system)
    problems = [problem for problem in (system.sshd_problem, system.firewall_problem) if problem]
    if problems and not evidence:
        return Looked(unknown="; ".join(problems))
    return Looked((*evidence, *problems), seen="kernel, ssh, time and firewall are as they should be")


def _firewall(system: SystemFacts) -> list[str]:
    """Return by which version of IP packets that no rule names come in; chains of family inet see both."""
    dropping = {chain.partition(" ")[0] for chain, policy in system.input_policies.items() if policy == "drop"}
    versions = {"ip": "IPv4", **({} if system.kernel.get(NO_IPV6) == "1" else {"ip6": "IPv6"})}
    return [
        f"firewall: what no rule names comes in by {version}"
        for family, version in versions.items()
        if not dropping & {family, "inet"}
    ]


def _engine_version(found: Found) -> Looked:
    package = found.host.package
    if package.problem:
        return Looked(unknown=package.problem)
    if package.installed != package.candidate:
        return Looked((f"{package.name} {package.installed} is installed, apt has {package.candidate}",))
    if package.lists_age is None or package.lists_age > OLDEST_LISTS:
        age = "never fetched" if package.lists_age is None else f"{package.lists_age} days old"
        return Looked(unknown=f"whether {package.name} {package.installed} is the newest: apt's lists are {age}")
    return Looked(seen=f"{package.name} {package.installed}, of lists {package.lists_age} days old")


def _audited(number: str, slug: str, what: str, names: tuple[str, ...]) -> Rule[Found]:
    control = Control(
        number,
        slug,
        f"Use of {what} is audited",
        f"Have docker_host_audit_rules write the rules, or add a rule for {', '.join(names) or 'the unit files'} "
        "to /etc/audit/rules.d and run augenrules --load",
        "opt-in" if number == _DATA else "enforced",
        "audit_rules",
        "each file that a container writes becomes a record, which fills disks" if number == _DATA else "",
    )
    return Rule(control, _watch(number, names))


_RULES: tuple[Rule[Found], ...] = (
    Rule(
        Control(
            "1.1.1",
            "separate-partition",
            "The engine's data have a file system of their own",
            "Mount one on the engine's data root before anything is in it",
            "recorded",
            why="disks are laid out when a machine is installed, and a role must not do it again; what fills the data "
            "root is limited instead: logs by the engine, images by the releases that are kept",
        ),
        _separate_partition,
    ),
    Rule(
        Control(
            "1.1.2",
            "trusted-users",
            "Only people who may be root can use the engine",
            "Take them out (gpasswd --delete <user> <group>), or name them in trusted_users",
            "enforced",
            "users",
        ),
        _trusted_users,
    ),
    *(_audited(*watched) for watched in _WATCHED),
    Rule(
        Control(
            "1.2.1",
            "host-hardened",
            "The machine below the engine is hardened",
            "Have role docker_host harden kernel, ssh, time and firewall",
            "enforced",
            "kernel, firewall, ssh, time",
        ),
        _hardened,
    ),
    Rule(
        Control(
            "1.2.2",
            "engine-version",
            "The engine is the newest that the host's package sources have",
            "Fetch the lists (apt-get update, or bring a newer depot), then upgrade the engine's package",
            "recorded",
            why="an upgrade restarts the engine, so people say when that may be; the audit says that there is one",
        ),
        _engine_version,
    ),
)

HOST_CONTROLS = tuple(rule.control for rule in _RULES)


def look_at_host(found: Found) -> dict[str, Looked]:
    """Return what each rule of this section found, by its slug."""
    return {rule.control.slug: rule.look(found) for rule in _RULES}
