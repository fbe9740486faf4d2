# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Images of a Docker engine as OCI content: configuration byte for byte, layers as the plain tars of their diff ids.

Compressing is left to nobody: a layer that two releases share is one blob, whichever engine and store packed it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_look import inspect
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import image_manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_partial import Blob, of_bytes, of_spool
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import (
    Answer,
    ImageEngineError,
    run_command,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import PLATFORMS, platform_name
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_saved import BROKEN, Archive, save, walk
from ansible_collections.emorobcare.fleet.plugins.module_utils._size import human

_PIECE = 1 << 20

Run = t.Callable[[list[str]], Answer]
Inspect = t.Callable[[t.Sequence[str]], t.Mapping[str, t.Mapping[str, t.Any]]]


@dataclass(frozen=True)
class Found:
    """An image of the engine: the reference that Compose files say, what the engine calls it, and its layers.

    `id` is the digest of the configuration or, in the containerd store, of a manifest; `size` is the engine's estimate
    in bytes.
    """

    reference: str
    name: str
    id: str
    diff_ids: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Layer:
    """A layer as it was saved: SHA-256 and bytes of its plain tar, and where that lies; None where it was only read."""

    sha256: str
    size: int
    path: str | None


@dataclass(frozen=True)
class Content:
    """An image's blobs: SHA-256 and bytes of configuration and layers, and its manifest."""

    reference: str
    config: tuple[str, int]
    layers: tuple[tuple[str, int], ...]

    @property
    def manifest(self) -> bytes:
        return image_manifest(self.config, self.layers)


def fetch(
    pulled: t.Mapping[str, str], architecture: str, check_mode: bool, ask: Inspect = inspect, run: Run = run_command
) -> list[str]:
    """Pull the images that are not built and not there, and give them the references of the release; return those.

    Args:
        pulled: what to pull, by the reference that it gets.
        architecture: as Debian calls it.
        check_mode: only tell which.

    Raises:
        DepotError: one cannot be pulled (`image_unavailable`).
    """
    platform = next(one for one in PLATFORMS if one.debian == architecture)
    try:
        found = ask(list(dict.fromkeys([*pulled, *pulled.values()])))
        lacking = [name for name in pulled if name not in found or _platform(found[name]) != platform.name]
        for reference in [] if check_mode else lacking:
            source = pulled[reference]
            if source not in found or _platform(found[source]) != platform.name:
                _must(run(["docker", "pull", "--quiet", f"--platform={platform.name}", "--", source]), source)
            if source != reference:
                _must(run(["docker", "image", "tag", source, reference]), source)
    except ImageEngineError as exc:
        raise DepotError(str(exc), reason="image_unavailable") from exc
    return lacking


def absent(references: t.Sequence[str], architecture: str, ask: Inspect = inspect) -> list[str]:
    """Return the references that the engine has no image for.

    Raises:
        DepotError: it does not answer (`image_unavailable`).
    """
    platform = next(one for one in PLATFORMS if one.debian == architecture)
    names = {name: f"{name}{platform.suffix}" for name in references}
    try:
        found = ask([*names, *names.values()])
    except ImageEngineError as exc:
        raise DepotError(str(exc), reason="image_unavailable") from exc
    return [name for name, other in names.items() if name not in found and other not in found]


def _must(answer: Answer, source: str) -> None:
    if answer.status != 0:
        raise DepotError(
            f"image {source} is not on this host and cannot be pulled: {answer.errors.strip()[-300:]}. Bring it here "
            "once (docker pull, or docker load), then write the depot again",
            reason="image_unavailable",
            image=source,
        )


def look(references: t.Sequence[str], architecture: str, ask: Inspect = inspect) -> list[Found]:
    """Return the engine's images for an architecture, in the order of the references.

    An image for an architecture that is foreign to the engine has its suffix in the tag.

    Args:
        architecture: as Debian calls it.

    Raises:
        DepotError: the engine lacks one, or has it for another architecture only (`image_unavailable`).
    """
    platform = next(one for one in PLATFORMS if one.debian == architecture)
    names = list(dict.fromkeys(references))
    try:
        found = {**ask(names)}
        odd = [name for name in names if name not in found or _platform(found[name]) != platform.name]
        found.update(ask([f"{name}{platform.suffix}" for name in odd if "@" not in name]))
    except ImageEngineError as exc:
        raise DepotError(str(exc), reason="image_unavailable") from exc
    return [_found(reference, platform.name, platform.suffix, found) for reference in names]


def _found(reference: str, platform: str, suffix: str, images: t.Mapping[str, t.Mapping[str, t.Any]]) -> Found:
    for name in (reference, f"{reference}{suffix}"):
        if name in images and _platform(images[name]) == platform:
            image = images[name]
            layers = tuple(str(one).partition(":")[2] for one in (image.get("RootFS") or {}).get("Layers") or ())
            return Found(reference, name, str(image["Id"]), layers, int(image.get("Size") or 0))
    if reference in images:
        raise DepotError(
            f"image {reference} on this host is for {_platform(images[reference])}, and the depot is for {platform}: "
            f"build it with image_build and platforms: [{platform}], or pull it with docker pull --platform {platform}",
            reason="image_unavailable",
            image=reference,
        )
    raise DepotError(
        f"image {reference} is not on this host: build it with image_build, or pull it with docker pull",
        reason="image_unavailable",
        image=reference,
    )


def _platform(image: t.Mapping[str, t.Any]) -> str:
    return platform_name(image.get("Os") or "", image.get("Architecture") or "", image.get("Variant") or "")


def known_content(image: Found, sizes: t.Mapping[str, int]) -> Content | None:
    """Return an image's content if all of it is known without the engine saving it; None if it is not.

    In the containerd store an image's id says nothing of its configuration, so that is never known.

    Args:
        sizes: bytes of the blobs that are known.
    """
    config = image.id.partition(":")[2]
    if not all(one in sizes for one in (config, *image.diff_ids)):
        return None
    return Content(image.reference, (config, sizes[config]), tuple((one, sizes[one]) for one in image.diff_ids))


def save_images(images: t.Sequence[Found], folder: str | None) -> tuple[list[Content], list[Blob]]:
    """Have the engine save images in one archive; return what they are, and their blobs, each once.

    Args:
        folder: where layers go meanwhile; without one they are read and measured, and their blobs give nothing.

    Raises:
        DepotError: the engine failed, or what it saved is not what it said it has (`image_unavailable`,
            `blob_corrupt`).
    """
    if not images:
        return [], []
    if folder is not None:
        _refuse_no_room(images, folder)
    names = list(dict.fromkeys(image.name for image in images))
    try:
        archive = save(names, lambda stream: walk(stream, lambda name, layer: _take(name, layer, folder)))
        entries = json.loads(archive.document("manifest.json"))
        configs = {str(entry["Config"]): archive.document(entry["Config"]) for entry in entries}
        contents, blobs = [], {}
        for image in images:
            entry = _entry(image, entries, configs, archive)
            content = _content(image, configs[entry["Config"]], [archive.layer(name) for name in entry["Layers"]])
            contents.append(content)
            parts = _blobs(image, content, configs[entry["Config"]], archive)
            blobs.update({blob.sha256: blob for blob in parts})
    except BROKEN as exc:
        raise DepotError(
            f"docker image save gave an archive that cannot be read: {exc}", reason="image_unavailable"
        ) from exc
    except ImageEngineError as exc:
        raise DepotError(str(exc), reason="image_unavailable") from exc
    return contents, list(blobs.values())


def _entry(
    image: Found, entries: t.Sequence[dict[str, t.Any]], configs: t.Mapping[str, bytes], archive: Archive[Layer]
) -> dict[str, t.Any]:
    """Return the entry of an image: the one whose configuration, or manifest in the OCI's index, has the image's id."""
    tagged = [one for one in entries if image.name in (one.get("RepoTags") or ())]
    for entry in (*tagged, *entries):
        if f"sha256:{hashlib.sha256(configs[entry['Config']]).hexdigest()}" == image.id:
            return entry
    index = json.loads(archive.documents.get("index.json", b"{}"))
    listed = {str(one.get("digest")): one for one in index.get("manifests") or ()}
    if image.id in listed and tagged:
        return tagged[0]
    if image.id in listed and len(entries) == 1:
        return entries[0]
    raise DepotError(
        f"docker image save gave an archive without image {image.name} ({image.id}); it was replaced meanwhile; "
        "run again",
        reason="image_unavailable",
        image=image.reference,
    )


def _content(image: Found, config: bytes, layers: t.Sequence[Layer]) -> Content:
    diff_ids = [str(one).partition(":")[2] for one in json.loads(config)["rootfs"]["diff_ids"]]
    if tuple(diff_ids) != image.diff_ids:
        raise DepotError(
            f"image {image.name} was replaced while it was read; run again",
            reason="image_unavailable",
            image=image.reference,
        )
    wrong = [one for one, layer in zip(diff_ids, layers) if one != layer.sha256]
    if wrong or len(layers) != len(diff_ids):
        raise DepotError(
            f"image {image.name}: the engine saves a layer with other content than its diff id "
            f"{wrong[0] if wrong else '(missing)'} says. The engine's disk is failing, or its store was changed: "
            "remove the image and build or pull it again",
            reason="blob_corrupt",
            image=image.reference,
        )
    found = tuple((layer.sha256, layer.size) for layer in layers)
    return Content(image.reference, (hashlib.sha256(config).hexdigest(), len(config)), found)


def _blobs(image: Found, content: Content, config: bytes, archive: Archive[Layer]) -> t.Iterator[Blob]:
    yield Blob(*content.config, of_bytes(config), f"the configuration of image {image.name}")
    wanted = {sha256 for sha256, _size in content.layers}
    for layer in archive.layers.values():
        if layer.sha256 in wanted:
            source = of_bytes(b"") if layer.path is None else of_spool(layer.path)
            yield Blob(layer.sha256, layer.size, source, f"a layer of image {image.name}")


def _take(name: str, layer: t.IO[bytes], folder: str | None) -> Layer:
    """Measure a layer, and put it into a file, if there is a folder for that."""
    digest, size = hashlib.sha256(), 0
    path = None if folder is None else os.path.join(folder, hashlib.sha256(name.encode()).hexdigest())
    try:
        with open(path or os.devnull, "wb") as file:
            while piece := layer.read(_PIECE):
                digest.update(piece)
                size += len(piece)
                file.write(piece)
    except gzip.BadGzipFile:
        raise
    except OSError as exc:
        raise DepotError(f"{folder} took no layer of an image: {exc.strerror}", reason="io_error") from exc
    return Layer(digest.hexdigest(), size, path)


def _refuse_no_room(images: t.Sequence[Found], folder: str) -> None:
    """Refuse to fill this host's disk, as far as the engine's own figures tell."""
    needed, available = sum({image.id: image.size for image in images}.values()), shutil.disk_usage(folder).free
    if needed > available:
        raise DepotError(
            f"the images need about {human(needed)} in {folder} while they are packed, and {human(available)} are "
            "available; free that, or set remote_tmp to a folder on a larger disk",
            reason="no_space",
            needed=needed,
            available=available,
            mount=folder,
        )
