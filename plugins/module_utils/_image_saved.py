# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Run docker image save, and walk through the archive that it writes, as it passes.

Both layouts have the same manifest.json: Docker's own (until 24), with a folder for each layer and links for repeated
ones, and the OCI's (from 25), with everything under blobs/, layers perhaps packed by gzip.
"""

from __future__ import annotations

import gzip
import io
import os
import posixpath
import tarfile
import tempfile
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_archive import Peeked
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import (
    Answer,
    engine_environment,
    engine_error,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_process import start

_BUFFER = 2**20
_HEAD = 512
_LARGEST_JSON = 2**24
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"

Result = t.TypeVar("Result")

BROKEN = (tarfile.TarError, EOFError, ValueError, KeyError, TypeError, IndexError, gzip.BadGzipFile)
"""What reading an archive raises that is not whole, or not of the form."""


@dataclass(frozen=True)
class Archive(t.Generic[Result]):
    """What was in an archive, by the names in it: documents as they are, and what came of each layer."""

    documents: t.Mapping[str, bytes]
    layers: t.Mapping[str, Result]

    def layer(self, name: str) -> Result:
        return self.layers[posixpath.normpath(name)]

    def document(self, name: str) -> bytes:
        return self.documents[posixpath.normpath(name)]


def save(
    images: t.Sequence[str],
    read: t.Callable[[t.IO[bytes]], Result],
    broken_by: tuple[type[Exception], ...] = BROKEN,
) -> Result:
    """Have the engine save some images in one archive; return what `read` makes of it.

    Args:
        broken_by: what `read` raises where the archive is not whole.

    Raises:
        ImageEngineError: the engine failed; that is the cause, whatever `read` found wrong with the half archive.
    """
    broken: BaseException | None = None
    result: Result | None = None
    # Its errors go to a file: a pipe that nobody reads meanwhile could fill up.
    with tempfile.TemporaryFile() as errors:
        argv = ["docker", "image", "save", "--", *images]
        with start(argv, engine_environment(os.environ), stderr=errors) as process:
            archive = t.cast("t.IO[bytes]", process.stdout)
            try:
                result = read(archive)
            except broken_by as exc:
                broken = exc
            while archive.read(_BUFFER):  # what follows the archive's end, so that its writer can end too
                pass
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    if process.returncode != 0:
        raise engine_error("docker image save", Answer(process.returncode, "", said))
    if broken is not None:
        raise broken
    return t.cast("Result", result)


def walk(archive: t.IO[bytes], take: t.Callable[[str, t.IO[bytes]], Result]) -> Archive[Result]:
    """Read an archive as it passes; every layer is given to `take`, with its name in the archive, unpacked.

    Raises:
        one of BROKEN: it is no archive of an image.
    """
    documents: dict[str, bytes] = {}
    layers: dict[str, Result] = {}
    links: dict[str, str] = {}
    with tarfile.open(fileobj=archive, mode="r|", bufsize=_BUFFER) as tar:
        for member in tar:
            name = posixpath.normpath(member.name)
            if member.issym():  # a layer that is there twice
                links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
            elif member.islnk():
                links[name] = posixpath.normpath(member.linkname)
            elif member.isreg():
                content = t.cast("t.IO[bytes]", tar.extractfile(member))
                head = content.read(_HEAD)
                if is_document(head, member.size):
                    documents[name] = head + content.read()
                elif is_layer(head):
                    layers[name] = take(name, unpacked(head, content))
    layers.update({name: layers[target] for name, target in links.items() if target in layers})
    return Archive(documents, layers)


def is_document(head: bytes, size: int) -> bool:
    return head[:1] in (b"{", b"[") and size <= _LARGEST_JSON


def is_layer(head: bytes) -> bool:
    """Whether a member is a tar: packed, plain, or one of zeros only, which is what an empty layer is.

    Raises:
        ValueError: it is packed in a way that Python does not read.
    """
    if head.startswith(_ZSTD):
        raise ValueError("a layer is packed by zstd; have the engine store layers packed by gzip, or not packed")
    return head.startswith(_GZIP) or head[257:262] == b"ustar" or (len(head) == _HEAD and not head.strip(b"\0"))


def unpacked(head: bytes, rest: t.IO[bytes]) -> t.IO[bytes]:
    """Return a layer's plain bytes, of which the first were read."""
    whole = t.cast("t.IO[bytes]", Peeked(head, rest))
    if not head.startswith(_GZIP):
        return whole
    return t.cast("t.IO[bytes]", io.BufferedReader(gzip.GzipFile(fileobj=whole), _BUFFER))
