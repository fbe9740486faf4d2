# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of random bytes, made once, and what is done to files between runs."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import shutil
import typing as t
from pathlib import Path

from ansible_collections.emorobcare.fleet.tests.bench.models_cases import MIB, Case, Served

BLOCK = 4 * MIB


class Data:
    """`folder`/SIZE/INDEX.bin; their digests are in `folder`/digests.json, so that they need not be read again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index = folder / "digests.json"
        self._digests: dict[str, str] = json.loads(self._index.read_text()) if self._index.exists() else {}

    def files(self, case: Case, base: str) -> tuple[Served, ...]:
        """Return the case's files; those that are missing are made."""
        missing = [name for name in file_names(case) if not self._is_there(name, case.size)]
        for name in missing:
            self._digests[name] = make_random(self.folder / name, case.size)
        if missing:
            new = self._index.with_suffix(".new")
            new.write_text(json.dumps(self._digests))
            new.replace(self._index)
        return tuple(Served(name, case.size, self._digests[name], f"{base}/data/{name}") for name in file_names(case))

    def keep_only(self, cases: t.Iterable[Case]) -> None:
        """Remove the files that none of the cases has: those of a run at another scale."""
        sizes = {str(case.size) for case in cases}
        for folder in self.folder.iterdir() if self.folder.exists() else []:
            if folder.is_dir() and folder.name not in sizes:
                shutil.rmtree(folder)
        self._digests = {name: sha256 for name, sha256 in self._digests.items() if name.partition("/")[0] in sizes}

    def bytes_to_make(self, cases: t.Iterable[Case]) -> int:
        """Return the bytes of the files that are not there yet."""
        missing = {
            name: case.size for case in cases for name in file_names(case) if not self._is_there(name, case.size)
        }
        return sum(missing.values())

    def path(self, file: Served) -> Path:
        return self.folder / file.name

    def _is_there(self, name: str, size: int) -> bool:
        path = self.folder / name
        return name in self._digests and path.exists() and path.stat().st_size == size


def file_names(case: Case) -> list[str]:
    """Return the names of a case's files; cases with files of one size share them."""
    return [f"{case.size}/{index:04}.bin" for index in range(case.count)]


def make_random(path: Path, size: int) -> str:
    """Write a file of random bytes, synced; return its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for start in range(0, size, BLOCK):
            block = os.urandom(min(BLOCK, size - start))
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def read_once(paths: t.Iterable[Path]) -> None:
    """Read files, so that they are in memory."""
    buffer = bytearray(BLOCK)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def distinct_files(folder: Path) -> dict[int, Path]:
    """Return the regular files below a folder by inode: hard links count once, symbolic ones not at all."""
    found: dict[int, Path] = {}
    for parent, _folders, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if path.is_file() and not path.is_symlink():
                found[path.stat().st_ino] = path
    return found


def drop_from_memory(folder: Path) -> None:
    """Have the kernel forget the content of the files below a folder, so that it must be read from disk."""
    for path in distinct_files(folder).values():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)  # what is not on disk yet is not forgotten
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def missing_sizes(folder: Path, files: t.Iterable[Served]) -> str:
    """Return which files are not below a folder, told by their sizes; empty if all are."""
    found = collections.Counter(path.stat().st_size for path in distinct_files(folder).values())
    missing = collections.Counter(file.size for file in files) - found
    return ", ".join(f"{count} of {size} bytes" for size, count in missing.items())


def missing_contents(folder: Path, files: t.Iterable[Served]) -> str:
    """Return which files are not below a folder, told by their digests; empty if all are."""
    found = set()
    for path in distinct_files(folder).values():
        with path.open("rb") as file:
            found.add(hashlib.file_digest(file, "sha256").hexdigest())
    return ", ".join(file.name for file in files if file.sha256 not in found)
