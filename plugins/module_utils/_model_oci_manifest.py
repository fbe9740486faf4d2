# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What OCI artifacts with models say, checked: manifests, indexes, layers. Nothing here does I/O.

Formats: OCI image specification 1.1 (manifest, index, descriptor, image layout) and the media types and annotations of
the CNCF model specification (ModelPack).
"""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import printable

MANIFEST_LIMIT = 4 << 20  # bytes; the distribution specification asks registries to take manifests up to this size
MANIFEST_TYPES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
REF_NAME = "org.opencontainers.image.ref.name"
_FILE_PATHS = ("org.cncf.model.filepath", "org.opencontainers.image.title")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SHOWN = 10  # how many paths or digests a message lists


@dataclass(frozen=True)
class Descriptor:
    """What one document says of another one, or of a layer: its digest ("sha256:…"), and its size in bytes.

    What is named by its digest alone has no media type ("") and no size (None).
    """

    media_type: str
    digest: str
    size: int | None
    annotations: t.Mapping[str, str] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        return self.digest.partition(":")[2]

    @property
    def paths(self) -> tuple[str, ...]:
        """The names under which a layer's file can be asked for, the model specification's first."""
        told = (self.annotations.get(key, "") for key in _FILE_PATHS)
        return tuple(dict.fromkeys(path for path in told if path))


@dataclass(frozen=True)
class Manifest:
    """An artifact: its layers, in order."""

    digest: str
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True)
class Index:
    """A list of manifests, and perhaps of further indexes."""

    entries: tuple[Descriptor, ...]


def verified(data: bytes, digest: str, shown: str, size: int | None = None) -> bytes:
    """Return the bytes of a document if they are those of its digest, and as many as were announced.

    Raises:
        ModelError: with reason `digest_mismatch` or `size_mismatch`.
    """
    if size is not None and len(data) != size:
        raise ModelError(
            f"{shown}: the manifest {digest} has {len(data)} bytes where {size} are announced; it was cut or changed "
            "after it was written",
            reason="size_mismatch",
            source=shown,
            expected=size,
            received=len(data),
        )
    got = "sha256:" + hashlib.sha256(data).hexdigest()
    if got != digest:
        raise ModelError(
            f"{shown}: what is stored as manifest {digest} has digest {got}; it was changed after it was written. "
            "Nothing that it says is believed",
            reason="digest_mismatch",
            source=shown,
            expected=digest,
            got=got,
        )
    return data


def parse_document(data: bytes, shown: str, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index out of bytes that were `verified`. `media_type` is what its descriptor says, if any.

    Raises:
        ModelError: it is neither.
    """
    try:
        document = json.loads(data)
    except ValueError as exc:  # UnicodeDecodeError is one, too
        raise _unusable(shown, f"the manifest is no JSON ({exc})") from exc
    if not isinstance(document, dict):
        raise _unusable(shown, "the manifest is no JSON object")
    kind = document.get("mediaType") or media_type
    if kind in INDEX_TYPES or (not kind and "manifests" in document):
        return Index(entries=_descriptors(document, "manifests", shown))
    if kind in MANIFEST_TYPES or (not kind and "layers" in document):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        return Manifest(digest=digest, layers=_descriptors(document, "layers", shown))
    raise _unusable(shown, f"it names a document of type {printable(str(kind), 100)!r}, which is no OCI manifest")


def _descriptors(document: t.Mapping[str, t.Any], key: str, shown: str) -> tuple[Descriptor, ...]:
    entries = document.get(key)
    if not isinstance(entries, list):
        raise _unusable(shown, f"the manifest has no list {key!r}")
    return tuple(_descriptor(entry, f"{key}[{place}]", shown) for place, entry in enumerate(entries))


def _descriptor(entry: t.Any, where: str, shown: str) -> Descriptor:
    if not isinstance(entry, dict):
        raise _unusable(shown, f"{where} of the manifest is no object")
    media_type, digest, size = entry.get("mediaType"), entry.get("digest"), entry.get("size")
    annotations = entry.get("annotations") or {}
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise _unusable(shown, f"{where} of the manifest has digest {digest!r}; only sha256 digests can be used")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _unusable(shown, f"{where} of the manifest has size {size!r}, which is no number of bytes")
    if not isinstance(media_type, str) or not isinstance(annotations, dict):
        raise _unusable(shown, f"{where} of the manifest has no mediaType, or annotations that are no object")
    texts = {str(key): value for key, value in annotations.items() if isinstance(value, str)}
    return Descriptor(media_type=media_type, digest=digest, size=size, annotations=texts)


def choose_layer(manifest: Manifest, path: str, shown: str) -> Descriptor:
    """Return the layer that holds the file `path`; without a path, the only layer there is.

    Raises:
        ModelError: no layer has that path, several have it, or the layer is not the plain file.
    """
    if path:
        found = [layer for layer in manifest.layers if path in layer.paths]
        # One title may be the model path of another layer: what the model specification says goes first.
        found = [layer for layer in found if layer.paths[0] == path] or found
    else:
        found = list(manifest.layers)
    distinct = {layer.digest: layer for layer in found}
    if len(distinct) == 1:
        layer = next(iter(distinct.values()))
        _check_plain(layer, shown)
        return layer
    there = _listed(path for layer in manifest.layers for path in layer.paths[:1])
    if path and not found:
        raise _unusable(shown, f"no layer of the artifact has the path {path!r}; there is {there}")
    if path:
        raise _unusable(shown, f"{len(distinct)} layers of the artifact have the path {path!r}; name one by its digest")
    if not found:
        raise _unusable(shown, "the artifact has no layer")
    raise _unusable(shown, f"the artifact has {len(found)} layers; say which file by !/path: there is {there}")


def _check_plain(layer: Descriptor, shown: str) -> None:
    """Refuse a layer whose bytes are not those of one file: archives, and what cannot be told from one."""
    kind = layer.media_type.lower()
    if kind.endswith(".raw") or (kind == "application/octet-stream" and layer.paths):
        return
    archive = re.search(r"[.+]tar(?:$|[.+])|[.+](?:gzip|zstd)$|^application/(?:x-)?(?:tar|gzip|zip)$", kind)
    what = "an archive" if archive else "not known to be a plain file"
    raise _unusable(
        shown,
        f"the layer {layer.digest} has media type {printable(layer.media_type, 100)!r}, which is {what}. Only plain "
        "files can be served: push them as application/vnd.cncf.model.weight.v1.raw (or another type that ends in "
        ".raw), or as application/octet-stream with a title. "
        "If the layer's own bytes are what you want, name it by "
        "its digest, without !/path",
    )


def file_paths(manifest: Manifest, shown: str) -> tuple[str, ...]:
    """Return the path of each file of an artifact; "" alone for one of a single layer without a path.

    Raises:
        ModelError: a layer has no path, shares it with another one, or is not the plain file.
    """
    if not any(layer.paths for layer in manifest.layers):
        choose_layer(manifest, "", shown)
        return ("",)
    for layer in manifest.layers:
        if not layer.paths:
            raise _unusable(shown, f"the layer {layer.digest} has no path; name it by its digest instead")
    paths = tuple(dict.fromkeys(layer.paths[0] for layer in manifest.layers))
    for path in paths:
        choose_layer(manifest, path, shown)
    return paths


def choose_manifest(entries: t.Iterable[Descriptor], shown: str) -> Descriptor:
    """Return the one manifest among the entries that a name stands for.

    Raises:
        ModelError: there are several.
    """
    distinct = {entry.digest: entry for entry in entries}
    if len(distinct) != 1:
        raise _unusable(
            shown, f"{len(distinct)} manifests go by that name; name one by its digest: {_listed(distinct)}"
        )
    return next(iter(distinct.values()))


def _listed(names: t.Iterable[str]) -> str:
    shown = [printable(name, 100) for name in names]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return (", ".join(shown[:_SHOWN]) or "none") + more


def not_there(shown: str, what: str, known: t.Iterable[str] = ()) -> ModelError:
    """Return the error for a name or digest that a registry or depot does not have."""
    names = _listed(known)
    hint = f"; there is {names}" if names != "none" else ""
    return _unusable(shown, f"{what}{hint}")


def _unusable(shown: str, why: str) -> ModelError:
    return ModelError(f"{shown}: {why}", reason="unavailable", source=shown)
