# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""An image as the archive that `docker image load` takes, the same to the byte for the same content.

`docker image import` writes the time of day into an image's configuration, whose digest is the image's id. An archive
carries a configuration of our own, with a time that does not change.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import tarfile
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import Platform, machine_architecture

_BUFFER = 2**20
_LOADED = re.compile(r"^Loaded image(?: ID)?: (sha256:[0-9a-f]{64})$", re.MULTILINE)


@dataclass(frozen=True)
class Layer:
    """An uncompressed layer in a file, by the SHA-256 of its bytes; size in bytes."""

    path: str
    digest: str
    size: int


class Peeked:
    """A file whose beginning was read already."""

    def __init__(self, head: bytes, rest: t.IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._rest.read(size)
        head, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
        return head + self._rest.read(size - len(head) if size >= 0 else -1)


def read_layer(path: str) -> Layer:
    """Return the layer that a file holds."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while chunk := file.read(_BUFFER):
            digest.update(chunk)
            size += len(chunk)
    return Layer(path, digest.hexdigest(), size)


def image_config(
    layer: Layer,
    step: str,
    made: int,
    labels: t.Mapping[str, str],
    environment: t.Mapping[str, str],
    foreign: Platform | None = None,
) -> bytes:
    """Return the configuration of an image of one layer, in canonical JSON.

    :param step: what made the layer, for the image's history.
    :param made: when, in seconds since the epoch.
    :param foreign: the platform that the layer's programs are for, if it is not this machine's.
    """
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(made))
    config = {
        "architecture": foreign.architecture if foreign else machine_architecture(platform.machine()),
        "config": {"Env": [f"{name}={value}" for name, value in environment.items()], "Labels": dict(labels)},
        "created": created,
        "history": [{"created": created, "created_by": step}],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}"]},
        **({"variant": foreign.variant} if foreign and foreign.variant else {}),
    }
    return json.dumps(config, sort_keys=True, separators=(",", ":")).encode()


def write_archive(output: t.IO[bytes], layers: t.Sequence[Layer], config: bytes) -> None:
    """Write the archive of an image, its lowest layer first.

    What names the image comes last, so that half an archive is none. A layer without a path is one that the engine has.
    """
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    names = [f"{layer.digest}/layer.tar" for layer in layers]
    manifest = json.dumps([{"Config": config_name, "RepoTags": None, "Layers": names}]).encode()
    with tarfile.open(fileobj=output, mode="w|") as tar:
        for name, layer in dict(zip(names, layers)).items():
            if layer.path:
                with open(layer.path, "rb") as content:
                    _add(tar, name, layer.size, content)
        _add(tar, config_name, len(config), io.BytesIO(config))
        _add(tar, "manifest.json", len(manifest), io.BytesIO(manifest))


def loaded_image(output: str) -> str | None:
    """Return the id of the image that `docker image load` says it has loaded."""
    found = _LOADED.search(output)
    return found[1] if found else None


def _add(tar: tarfile.TarFile, name: str, size: int, content: t.IO[bytes]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = size
    tar.addfile(entry, content)
