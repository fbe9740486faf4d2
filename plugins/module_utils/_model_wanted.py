# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""One version of a model as a task asks for it, checked before anything is looked at. Nothing here does I/O."""

from __future__ import annotations

import dataclasses
import re
import typing as t
import unicodedata
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import Source, check_path, parse_source
from ansible_collections.emorobcare.fleet.plugins.module_utils._size import in_bytes

# verified: present, and every byte of it is read again whatever the stamps say.
State = t.Literal["present", "absent", "verified"]

SIZE_RULE = "exact bytes (90868376), or a rough figure with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB ('14GB')"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


@dataclass(frozen=True)
class WantedFile:
    """One file of a version: where it goes, what it must be, where it comes from, in the order to try.

    `size` is in bytes; `estimated` says that it is a rough figure (0: none), to be replaced by the one that the store
    or a source tells. A version is published without a file that is not `required` when no source has it.
    """

    path: str
    sha256: str
    size: int
    sources: tuple[Source, ...]
    required: bool = True
    estimated: bool = False

    def __post_init__(self) -> None:
        check_path(self.path, "files")
        if not _SHA256.fullmatch(self.sha256):
            raise ModelError(f"files: {self.path}: sha256 must be 64 lower-case hex digits, got {self.sha256!r}")
        if self.size < 0:
            raise ModelError(f"files: {self.path}: size must be a number of bytes, 0 or more, got {self.size}")
        if not self.sources:
            raise ModelError(f"files: {self.path}: has no source; give source, or a list of them as sources")

    @property
    def source(self) -> Source:
        """The source to try first."""
        return self.sources[0]

    def sized(self, size: int) -> WantedFile:
        """Return the file with a size in bytes that is known to be exact."""
        return dataclasses.replace(self, size=size, estimated=False)


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
        if self.state != "absent" and not self.files:
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

    def sized(self, sizes: t.Mapping[str, int]) -> Wanted:
        """Return the same with exact sizes (digest to bytes) where only rough ones were known."""
        files = (
            file.sized(sizes[file.sha256]) if file.estimated and file.sha256 in sizes else file for file in self.files
        )
        return dataclasses.replace(self, files=tuple(files))


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
    """Refuse one digest with two exact sizes: at least one pin is wrong."""
    sizes: dict[str, WantedFile] = {}
    for file in files:
        if file.estimated:
            continue
        other = sizes.setdefault(file.sha256, file)
        if other.size != file.size:
            raise ModelError(
                f"files: {other.path!r} and {file.path!r} have the same sha256 but sizes {other.size} and {file.size}; "
                "correct the pins"
            )


def size_in_bytes(text: str, what: str) -> int:
    """Return the bytes that a size with a unit ("14GB", "1.5 GiB") stands for; `what` names the option.

    Raises:
        ModelError: it is no such size.
    """
    try:
        return in_bytes(text.strip())
    except ValueError:
        raise ModelError(f"{what}: size must be {SIZE_RULE}, got {text!r}") from None


def parse_size(value: t.Any, what: str) -> tuple[int, bool]:
    """Return the bytes that an option gives, and whether they are only an estimate; nothing given is (0, True).

    Raises:
        ModelError: it is neither a number of bytes nor a size with a unit.
    """
    if value is None:
        return 0, True
    if isinstance(value, int) and not isinstance(value, bool):
        return value, False
    if not isinstance(value, str):
        raise ModelError(f"{what}: size must be {SIZE_RULE}, got {value!r}")
    text = value.strip()
    if re.fullmatch(r"-?[0-9]+", text, re.ASCII):
        return int(text), False
    return size_in_bytes(text, what), True


def parse_wanted(params: t.Mapping[str, t.Any]) -> Wanted:
    """Build `Wanted` from the module's options.

    Raises:
        ModelError: an option breaks a rule.
    """
    files = _with_known_sizes([_parse_file(item) for item in params["files"] or []])
    return Wanted(name=params["name"], version=params["version"], state=params["state"], files=tuple(files))


def _parse_file(item: t.Mapping[str, t.Any]) -> WantedFile:
    what = f"files: {item['path'] or '(no path)'}"
    size, estimated = parse_size(item.get("size"), what)
    required = item.get("required")
    return WantedFile(
        path=item["path"],
        sha256=item["sha256"].removeprefix("sha256:"),
        size=size,
        sources=_parse_sources(item, what),
        required=True if required is None else bool(required),
        estimated=estimated,
    )


def _parse_sources(item: t.Mapping[str, t.Any], what: str) -> tuple[Source, ...]:
    one, several = item.get("source"), item.get("sources")
    if (one is None) == (several is None):
        told = "neither" if one is None else "both"
        raise ModelError(f"{what}: exactly one of source and sources must be given, got {told}")
    texts: t.Sequence[str] = several if several is not None else [one or ""]
    if not texts:
        raise ModelError(f"{what}: sources is empty; give at least one source")
    return tuple(dict.fromkeys(parse_source(text, what) for text in texts))


def _with_known_sizes(files: list[WantedFile]) -> list[WantedFile]:
    """Give a file without an exact size the one of another file with the same digest."""
    known = {file.sha256: file.size for file in files if not file.estimated}
    return [file.sized(known[file.sha256]) if file.estimated and file.sha256 in known else file for file in files]
