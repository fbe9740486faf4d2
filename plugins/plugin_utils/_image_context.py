# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A build context as an archive: the very files that the image's input digest covers, the same to the byte anywhere."""

from __future__ import annotations

import pathlib
import tarfile
import typing as t

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_input import (
    ContextFile,
    context_files,
    image_input,
)

# 2025-01-01, and the years before it that files' times are spread over.
_NEWEST = 1735689600
_SPREAD = 10 * 365 * 24 * 3600


class ImageContextError(Exception):
    """A context cannot be sent; the message is for the user."""


def read_context(image: t.Mapping[str, t.Any]) -> list[ContextFile]:
    """Return the files of an image's context, if they are what the image's input says.

    :param image: service, context, dockerfile, args and input, as the lookup emorobcare.fleet.stack gives them.
    :raises ImageContextError: the context is missing, has no Dockerfile, or has changed since it was looked at.
    :raises StackFileError: something in the context must not go into an image.
    """
    context, dockerfile, service = pathlib.Path(image["context"]), image["dockerfile"], image["service"]
    if not context.is_dir():
        raise ImageContextError(f"context {context} of service {service} is not a folder on the controller")
    if not (context / dockerfile).is_file():
        raise ImageContextError(f"context {context} of service {service} has no {dockerfile}")
    files = context_files(context, dockerfile)
    found = image_input(files, dockerfile, image["args"])
    if found != image["input"]:
        raise ImageContextError(
            f"context {context} of service {service}, with its Dockerfile and arguments, has the input {found} and not "
            f"{image['input']}: a file was changed meanwhile, or the input is that of something else. Run again"
        )
    return files


def write_archive(context: pathlib.Path, files: t.Sequence[ContextFile], archive: pathlib.Path) -> None:
    """Write files of a context to an archive."""
    folders = {parent for file in files for parent in pathlib.PurePosixPath(file.path).parents if parent.name}
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for folder in sorted(folders):
            tar.addfile(_entry(str(folder), tarfile.DIRTYPE, 0o755))
        for file in files:
            _add(tar, context, file)


def _add(tar: tarfile.TarFile, context: pathlib.Path, file: ContextFile) -> None:
    if file.kind == "link":
        entry = _entry(file.path, tarfile.SYMTYPE, 0o777)
        entry.linkname = file.content
        tar.addfile(entry)
        return
    entry = _entry(file.path, tarfile.REGTYPE, 0o755 if file.kind == "executable" else 0o644)
    entry.mtime = _time_of(file.content)
    with (context / file.path).open("rb") as content:
        entry.size = content.seek(0, 2)
        content.seek(0)
        tar.addfile(entry, content)


def _entry(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.mtime = kind, mode, _NEWEST
    return entry


def _time_of(digest: str) -> int:
    """Return a time that depends on nothing but the content.

    Web servers take time and size for a file's identity (ETag, Last-Modified). With one time for all, a browser would
    go on showing an old file after an update that leaves its size alone.
    """
    return _NEWEST - int(digest[:12], 16) % _SPREAD
