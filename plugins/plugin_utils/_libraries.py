# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Pack the libraries that hosts need to verify a depot into one file, from what is installed for this Python.

They are plain Python, so that one file serves every host. Hosts get it from the controller, which is trusted, and never
from a depot.
"""

from __future__ import annotations

import importlib.metadata
import io
import pathlib
import typing as t
import zipfile

DISTRIBUTIONS = ("securesystemslib", "tuf", "urllib3")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that an archive can hold
_FILE = 0o100644 << 16
_FOLDER = 0o040755 << 16 | 0x10
_UNIX = 3


class LibrariesError(Exception):
    """They cannot be packed; the message is for the user."""


def pack_libraries(distributions: t.Sequence[str] = DISTRIBUTIONS) -> bytes:
    """Return an archive that Python imports from, the same to the byte for the same versions.

    It is not compressed: what comes out of a compressor depends on its version.

    Raises:
        LibrariesError: one is not installed, or is not plain Python.
    """
    files = {path: content for name in distributions for path, content in _sources(name)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        # A package without __init__.py is found by the entry of its folder alone.
        folders = {f"{folder}/": b"" for path in files for folder in pathlib.PurePosixPath(path).parents}
        for path, content in sorted({**folders, **files}.items()):
            if path != "./":
                info = zipfile.ZipInfo(path, _EPOCH)
                info.create_system, info.external_attr = _UNIX, _FOLDER if path.endswith("/") else _FILE
                archive.writestr(info, content)
    return buffer.getvalue()


def _sources(name: str) -> t.Iterator[tuple[str, bytes]]:
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as exc:
        raise LibrariesError(
            f"the Python package {name} is not installed on the controller, and hosts need it to verify depots; "
            "install what requirements.txt names"
        ) from exc
    files = distribution.files or []
    native = [str(file) for file in files if file.suffix in (".so", ".pyd")]
    if native or not files:
        raise LibrariesError(
            f"the Python package {name} on the controller is not plain Python: {native[:1] or 'empty'}"
        )
    for file in files:
        if file.suffix == ".py" and ".." not in file.parts:
            yield str(file), file.read_binary()
