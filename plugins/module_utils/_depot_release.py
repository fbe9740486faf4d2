# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The release manifest: what is signed, and what binds all content of a release by digest. Pure.

docs/depot-format.md has its keys.
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import is_sha256, read_document
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import canonical, digest

MANIFEST_LIMIT = 16 << 20  # bytes; a release with a repository for apt names some thousands of files
VERSION = "0.1.0"
"""Of emorobcare.fleet, as galaxy.yml has it: what a release's minimum_version is compared with."""

ARCHITECTURES = ("amd64", "arm64", "armhf")
LATEST = 253_402_300_799
"""Seconds since 1970: the last time that has a year of four digits, and so the last that can be told to anybody."""

_SCHEMA = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_REFERENCE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,500}")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+){0,3}")


@dataclass(frozen=True)
class Image:
    """An image: the reference that Compose files say, and SHA-256 of its manifest, configuration and layers."""

    reference: str
    manifest: str
    config: str
    layers: tuple[str, ...]

    @property
    def blobs(self) -> tuple[str, ...]:
        return (self.manifest, self.config, *self.layers)


@dataclass(frozen=True)
class Model:
    """A version of a model: SHA-256 of its manifest, and of each file by path."""

    name: str
    version: str
    manifest: str
    files: t.Mapping[str, str]

    @property
    def blobs(self) -> tuple[str, ...]:
        return (self.manifest, *self.files.values())


@dataclass(frozen=True)
class Manifest:
    """A release manifest that was checked: all that it names is among its blobs, and nothing leads out of a folder.

    `blobs` has sizes in bytes; `created` is in seconds since 1970.
    """

    fleet: str
    stack: str
    counter: int
    created: int
    minimum_version: str
    hardware: tuple[str, ...]
    architecture: str
    release: str
    files: t.Mapping[str, str]
    images: tuple[Image, ...]
    models: tuple[Model, ...]
    packages: t.Mapping[str, t.Mapping[str, str]]
    runtime: t.Mapping[str, str]
    blobs: t.Mapping[str, int]
    assumes: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        """Bytes of all that the release is made of."""
        return sum(self.blobs.values())

    @property
    def carried(self) -> dict[str, int]:
        """The blobs that a depot of this release must have, with their sizes."""
        return {sha256: size for sha256, size in self.blobs.items() if sha256 not in self.assumes}

    @property
    def named(self) -> tuple[str, ...]:
        """Every blob that something in the release is, in the order in which depots are filled, each once."""
        lists: list[t.Iterable[str]] = [(self.release,), self.files.values()]
        lists += [image.blobs for image in self.images]
        lists += [model.blobs for model in self.models]
        lists += [files.values() for files in self.packages.values()]
        return tuple(dict.fromkeys(one for part in (*lists, self.runtime.values()) for one in part))

    def encode(self) -> bytes:
        """Return the manifest in canonical JSON, which is what is signed."""
        return canonical(
            {
                "schema": _SCHEMA,
                "fleet": self.fleet,
                "stack": self.stack,
                "counter": self.counter,
                "created": self.created,
                "minimum_version": self.minimum_version,
                "hardware": list(self.hardware),
                "architecture": self.architecture,
                "release": self.release,
                "files": dict(self.files),
                "images": [
                    {
                        "reference": image.reference,
                        "manifest": image.manifest,
                        "config": image.config,
                        "layers": list(image.layers),
                    }
                    for image in self.images
                ],
                "models": [
                    {
                        "name": model.name,
                        "version": model.version,
                        "manifest": model.manifest,
                        "files": dict(model.files),
                    }
                    for model in self.models
                ],
                "packages": {suite: dict(files) for suite, files in self.packages.items()},
                "runtime": dict(self.runtime),
                "blobs": dict(self.blobs),
                "assumes": sorted(self.assumes),
            }
        )


def content_id(manifest: Manifest) -> str:
    """Return a digest of what a release is, whenever and however often it was written.

    Two manifests with the same one differ in counter, time and what they leave out at most.
    """
    document = json.loads(manifest.encode())
    for key in ("counter", "created", "assumes"):
        del document[key]
    return digest(canonical(document))


def parse_manifest(data: bytes) -> Manifest:
    """Read a release manifest.

    Raises:
        DepotError: something in it cannot be relied on (`manifest_invalid`); it names the key.
    """
    try:
        document = read_document(data)
    except ValueError as exc:
        raise _invalid(f"it is no JSON: {exc}") from exc
    if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
        told = document.get("schema") if isinstance(document, dict) else None
        raise _invalid(f"its schema is {told!r}, and this version of emorobcare.fleet reads {_SCHEMA}")
    try:
        return _checked(_read(document))
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise _invalid(f"{type(exc).__name__} {exc}") from exc


def _read(document: dict[str, t.Any]) -> Manifest:
    return Manifest(
        fleet=_match(_NAME, document, "fleet"),
        stack=_match(_NAME, document, "stack"),
        counter=_count(document, "counter", 1),
        created=_count(document, "created", 0, LATEST),
        minimum_version=_match(_VERSION, document, "minimum_version"),
        hardware=tuple(_text(_NAME, name, "hardware") for name in document["hardware"]),
        architecture=_one_of(ARCHITECTURES, document, "architecture"),
        release=_sha256(document["release"], "release"),
        files=_files(document["files"], "files"),
        images=tuple(
            Image(
                _text(_REFERENCE, image["reference"], "images.reference"),
                _sha256(image["manifest"], "images.manifest"),
                _sha256(image["config"], "images.config"),
                tuple(_sha256(layer, "images.layers") for layer in image["layers"]),
            )
            for image in document["images"]
        ),
        models=tuple(
            Model(
                _text(_PART, model["name"], "models.name"),
                _text(_PART, model["version"], "models.version"),
                _sha256(model["manifest"], "models.manifest"),
                _files(model["files"], "models.files"),
            )
            for model in document["models"]
        ),
        packages={
            _text(_NAME, suite, "packages"): _files(files, f"packages.{suite}")
            for suite, files in document["packages"].items()
        },
        runtime=_files(document["runtime"], "runtime"),
        blobs={_sha256(one, "blobs"): _size(size, one) for one, size in document["blobs"].items()},
        assumes=frozenset(_sha256(one, "assumes") for one in document["assumes"]),
    )


def _checked(manifest: Manifest) -> Manifest:
    """Refuse a manifest whose parts contradict each other."""
    named = set(manifest.named)
    unknown = sorted(named - set(manifest.blobs))
    if unknown:
        raise _invalid(f"{unknown[0]} is part of the release, and not among its blobs")
    stray = sorted(set(manifest.blobs) - named)
    if stray:
        raise _invalid(f"{stray[0]} is among its blobs, and no part of the release")
    if not manifest.assumes <= named:
        raise _invalid(f"{min(manifest.assumes - named)} is assumed, and no part of the release")
    if manifest.assumes & {manifest.release, *manifest.files.values()}:
        raise _invalid("a depot always has the release document and its files, and they are assumed")
    return manifest


def version_key(version: str) -> tuple[int, ...]:
    """Return what orders versions such as 0.10.2; a pre-release's suffix does not count."""
    match = _VERSION.match(version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _invalid(why: str) -> DepotError:
    return DepotError(f"the release manifest cannot be relied on: {why}", reason="manifest_invalid")


def _sha256(value: t.Any, where: str) -> str:
    if not is_sha256(value):
        raise _invalid(f"{where}: {value!r} is no SHA-256 in lower-case hex")
    return str(value)


def _text(form: re.Pattern[str], value: t.Any, where: str) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise _invalid(f"{where}: {value!r} is not allowed")
    return value


def _match(form: re.Pattern[str], document: t.Mapping[str, t.Any], key: str) -> str:
    return _text(form, document[key], key)


def _one_of(allowed: t.Sequence[str], document: t.Mapping[str, t.Any], key: str) -> str:
    if document[key] not in allowed:
        raise _invalid(f"{key}: {document[key]!r} is none of {', '.join(allowed)}")
    return str(document[key])


def _count(document: t.Mapping[str, t.Any], key: str, least: int, most: int | None = None) -> int:
    value = document[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        until = "" if most is None else f" to {most}"
        raise _invalid(f"{key}: {value!r} is no whole number from {least}{until}")
    return value


def _size(value: t.Any, of: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _invalid(f"blobs: the size of {of} is {value!r}, and should be a number of bytes")
    return value


def _files(value: t.Any, where: str) -> dict[str, str]:
    return {safe_path(path, where): _sha256(sha256, f"{where}.{path}") for path, sha256 in value.items()}


def safe_path(path: t.Any, where: str) -> str:
    """Return a relative path that cannot leave its folder.

    Raises:
        DepotError: it could, or is not the same on every file system (`manifest_invalid`).
    """
    odd = not isinstance(path, str) or path.startswith("/") or "\\" in path
    if odd or any(part in ("", ".", "..") for part in path.split("/")) or any(ord(char) < 32 for char in path):
        raise _invalid(f"{where}: {path!r} is no relative path without . and ..")
    return str(path)
