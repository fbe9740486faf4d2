# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fake OCI registry on loopback with token authentication, its storage host, and depots made by hand."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._web import Asked, Reply, Web

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
RAW = "application/vnd.cncf.model.weight.v1.raw"
TAR = "application/vnd.cncf.model.weight.v1.tar"
OCTETS = "application/octet-stream"
FILEPATH = "org.cncf.model.filepath"
TITLE = "org.opencontainers.image.title"


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def layer(content: bytes, path: str = "", media_type: str = RAW, key: str = FILEPATH) -> dict[str, t.Any]:
    described: dict[str, t.Any] = {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}
    return {**described, "annotations": {key: path}} if path else described


def manifest(*layers: dict[str, t.Any]) -> bytes:
    config = {"mediaType": "application/vnd.cncf.model.config.v1+json", "digest": digest_of(b"{}"), "size": 2}
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.cncf.model.manifest.v1+json",
        "config": config,
        "layers": list(layers),
    }
    return json.dumps(document).encode()


def index(*entries: dict[str, t.Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}).encode()


def entry(document: bytes, name: str = "", media_type: str = MANIFEST) -> dict[str, t.Any]:
    described: dict[str, t.Any] = {"mediaType": media_type, "digest": digest_of(document), "size": len(document)}
    return {**described, "annotations": {"org.opencontainers.image.ref.name": name}} if name else described


def make_depot(folder: Path, blobs: t.Iterable[bytes], *entries: dict[str, t.Any]) -> Path:
    """Write an OCI image layout: `blobs` by their digests, `entries` into index.json."""
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_bytes(index(*entries))
    for blob in blobs:
        blob_path(folder, blob).write_bytes(blob)
    return folder


def blob_path(folder: Path, blob: bytes) -> Path:
    return folder / "blobs" / "sha256" / digest_of(blob).partition(":")[2]


@dataclass
class Registry:
    """What a test may change while the registry runs."""

    web: Web
    storage: Web
    auth: str = ""  # "", "bearer" or "basic"
    login: str = ""  # user:password that the token service or the registry wants, "" for none
    realm: str = ""
    tokens: list[str] = field(default_factory=list)  # given out; the last one is good
    manifests: dict[str, bytes] = field(default_factory=dict)  # by digest
    blobs: dict[str, bytes] = field(default_factory=dict)

    def push(self, document: bytes, *blobs: bytes) -> str:
        """Keep an artifact; return its digest."""
        self.manifests[digest_of(document)] = document
        self.blobs.update({digest_of(blob): blob for blob in blobs})
        return digest_of(document)


@contextlib.contextmanager
def fake_registry() -> t.Iterator[Registry]:
    """Run an empty registry with the repository team/model."""

    def store(asked: Asked) -> Reply:
        return Reply(200, registry.blobs[asked.path[1:]], {"ETag": '"storage"', "Accept-Ranges": "bytes"})

    with Web(store) as storage, Web(lambda asked: _answer(registry, asked)) as web:
        registry = Registry(web, storage, realm=f"{web.url}/token")
        yield registry


def _answer(registry: Registry, asked: Asked) -> Reply:
    if asked.path == "/token":
        if registry.login and asked.authorization != _basic(registry.login):
            return Reply(401)
        registry.tokens.append(f"token{len(registry.tokens)}")
        return Reply(200, json.dumps({"token": registry.tokens[-1], "expires_in": 300}).encode())
    if not _may(registry, asked):
        return Reply(401, b"{}", {"WWW-Authenticate": _challenge(registry)})
    repository, kind, digest = asked.path[len("/v2/") :].rsplit("/", 2)
    if repository == "team/model" and kind == "manifests" and digest in registry.manifests:
        return Reply(200, registry.manifests[digest], {"Content-Type": MANIFEST})
    if repository == "team/model" and kind == "blobs" and digest in registry.blobs:
        return Reply(307, b"", {"Location": f"{registry.storage.url}/{digest}"})
    return Reply(404, b'{"errors": [{"code": "UNKNOWN"}]}')


def _may(registry: Registry, asked: Asked) -> bool:
    if registry.auth == "bearer":
        return bool(registry.tokens) and asked.authorization == f"Bearer {registry.tokens[-1]}"
    return registry.auth != "basic" or asked.authorization == _basic(registry.login)


def _challenge(registry: Registry) -> str:
    if registry.auth == "basic":
        return 'Basic realm="registry"'
    return f'Bearer realm="{registry.realm}",service="reg",scope="repository:team/model:pull"'


def _basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()
