# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Fill a depot's repository for apt from a Debian archive, with apt itself in a root of its own.

The root is the folder `<dest>.apt/<suite>-<architecture>`: package lists, and what was downloaded and is in no
repository yet, from which an interrupted run is gone on with. Nothing of the machine's own apt is written.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_apt as apt
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_packages import (
    INDEX,
    POOL,
    RELEASE,
    Package,
    Plan,
    choose,
    parse_date,
    parse_stanzas,
    write_index,
    write_release,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_run import Runner
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tree import (
    digest_of,
    place,
    put,
    write_whole,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._size import human
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import (
    make_dirs,
    remove,
    sync_file_system,
)


class Apt:
    """apt below a root of its own."""

    def __init__(self, root: str, run: Runner) -> None:
        self.root = root
        self.archives = os.path.join(root, "archives")
        self._run = run

    def prepare(self, wanted: apt.Wanted) -> None:
        """Write its configuration, sources and pins, in place of an earlier run's."""
        for folder in (
            "etc/sources.list.d",
            "etc/preferences.d",
            "state",
            "lists/partial",
            "cache",
            "archives/partial",
        ):
            make_dirs(os.path.join(self.root, folder))
        dumped = self._machine(["apt-config", "dump", "--no-empty"])
        for name, content in (
            ("apt.conf", apt.configuration(self.root, wanted.architecture, dumped)),
            ("etc/sources.list.d/depot.sources", apt.sources(wanted)),
            ("etc/preferences.d/depot.pref", apt.preferences(wanted)),
            ("state/status", ""),
        ):
            with open(os.path.join(self.root, name), "w", encoding="utf-8") as file:
                file.write(content)

    def mirrors(self, suite: str) -> tuple[str, str]:
        """Return the URIs of the machine's own mirror, and of its security archive; empty where it has none."""
        return apt.parse_mirrors(self._machine(apt.targets_argv()), suite)

    def resolve(self, wanted: apt.Wanted) -> tuple[Package, ...]:
        """Fetch the archive's lists, checked by their signatures; return all that a host may lack.

        Raises:
            DepotError: the archive cannot be reached or trusted, or lacks a package.
        """
        self._do(["apt-get", "update", "-q"], wanted, "reading the archive's package lists")
        said = self._do(apt.resolve_argv(wanted.packages), wanted, "working out what hosts need")
        chosen = apt.parse_simulation(said)
        shown = self._do(apt.describe_argv(chosen), wanted, "reading what the archive says of packages")
        return choose(chosen, parse_stanzas(shown))

    def download(self, wanted: apt.Wanted, plan: Plan, repository: str) -> None:
        """Download what the repository lacks; all of it is then in `archives`, and has the right digest.

        Raises:
            DepotError: something cannot be had, or is not what the signed index says.
        """
        right = {package.archive_name: package for package in plan.packages}
        for name in os.listdir(self.archives):
            package = right.get(name)
            path = os.path.join(self.archives, name)
            # apt takes a whole file for right by its size.
            if name not in ("lock", "partial") and (package is None or digest_of(path) != package.sha256):
                remove(path)
        missing = set(plan.missing)
        for package in plan.packages:
            if package not in missing:
                place(os.path.join(repository, package.path), os.path.join(self.archives, package.archive_name))
        self._do(apt.download_argv(wanted.packages), wanted, "downloading packages")
        for package in plan.missing:
            path = os.path.join(self.archives, package.archive_name)
            if not os.path.exists(path) or digest_of(path) != package.sha256:
                remove(path)
                raise DepotError(
                    f"{package.archive_name} as it was downloaded has other content than the archive's signed index "
                    f"says (SHA-256 {package.sha256}); it was removed. Run this again, or take another mirror",
                    reason="blob_corrupt",
                    package=package.name,
                )

    def clear(self) -> None:
        """Give up the downloads: they are in the repository."""
        for name in os.listdir(self.archives):
            if name not in ("lock", "partial"):
                remove(os.path.join(self.archives, name))

    def _machine(self, argv: t.Sequence[str]) -> str:
        return self._answer(argv, {"LC_ALL": "C"})[1]

    def _do(self, argv: t.Sequence[str], wanted: apt.Wanted, doing: str) -> str:
        environment = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        code, out, err = self._answer(argv, {**environment, "APT_CONFIG": os.path.join(self.root, "apt.conf")})
        if code:
            raise apt.failure(f"{out}\n{err}", wanted, doing)
        return out

    def _answer(self, argv: t.Sequence[str], environment: t.Mapping[str, str]) -> tuple[int, str, str]:
        if shutil.which(argv[0]) is None:
            raise DepotError(
                f"there is no {argv[0]} on this machine: a repository for Debian hosts is filled on a Debian machine",
                reason="library_missing",
            )
        return self._run(argv, environment)


def check_room(repository: str, plan: Plan) -> None:
    """Refuse a download that has no room.

    Raises:
        DepotError: `no_space`, with what is needed and what there is.
    """
    above = repository
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    status = os.statvfs(above)
    available = status.f_bavail * status.f_frsize
    if plan.bytes_to_fetch > available:
        raise DepotError(
            f"{human(plan.bytes_to_fetch)} must be downloaded to {repository}, and {human(available)} are free; free "
            "some, or choose a dest on a larger disk",
            reason="no_space",
            needed=plan.bytes_to_fetch,
            available=available,
        )


def is_outdated(repository: str, plan: Plan, found: t.Mapping[str, str], suite: str, architecture: str) -> bool:
    """Whether a repository, whose files were `found`, is not what the plan says."""
    if plan.missing or plan.stale:
        return True
    documents = write_documents(repository, plan, suite, architecture)
    return any(found.get(name) != hashlib.sha256(content).hexdigest() for name, content in documents.items())


def write_documents(repository: str, plan: Plan, suite: str, architecture: str) -> dict[str, bytes]:
    """Return index and release file, by their names, for a repository whose packages are all there."""
    index = write_index(plan.packages)
    date = max((_date_of(os.path.join(repository, package.path)) for package in plan.packages), default=0)
    return {INDEX: index, RELEASE: write_release(suite, architecture, date, index)}


def publish(repository: str, archives: str, plan: Plan, suite: str, architecture: str) -> None:
    """Bring a repository to what the plan says, packages before the index that names them.

    After a crash it is the old one with packages too many, or the new one; the next run puts that right.
    """
    make_dirs(os.path.join(repository, POOL))
    for package in plan.missing:
        put(os.path.join(archives, package.archive_name), os.path.join(repository, package.path))
    sync_file_system(repository)
    for name, content in write_documents(repository, plan, suite, architecture).items():
        write_whole(os.path.join(repository, name), content)
    for path in plan.stale:
        remove(os.path.join(repository, path))


def _date_of(path: str) -> int:
    with open(path, "rb") as file:
        return parse_date(file.read(68))
