# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Turn the archive of unpacked packages into that of a base image, as a recipe says, in one pass and without a disk.

Nothing here runs a program. What goes in decides what comes out to the byte: names of owners and extended
attributes go, times are whole seconds, and what the recipe adds follows in order of its paths.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_recipe import (
    File,
    Owner,
    Recipe,
    path_matcher,
)

# What describes the machine that unpacked or is left by mmdebstrap, and what the engine makes by itself.
_NEVER = (
    "/dev/*",
    "/etc/apt",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/proc/*",
    "/sys/*",
    "/var/cache/apt",
    "/var/lib/apt",
    "/var/lib/dpkg/alternatives",
    "/var/lib/dpkg/arch",
    "/var/lib/dpkg/info",
    "/var/lib/dpkg/status",
    "/var/lib/dpkg/triggers",
    "/var/lib/dpkg/updates",
    "/var/log/apt",
)

# The name by which the kernel is asked to start programs, where the ABI puts it into /usr/lib: on arm64 and armhf it is
# a link to the loader, which recipes keep; on amd64 the name is in /usr/lib64.
_ALWAYS = ("/usr/lib/ld-linux-*",)


class ImageTreeError(Exception):
    """The recipe and the packages' files do not go together; the message is for the user."""


def write_tree(packages: tarfile.TarFile, image: tarfile.TarFile, recipe: Recipe, mtime: int) -> None:
    """Copy what a recipe wants of the packages' archive, then add what it makes.

    :param mtime: the latest time a file may have, and the one of what is added; seconds since the epoch.
    :raises ImageTreeError: the recipe does not fit the packages' files.
    :raises tarfile.TarError: the packages' archive is not whole.
    """
    tree = _Tree(image, recipe, mtime)
    for member in packages:
        tree.take(packages, member)
    tree.add_what_the_recipe_makes()


class _Tree:
    """The image's archive as it grows."""

    def __init__(self, tar: tarfile.TarFile, recipe: Recipe, mtime: int) -> None:
        self._tar = tar
        self._recipe = recipe
        self._mtime = mtime
        self._always = path_matcher(_ALWAYS)
        self._removes = recipe.removes()
        self._never = path_matcher(_NEVER, below=True)
        self._made = {file.path for file in recipe.files} | set(recipe.links)
        self._directories = {directory.path: directory for directory in recipe.directories}
        self._to_rename = dict(recipe.rename)
        self._collected = _Collector(recipe.files)
        self._written: dict[str, str] = {}  # path to what it is
        self._left_out: dict[str, tarfile.TarInfo] = {}  # directories, for what is kept below them

    def take(self, packages: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = _absolute(member.name)
        content = packages.extractfile(member) if member.isreg() else None
        if content is not None and self._collected.wants(path):
            content = io.BytesIO(self._collected.collect(path, content.read()))
        if path in self._to_rename:
            path = self._to_rename.pop(path)
        if (
            path == "/"
            or path in self._made
            or not (member.isreg() or member.isdir() or member.issym() or member.islnk())
        ):
            return
        if self._never(path) or (self._removes(path) and not self._always(path)):
            if member.isdir():
                self._left_out[path] = member
            return
        self._add_parents(path)
        self._write(path, self._cleaned(path, member), content)

    def _cleaned(self, path: str, member: tarfile.TarInfo) -> tarfile.TarInfo:
        directory = self._directories.pop(path, None) if member.isdir() else None
        info = tarfile.TarInfo(path[1:])
        info.type, info.size, info.mtime = member.type, member.size, min(int(member.mtime), self._mtime)
        info.mode = member.mode if directory is None else directory.mode
        info.uid = member.uid if directory is None else directory.owner.uid
        info.gid = member.gid if directory is None else directory.owner.gid
        info.linkname = member.linkname
        if member.islnk():
            target = self._recipe.rename.get(_absolute(member.linkname), _absolute(member.linkname))
            if target not in self._written:
                raise ImageTreeError(
                    f"{path} is a hard link to {target}, which the recipe removes; remove or keep both"
                )
            info.linkname = target[1:]
        return info

    def _write(self, path: str, info: tarfile.TarInfo, content: t.IO[bytes] | None) -> None:
        self._written[path] = "directory" if info.isdir() else "link" if info.issym() else "file"
        self._tar.addfile(info, content)

    def add_what_the_recipe_makes(self) -> None:
        for path in self._to_rename:
            raise ImageTreeError(f"rename: the packages have no file {path}")
        self._add_directories()
        for file in sorted(self._recipe.files, key=lambda file: file.path):
            content = file.content if file.concatenate is None else self._collected.content(file)
            self._add(file.path, tarfile.REGTYPE, file.mode, file.owner, content=content)
        for path, target in sorted(self._recipe.links.items()):
            self._add(path, tarfile.SYMTYPE, 0o777, Owner(), target=target)

    def _add_directories(self) -> None:
        for path, directory in sorted(self._directories.items()):
            if path in self._written:
                raise ImageTreeError(f"directories has {path}, which is a {self._written[path]} in the packages")
            self._add(path, tarfile.DIRTYPE, directory.mode, directory.owner)

    def _add(self, path: str, kind: bytes, mode: int, owner: Owner, content: bytes = b"", target: str = "") -> None:
        self._add_parents(path)
        if self._written.get(path) == "directory":
            raise ImageTreeError(f"the recipe makes {path}, which is a directory in the packages; remove it first")
        info = tarfile.TarInfo(path[1:])
        info.type, info.mode, info.mtime, info.linkname = kind, mode, self._mtime, target
        info.uid, info.gid, info.size = owner.uid, owner.gid, len(content)
        self._write(path, info, io.BytesIO(content) if kind == tarfile.REGTYPE else None)

    def _add_parents(self, path: str) -> None:
        parent = posixpath.dirname(path)
        if parent == "/" or self._written.get(parent) == "directory":
            return
        if parent in self._written:
            raise ImageTreeError(f"the recipe makes {path}, but {parent} is a {self._written[parent]} in the packages")
        if parent in self._left_out:
            self._add_parents(parent)
            self._write(parent, self._cleaned(parent, self._left_out.pop(parent)), None)
        else:
            self._add(parent, tarfile.DIRTYPE, 0o755, Owner())


class _Collector:
    """Keeps the contents of the tree's files that recipes concatenate."""

    def __init__(self, files: t.Iterable[File]) -> None:
        globs = [file.concatenate for file in files if file.concatenate is not None]
        self.wants = path_matcher(globs)
        self._contents: dict[str, bytes] = {}

    def collect(self, path: str, content: bytes) -> bytes:
        self._contents[path] = content
        return content

    def content(self, file: File) -> bytes:
        matches = path_matcher([file.concatenate or ""])
        found = [content for path, content in sorted(self._contents.items()) if matches(path)]
        if not found:
            raise ImageTreeError(f"files.{file.path}.concatenate: no file of the packages matches {file.concatenate}")
        return b"".join(content if content.endswith(b"\n") else content + b"\n" for content in found)


def _absolute(name: str) -> str:
    return posixpath.normpath("/" + name)
