# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Gather the controller's runtime on a builder: wheels, pip itself, and the collection in an archive."""

from __future__ import annotations

import glob
import importlib.util
import os
import shutil
import sys
import sysconfig
import tarfile
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_run import Runner
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tree import digest_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_wheels import (
    Pin,
    Target,
    applying,
    download_argv,
    newest_pip,
    serving,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_debian import SOURCE_DATE_EPOCH
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import last_lines

# What a controller on a host needs of a checkout. Nothing else goes along: inventories, files with passwords and stacks
# are the fleet's own, and whoever has the stick can read it.
_TAKEN = ("CHANGELOG.md", "COPYING", "README.md", "docs", "galaxy.yml", "meta", "playbooks", "plugins", "roles")
# What is left out of those: variables are the fleet's own, and ansible-galaxy lists folders of compiled code though it
# leaves out what is in them.
_LEFT_OUT = ("__pycache__", ".*", "group_vars", "host_vars")


@dataclass(frozen=True)
class Wheels:
    """Which wheels serve, SHA-256 by name; and the pins for which there is none, by target."""

    present: t.Mapping[str, str]
    missing: t.Mapping[Target, tuple[Pin, ...]]

    @property
    def complete(self) -> bool:
        return not any(self.missing.values())


def match_wheels(pins: t.Sequence[Pin], targets: t.Sequence[Target], files: t.Mapping[str, str]) -> Wheels:
    """Compare a lock file with files, SHA-256 by name. Of several wheels that serve, all stay."""
    present: dict[str, str] = {}
    missing = {}
    for target in targets:
        lacking = []
        for pin in applying(pins, target):
            names = serving(pin, target, files)
            present.update({name: files[name] for name in names})
            if not names:
                lacking.append(pin)
        missing[target] = tuple(lacking)
    return Wheels(present, missing)


def download(wheels: Wheels, folder: str, run: Runner) -> None:
    """Download what is missing into a folder, with pip, by digest.

    Raises:
        DepotError: pip could not.
    """
    for target, pins in wheels.missing.items():
        if not pins:
            continue
        requirements = os.path.join(folder, f"{target.python}.txt")
        with open(requirements, "w", encoding="utf-8") as file:
            file.write("".join(f"{pin.line}\n" for pin in pins))
        code, out, err = run(download_argv(sys.executable, target, requirements, folder), {"LC_ALL": "C.UTF-8"})
        os.unlink(requirements)
        if code:
            raise _pip_failure(f"{out}\n{err}", target)


def _pip_failure(said: str, target: Target) -> DepotError:
    shown = "; ".join(line for line in last_lines(said, 6) if not line.startswith("WARNING: Location"))
    of = f"Python {target.python} on {target.architecture}"
    if "DO NOT MATCH THE HASHES" in said:
        return DepotError(
            f"the package index gave another file for {of} than the lock file pins; nothing of it was kept. Ask why "
            f"before you lock again. pip said: {shown}",
            reason="blob_corrupt",
        )
    if "NewConnectionError" in said or "Failed to establish" in said or "Max retries" in said:
        return DepotError(
            f"the package index that pip is configured for cannot be reached; connect this machine to its network, or "
            f"correct pip's configuration. pip said: {shown}",
            reason="unavailable",
        )
    return DepotError(
        f"pip has no wheel for {of} that the lock file allows: the index lacks it, or that version has none for this "
        f"Python. pip said: {shown}",
        reason="unavailable",
    )


def pip_wheel(work: str) -> str:
    """Return the path of a copy of pip's own wheel, in a folder for work; the newest that this machine came with.

    Raises:
        DepotError: it came without one, or with one that is too old for the Pythons of controllers (`library_missing`).
    """
    ensurepip = importlib.util.find_spec("ensurepip")  # Debian has it in a package of its own
    bundled = os.path.join(os.path.dirname(ensurepip.origin), "_bundled") if ensurepip and ensurepip.origin else ""
    folders = [bundled, sysconfig.get_config_var("WHEEL_PKG_DIR") or "", "/usr/share/python-wheels"]
    newest = newest_pip([path for folder in folders if folder for path in glob.glob(f"{folder}/pip-*.whl")])
    return shutil.copyfile(newest, os.path.join(work, os.path.basename(newest)))


def build_collection(source: str, work: str, run: Runner) -> str:
    """Return the path of an archive of a collection, in a folder for work.

    Args:
        source: its checkout, or an archive that ansible-galaxy has built of it.

    Raises:
        DepotError: it is neither, or ansible-galaxy failed.
    """
    built = source
    if os.path.isdir(source):
        if not os.path.isfile(os.path.join(source, "galaxy.yml")):
            raise DepotError(f"collection: {source} has no galaxy.yml: it is no collection's folder", reason="invalid")
        tree = os.path.join(work, "tree")
        shutil.copytree(source, tree, symlinks=True, ignore=_ignored_of(source))
        argv = [_galaxy(), "collection", "build", "--force", "--output-path", work, tree]
        code, out, err = run(argv, {"LC_ALL": "C.UTF-8", "ANSIBLE_HOME": os.path.join(work, "home")})
        archives = glob.glob(os.path.join(work, "*.tar.gz"))
        if code or len(archives) != 1:
            raise DepotError(
                f"ansible-galaxy could not build {source}: {'; '.join(last_lines(err or out, 6))}", reason="invalid"
            )
        built = archives[0]
    target = os.path.join(work, os.path.basename(built).replace(".tar.gz", ".tar"))
    repack(built, target)
    return target


def _ignored_of(source: str) -> t.Callable[[str, list[str]], set[str]]:
    """Return what tells shutil.copytree the names of a checkout's folder that are not copied."""
    below = shutil.ignore_patterns(*_LEFT_OUT)
    return lambda folder, names: below(folder, names) | ({*names} - {*_TAKEN} if folder == source else set())


def _galaxy() -> str:
    beside = os.path.join(os.path.dirname(sys.executable), "ansible-galaxy")
    command = beside if os.path.exists(beside) else shutil.which("ansible-galaxy")
    if command is None:
        raise DepotError(
            "there is no ansible-galaxy on this machine: run the task on the controller, with its own Python "
            "(ansible_python_interpreter: '{{ ansible_playbook_python }}')",
            reason="library_missing",
        )
    return command


def repack(archive: str, target: str) -> None:
    """Write an archive again so that the same files give the same bytes: sorted, without times, users or compression.

    Raises:
        DepotError: it is no archive (`invalid`).
    """
    try:
        with tarfile.open(archive, "r:*") as old, tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as new:
            for member in sorted(old.getmembers(), key=lambda one: one.name):
                member.mtime = SOURCE_DATE_EPOCH
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                member.pax_headers = {}
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
    except (tarfile.TarError, EOFError) as exc:
        raise DepotError(f"collection: {archive} is no archive of one ({exc})", reason="invalid") from exc


def digests_of(folder: str) -> dict[str, str]:
    """Return the SHA-256 of each wheel in a folder, by its name; none if there is no folder."""
    return {os.path.basename(path): digest_of(path) for path in sorted(glob.glob(os.path.join(folder, "*.whl")))}
