# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""How mmdebstrap is asked to unpack a recipe's packages, and what its complaints mean. Nothing here runs it.

The variant `extract` unpacks packages and their dependencies and runs none of their scripts. The commands hold
for mmdebstrap 1.3 (Debian 12) and 1.5 (Debian 13).
"""

from __future__ import annotations

import re
import shlex
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_recipe import Recipe

# 2025-01-01: no file of a base is newer, so that the same packages give the same bytes on any day.
SOURCE_DATE_EPOCH = 1735689600

# One control file a package, where scanners look in images without a package manager.
_RECORD_PACKAGES = (
    'mkdir -p "$1/var/lib/dpkg/status.d" && cd "$1/var/cache/apt/archives" && for deb in *.deb; do '
    'dpkg-deb --field "$deb" > "$1/var/lib/dpkg/status.d/${deb%%_*}" || exit 1; done'
)

_PASSED = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")

_TAIL = 12


def debian_argv(recipe: Recipe, mirror: str | None = None, architecture: str | None = None) -> list[str]:
    """Return the command that writes the packages' archive to its standard output.

    :param mirror: an archive's URL, or lines of a sources.list. None takes mmdebstrap's own default, which for a
        stable suite has its updates and its security archive too.
    :param architecture: Debian's name of it, if it is not this machine's. The variant `extract` runs nothing of the
        tree, so mmdebstrap does not ask whether it could; that is for whoever has programs in the recipe.
    """
    programs = [f'--extract-hook=chroot "$1" {shlex.join(command)}' for command in recipe.run]
    mirrors = [line.strip() for line in (mirror or "").splitlines() if line.strip()]
    return [
        "mmdebstrap",
        "--variant=extract",
        "--format=tar",
        *([f"--architectures={architecture}"] if architecture else []),
        f"--include={','.join(recipe.packages)}",
        f"--extract-hook={_RECORD_PACKAGES}",
        *programs,
        "--",
        recipe.suite,
        "-",
        *mirrors,
    ]


def is_local(mirror: str | None) -> bool:
    """Tell whether all of a mirror, a URL or lines of a sources.list, is on this host."""
    urls = re.findall(r"\b([a-z][a-z+]*):/", mirror or "")
    return bool(urls) and set(urls) <= {"file", "copy"}


def debian_environment(inherited: t.Mapping[str, str], tmpdir: str) -> dict[str, str]:
    """Return the environment in which the same recipe gives the same bytes, with its temporary files in tmpdir.

    Of the caller's own only proxies and apt's configuration are passed on: programs of the tree run in it too.
    """
    passed = {name: value for name, value in inherited.items() if name.lower() in _PASSED or name == "APT_CONFIG"}
    return {
        **passed,
        # Not every login has the system's directories, and mmdebstrap needs chroot and mount.
        "PATH": f"{inherited.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": tmpdir,
        "SOURCE_DATE_EPOCH": str(SOURCE_DATE_EPOCH),
        "PYTHONHASHSEED": "0",
    }


def explain_debian_failure(output: str, suite: str, mirror: str | None, tmpdir: str) -> str:
    """Return what went wrong and the way out, from what mmdebstrap wrote to its standard error."""
    where = mirror or "mmdebstrap's default archive"
    unknown = re.search(r"Unable to locate package (\S+)|Package '?(\S+?)'? has no installation candidate", output)
    if unknown:
        return f"suite {suite} at {where} has no package {unknown[1] or unknown[2]}; correct packages in the recipe"
    program = re.search(r'command failed: chroot "\$1" (.*)', output)
    if program:
        return f"{program[1]} failed, which the recipe's run asks for. {_said(output)}"
    for pattern, cause in (
        (
            # Before all else: on a full disk signatures and lists are broken too.
            r"No space left on device",
            f"no space left in {tmpdir}; free some, or set work_directory to a folder on a larger disk",
        ),
        (
            r"Temporary failure resolving|Could not resolve|Could not connect|Unable to connect|Connection refused|"
            r"Network is unreachable|Connection timed out|Connection failed",
            f"{where} cannot be reached; check the network, or set mirror to an archive that this host reaches",
        ),
        (
            r"does not have a Release file|404 +Not Found|did not find any indices",
            f"{where} has no suite {suite}; correct the recipe's suite, or mirror",
        ),
        (
            r"Mirror sync in progress|Hash Sum mismatch",
            f"{where} is being updated, and its parts do not fit together; run again later, or set mirror to another "
            "archive",
        ),
        (
            r"NO_PUBKEY|public key is not available|invalid signature|is not signed|keyring .*does not exist",
            f"the signature of suite {suite} at {where} cannot be checked; install the package debian-archive-keyring "
            "in a version that knows this suite",
        ),
    ):
        if re.search(pattern, output, re.IGNORECASE):
            return f"{cause}. {_said(output)}"
    return _said(output)


def _said(output: str) -> str:
    """Return the last lines that say something, without mmdebstrap's account of its own progress."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("I: ")]
    return "mmdebstrap said:" + "".join(f"\n  {line}" for line in lines[-_TAIL:] or ["nothing"])
