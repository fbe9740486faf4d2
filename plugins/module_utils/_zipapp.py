# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Pack a part of this collection into one file that Python runs by itself (a zipapp), the same to the byte each time.

The sources come from the loaders of the modules: those read the folder of a checkout, and inside a module that Ansible
sent to a host the archive that it was sent in. What belongs to it is found by the imports in the sources, those inside
functions too, and not by what happens to be loaded.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import sys
import typing as t
import zipfile

_PACKAGE = __name__.rpartition(".")[0]
_IMPORT = re.compile(rf"^\s*from {re.escape(_PACKAGE)}\.(\w+) import", re.MULTILINE)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that an archive can hold
_FILE = 0o100644 << 16
_UNIX = 3
_USUAL_PYTHON = "/usr/bin/python3"


class _Loader(t.Protocol):
    def get_source(self, fullname: str) -> str | None: ...


def sources_of(name: str, source: t.Callable[[str], str]) -> dict[str, str]:
    """Return the source of a util of ours and of all that it needs, by name.

    Args:
        source: returns that of one.
    """
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found[current] = source(current)
            waiting += _IMPORT.findall(found[current])
    return dict(sorted(found.items()))


def loaded_source(name: str) -> str:
    """Return the source of a util of ours, from wherever it is imported.

    Raises:
        ImportError: there is none.
    """
    whole = f"{_PACKAGE}.{name}"
    spec = importlib.util.find_spec(whole)
    source = t.cast(_Loader, spec.loader).get_source(whole) if spec and spec.loader else None
    if source is None:
        raise ImportError(f"the source of {whole} is not there")
    return source


def interpreter() -> str:
    """Return the Python that is to run the program: the one that modules run with, which has what gates need."""
    same = os.path.exists(_USUAL_PYTHON) and os.path.realpath(_USUAL_PYTHON) == os.path.realpath(sys.executable)
    return _USUAL_PYTHON if same else sys.executable


def pack(sources: t.Mapping[str, str], start: str, interpreter: str) -> bytes:
    """Return a file that runs `start` with the sources at hand.

    It is not compressed: what comes out of a compressor depends on its version.

    Args:
        start: the program.
        interpreter: the first line says it; isolated, so that no setting of the caller's changes what is imported.
    """
    folder = _PACKAGE.replace(".", "/")
    packages = [folder.rsplit("/", depth)[0] for depth in range(folder.count("/") + 1)]
    files = {f"{package}/__init__.py": "" for package in packages}
    files |= {f"{folder}/{name}.py": source for name, source in sources.items()}
    files["__main__.py"] = start
    buffer = io.BytesIO()
    buffer.write(f"#!{interpreter} -I\n".encode())
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for path, text in sorted(files.items()):
            info = zipfile.ZipInfo(path, _EPOCH)
            info.create_system, info.external_attr = _UNIX, _FILE
            archive.writestr(info, text.encode())
    return buffer.getvalue()
