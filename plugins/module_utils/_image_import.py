# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Make a base image: mmdebstrap unpacks, the tree is rewritten as it passes, the engine loads it.

The engine gets an image only after mmdebstrap has succeeded and the recipe was followed, and the image gets its
reference only after it was loaded. Whatever goes wrong before, old images and references stay as they were.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tarfile
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_archive import (
    Layer,
    image_config,
    read_layer,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_debian import (
    SOURCE_DATE_EPOCH,
    debian_argv,
    debian_environment,
    explain_debian_failure,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import Engine
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_load import load_image
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import Platform
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_process import start
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_recipe import Recipe
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_scratch import scratch_directory
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_tree import ImageTreeError, write_tree

# Packages, their archive files and the lists of all that the suite has: measured at 330 MB for the largest base.
_NEEDED_BYTES = 512 * 10**6

# Seconds that a process gets to clean up once it was told to end.
_PATIENCE = 20


class ImageImportError(Exception):
    """A base image could not be made; the message is for the user."""


@dataclass(frozen=True)
class Order:
    """What to make, under which reference, with which labels; for which platform, if it is not this machine's."""

    reference: str
    recipe: Recipe
    labels: t.Mapping[str, str]
    mirror: str | None
    work_directory: str
    foreign: Platform | None = None


def import_base(engine: Engine, order: Order) -> None:
    """Make the base image and give it its reference.

    :raises ImageImportError: with the cause and the way out.
    :raises ImageEngineError: the engine refused the image.
    """
    _assert_room(order.work_directory)
    with scratch_directory(order.work_directory) as scratch, open(os.path.join(scratch, "log"), "w+b") as log:
        layer = _make_layer(order, scratch, log)
        image_id = _load(order, layer)
    engine.tag(image_id, order.reference)


def _assert_room(work_directory: str) -> None:
    try:
        disk = os.statvfs(work_directory)
    except OSError as exc:
        raise ImageImportError(
            f"work_directory {work_directory} cannot be used: {exc.strerror}; set another one"
        ) from exc
    free = disk.f_bavail * disk.f_frsize
    if free < _NEEDED_BYTES:
        raise ImageImportError(
            f"work_directory {work_directory} has {free // 10**6} MB left and a base needs {_NEEDED_BYTES // 10**6} MB "
            "while it is made; free some, or set work_directory to a folder on a larger disk"
        )


def _make_layer(order: Order, scratch: str, log: t.IO[bytes]) -> Layer:
    """Write the base's only layer to a file of the scratch directory."""
    path = os.path.join(scratch, "layer.tar")
    try:
        with _debian(order, scratch, log) as debian, tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as layer:
            _rewrite(order, layer, debian, log)
    except FileNotFoundError as exc:
        raise ImageImportError(f"there is no {exc.filename} command on this host; install it") from exc
    except OSError as exc:
        raise ImageImportError(f"{order.reference} cannot be made in {order.work_directory}: {exc.strerror}") from exc
    return read_layer(path)


@contextlib.contextmanager
def _debian(order: Order, scratch: str, log: t.IO[bytes]) -> t.Iterator[subprocess.Popen[bytes]]:
    """Give a running mmdebstrap, and end it: first its pipe, lest its children wait for someone to read."""
    argv = debian_argv(order.recipe, order.mirror, order.foreign.debian if order.foreign else None)
    with start(argv, debian_environment(os.environ, scratch), stderr=log) as debian:
        try:
            yield debian
        finally:
            t.cast("t.IO[bytes]", debian.stdout).close()
            if debian.poll() is None:
                debian.terminate()
                try:
                    debian.wait(timeout=_PATIENCE)
                except subprocess.TimeoutExpired:
                    debian.kill()


def _load(order: Order, layer: Layer) -> str:
    """Give the image to the engine; return its id."""
    step = f"{order.reference} of Debian {order.recipe.suite}"
    config = image_config(layer, step, SOURCE_DATE_EPOCH, order.labels, order.recipe.environment, order.foreign)
    try:
        return load_image([layer], config)
    except FileNotFoundError as exc:
        raise ImageImportError(f"there is no {exc.filename} command on this host; install it") from exc


def _rewrite(order: Order, layer: tarfile.TarFile, debian: subprocess.Popen[bytes], log: t.IO[bytes]) -> None:
    unpacked = t.cast("t.IO[bytes]", debian.stdout)
    broken = False
    try:
        with tarfile.open(fileobj=unpacked, mode="r|") as packages:
            write_tree(packages, layer, order.recipe, SOURCE_DATE_EPOCH)
    except tarfile.TarError:
        broken = True
    except ImageTreeError as exc:
        raise ImageImportError(f"{order.reference} cannot be made: {exc}") from None
    while unpacked.read(2**16):  # what follows the archive's end, so that its writer can end too
        pass
    if debian.wait() != 0 or broken:
        raise _debian_failure(order, debian, log)


def _debian_failure(order: Order, debian: subprocess.Popen[bytes], log: t.IO[bytes]) -> ImageImportError:
    debian.wait()
    log.seek(0)
    output = log.read().decode(errors="replace")
    cause = explain_debian_failure(output, order.recipe.suite, order.mirror, order.work_directory)
    return ImageImportError(f"{order.reference} cannot be made: {cause}")
