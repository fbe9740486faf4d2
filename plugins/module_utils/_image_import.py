# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Make a base image: mmdebstrap unpacks, the tree is rewritten as it passes, the engine imports it.

An engine takes half an archive for a whole one when its client ends in good order, and a client does so when whoever
feeds it dies. So the image is imported without a reference, and gets it only after mmdebstrap has succeeded, the recipe
was followed and the import has ended well. Whatever goes wrong before, old images and references stay as they were.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tarfile
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_debian import (
    SOURCE_DATE_EPOCH,
    debian_argv,
    debian_environment,
    explain_debian_failure,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import (
    Answer,
    Engine,
    engine_environment,
    engine_error,
)
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
    """What to make, under which reference, with which labels."""

    reference: str
    recipe: Recipe
    labels: t.Mapping[str, str]
    mirror: str | None
    work_directory: str


def import_argv(order: Order) -> list[str]:
    """Return the command that makes an image of the archive on its standard input and prints the image's id."""
    changes = [f"LABEL {name}={_quoted(value)}" for name, value in sorted(order.labels.items())]
    changes += [f"ENV {name}={_quoted(value)}" for name, value in order.recipe.environment.items()]
    options = [word for change in changes for word in ("--change", change)]
    message = f"{order.reference} of Debian {order.recipe.suite}"
    return ["docker", "image", "import", f"--message={message}", *options, "--", "-"]


def import_base(engine: Engine, order: Order) -> None:
    """Make the base image and give it its reference.

    :raises ImageImportError: with the cause and the way out.
    :raises ImageEngineError: the engine refused the image.
    """
    _assert_room(order.work_directory)
    with scratch_directory(order.work_directory) as scratch, open(os.path.join(scratch, "log"), "w+b") as log:
        image_id = _run_pipeline(order, scratch, log)
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


def _run_pipeline(order: Order, scratch: str, log: t.IO[bytes]) -> str:
    try:
        with _debian(order, scratch, log) as debian:
            # Unpacking takes its time, and if this process dies meanwhile no client is there to import nothing.
            if not t.cast("t.Any", debian.stdout).peek(1):
                raise _debian_failure(order, debian, log)
            with _client(order) as client:
                return _pass_on(order, debian, client, log)
    except FileNotFoundError as exc:
        raise ImageImportError(f"there is no {exc.filename} command on this host; install it") from exc


@contextlib.contextmanager
def _debian(order: Order, scratch: str, log: t.IO[bytes]) -> t.Iterator[subprocess.Popen[bytes]]:
    """Give a running mmdebstrap, and end it: first its pipe, lest its children wait for someone to read."""
    argv = debian_argv(order.recipe, order.mirror)
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


@contextlib.contextmanager
def _client(order: Order) -> t.Iterator[subprocess.Popen[bytes]]:
    """Give a running docker, and end it: first the process, lest it takes the end of its input for the archive's."""
    with start(import_argv(order), engine_environment(os.environ), stdin=subprocess.PIPE) as client:
        try:
            yield client
        finally:
            if client.poll() is None:
                client.kill()
                client.wait()
            with contextlib.suppress(BrokenPipeError):
                t.cast("t.IO[bytes]", client.stdin).close()


def _pass_on(order: Order, debian: subprocess.Popen[bytes], client: subprocess.Popen[bytes], log: t.IO[bytes]) -> str:
    unpacked, wanted = t.cast("t.IO[bytes]", debian.stdout), t.cast("t.IO[bytes]", client.stdin)
    whole = False
    with contextlib.suppress(BrokenPipeError):  # a client that ends early says why
        with tarfile.open(fileobj=wanted, mode="w|", format=tarfile.PAX_FORMAT) as image:
            _rewrite(order, unpacked, image, debian, log)
        wanted.close()
        whole = True
    answer = Answer(client.wait(), *(_read(pipe) for pipe in (client.stdout, client.stderr)))
    if answer.status != 0 or not whole:
        raise engine_error("docker image import", answer)
    return answer.output.strip()


def _rewrite(
    order: Order, unpacked: t.IO[bytes], image: tarfile.TarFile, debian: subprocess.Popen[bytes], log: t.IO[bytes]
) -> None:
    broken = False
    try:
        with tarfile.open(fileobj=unpacked, mode="r|") as packages:
            write_tree(packages, image, order.recipe, SOURCE_DATE_EPOCH)
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


def _read(pipe: t.IO[bytes] | None) -> str:
    return "" if pipe is None else pipe.read().decode(errors="replace")


def _quoted(value: str) -> str:
    """Quote a value as a Dockerfile's ENV and LABEL read it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
