# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.
"""Section 3 of the benchmark: owner and mode of the engine's files. Facts in, evidence out; pure."""

from __future__ import annotations

import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Control, Looked, Rule
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import (
    CONFIG,
    EngineFacts,
    FileFact,
    Found,
    Listing,
)

ENGINE_GROUP = "docker"
"""The group whose members may use the engine, unless its options or docker.socket name another."""

CERTIFICATES = "/etc/docker/certs.d"
SOCKET = "/run/docker.sock"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
OWN_CONTAINERD_SOCKET = "/run/docker/containerd/containerd.sock"
FIXED = ("/etc/docker", CONFIG, "/etc/default/docker", "/etc/sysconfig/docker")
SOCKETS = (CONTAINERD_SOCKET, OWN_CONTAINERD_SOCKET)

# Where the engine looks for its keys when it is told to use TLS and not where they are.
_TLS_DEFAULTS = {
    "tlscacert": "/root/.docker/ca.pem",
    "tlscert": "/root/.docker/cert.pem",
    "tlskey": "/root/.docker/key.pem",
}

Select = t.Callable[[Found], Listing]


def _fixed(*paths: str) -> Select:
    return lambda found: Listing(paths)


def _service(found: Found) -> Listing:
    return found.host.service_units


def _socket_unit(found: Found) -> Listing:
    return found.host.socket_units


def _certificates(found: Found) -> Listing:
    return found.host.certificates


def engine_sockets(found: Found) -> Listing:
    """Return where sockets of the engine may be: its own, and those that systemd opens for it."""
    problem = found.engine.options_problem or found.host.socket_units.problem or found.host.socket_paths.problem
    if problem:
        return Listing(problem=problem)
    told = [str(host)[len("unix://") :] for host in _hosts(found) if host.startswith("unix:///")]
    paths = [SOCKET, *(path.replace("/var/run/", "/run/", 1) for path in told), *found.host.socket_paths.paths]
    return Listing(tuple(dict.fromkeys(paths)))


def _hosts(found: Found) -> list[str]:
    return [str(host) for host in found.engine.options.get("hosts") or ()]


def _group_of_socket(found: Found, path: str) -> str:
    """Return the group that a socket of the engine is to have: of one that systemd opens, the unit says it."""
    by_systemd = any(host.startswith("fd:") for host in _hosts(found))
    if by_systemd and path in found.host.socket_paths.paths:
        return found.host.socket_group
    return str(found.engine.options.get("group") or ENGINE_GROUP)


def _tls(option: str) -> Select:
    def select(found: Found) -> Listing:
        engine = found.engine
        if engine.options_problem:
            return Listing(problem=engine.options_problem)
        path = tls_path(engine, option)
        return Listing((path,) if path else ())

    return select


def tls_path(engine: EngineFacts, option: str) -> str:
    """Return where the engine has its authority, certificate or key (`tlscacert`, …); empty where it uses no TLS."""
    told = str(engine.options.get(option) or "")
    in_use = bool(engine.options.get("tls") or engine.options.get("tlsverify"))
    return told or (_TLS_DEFAULTS[option] if in_use else "")


def paths_of(found: Found) -> tuple[str, ...]:
    """Return every path that the rules of this section ask for."""
    selects = [_service, _socket_unit, _certificates, engine_sockets, *(_tls(option) for option in _TLS_DEFAULTS)]
    listed = (path for select in selects for path in select(found).paths)
    return tuple(dict.fromkeys([*FIXED, *SOCKETS, *listed]))


def present(select: Select, found: Found) -> tuple[list[FileFact], Looked | None]:
    """Return what is there to be looked at, or what there is to say when that is nothing."""
    listing = select(found)
    facts = [found.host.files[path] for path in listing.paths]
    problems = [fact.problem for fact in facts if fact.problem] + ([listing.problem] if listing.problem else [])
    if problems:
        return [], Looked(unknown="; ".join(problems))
    there = [fact for fact in facts if fact.there]
    if not there:
        return [], Looked(not_applicable=f"not on this host{': ' if facts else ''}{', '.join(listing.paths)}")
    return there, None


def _owner(select: Select, group: str) -> t.Callable[[Found], Looked]:
    def look(found: Found) -> Looked:
        there, nothing = present(select, found)
        if nothing is not None:
            return nothing
        owners = {fact.path: f"{fact.owner}:{fact.group}" for fact in there}
        wanted = {path: f"root:{_group_of_socket(found, path) if group == ENGINE_GROUP else group}" for path in owners}
        evidence = tuple(
            f"{path} ({owner}, not {wanted[path]})" for path, owner in owners.items() if owner != wanted[path]
        )
        return Looked(evidence, seen=", ".join(f"{path} ({owner})" for path, owner in owners.items()))

    return look


def _mode(select: Select, most: int) -> t.Callable[[Found], Looked]:
    def look(found: Found) -> Looked:
        there, nothing = present(select, found)
        if nothing is not None:
            return nothing
        evidence = tuple(
            f"{fact.path} ({fact.mode:04o}, at most {most:04o})" for fact in there if fact.mode & 0o777 & ~most
        )
        return Looked(evidence, seen=", ".join(f"{fact.path} ({fact.mode:04o})" for fact in there))

    return look


def _removal(most: int) -> str:
    """Return the mode for chmod that takes away what is too much, and gives nobody what a file has kept from them."""
    classes: dict[str, str] = {}
    for who, shift in (("u", 6), ("g", 3), ("o", 0)):
        bits = "".join(letter for letter, bit in (("r", 4), ("w", 2), ("x", 1)) if not most >> shift & bit)
        classes[bits] = classes.get(bits, "") + who
    return ",".join(f"{'a' if who == 'ugo' else who}-{bits}" for bits, who in classes.items() if bits)


def _pair(
    numbers: tuple[str, str],
    slug: str,
    what: str,
    select: Select,
    most: int,
    group: str = "root",
) -> tuple[Rule[Found], Rule[Found]]:
    """Return the rules on owner and mode of the same files; `most` are the permissions that they may have."""
    whose = "root and the engine's group" if group == ENGINE_GROUP else "root"
    owner = Control(
        numbers[0],
        f"{slug}-owner",
        f"{what}: owned by {whose}",
        f"Have docker_host_files do it, or run chown root:{group} on what is named",
        "enforced",
        "files",
    )
    mode = Control(
        numbers[1],
        f"{slug}-mode",
        f"{what}: no more permissions than {most:04o}",
        f"Have docker_host_files do it, or run chmod {_removal(most)} on what is named",
        "enforced",
        "files",
    )
    return Rule(owner, _owner(select, group)), Rule(mode, _mode(select, most))


_UNSORTED: tuple[Rule[Found], ...] = (
    *_pair(("3.1", "3.2"), "docker-service", "Unit docker.service and what is dropped in", _service, 0o644),
    *_pair(("3.3", "3.4"), "docker-socket", "Unit docker.socket and what is dropped in", _socket_unit, 0o644),
    *_pair(("3.5", "3.6"), "etc-docker", "Folder /etc/docker", _fixed("/etc/docker"), 0o755),
    *_pair(("3.7", "3.8"), "registry-certificates", "Certificates of registries", _certificates, 0o444),
    *_pair(("3.9", "3.10"), "tls-authority", "The authority that the engine trusts", _tls("tlscacert"), 0o444),
    *_pair(("3.11", "3.12"), "tls-certificate", "The engine's certificate", _tls("tlscert"), 0o444),
    *_pair(("3.13", "3.14"), "tls-key", "The engine's key", _tls("tlskey"), 0o400),
    *_pair(("3.15", "3.16"), "engine-socket", "The engine's socket", engine_sockets, 0o660, ENGINE_GROUP),
    *_pair(("3.17", "3.18"), "daemon-json", "daemon.json", _fixed(CONFIG), 0o644),
    *_pair(("3.19", "3.20"), "etc-default-docker", "/etc/default/docker", _fixed("/etc/default/docker"), 0o644),
    # Here the benchmark has the mode before the owner.
    *_pair(("3.22", "3.21"), "etc-sysconfig-docker", "/etc/sysconfig/docker", _fixed("/etc/sysconfig/docker"), 0o644),
    *_pair(("3.23", "3.24"), "containerd-socket", "containerd's socket", _fixed(*SOCKETS), 0o660),
)
_RULES = tuple(sorted(_UNSORTED, key=lambda rule: rule.control.order))

FILE_CONTROLS = tuple(rule.control for rule in _RULES)


def look_at_files(found: Found) -> dict[str, Looked]:
    """Return what each rule of this section found, by its slug."""
    return {rule.control.slug: rule.look(found) for rule in _RULES}
