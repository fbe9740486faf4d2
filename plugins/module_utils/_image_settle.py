# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Give a built image the id that the same content has at any time and on any host.

A builder writes its clock into the image: into the configuration, and into each layer as the time of every file and
folder that it made. Later engines can be told not to (SOURCE_DATE_EPOCH with rewrite-timestamp), but that is one
store's and one version's. So the image is saved, times after the epoch of the bases become that epoch, and what changed
by that is loaded again. Layers of a base are from before, so they stay as they are and are shared.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tarfile
import tempfile
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_archive import Layer, read_layer
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import ImageEngineError
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_load import load_image
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_saved import BROKEN, save, walk

_BUFFER = 2**20
_TIMES = ("mtime", "atime", "ctime")
# What is said of an image itself; builders add what they know of the build.
_KEPT = ("architecture", "author", "config", "os", "variant")


class ImageSettleError(ImageEngineError):
    """The engine saved something that cannot be read; the message is for the user."""


@dataclass(frozen=True)
class _Saved:
    """A saved image: its configuration, and its layers in files, in their order; none is changed yet."""

    config: dict[str, t.Any]
    layers: tuple[str, ...]


def settle_image(image: str, epoch: int, tmpdir: str) -> str:
    """Make the image that has the same content and no later time than the epoch; return its id.

    :param epoch: in seconds since 1970.
    :raises ImageEngineError: the engine did not give or take the image.
    """
    with tempfile.TemporaryDirectory(prefix="image-settle-", dir=tmpdir) as folder:
        saved = _save(image, folder)
        settled = [_settled(path, epoch) for path in saved.layers]
        diff_ids = [
            f"sha256:{layer.digest}" if layer else known
            for layer, known in zip(settled, saved.config["rootfs"]["diff_ids"])
        ]
        config = settled_config(saved.config, diff_ids, epoch)
        try:
            return load_image([layer or _named(diff_id) for layer, diff_id in zip(settled, diff_ids)], config)
        except ImageEngineError:
            # The store wants every layer, those that it has too.
            return load_image([layer or read_layer(path) for layer, path in zip(settled, saved.layers)], config)


def settled_config(config: t.Mapping[str, t.Any], diff_ids: t.Sequence[str], epoch: int) -> bytes:
    """Return an image's configuration with other layers and without a later time, in canonical JSON."""
    latest = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    document = {name: config[name] for name in _KEPT if name in config}
    document["created"] = latest
    document["history"] = [
        {**step, "created": min(str(step.get("created") or latest), latest)} for step in config.get("history") or ()
    ]
    document["rootfs"] = {"type": "layers", "diff_ids": list(diff_ids)}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _named(diff_id: str) -> Layer:
    """Return a layer that the engine has, of which the archive holds nothing."""
    return Layer("", diff_id.partition(":")[2], 0)


def _settled(path: str, epoch: int) -> Layer | None:
    """Write the layer anew, without a later time; return None if it has none."""
    with tarfile.open(path) as layer:
        if all(int(member.mtime) <= epoch for member in layer):
            return None
    changed = f"{path}.settled"
    with tarfile.open(path) as layer, tarfile.open(changed, "w", format=tarfile.PAX_FORMAT) as output:
        for member in layer:
            member.mtime = min(int(member.mtime), epoch)
            member.uname = member.gname = ""
            member.pax_headers = {name: value for name, value in member.pax_headers.items() if name not in _TIMES}
            output.addfile(member, layer.extractfile(member) if member.isreg() else None)
    return read_layer(changed)


def _save(image: str, folder: str) -> _Saved:
    try:
        return save([image], lambda archive: _unpack(archive, folder))
    except BROKEN as exc:
        raise ImageSettleError(f"docker image save gave an archive of {image} that cannot be read: {exc}") from exc


def _unpack(archive: t.IO[bytes], folder: str) -> _Saved:
    """Put layers into files, and read the documents about them."""
    numbers = itertools.count()
    saved = walk(archive, lambda _name, layer: _spool(layer, os.path.join(folder, f"layer-{next(numbers)}")))
    entry = json.loads(saved.document("manifest.json"))[0]
    files = tuple(saved.layer(name) for name in entry["Layers"])
    return _Saved(json.loads(saved.document(entry["Config"])), files)


def _spool(layer: t.IO[bytes], path: str) -> str:
    with open(path, "wb") as file:
        shutil.copyfileobj(layer, file, _BUFFER)
    return path
