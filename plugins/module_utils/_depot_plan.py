# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Decide what of a release a host takes from a depot, and into what. Nothing here does I/O."""

from __future__ import annotations

import collections
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import Volume
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Image, Manifest

_SHOWN = 6  # things that a message names; the details have all of them


@dataclass(frozen=True)
class Held:
    """What the host has already, by SHA-256.

    Attributes:
        stored: content that is in the host store and right, or right where a model is published.
        engine: manifests and configurations of images that the engine has whole, and layers, by diff id.
        resumable: bytes of content that an earlier run has received in part.
    """

    stored: frozenset[str] = frozenset()
    engine: frozenset[str] = frozenset()
    resumable: t.Mapping[str, int] = field(default_factory=dict)

    def has(self, image: Image) -> bool:
        """Whether the engine has all of an image."""
        return bool({image.manifest, image.config} & self.engine)


@dataclass(frozen=True)
class SyncPlan:
    """What takes the host from what it holds to what a release needs. Each maps SHA-256 to bytes of the whole blob.

    Attributes:
        copies: what is copied from this medium into the host store, in this order.
        pulls: what the engine pulls by itself: layers, configurations and manifests of images that it lacks.
        elsewhere: what other volumes have. The release can be applied when nothing is left of it.
        held: of `copies`, the bytes that the host has of each from an earlier run.
    """

    copies: t.Mapping[str, int] = field(default_factory=dict)
    pulls: t.Mapping[str, int] = field(default_factory=dict)
    elsewhere: t.Mapping[str, int] = field(default_factory=dict)
    held: t.Mapping[str, int] = field(default_factory=dict)

    @property
    def bytes_to_copy(self) -> int:
        return sum(self.copies.values()) - sum(self.held.values())

    @property
    def bytes_to_pull(self) -> int:
        return sum(self.pulls.values())


def make_sync_plan(manifest: Manifest, held: Held, volume: Volume | None = None) -> SyncPlan:
    """Compare what a release needs with what the host holds, and with what this medium has (None: all).

    On a volume of several the blobs of images go to the host store as well: the engine pulls an image whole or not at
    all, and no single medium need have all of it.

    Raises:
        DepotError: the depot leaves out what the host does not have (`base_missing`).
    """
    split = volume if volume is not None and volume.count > 1 else None
    kept = set(_kept(manifest))
    pulls = {one: manifest.blobs[one] for one in _lacking(manifest, held)}
    # In the manifest's order, which is that of the volumes.
    needed = [one for one in manifest.named if (one in kept or one in pulls) and one not in held.stored]
    left_out = [one for one in needed if one in manifest.assumes]
    if left_out:
        raise _base_missing(manifest, left_out)
    elsewhere = {one: manifest.blobs[one] for one in needed if split and one not in split.blobs}
    here = [one for one in needed if one not in elsewhere and (split or one in kept)]
    copies = {one: manifest.blobs[one] for one in here}
    return SyncPlan(
        copies=copies,
        pulls={one: size for one, size in pulls.items() if one not in elsewhere},
        elsewhere=elsewhere,
        held={one: min(held.resumable[one], size) for one, size in copies.items() if held.resumable.get(one)},
    )


def stored_blobs(manifest: Manifest) -> dict[str, int]:
    """Return what a host keeps of a release in its store, besides the files of models: SHA-256 to bytes."""
    loose: list[t.Iterable[str]] = [(manifest.release,), manifest.files.values()]
    loose += [files.values() for files in manifest.packages.values()]
    return {one: manifest.blobs[one] for part in (*loose, manifest.runtime.values()) for one in part}


def _kept(manifest: Manifest) -> t.Iterator[str]:
    # Manifests of models are for OCI tools: a host publishes by the signed list of files.
    yield from stored_blobs(manifest)
    for model in manifest.models:
        yield from model.files.values()


def _lacking(manifest: Manifest, held: Held) -> t.Iterator[str]:
    for image in manifest.images:
        if not held.has(image):
            yield from (one for one in image.blobs if one not in held.engine)


def names_of(manifest: Manifest) -> dict[str, str]:
    """Return what each blob of a release is, in words; of one that is several things, the first."""
    named: dict[str, str] = {manifest.release: "the release document"}
    for path, sha256 in manifest.files.items():
        named.setdefault(sha256, f"file {path}")
    for image in manifest.images:
        named.setdefault(image.manifest, f"the manifest of image {image.reference}")
        named.setdefault(image.config, f"the configuration of image {image.reference}")
        for layer in image.layers:
            named.setdefault(layer, f"a layer of image {image.reference}")
    for model in manifest.models:
        named.setdefault(model.manifest, f"the manifest of model {model.name} {model.version}")
        for path, sha256 in model.files.items():
            named.setdefault(sha256, f"{path} of model {model.name} {model.version}")
    for suite, files in manifest.packages.items():
        for path, sha256 in files.items():
            named.setdefault(sha256, f"{path} of the packages for {suite}")
    for path, sha256 in manifest.runtime.items():
        named.setdefault(sha256, f"{path} of the controller's runtime")
    return named


def _base_missing(manifest: Manifest, left_out: t.Sequence[str]) -> DepotError:
    things = collections.Counter(_owner(manifest, sha256) for sha256 in left_out)
    words = [f"{thing} ({count} blob{'s' if count > 1 else ''})" for thing, count in things.items()]
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    size = sum(manifest.blobs[sha256] for sha256 in left_out)
    return DepotError(
        f"the depot of {manifest.stack} {manifest.counter} leaves out what this host does not have: "
        f"{', '.join(words[:_SHOWN])}{more}, {size} bytes. Deploy the release that it builds on first, or write a "
        "depot that leaves nothing out",
        reason="base_missing",
        missing=list(left_out),
        needs=list(things),
    )


def _owner(manifest: Manifest, sha256: str) -> str:
    """Return the image, model or set of packages that a blob belongs to, in words."""
    owners = [(f"image {image.reference}", image.blobs) for image in manifest.images]
    owners += [(f"model {model.name} {model.version}", model.blobs) for model in manifest.models]
    owners += [(f"packages for {suite}", tuple(files.values())) for suite, files in manifest.packages.items()]
    return next((owner for owner, blobs in owners if sha256 in blobs), "the controller's runtime")
