# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Models in OCI registries (distribution specification 1.1): the layers of artifacts, which are named by digest."""

from __future__ import annotations

import contextlib
import threading
import typing as t
from urllib.parse import urlsplit

from ansible_collections.emorobcare.fleet.plugins.module_utils._http_error import refused
from ansible_collections.emorobcare.fleet.plugins.module_utils._loopback import is_loopback
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_http import Answer, HttpStream, Transport
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_oci_auth import Authorizer, registry_host
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_oci_manifest import (
    INDEX_TYPES,
    MANIFEST_LIMIT,
    MANIFEST_TYPES,
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
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network, Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import OciSource

_ACCEPT = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
# What people call the registry, and where its API is.
_ELSEWHERE = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}

_T = t.TypeVar("_T")


class OciOrigin:
    """Opens layers in registries. Threads share what was learnt: manifests, and tokens by repository."""

    def __init__(self, network: Network, transport: Transport | None = None) -> None:
        self._transport = transport or Transport(network)
        self._owned = transport is None
        self._auth = Authorizer(network, self._transport)
        self._lock = threading.Lock()
        self._manifests: dict[tuple[str, str, str], Manifest | None] = {}  # registry, repository, digest
        self._layers: dict[OciSource, Descriptor] = {}

    def probe(self, source: OciSource) -> Told:
        """Say how big the layer is.

        Raises:
            ModelError: with reason `unavailable`; the registry cannot be reached, or does not give the layer.
        """
        layer = self._layer(source)
        if layer.size is not None:
            return Told(layer.size, "", True)
        url = self._blob_url(source, layer)
        return self._authorized(source, lambda headers: self._transport.probe(url, headers, shown=source.shown))

    @contextlib.contextmanager
    def open(
        self, source: OciSource, start: int = 0, stop: int | None = None, validator: str = ""
    ) -> t.Iterator[HttpStream]:
        """Request a layer, or the bytes start..stop-1 of it.

        Raises:
            ModelError: as `probe`.
        """
        layer = self._layer(source)
        url = self._blob_url(source, layer)
        with contextlib.ExitStack() as stack:

            def attempt(headers: t.Mapping[str, str]) -> HttpStream:
                opened = self._transport.open(url, headers, start, stop, validator, shown=source.shown)
                return stack.enter_context(opened)

            stream = self._authorized(source, attempt)
            if layer.size is not None and stream.told.size not in (None, layer.size):
                raise ModelError(
                    f"{source.shown}: the registry has {stream.told.size} bytes as {layer.digest}, where the manifest "
                    f"announces {layer.size}",
                    reason="size_mismatch",
                    source=source.shown,
                    expected=layer.size,
                    received=stream.told.size,
                )
            yield stream

    def announced_sha256(self, source: OciSource) -> str | None:
        """Return the digest (hex) that the layer must have, before its bytes are asked for; None if it cannot be told.

        Raises:
            ModelError: as `probe`, where another try will not help.
        """
        try:
            return self._layer(source).sha256
        except ModelError as exc:
            if exc.transient:
                return None  # `open` asks again
            raise

    def files(self, source: OciSource) -> tuple[OciSource, ...]:
        """Return the source of each file of an artifact that is named without a path; else the source itself.

        Raises:
            ModelError: as `probe`.
        """
        manifest = None if source.path else self._manifest(source, source.digest)
        paths = file_paths(manifest, source.shown) if manifest else (source.path,)
        return tuple(OciSource(source.registry, source.repository, source.digest, path) for path in paths)

    def close(self) -> None:
        if self._owned:
            self._transport.close()

    def _layer(self, source: OciSource) -> Descriptor:
        layer = self._layers.get(source)
        if layer is None:
            with self._lock:  # a thousand files of one artifact ask for its manifest once
                manifest = self._manifest(source, source.digest)
            blob = Descriptor("", source.digest, None)
            layer = choose_layer(manifest, source.path, source.shown) if manifest else blob
            self._layers[source] = layer
        return layer

    def _manifest(self, source: OciSource, digest: str) -> Manifest | None:
        """Return the artifact of a digest; None when it is that of a blob."""
        key = (source.registry, source.repository, digest)
        if key not in self._manifests:
            self._manifests[key] = self._read_manifest(source, digest)
        return self._manifests[key]

    def _read_manifest(self, source: OciSource, digest: str) -> Manifest | None:
        size: int | None = None
        media_type = ""
        while True:  # which ends: no document can hold its own digest
            answer = self._get_manifest(source, digest)
            if answer.status == 404 and digest == source.digest and not source.path:
                return None
            if answer.status == 404:
                raise not_there(source.shown, f"the registry has no manifest {digest} in {source.repository}")
            if answer.status != 200:
                raise refused(source.shown, answer.status, answer.reason, answer.headers)
            body = verified(answer.body, digest, source.shown, size)
            media_type = media_type or answer.headers.get("content-type", "").partition(";")[0].strip()
            document = parse_document(body, source.shown, media_type)
            if not isinstance(document, Index):
                return document
            entry = choose_manifest(document.entries, source.shown)
            digest, size, media_type = entry.digest, entry.size, entry.media_type

    def _get_manifest(self, source: OciSource, digest: str) -> Answer:
        def attempt(headers: t.Mapping[str, str]) -> Answer:
            answer = self._transport.get_small(
                f"{_api(source)}/manifests/{digest}",
                {**headers, "Accept": _ACCEPT},
                shown=source.shown,
                limit=MANIFEST_LIMIT,
            )
            if answer.status in (401, 403):
                raise refused(source.shown, answer.status, answer.reason, answer.headers)
            return answer

        return self._authorized(source, attempt)

    def _blob_url(self, source: OciSource, layer: Descriptor) -> str:
        return f"{_api(source)}/blobs/{layer.digest}"

    def _authorized(self, source: OciSource, attempt: t.Callable[[t.Mapping[str, str]], _T]) -> _T:
        """Do something with the credentials that the registry wants, which it tells when it gets none or old ones."""
        used = self._auth.header(source)
        try:
            try:
                return attempt({"Authorization": used} if used else {})
            except ModelError as exc:
                if exc.details.get("status") != 401:
                    raise
            used = self._auth.renew(source, used, lambda: self._challenge(source))
            return attempt({"Authorization": used})
        except ModelError as exc:
            if exc.details.get("status") in (401, 403):
                raise self._auth.refusal(source) from exc
            raise

    def _challenge(self, source: OciSource) -> str:
        """Return what the registry asks for when it is asked for the manifest by nobody."""
        url = f"{_api(source)}/manifests/{source.digest}"
        answer = self._transport.get_small(url, {"Accept": _ACCEPT}, shown=source.shown, limit=MANIFEST_LIMIT)
        return answer.headers.get("www-authenticate", "") if answer.status == 401 else ""


def _api(source: OciSource) -> str:
    """Return the URL below which a repository is. Without TLS only on this machine itself."""
    registry = _ELSEWHERE.get(source.registry, source.registry)
    plain = is_loopback(registry_host(registry)) and urlsplit(f"//{registry}").port != 443
    return f"{'http' if plain else 'https'}://{registry}/v2/{source.repository}"
