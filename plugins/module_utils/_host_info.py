# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What the answers of a host mean to role docker_host: packages, groups, tables, SSH, limits. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

# dpkg-query's format that `parse_packages` reads: what is wanted of a package, its state, name and version.
PACKAGES_FORMAT = "${db:Status-Want} ${db:Status-Status} ${Package} ${Version}\\n"

_UNLIMITED = 2**30  # what "unlimited" open files come to: the kernel's own ceiling is about that


@dataclass(frozen=True)
class Package:
    """An installed package, and whether dpkg holds it at its version."""

    version: str
    held: bool


@dataclass(frozen=True)
class Ways:
    """How sshd lets one user in, by its effective configuration.

    :ivar key_files: patterns of files with the user's keys, with `%h`, `%u` and `%%` in them.
    :ivar delegated: keys that no file of the user tells of are accepted too: a command, an authority, Kerberos.
    :ivar by_key: public keys are accepted at all.
    :ivar ports: where sshd listens.
    :ivar root: how root comes in (PermitRootLogin), as sshd says it.
    """

    key_files: tuple[str, ...]
    delegated: bool
    by_key: bool
    ports: tuple[int, ...]
    root: str


def parse_packages(answer: str) -> dict[str, Package]:
    """Read dpkg-query's answer: only what is installed."""
    found = {}
    for line in answer.splitlines():
        want, state, name, version = (line.split(" ") + [""] * 4)[:4]
        if state == "installed":
            found[name] = Package(version, held=want == "hold")
    return found


def parse_tables(answer: str) -> list[str]:
    """Read `nft list tables`: the tables as "family name"."""
    return sorted(line[len("table ") :].strip() for line in answer.splitlines() if line.startswith("table "))


def parse_codename(release: str) -> str:
    """Read the code name of a system from its /etc/os-release."""
    for line in release.splitlines():
        name, _equals, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip("\"'")
    return ""


def parse_open_files(limits: str) -> int:
    """Read the hard limit of open files from /proc/<pid>/limits; what is unlimited, or not told, is 2^30."""
    for line in limits.splitlines():
        if line.startswith("Max open files"):
            hard = line.split()[4]
            return _UNLIMITED if hard == "unlimited" else min(int(hard), _UNLIMITED)
    return _UNLIMITED


def parse_ways(answer: str) -> Ways:
    """Read `sshd -T`: one option a line, in small letters."""
    options: dict[str, list[str]] = {}
    for line in answer.splitlines():
        name, _blank, value = line.partition(" ")
        options.setdefault(name, []).append(value.strip())

    def last(name: str) -> str:
        return options.get(name, [""])[-1]

    set_to = [last(name) for name in ("authorizedkeyscommand", "trustedusercakeys")]
    delegated = any(value not in ("", "none") for value in set_to) or last("gssapiauthentication") == "yes"
    files = tuple(pattern for pattern in last("authorizedkeysfile").split() if pattern != "none")
    ports = tuple(int(port) for port in options.get("port", ()) if port.isdigit())
    return Ways(files, delegated, last("pubkeyauthentication") == "yes", ports, last("permitrootlogin"))


def key_file(pattern: str, user: str, home: str) -> str:
    """Where a pattern of AuthorizedKeysFile leads; what is not absolute is below the user's home (sshd_config(5))."""
    parts = pattern.split("%%")
    path = "%".join(part.replace("%h", home).replace("%u", user) for part in parts)
    return path if path.startswith("/") else f"{home}/{path}"


def has_keys(text: str) -> bool:
    """Whether a file of authorized keys holds one: a line that is neither empty nor a comment."""
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())


def drifted(wanted: t.Mapping[str, object], found: t.Mapping[str, str]) -> list[str]:
    """Return the kernel settings that this kernel has and that are not as wanted. Blanks between numbers are one."""
    return sorted(name for name, value in found.items() if " ".join(str(wanted[name]).split()) != value)


def settled_here(name: str, container: str) -> bool:
    """Whether a kernel setting is this host's to set: a container's own are networks, the rest is its machine's."""
    return not container or name.startswith("net.")


def tightened(found: int, most: int) -> int:
    """Return the mode of a file that may have no more than `most`: what is tighter already stays so."""
    return found & most
