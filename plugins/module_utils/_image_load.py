# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Give the engine an image."""

from __future__ import annotations

import contextlib
import os
import subprocess
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_archive import (
    Layer,
    loaded_image,
    write_archive,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import (
    Answer,
    engine_environment,
    engine_error,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_process import start


def load_image(layers: t.Sequence[Layer], config: bytes) -> str:
    """Load an image of these layers, the lowest first; return its id.

    :raises ImageEngineError: the engine refused.
    :raises FileNotFoundError: there is no docker command.
    """
    client = start(["docker", "image", "load"], engine_environment(os.environ), stdin=subprocess.PIPE)
    with client:
        with contextlib.suppress(BrokenPipeError):  # a client that ends early says why
            write_archive(t.cast("t.IO[bytes]", client.stdin), layers, config)
        output, errors = client.communicate()
    answer = Answer(client.returncode, output.decode(errors="replace"), errors.decode(errors="replace"))
    image_id = loaded_image(answer.output)
    if answer.status != 0 or image_id is None:
        raise engine_error("docker image load", answer)
    return image_id
