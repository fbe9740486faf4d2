# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""One version of a model as a task asks for it, checked before anything is looked at. Nothing here does I/O."""

from __future__ import annotations

import re
import typing as t
import unicodedata
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import Source, check_path, parse_source

State = t.Literal["present", "absent"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


@dataclass(frozen=True)
class WantedFile:
    """One file of a version: where it goes, what it must be, where it comes from. `size` is in bytes."""

    path: str
    sha256: str
    size: int
    source: Source

    def __post_init__(self) -> None:
        check_path(self.path, "files")
        if not _SHA256.fullmatch(self.sha256):
            raise ModelError(f"files: {self.path}: sha256 must be 64 lower-case hex digits, got {self.sha256!r}")
        if self.size < 0:
            raise ModelError(f"files: {self.path}: size must be a number of bytes, 0 or more, got {self.size}")


@dataclass(frozen=True)
class Wanted:
    """One version of a model, and whether it should be there."""

    name: str
    version: str
    state: State
    files: tuple[WantedFile, ...] = ()

    def __post_init__(self) -> None:
        for option, value in (("name", self.name), ("version", self.version)):
            if not _NAME.fullmatch(value):
                raise ModelError(
                    f"{option} {value!r} must be 1 to 128 letters, digits, '.', '_', '+' or '-', the first one a "
                    "letter or digit: it becomes a folder's name"
                )
        if self.state == "present" and not self.files:
            raise ModelError(f"files: {self.title} has no files; give at least one, or set state: absent")
        _check_collisions(self.files)
        _check_sizes(self.files)

    @property
    def title(self) -> str:
        return f"model {self.name} version {self.version}"

    @property
    def pins(self) -> dict[str, str]:
        """Path to SHA-256: what makes this version the version that it is."""
        return {file.path: file.sha256 for file in self.files}


def _check_collisions(files: t.Iterable[WantedFile]) -> None:
    """Refuse paths that are one path on some file system, and a path that is a folder of another one."""
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for file in files:
        # Sticks (FAT, exFAT) ignore case, some systems normalise Unicode: such twins would silently be one file.
        key = unicodedata.normalize("NFC", file.path).casefold()
        if key in seen:
            raise ModelError(
                f"files: {file.path!r} and {seen[key]!r} are the same path where case or Unicode form does not count; "
                "rename one of them"
            )
        seen[key] = file.path
        parts = key.split("/")
        folders.update(("/".join(parts[:depth]), file.path) for depth in range(1, len(parts)))
    for key in seen.keys() & folders.keys():
        raise ModelError(f"files: {seen[key]!r} is a file and, for {folders[key]!r}, a folder; rename one of them")


def _check_sizes(files: t.Iterable[WantedFile]) -> None:
    """Refuse one digest with two sizes: at least one pin is wrong."""
    sizes: dict[str, WantedFile] = {}
    for file in files:
        other = sizes.setdefault(file.sha256, file)
        if other.size != file.size:
            raise ModelError(
                f"files: {other.path!r} and {file.path!r} have the same sha256 but sizes {other.size} and {file.size}; "
                "correct the pins"
            )


def parse_wanted(params: t.Mapping[str, t.Any]) -> Wanted:
    """Build `Wanted` from the module's options.

    Raises:
        ModelError: an option breaks a rule.
    """
    files = []
    for item in params["files"] or []:
        what = f"files: {item['path'] or '(no path)'}"
        source = parse_source(item["source"], what)
        files.append(WantedFile(path=item["path"], sha256=item["sha256"], size=item["size"], source=source))
    return Wanted(name=params["name"], version=params["version"], state=params["state"], files=tuple(files))
