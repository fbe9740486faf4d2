# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Models in a depot: an OCI image layout (specification 1.1), as a folder on the host, on a stick for example."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_file import FileStream, opened, stream
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_oci_manifest import (
    INDEX_TYPES,
    MANIFEST_LIMIT,
    MANIFEST_TYPES,
    REF_NAME,
    Descriptor,
    Index,
    Manifest,
    choose_layer,
    choose_manifest,
    file_paths,
    not_there,
    parse_document,
    verified,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import DepotSource

_LAYOUT_VERSION = "1.0.0"
_INDEX_LIMIT = 64 << 20  # bytes of index.json: it is no blob, and a depot has one entry for each thing in it


class DepotOrigin:
    """Opens layers of the artifacts in a depot. Every manifest on the way to one is checked against its digest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # for what was read of depots; the layers' bytes need none
        self._tops: dict[str, tuple[Descriptor, ...]] = {}
        self._documents: dict[tuple[str, str], Manifest | Index] = {}
        self._layers: dict[DepotSource, Descriptor] = {}

    def probe(self, source: DepotSource) -> Told:
        """Say how big the layer is.

        Raises:
            ModelError: as for `open`.
        """
        with self.open(source) as layer:
            return layer.told

    @contextlib.contextmanager
    def open(
        self, source: DepotSource, start: int = 0, stop: int | None = None, validator: str = ""
    ) -> t.Iterator[FileStream]:
        """Open a layer, or its bytes start..stop-1.

        Raises:
            ModelError: the folder is no depot, has no such artifact or layer, or what it has was changed.
        """
        layer = self._layer(source)
        with opened(_blob(source, layer.digest), source.shown) as fd:
            size = os.fstat(fd).st_size
            if layer.size not in (None, size):
                raise ModelError(
                    f"{source.shown}: the depot's file {layer.digest} has {size} bytes where its manifest announces "
                    f"{layer.size}; it was not copied whole. Copy the depot again",
                    reason="size_mismatch",
                    source=source.shown,
                    expected=layer.size,
                    received=size,
                )
            yield stream(fd, source.shown, start, stop, validator)

    def announced_sha256(self, source: DepotSource) -> str:
        """Return the digest (hex) that the layer must have, before its bytes are read.

        Raises:
            ModelError: as for `open`.
        """
        return self._layer(source).sha256

    def files(self, source: DepotSource) -> tuple[DepotSource, ...]:
        """Return the source of each file of an artifact that is named without a path; else the source itself.

        Raises:
            ModelError: as for `open`.
        """
        with self._lock:
            manifest = None if source.path else self._manifest(source)
        paths = file_paths(manifest, source.shown) if manifest else (source.path,)
        return tuple(DepotSource(source.folder, source.name, path) for path in paths)

    def close(self) -> None:
        """There is nothing to give back."""

    def _layer(self, source: DepotSource) -> Descriptor:
        with self._lock:
            if source not in self._layers:
                manifest = self._manifest(source)
                blob = Descriptor("", source.name, None)
                self._layers[source] = choose_layer(manifest, source.path, source.shown) if manifest else blob
            return self._layers[source]

    def _manifest(self, source: DepotSource) -> Manifest | None:
        """Return the artifact that a source names; None when it names a blob."""
        entry = self._find(source)
        if entry is None or (entry.media_type and entry.media_type not in (*INDEX_TYPES, *MANIFEST_TYPES)):
            return None
        document = self._document(source, entry)
        while isinstance(document, Index):  # which ends: no document can hold its own digest
            document = self._document(source, choose_manifest(document.entries, source.shown))
        return document

    def _find(self, source: DepotSource) -> Descriptor | None:
        """Return what the depot's index, or an index in it, says of the source's name; None: it names a blob."""
        if source.folder not in self._tops:
            self._tops[source.folder] = _top(source)
        level = self._tops[source.folder]
        names: list[str] = []
        read: set[str] = set()
        while level:
            named = [entry for entry in level if source.name in (entry.digest, entry.annotations.get(REF_NAME))]
            if named:
                return choose_manifest(named, source.shown)
            names += [entry.annotations[REF_NAME] for entry in level if REF_NAME in entry.annotations]
            nested = {entry.digest: entry for entry in level if entry.media_type in INDEX_TYPES}
            level = tuple(
                below for digest, entry in nested.items() if digest not in read for below in self._below(source, entry)
            )
            read.update(nested)
        if not source.name.startswith("sha256:"):
            raise not_there(source.shown, f"the depot has nothing named {source.name!r}", names)
        # With a path it must be a manifest, though no index lists it.
        return Descriptor("", source.name, None) if source.path else None

    def _below(self, source: DepotSource, entry: Descriptor) -> tuple[Descriptor, ...]:
        document = self._document(source, entry)
        return document.entries if isinstance(document, Index) else ()

    def _document(self, source: DepotSource, entry: Descriptor) -> Manifest | Index:
        key = (source.folder, entry.digest)
        if key not in self._documents:
            data = _read(source, os.path.join("blobs", "sha256", entry.sha256), MANIFEST_LIMIT)
            data = verified(data, entry.digest, source.shown, entry.size)
            self._documents[key] = parse_document(data, source.shown, entry.media_type)
        return self._documents[key]


def _top(source: DepotSource) -> tuple[Descriptor, ...]:
    """Return what the depot's own index lists."""
    _check_layout(source)
    index = parse_document(_read(source, "index.json", _INDEX_LIMIT), source.shown, INDEX_TYPES[0])
    if not isinstance(index, Index):
        raise not_there(source.shown, "the depot's index.json is no index")
    return index.entries


def _check_layout(source: DepotSource) -> None:
    """Refuse a folder that is not an OCI image layout of the version that we know."""
    try:
        document = json.loads(_read(source, "oci-layout", 4096))
    except ValueError:
        document = None
    version = document.get("imageLayoutVersion") if isinstance(document, dict) else None
    if version != _LAYOUT_VERSION:
        raise not_there(
            source.shown,
            f"{source.folder}/oci-layout must say imageLayoutVersion {_LAYOUT_VERSION}, not {version!r}: is this a "
            "depot (an OCI image layout)?",
        )


def _read(source: DepotSource, name: str, limit: int) -> bytes:
    """Return a small file of the depot."""
    with opened(_inside(source, name), source.shown) as fd, open(fd, "rb", closefd=False) as file:
        try:
            data = file.read(limit + 1)
        except OSError as exc:
            raise not_there(source.shown, f"{name} cannot be read: {exc.strerror}") from exc
    if len(data) > limit:
        raise not_there(source.shown, f"{name} has more than {limit} bytes, which no manifest has")
    return data


def _blob(source: DepotSource, digest: str) -> str:
    return _inside(source, os.path.join("blobs", "sha256", digest.partition(":")[2]))


def _inside(source: DepotSource, name: str) -> str:
    """Return the path of a file of the depot. One that a link leads out of the depot is refused."""
    folder = os.path.realpath(source.folder)
    path = os.path.realpath(os.path.join(folder, name))
    if os.path.commonpath([folder, path]) != folder:
        raise not_there(source.shown, f"{source.folder}/{name} is a link that leads out of the depot")
    return path
