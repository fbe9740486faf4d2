# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small depots made by hand, with images and models, and what asks a registry for them."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import tarfile
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import image_manifest, model_manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import (
    Image,
    Manifest,
    Model,
    parse_manifest,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_routes import EMPTY_SHA256

LABEL = "org.emorobcare.fleet.lab"


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def layer(name: str, content: bytes) -> bytes:
    """A layer with one file, as a plain tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class Depot:
    """A folder with blobs, and the release that names them."""

    path: Path
    images: list[Image] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    assumes: frozenset[str] = frozenset()

    @property
    def source(self) -> Folder:
        return Folder(str(self.path))

    @property
    def manifest(self) -> Manifest:
        return self.release(1)

    def release(self, counter: int, created: int = 1) -> Manifest:
        document = self.put(b'{"schema":1}')
        made = Manifest(
            fleet="robots",
            stack="demo",
            counter=counter,
            created=created,
            minimum_version="0.1.0",
            hardware=(),
            architecture="amd64",
            release=document,
            files={},
            images=tuple(self.images),
            models=tuple(self.models),
            packages={},
            runtime={},
            blobs={sha256: size for sha256, size in self.sizes.items() if sha256 in self._named(document)},
            assumes=self.assumes,
        )
        return parse_manifest(made.encode())

    def _named(self, document: str) -> set[str]:
        contents: list[Image | Model] = [*self.images, *self.models]
        return {document, *(sha256 for one in contents for sha256 in one.blobs)}

    def blob(self, sha256: str) -> Path:
        return self.path / "blobs" / "sha256" / sha256

    def put(self, content: bytes) -> str:
        sha256 = sha256_of(content)
        self.blob(sha256).parent.mkdir(parents=True, exist_ok=True)
        self.blob(sha256).write_bytes(content)
        self.sizes[sha256] = len(content)
        return sha256

    def add_image(self, reference: str, *layers: bytes, config: bytes = b"") -> Image:
        """Add an image of plain layers. Without `config` one is made that an engine takes."""
        put = tuple(self.put(one) for one in layers)
        configuration = self.put(config or _config(put))
        described = [(sha256, self.sizes[sha256]) for sha256 in put]
        manifest = self.put(image_manifest((configuration, self.sizes[configuration]), described))
        image = Image(reference, manifest, configuration, put)
        self.images = [*(one for one in self.images if one.reference != reference), image]
        return image

    def add_model(self, name: str, version: str, files: dict[str, bytes]) -> Model:
        put = {path: self.put(content) for path, content in files.items()}
        described = {path: (sha256, self.sizes[sha256]) for path, sha256 in put.items()}
        model = Model(name, version, self.put(model_manifest(EMPTY_SHA256, described)), put)
        self.models.append(model)
        return model

    def flip(self, sha256: str) -> None:
        """Change one bit in the middle of a blob."""
        content = bytearray(self.blob(sha256).read_bytes())
        content[len(content) // 2] ^= 1
        self.blob(sha256).write_bytes(content)


def _config(layers: t.Sequence[str]) -> bytes:
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {LABEL: "serve"}},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256}" for sha256 in layers]},
            "history": [{"created_by": "test"} for _layer in layers],
        }
    ).encode()


class Answer(t.NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The error's, as the distribution specification has it."""
        return t.cast(str, json.loads(self.body)["errors"][0]["code"])


def ask(place: str, path: str, method: str = "GET", **headers: str) -> Answer:
    """Make one request; names of headers with _ for -."""
    connection = http.client.HTTPConnection(place, timeout=20)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, told, answer.read())
    finally:
        connection.close()
