# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Gather all that a release is made of: its document and files, images, models, and folders of further files.

What comes of it is a release manifest without a number yet, and the blobs with where their bytes come from.
"""

from __future__ import annotations

import hashlib
import os
import stat
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_images
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_images import Content, Found
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import model_manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_partial import Blob, of_bytes, of_file
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import (
    Image,
    Manifest,
    Model,
    parse_manifest,
    safe_path,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_targets import EMPTY
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import Model as WantedModel
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import Release, canonical, digest
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Store, lstat

_PIECE = 1 << 20


@dataclass(frozen=True)
class Wanted:
    """What a depot's release should be; the options of the task.

    `packages` are folders on this host by suite, `runtime` is one such folder. `held`: what every host has already.
    """

    release: Release
    files: t.Mapping[str, bytes]
    images: tuple[str, ...]
    fleet: str
    architecture: str
    minimum_version: str
    created: int
    hardware: tuple[str, ...] = ()
    root: str = "/var/lib/fleet"
    packages: t.Mapping[str, str] = field(default_factory=dict)
    runtime: str | None = None
    held: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Gathered:
    """A release as a manifest, and the blobs that it is made of by their SHA-256, as far as they are on this host."""

    manifest: Manifest
    blobs: t.Mapping[str, Blob]


Tree = t.Mapping[str, Blob]


def gather(wanted: Wanted, sizes: t.Mapping[str, int], folder: str | None) -> Gathered:
    """Return what the release is made of; its manifest has counter 1 until somebody knows better.

    Args:
        sizes: bytes of the blobs that the depot has, or whose size is known: images made of these alone are not saved.
        folder: where layers of the others go meanwhile; None to measure them only.

    Raises:
        DepotError: something is not on this host, or is not what it should be.
    """
    # What is quick to refuse comes before the engine packs gigabytes.
    models = [gather_model(model, wanted.root) for model in wanted.release.models]
    packages = {suite: gather_tree(path, f"packages.{suite}") for suite, path in sorted(wanted.packages.items())}
    runtime = gather_tree(wanted.runtime, "runtime") if wanted.runtime else {}
    contents, saved = gather_images(_depot_images.look(wanted.images, wanted.architecture), sizes, folder)
    images = [_image(content) for content in contents]
    blobs: dict[str, Blob] = {}
    for one in _document_blobs(wanted):
        blobs[one.sha256] = one
    for one in (*saved, *(manifest for _image, manifest in images)):
        blobs[one.sha256] = one
    for _model, found in models:
        blobs.update({one.sha256: one for one in found})
    for tree in (*packages.values(), runtime):
        blobs.update({one.sha256: one for one in tree.values()})
    known = {**sizes, **{sha256: one.size for sha256, one in blobs.items()}}
    manifest = _manifest(
        wanted,
        tuple(image for image, _blob in images),
        tuple(model for model, _blobs in models),
        packages,
        runtime,
        known,
    )
    return Gathered(manifest, blobs)


def gather_images(
    found: t.Sequence[Found], sizes: t.Mapping[str, int], folder: str | None
) -> tuple[list[Content], list[Blob]]:
    """Return the content of images, and the blobs of those that had to be saved. One archive for all of these."""
    known = {image.reference: _depot_images.known_content(image, sizes) for image in found}
    saved, blobs = _depot_images.save_images([one for one in found if known[one.reference] is None], folder)
    by_reference = {content.reference: content for content in saved}
    return [known[one.reference] or by_reference[one.reference] for one in found], blobs


def gather_model(wanted: WantedModel, root: str) -> tuple[Model, list[Blob]]:
    """Return a version of a model, and its blobs out of this host's store. A file that is not required may be missing.

    Raises:
        DepotError: a required file is not in the store (`blob_missing`), or not of the pinned size (`blob_corrupt`).
    """
    store, title = Store(root), f"model {wanted.name} {wanted.version}"
    blobs: dict[str, Blob] = {}
    for path, file in sorted(wanted.files.items()):
        place = store.blob(file.sha256)
        status = lstat(place)
        if status is None or not stat.S_ISREG(status.st_mode):
            if not file.required:
                continue
            raise DepotError(
                f"{title}: {path} ({file.sha256}) is not in the store of {root} on this host: publish the model here "
                "first, with the role model_sync or the module model_pull",
                reason="blob_missing",
                blob=file.sha256,
            )
        if file.size not in (None, status.st_size):
            raise DepotError(
                f"{title}: {place} has {status.st_size} bytes instead of {file.size}: run model_pull with "
                "state: verified here, which repairs it",
                reason="blob_corrupt",
                blob=file.sha256,
            )
        blobs[path] = Blob(file.sha256, status.st_size, of_file(place), f"{path} of {title}")
    data = model_manifest(digest(EMPTY), {path: (blob.sha256, blob.size) for path, blob in blobs.items()})
    manifest = blob_of(data, f"the manifest of {title}")
    model = Model(wanted.name, wanted.version, manifest.sha256, {path: blob.sha256 for path, blob in blobs.items()})
    return model, [manifest, *blobs.values()]


def gather_tree(folder: str, option: str) -> Tree:
    """Return every file below a folder of this host, by its path there. A link to a file in it counts as that file.

    Raises:
        DepotError: the folder is none or empty (`invalid`), or a link leads out of it (`unsafe_path`).
    """
    top = os.path.realpath(folder)
    paths = {}
    for parent, folders, names in os.walk(top, onerror=_unreadable):
        for name in (*names, *(one for one in folders if os.path.islink(os.path.join(parent, one)))):
            path = os.path.join(parent, name)
            paths[safe_path(os.path.relpath(path, top), option)] = _inside(path, top, option)
    if not paths:
        raise DepotError(f"{option}: there are no files in {folder} on this host", reason="invalid")
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        measured = pool.map(_measure, paths.values())
        return {
            path: Blob(sha256, size, of_file(place), place)
            for (path, place), (sha256, size) in sorted(zip(paths.items(), measured))
        }


def _inside(path: str, top: str, option: str) -> str:
    place = os.path.realpath(path)
    if not place.startswith(f"{top}/") or not os.path.isfile(place):
        raise DepotError(
            f"{option}: {path} is no file, or a link to what is no file below {top}; put a copy there, or remove it",
            reason="unsafe_path",
        )
    return place


def _measure(path: str) -> tuple[str, int]:
    hashed, size = hashlib.sha256(), 0
    for piece in of_file(path)():
        hashed.update(piece)
        size += len(piece)
    return hashed.hexdigest(), size


def _unreadable(exc: OSError) -> None:
    raise DepotError(f"{exc.filename} cannot be read: {exc.strerror}", reason="invalid") from exc


def _image(content: Content) -> tuple[Image, Blob]:
    manifest = blob_of(content.manifest, f"the manifest of image {content.reference}")
    layers = tuple(sha256 for sha256, _size in content.layers)
    return Image(content.reference, manifest.sha256, content.config[0], layers), manifest


def _document_blobs(wanted: Wanted) -> t.Iterator[Blob]:
    yield blob_of(canonical(wanted.release.document), "the release document")
    for path, content in wanted.files.items():
        yield blob_of(content, f"{path} of the release")


def blob_of(data: bytes, title: str) -> Blob:
    """Return the blob of content that is in memory."""
    return Blob(digest(data), len(data), of_bytes(data), title)


def _manifest(
    wanted: Wanted,
    images: tuple[Image, ...],
    models: tuple[Model, ...],
    packages: t.Mapping[str, Tree],
    runtime: Tree,
    sizes: t.Mapping[str, int],
) -> Manifest:
    """Return the manifest, after it was read as a host will read it: what that refuses is refused here."""
    manifest = Manifest(
        fleet=wanted.fleet,
        stack=wanted.release.stack,
        counter=1,
        created=wanted.created,
        minimum_version=wanted.minimum_version,
        hardware=tuple(sorted(set(wanted.hardware))),
        architecture=wanted.architecture,
        release=wanted.release.id,
        files=dict(wanted.release.files),
        images=images,
        models=models,
        packages={suite: {path: blob.sha256 for path, blob in tree.items()} for suite, tree in packages.items()},
        runtime={path: blob.sha256 for path, blob in runtime.items()},
        blobs={},
    )
    named = manifest.named
    own = {wanted.release.id, *wanted.release.files.values()}
    whole = replace(
        manifest,
        blobs={sha256: sizes[sha256] for sha256 in named},
        assumes=(wanted.held & frozenset(named)) - own,
    )
    return parse_manifest(whole.encode())
