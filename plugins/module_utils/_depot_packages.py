# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A repository for apt in a depot: what is in it, how its index is written, what is left to do. Pure.

It is a flat repository (deb822 source with `Suites: ./`): `Packages` and `Release` beside a folder `pool`. The same
packages give the same bytes: nothing in it comes from a clock or from the order in which something was found.
docs/depot-packages.md has the whole.
"""

from __future__ import annotations

import email.utils
import hashlib
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import is_sha256

SUITES = ("bookworm", "trixie")
ARCHITECTURES = ("amd64", "arm64", "armhf")
INDEX = "Packages"
RELEASE = "Release"
POOL = "pool"

# What the roles docker_host and compose_deploy install, and what backups and receipts need.
_EVERYWHERE = (
    "docker.io",
    "docker-compose=2.*",
    "docker-buildx",
    "iptables",
    "auditd",
    "nftables",
    "procps",
    "systemd-timesyncd",
    "python3-apt",
    "python3-jmespath",
    "restic",
    "openssl",
)
_PACKAGES = {"bookworm": _EVERYWHERE, "trixie": (*_EVERYWHERE, "docker-cli")}

# A package, and a version that is at most a pattern: what apt-get install takes and what is no option of it.
# A `-` at its end would tell apt-get to remove it.
_REQUEST = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](=[A-Za-z0-9.+:~*-]+)?")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_VERSION = re.compile(r"([0-9]+:)?[A-Za-z0-9.+~-]+")


@dataclass(frozen=True)
class Package:
    """A package as its archive describes it: `size` in bytes, `stanza` the archive's own lines without an end."""

    name: str
    version: str
    architecture: str
    size: int
    sha256: str
    stanza: str

    @property
    def path(self) -> str:
        """Where it is in the repository. The epoch is left out, as in Debian's own: not every file system takes `:`."""
        return f"{POOL}/{self.name}_{self.version.partition(':')[2] or self.version}_{self.architecture}.deb"

    @property
    def archive_name(self) -> str:
        """What apt calls it in its folder of downloads."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


@dataclass(frozen=True)
class Plan:
    """What a repository lacks, and what it has that does not belong there. Paths are below its folder."""

    packages: tuple[Package, ...]
    missing: tuple[Package, ...]
    stale: tuple[str, ...]

    @property
    def bytes_to_fetch(self) -> int:
        return sum(package.size for package in self.missing)

    @property
    def size(self) -> int:
        """Bytes of all packages."""
        return sum(package.size for package in self.packages)


def default_packages(suite: str) -> list[str]:
    """Return what this collection's roles install on hosts of a suite, as apt-get takes it."""
    return list(_PACKAGES[suite])


def check_requests(requests: t.Sequence[str]) -> None:
    """Refuse what is no package's name, or one with a version (`jq`, `docker-compose=2.*`).

    Raises:
        DepotError: `invalid`, with what was given.
    """
    for request in requests:
        if not _REQUEST.fullmatch(request):
            raise DepotError(
                f"packages: {request!r} is neither a package's name nor one with a version, such as docker-compose=2.*",
                reason="invalid",
            )
    if not requests:
        raise DepotError("packages is empty: name a package, or leave it out for those of the roles", reason="invalid")


def parse_stanzas(text: str) -> tuple[Package, ...]:
    """Return the packages of an index, or of what apt-cache prints of one.

    Raises:
        DepotError: a package lacks what it needs to be bound by digest, or would leave its folder (`blob_corrupt`).
    """
    stanzas = (part.strip("\n") for part in re.split(r"\n[ \t]*\n", text))
    return tuple(_parse(stanza) for stanza in stanzas if stanza.strip())


def field(stanza: str, name: str) -> str:
    """Return the first line of a field's value; empty if it is not there."""
    match = re.search(rf"^{re.escape(name)}:[ \t]*(.*)$", stanza, re.MULTILINE | re.IGNORECASE)
    return match[1].strip() if match else ""


def _parse(stanza: str) -> Package:
    name, version = field(stanza, "Package"), field(stanza, "Version")
    size, sha256 = field(stanza, "Size"), field(stanza, "SHA256")
    architecture = field(stanza, "Architecture")
    for what, fits in (
        ("Package", _NAME.fullmatch(name)),
        ("Version", _VERSION.fullmatch(version)),
        ("Architecture", architecture in (*ARCHITECTURES, "all")),
        ("Size", size.isdigit()),
        ("SHA256", is_sha256(sha256)),
    ):
        if not fits:
            raise DepotError(
                f"the archive's index says of package {name or '(without a name)'}: {what} is "
                f"{field(stanza, what)!r}. Nothing can be relied on that it says; take another mirror",
                reason="blob_corrupt",
            )
    return Package(name, version, architecture, int(size), sha256, stanza)


def choose(wanted: t.Sequence[tuple[str, str]], offered: t.Iterable[Package]) -> tuple[Package, ...]:
    """Return the packages that apt chose, by name and version, in the order of their names.

    Raises:
        DepotError: apt chose one that the index does not describe (`mixed`).
    """
    found: dict[tuple[str, str], Package] = {}
    for package in offered:
        found.setdefault((package.name, package.version), package)
    for name, version in wanted:
        if (name, version) not in found:
            raise DepotError(
                f"apt would install {name} {version}, which its index does not describe. Was the archive changed "
                "meanwhile? Run this again",
                reason="mixed",
            )
    return tuple(found[one] for one in sorted(set(wanted)))


def make_plan(packages: tuple[Package, ...], found: t.Mapping[str, str]) -> Plan:
    """Compare packages with the files of a repository, which are SHA-256 by path.

    Raises:
        DepotError: there is a file that nobody wrote who writes repositories (`invalid`).
    """
    right = {package.path: package.sha256 for package in packages}
    for path in sorted(found):
        ours = re.fullmatch(rf"({INDEX}|{RELEASE}|{POOL}/[^/]+\.deb)(\.new)?", path)
        if not ours:
            raise DepotError(
                f"{path} is in the repository's folder and no part of one. All that is in it would be signed: move it "
                "away, or choose another dest",
                reason="invalid",
                path=path,
            )
    return Plan(
        packages=packages,
        missing=tuple(package for package in packages if found.get(package.path) != package.sha256),
        stale=tuple(sorted(path for path in found if path not in right and path not in (INDEX, RELEASE))),
    )


def write_index(packages: t.Iterable[Package]) -> bytes:
    """Return `Packages`: what the archive says of each, with the place that it has here."""
    told = []
    for package in sorted(packages, key=lambda one: (one.name, one.version)):
        lines = [line for line in package.stanza.split("\n") if not line.lower().startswith("filename:")]
        told.append("\n".join([*lines, f"Filename: {package.path}"]) + "\n")
    return "\n".join(told).encode("utf-8")


def write_release(suite: str, architecture: str, date: int, index: bytes) -> bytes:
    """Return `Release` for an index; `date`, in seconds since 1970, is that of the newest package.

    It has no `Valid-Until`: whether the depot is too old is for its signed metadata to say.
    """
    lines = [
        "Origin: emorobcare.fleet",
        "Label: emorobcare.fleet depot",
        f"Suite: {suite}",
        f"Codename: {suite}",
        f"Date: {email.utils.formatdate(date, usegmt=True).replace('GMT', 'UTC')}",
        f"Architectures: {architecture}",
        f"Description: what hosts of a depot's fleet install, taken from Debian {suite}",
        "SHA256:",
        f" {hashlib.sha256(index).hexdigest()} {len(index)} {INDEX}",
    ]
    return "\n".join([*lines, ""]).encode("ascii")


def parse_date(header: bytes) -> int:
    """Return when a package was made, in seconds since 1970, from its first 68 bytes.

    A package is an ar archive (deb(5)): a magic number of 8 bytes, and a header whose bytes 16 to 28 are the time. For
    packages that are built reproducibly it is that of their changelog, so that it is the same in each copy.

    Raises:
        DepotError: it is no package (`blob_corrupt`).
    """
    time = header[24:36].strip()
    if len(header) < 68 or not header.startswith(b"!<arch>\ndebian-binary") or not time.isdigit():
        raise DepotError("it does not begin as a Debian package does", reason="blob_corrupt")
    return int(time)
