# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Folders of plain files that a release binds by digest: what is in them, and files put there whole."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import write_bytes
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import remove

NEW = ".new"
"""What a file's name ends with that is being written; a later run removes it."""

_PIECE = 1 << 20  # bytes
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK)


def digest_of(path: str) -> str:
    """Return the SHA-256 of a file in lower-case hex."""
    told = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            told.update(piece)
    return told.hexdigest()


def digests_below(folder: str) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, by its path there; none if there is no folder.

    Raises:
        DepotError: there is a link, or what is neither file nor folder (`unsafe_path`).
    """
    found = {}
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = os.path.join(place, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode):
                found[os.path.relpath(path, folder)] = digest_of(path)
            elif not stat.S_ISDIR(mode):
                raise DepotError(
                    f"{path} is no plain file, and what goes into a depot is nothing else; remove it, or choose "
                    "another folder",
                    reason="unsafe_path",
                )
    return found


def write_whole(path: str, content: bytes) -> None:
    """Replace a small file that all may read: after a crash it is the old one or the new one."""
    write_bytes(path, content, 0o644)


def put(source: str, target: str) -> None:
    """Have the content of a file in another place, whole or not at all; who needs it durable syncs the file system.

    It is no second copy where the file system allows that, so the source must be the caller's own: its mode changes.
    """
    place(source, target + NEW)
    os.chmod(target + NEW, 0o644)
    os.rename(target + NEW, target)


def place(source: str, target: str) -> None:
    """Link a file to another place, or copy it where the file system has no such links."""
    remove(target)
    try:
        os.link(source, target)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, target)
