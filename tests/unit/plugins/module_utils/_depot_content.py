# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Depots as the tests of reading need them: folders with blobs, and manifests that name them. Nothing is signed."""

from __future__ import annotations

import hashlib
import random
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import (
    BLOBS,
    INDEX,
    LAYOUT,
    LAYOUT_CONTENT,
    TIMESTAMP,
    VOLUME,
    Volume,
    blob_name,
    encode_index,
    image_manifest,
    model_manifest,
    part_name,
    release_artifact,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Image, Manifest, Model

EMPTY = b"{}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def noise(size: int, seed: int = 1) -> bytes:
    """Return bytes none of whose parts is like another."""
    return random.Random(seed).randbytes(size)


@dataclass
class Content:
    """What a release is made of; each with a default that is small."""

    release: bytes = b'{"schema":1}'
    files: t.Mapping[str, bytes] = field(default_factory=lambda: {"compose.yml": b"services: {}\n"})
    layers: t.Sequence[bytes] = (b"the layer of an image",)
    models: t.Mapping[str, t.Mapping[str, bytes]] = field(
        default_factory=lambda: {"1": {"model.bin": noise(9_000), "onnx/config.json": b"{}\n"}}
    )
    packages: t.Mapping[str, bytes] = field(default_factory=lambda: {"Packages": b"", "pool/a.deb": b"a package"})
    runtime: t.Mapping[str, bytes] = field(default_factory=lambda: {"wheels/tuf.whl": b"a wheel"})


class Depot:
    """A depot in a folder. `blobs` are its contents by digest; of the model `speech` there are the given versions."""

    def __init__(self, folder: Path, content: Content | None = None, assumes: t.Collection[str] = ()) -> None:
        self.folder = folder
        self.content = content or Content()
        self.blobs: dict[str, bytes] = {}
        self.manifest = self._manifest(frozenset(assumes))
        self._write()

    def path(self, digest: str) -> Path:
        return self.folder / blob_name(digest)

    def model(self, version: str = "1") -> dict[str, bytes]:
        return dict(self.content.models[version])

    @property
    def kept(self) -> dict[str, bytes]:
        """What a host's store has of it in the end."""
        content = self.content
        parts = [content.files, content.packages, content.runtime, *content.models.values()]
        return {sha256(data): data for data in (content.release, *(d for part in parts for d in part.values()))}

    @property
    def pulled(self) -> set[str]:
        return {digest for image in self.manifest.images for digest in image.blobs}

    def split(self, digest: str, limit: int) -> list[Path]:
        """Have a blob in parts of so many bytes."""
        content = self.blobs[digest]
        parts = []
        for number, start in enumerate(range(0, len(content), limit)):
            parts.append(self.folder / part_name(digest, number))
            parts[-1].write_bytes(content[start : start + limit])
        self.path(digest).unlink()
        return parts

    def keep_only(self, volume: Volume) -> None:
        """Make it one volume of several."""
        (self.folder / VOLUME).write_bytes(volume.encode())
        for digest in self.blobs.keys() - volume.blobs:
            self.path(digest).unlink(missing_ok=True)

    def _add(self, data: bytes) -> str:
        self.blobs[sha256(data)] = data
        return sha256(data)

    def _all(self, contents: t.Mapping[str, bytes]) -> dict[str, str]:
        return {path: self._add(data) for path, data in contents.items()}

    def _manifest(self, assumes: frozenset[str]) -> Manifest:
        content = self.content
        layers = [(self._add(layer), len(layer)) for layer in content.layers]
        config = b'{"architecture":"amd64"}'
        images = []
        if layers:
            image = image_manifest((self._add(config), len(config)), layers)
            images = [Image("robot/api:1", self._add(image), sha256(config), tuple(digest for digest, _size in layers))]
        models = []
        for version, files in content.models.items():
            digests = self._all(files)
            told = model_manifest(self._add(EMPTY), {path: (digests[path], len(files[path])) for path in files})
            models.append(Model("speech", version, self._add(told), digests))
        self.blobs.pop(sha256(EMPTY), None)  # no release names it
        named: dict[str, t.Any] = {
            "release": self._add(content.release),
            "files": self._all(content.files),
            "images": tuple(images),
            "models": tuple(models),
            "packages": {"trixie": self._all(content.packages)},
            "runtime": self._all(content.runtime),
        }
        return Manifest(
            fleet="lab",
            stack="robot",
            counter=1,
            created=1,
            minimum_version="0.1.0",
            hardware=(),
            architecture="amd64",
            blobs={digest: len(data) for digest, data in self.blobs.items()},
            assumes=assumes,
            **named,
        )

    def _write(self) -> None:
        (self.folder / BLOBS).mkdir(parents=True)
        (self.folder / TIMESTAMP).parent.mkdir()
        (self.folder / TIMESTAMP).write_bytes(b"{}")
        (self.folder / LAYOUT).write_bytes(LAYOUT_CONTENT)
        (self.folder / VOLUME).write_bytes(Volume(blobs=frozenset(self.blobs)).encode())
        for digest, data in self.blobs.items():
            if digest not in self.manifest.assumes:
                self.path(digest).write_bytes(data)
        release = self.manifest.encode()
        artifact = release_artifact(sha256(EMPTY), (sha256(release), len(release)))
        for data in (release, artifact, EMPTY):
            self.path(sha256(data)).write_bytes(data)
        index = {"releases/robot:1": (sha256(artifact), len(artifact))}
        (self.folder / INDEX).write_bytes(encode_index(index))
