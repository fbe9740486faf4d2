# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is measured: cases, their files, and how a quick try makes them smaller. Pure."""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass, replace
from pathlib import Path

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

# fetch: from an empty folder. again: all of it is there. verify: prove what is there, without a server.
Kind = t.Literal["fetch", "again", "verify"]


@dataclass(frozen=True)
class Case:
    """One thing to do: so many files of so many bytes."""

    name: str
    count: int
    size: int  # bytes of each file
    kind: Kind = "fetch"
    tls: bool = False
    tmpfs: bool = False  # on a file system in memory instead of the disk
    whole_runs: bool = False  # modules also within a whole run of Ansible, which costs some seconds more each time

    @property
    def bytes(self) -> int:
        return self.count * self.size

    @property
    def many_small(self) -> bool:
        """Whether starting a process for each file would be most of the time."""
        return self.count > 100 or (self.count > 10 and self.size <= MIB)


CASES = (
    Case("1x4GiB", 1, 4 * GIB, whole_runs=True),
    Case("4x1GiB", 4, GIB),
    Case("2000x256KiB", 2000, 256 * KIB, whole_runs=True),
    Case("tls-1x1GiB", 1, GIB, tls=True),
    Case("second-run-4GiB", 1, 4 * GIB, "again", whole_runs=True),
    Case("verified-4GiB-cold", 1, 4 * GIB, "verify"),
    Case("verified-4GiB-tmpfs", 1, 4 * GIB, "verify", tmpfs=True),
)


def scaled(case: Case, scale: float) -> Case:
    """Return the case with large files smaller, or with fewer small ones. Its name stays."""
    count, size = case.count, case.size
    if case.many_small:
        count = max(round(count * scale), 1)
    else:
        size = max(round(size * scale / MIB), 1) * MIB
    return replace(case, count=count, size=size)


def warm_up(case: Case) -> Case:
    """Return the least that runs the same code: what is run once, untimed, before a case."""
    return replace(case, count=min(case.count, 4), size=min(case.size, 16 * MIB))


@dataclass(frozen=True)
class Served:
    """A file on the server; `name` is its path below the server's folder of data."""

    name: str
    size: int
    sha256: str
    url: str

    @property
    def in_hub(self) -> str:
        """Return its path in the model hub: the server reads the digest off it, for a header that a hub has."""
        return f"{self.sha256}/{self.name}"

    @property
    def path(self) -> str:
        """Return the name that it gets where it is downloaded to: as on the server, which wget insists on."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class Job:
    """What a peer is asked to do: fetch `files` into `out`. It may keep its own files in `work`."""

    case: Case
    files: tuple[Served, ...]
    base: str  # URL of the server, without a slash at the end
    ca: Path  # PEM of the authority that the server's certificate is from
    work: Path
    out: Path
    cores: int

    @property
    def repo(self) -> str:
        """Return the name under which the server plays a model hub for these files."""
        return f"bench/{hashlib.sha256(' '.join(file.name for file in self.files).encode()).hexdigest()[:16]}"

    @property
    def commit(self) -> str:
        """Return the revision of that: a commit's id is 40 hex digits."""
        return hashlib.sha256(self.repo.encode()).hexdigest()[:40]
