# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The packages that builds fetch, as plain files that can be taken to a machine without a network.

Dockerfiles mount BuildKit's cache `fleet-packages`, and only a build can look into it: one copies into it what a
directory of the host has and it lacks, another one brings out what it has and the directory lacks. (Layers of the
build cache do not serve: not every image store can export them, and a step without a network is another step.)
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_build import ImageBuildError, read_failure
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import engine_environment
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_process import start

CACHE = "fleet-packages"

_NEW = ".new-"
_BUILD_BASE = re.compile(r"BASE_\w+_BUILD")
_MOUNTS = f"--mount=type=bind,target=/kept --mount=type=cache,id={CACHE},target=/cache"
_FILL = """\
FROM {image} AS cache
ARG MOMENT
RUN {mounts} cp -Ru /kept/. /cache/ && mkdir /out
FROM scratch
COPY --from=cache /out/ /
"""
_TAKE = """\
FROM {image} AS cache
ARG MOMENT
RUN {mounts} mkdir /out && cd /cache && find . -type f | while read -r file; do \
[ -e "/kept/$file" ] || {{ mkdir -p "/out/${{file%/*}}" && cp "$file" "/out/$file"; }} || exit 1; done
FROM scratch
COPY --from=cache /out/ /
"""


def build_base(args: t.Iterable[t.Mapping[str, str]]) -> str | None:
    """Return a base with a shell, of those that the images' arguments name for building (BASE_…_BUILD)."""
    return next((value for one in args for name, value in sorted(one.items()) if _BUILD_BASE.fullmatch(name)), None)


def fill(image: str, directory: str, platform: str | None = None) -> None:
    """Give the builder's cache the packages of a directory.

    :param image: one with a shell, cp and find.
    :param platform: what the image is for, if that is not the engine's own.
    :raises ImageBuildError: it cannot be done.
    """
    kept = _kept(directory)
    if os.listdir(kept):
        with _beside(directory) as output:
            _build(_FILL.format(image=image, mounts=_MOUNTS), kept, output, platform)


def take(image: str, directory: str, platform: str | None = None) -> None:
    """Give a directory the packages of the builder's cache; each appears whole or not at all.

    :raises ImageBuildError: it cannot be done.
    """
    kept = _kept(directory)
    with _beside(directory) as output:
        _build(_TAKE.format(image=image, mounts=_MOUNTS), kept, output, platform)
        for folder, _folders, files in os.walk(output):
            place = os.path.normpath(os.path.join(kept, os.path.relpath(folder, output)))
            os.makedirs(place, exist_ok=True)
            for name in files:
                os.replace(os.path.join(folder, name), os.path.join(place, name))


def _kept(directory: str) -> str:
    kept = os.path.join(directory, "packages")
    try:
        os.makedirs(kept, exist_ok=True)
    except OSError as exc:
        raise ImageBuildError(f"cache_directory {directory} cannot be used: {exc.strerror}; choose another") from exc
    return kept


@contextlib.contextmanager
def _beside(directory: str) -> t.Iterator[str]:
    """Return a folder of the same file system that goes again; those that a killed run left go first."""
    for name in os.listdir(directory):
        if name.startswith(_NEW):
            shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_NEW, dir=directory) as folder:
        yield folder


def _build(dockerfile: str, context: str, output: str, platform: str | None) -> None:
    # Not --no-cache: with it, BuildKit of engine 20.10 gives the step an empty cache to mount.
    argv = ["docker", "build", "--progress=plain", "--network=none", f"--build-arg=MOMENT={time.time_ns()}"]
    argv += [f"--platform={platform}"] if platform else []
    argv += [f"--output=type=local,dest={output}", "--file=-", context]
    process = start(argv, engine_environment(os.environ), stdin=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _nothing = process.communicate(dockerfile.encode())
    if process.returncode != 0:
        failure = read_failure(said.decode(errors="replace"))
        raise ImageBuildError(f"packages cannot be moved between the builder's cache and {context}: {failure}")
