# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Build one image, look at it, and only then give it its reference."""

from __future__ import annotations

import contextlib
import os
import subprocess
import typing as t
from dataclasses import replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_build import (
    Build,
    ImageBuildError,
    Secret,
    build_argv,
    read_failure,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_debian import SOURCE_DATE_EPOCH
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import (
    INPUT_LABEL,
    Answer,
    Engine,
    Image,
    ImageEngineError,
    NoEngineError,
    engine_environment,
    engine_error,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_plan import ImagePlanError, assert_size
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_process import start
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_settle import settle_image


def build_image(
    engine: Engine, build: Build, secrets: t.Sequence[Secret], labels: t.Mapping[str, str], tmpdir: str
) -> Image:
    """Build an image from the archive at build.context and give it its reference.

    :raises ImageBuildError: the build failed, or what it made is not what was asked for.
    :raises ImagePlanError: the image is too large.
    :raises ImageEngineError: the engine refused.
    """
    id_file = os.path.join(tmpdir, "image-id")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(id_file)
    _run_build(build, build_argv(build, secrets, labels, id_file))
    with open(id_file, encoding="ascii") as written:
        image_id = written.read().strip()
    try:
        image = _checked(engine, build, image_id)
    except (ImageBuildError, ImagePlanError):
        # Best effort: the engine keeps an image that has a reference from elsewhere, and that is as it should be.
        with contextlib.suppress(ImageEngineError):
            engine.remove(image_id)
        raise
    settled = settle_image(image_id, SOURCE_DATE_EPOCH, tmpdir)
    engine.tag(settled, build.wanted.reference)
    if settled != image_id:
        with contextlib.suppress(ImageEngineError):
            engine.remove(image_id)
    return replace(image, id=settled)


def _run_build(build: Build, argv: list[str]) -> None:
    output, status = _piped(build, argv)
    if status == 0:
        return
    error = engine_error("docker build", Answer(status, "", output))
    if isinstance(error, NoEngineError):
        raise error
    raise ImageBuildError(f"{build.wanted.reference} cannot be built: {read_failure(output, build.offline)}")


def _piped(build: Build, argv: list[str]) -> tuple[str, int]:
    """Run docker with the context's archive as its input; return all that it said, and its status."""
    try:
        with open(build.context, "rb") as context:
            process = start(argv, engine_environment(os.environ), stdin=context, stderr=subprocess.STDOUT)
            said, _nothing = process.communicate()
    except FileNotFoundError as exc:
        if exc.filename == build.context:
            raise ImageBuildError(
                f"{build.wanted.reference}: the context's archive {build.context} does not exist"
            ) from exc
        raise NoEngineError(f"there is no {exc.filename} command on this host; install Docker") from None
    return said.decode(errors="replace"), process.returncode


def _checked(engine: Engine, build: Build, image_id: str) -> Image:
    """Return the built image, if it is what was asked for."""
    image = engine.inspect([image_id]).get(image_id)
    if image is None:
        raise ImageBuildError(
            f"{build.wanted.reference}: the engine does not have the image that it built; build again"
        )
    if image.input != build.wanted.input:
        raise ImageBuildError(
            f"{build.wanted.reference}: the built image's label {INPUT_LABEL} is {image.input!r} and not the input "
            f"{build.wanted.input}; take LABEL {INPUT_LABEL} out of the Dockerfile"
        )
    if not build.wanted.fits(image):
        raise ImageBuildError(
            f"{build.wanted.reference}: the built image is for {image.platform} and not {build.wanted.target.name}; "
            "take --platform out of the Dockerfile's last FROM, or build from a base that exists for that platform"
        )
    assert_size(build.wanted, image, engine.layers(image_id))
    return image
