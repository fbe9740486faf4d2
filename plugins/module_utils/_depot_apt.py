# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""How apt is asked what hosts of a suite need, apart from this machine's own packages; what its complaints mean. Pure.

apt works below a root of its own: with its own sources, lists and downloads, and with a list of installed packages that
is empty, so that all that could be missing on a host is found. The commands hold for apt 2.6 (Debian 12) and later.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_packages import check_requests
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import last_lines

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# Debian 12 takes Docker's plugins from Debian 13, as role docker_host does on hosts with a network.
PLUGINS_SUITE = {"bookworm": "trixie"}
PLUGINS = ("docker-buildx", "docker-compose")

# Names under which a machine's sources know a release of Debian itself.
_RELEASES = ("bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing", "unstable")

# Of the machine's own settings those are kept that say how the archive is reached, and whether its clock is believed.
_KEPT = re.compile(r'(Acquire::(http|https|ftp|Retries|Check-Date|Check-Valid-Until|Max-FutureTime)\b\S*) "([^"]*)";')

_TARGETS = "$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)|$(SIGNED_BY)"


@dataclass(frozen=True)
class Wanted:
    """What is asked of the archive: packages as apt-get takes them, and the URIs of mirrors."""

    suite: str
    architecture: str
    packages: tuple[str, ...]
    mirror: str
    security_mirror: str
    keyring: str = KEYRING

    @property
    def plugins_suite(self) -> str:
        """The other suite that Docker's plugins come from; empty if there is none."""
        asked = {request.partition("=")[0] for request in self.packages}
        return PLUGINS_SUITE.get(self.suite, "") if asked & set(PLUGINS) else ""


def check_wanted(wanted: Wanted) -> None:
    """Refuse what apt would take for something else.

    Raises:
        DepotError: `invalid`, with what was given.
    """
    check_requests(wanted.packages)
    for name, value in (("mirror", wanted.mirror), ("security_mirror", wanted.security_mirror)):
        if value and not re.fullmatch(r"[a-z+]+:[^\s\[\]]+", value):
            raise DepotError(f"{name}: {value!r} is no URI of an archive, such as file:/srv/debian", reason="invalid")
    if not re.fullmatch(r"/[^\s\[\],]+", wanted.keyring):
        raise DepotError(f"keyring: {wanted.keyring!r} is no absolute path without spaces", reason="invalid")


def configuration(root: str, architecture: str, machine: str) -> str:
    """Return the apt.conf of a root; `machine` is what apt-config dumps of the machine's own settings."""
    lines = [f'{name} "{value}";' for name, _kind, value in _KEPT.findall(machine)]
    folders = {
        "Dir": f"{root}/",
        "Dir::Etc": f"{root}/etc",
        "Dir::State": f"{root}/state",
        "Dir::State::Lists": f"{root}/lists",
        "Dir::State::status": f"{root}/state/status",
        "Dir::Cache": f"{root}/cache",
        "Dir::Cache::archives": f"{root}/archives",
        "Dir::Cache::srcpkgcache": "",
        "Dir::Log": f"{root}/state",
        # Passwords for mirrors stay where the machine has them.
        "Dir::Etc::netrc": "/etc/apt/auth.conf",
        "Dir::Etc::netrcparts": "/etc/apt/auth.conf.d",
    }
    lines += [f'{name} "{value}";' for name, value in folders.items()]
    lines += [
        f'APT::Architecture "{architecture}";',
        f'APT::Architectures {{ "{architecture}"; }};',
        'APT::Install-Recommends "false";',
        'APT::Sandbox::User "";',  # the root is this user's alone
        'APT::Update::Error-Mode "any";',
        'Acquire::Languages "none";',
        'Acquire::AllowInsecureRepositories "false";',
        'Acquire::AllowWeakRepositories "false";',
        'Acquire::AllowDowngradeToInsecureRepositories "false";',
    ]
    return "\n".join([*lines, ""])


def sources(wanted: Wanted) -> str:
    """Return the package sources in deb822 form (sources.list(5)): the suite, its updates, what its plugins need."""
    entries = [(wanted.mirror, f"{wanted.suite} {wanted.suite}-updates")]
    if wanted.security_mirror:
        entries.append((wanted.security_mirror, f"{wanted.suite}-security"))
    if wanted.plugins_suite:
        entries.append((wanted.mirror, wanted.plugins_suite))
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {wanted.keyring}\n"
        for uri, suites in entries
    )


def preferences(wanted: Wanted) -> str:
    """Return the pins that let nothing but Docker's plugins come from another suite; empty if there is none."""
    if not wanted.plugins_suite:
        return ""
    return "".join(
        f"Package: {packages}\nPin: release n={wanted.plugins_suite}\nPin-Priority: {priority}\n\n"
        for packages, priority in (("*", 50), (" ".join(PLUGINS), 500))
    )


def targets_argv() -> list[str]:
    """Return the command that lists the machine's own package sources."""
    return ["apt-get", "indextargets", "--format", _TARGETS, "Created-By: Packages"]


def parse_mirrors(listed: str, suite: str) -> tuple[str, str]:
    """Return the URIs of the machine's own mirror of Debian, and of its security archive; empty where it has none.

    Sources of this very suite come first. A source whose lists were never fetched tells no origin, and counts if
    Debian's own keys are to have signed it.
    """
    ordinary: dict[str, str] = {}
    security: dict[str, str] = {}
    for line in listed.splitlines():
        origin, release, component, uri, signed_by = (*line.split("|"), "", "", "", "", "")[:5]
        debian = origin == "Debian" or (not origin and "debian-archive" in signed_by)
        base = re.sub(r"(-|/updates$).*", "", release)
        if not debian or component != "main" or base not in _RELEASES:
            continue
        (security if release.endswith(("-security", "/updates")) else ordinary).setdefault(base, uri)
    return _first(ordinary, suite), _first(security, suite)


def _first(uris: t.Mapping[str, str], suite: str) -> str:
    return uris.get(suite) or next(iter(uris.values()), "")


def resolve_argv(packages: t.Sequence[str]) -> list[str]:
    """Return the command that tells what would be installed where nothing is."""
    return ["apt-get", "install", "--simulate", "-qq", "--no-install-recommends", "--", *packages]


def parse_simulation(said: str) -> list[tuple[str, str]]:
    """Return name and version of what apt would install, from its `Inst` lines, such as

    Inst jq (1.7.1-6 Debian:13.1/stable [amd64])
    """
    return re.findall(r"^Inst (\S+?)(?::\S+)? (?:\[\S*\] )?\((\S+) ", said, re.MULTILINE)


def describe_argv(chosen: t.Sequence[tuple[str, str]]) -> list[str]:
    """Return the command that prints what the index says of each."""
    return ["apt-cache", "show", "--", *(f"{name}={version}" for name, version in chosen)]


def download_argv(packages: t.Sequence[str]) -> list[str]:
    """Return the command that downloads what would be installed; it goes on with what an earlier one has left."""
    return ["apt-get", "install", "--download-only", "--yes", "-qq", "--no-install-recommends", "--", *packages]


def failure(said: str, wanted: Wanted, doing: str) -> DepotError:
    """Return the error for what apt wrote to its standard error while it was `doing` something."""
    missing = re.findall(r"Unable to locate package (\S+)|Version '\S+' for '(\S+)' was not found", said)
    missing += re.findall(r"Package '?(\S+?)'? has no installation candidate()", said)
    if missing:
        names = list(dict.fromkeys(first or second for first, second in missing))
        return DepotError(
            f"Debian {wanted.suite} has no package {', '.join(names)} for {wanted.architecture} in the version that is "
            f"asked for ({', '.join(wanted.packages)}); correct packages. {_said(said)}",
            reason="invalid",
            packages=names,
        )
    where = wanted.mirror + (f" and {wanted.security_mirror}" if wanted.security_mirror else "")
    for pattern, reason, cause in _CAUSES:
        if re.search(pattern, said, re.IGNORECASE):
            told = cause.format(where=where, suite=wanted.suite, keyring=wanted.keyring)
            return DepotError(f"{doing} failed: {told}. {_said(said)}", reason=reason)
    return DepotError(f"{doing} failed. {_said(said)}", reason="unavailable")


_Cause = tuple[str, t.Literal["no_space", "locked", "unsigned", "blob_corrupt", "invalid", "unavailable", "clock"], str]

# The order counts: on a full disk signatures and lists are broken too.
_CAUSES: tuple[_Cause, ...] = (
    (
        r"No space left on device|don.t have enough free space",
        "no_space",
        "there is no room left; free some, or choose a dest on a larger disk",
    ),
    (
        r"Could not get lock|Unable to lock",
        "locked",
        "another run works for the same dest; wait for it to end",
    ),
    (
        r"is not valid yet|is expired",
        "clock",
        "the archive's metadata does not fit this machine's time of day; set its clock, or take a mirror that is kept "
        "up to date",
    ),
    (
        r"NO_PUBKEY|public key is not available|BADSIG|invalid signature|is not signed|Signed-By|keyring",
        "unsigned",
        "the signature of {suite} at {where} cannot be checked with {keyring}; install the package "
        "debian-archive-keyring in a version that knows this suite, or name the mirror's keyring",
    ),
    (
        r"Hash Sum mismatch|unexpected size|Mirror sync in progress",
        "blob_corrupt",
        "what {where} gave is not what its signed index says; nothing of it was kept. Run this again, or take another "
        "mirror",
    ),
    (
        r"unmet dependencies|held broken packages",
        "invalid",
        "these packages cannot be installed together; correct packages",
    ),
    (
        r"Temporary failure resolving|Could not resolve|Could not connect|Unable to connect|Connection refused|"
        r"Network is unreachable|timed out|Connection failed",
        "unavailable",
        "{where} cannot be reached; connect this machine to its network (a proxy goes into /etc/apt/apt.conf.d), or "
        "set mirror to an archive that it reaches",
    ),
    (
        r"does not have a Release file|404 +Not Found|no longer has a Release file|File not found",
        "unavailable",
        "{where} has no suite {suite}, or not all of it; set mirror to an archive that has",
    ),
)


def _said(said: str) -> str:
    lines = [line for line in last_lines(said) if line.startswith(("E:", "W:"))] or list(last_lines(said, 5))
    return "apt said: " + ("; ".join(lines[:6]) or "nothing")
