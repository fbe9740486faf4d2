# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The release document: one immutable JSON document per deployable version of a stack. Pure.

Version 1 (keys of the document, all required but ingress):

    schema       1
    stack        name of the stack
    environment  name of the environment, or empty
    compose      Compose files in the order of merging, by their path in `files`
    files        {path: SHA-256}: everything that the release's folder holds besides release.json and models/
    images       {service: {reference, input}}: what is built; every other image is pulled
    models       [{name, version, files: [{path, sha256, size, required}]}]; without size (bytes) where none is pinned,
                 without required where it is true
    services     {name: {lifecycle, url, gate, timeout and irreversible of a job, snapshot of a stateful one}};
                 gate is a list of {kind: settings}, durations in seconds
    parameters   {NAME: {type, default, choices, description}}
    secrets      {name: {description}}
    rollout      {success_threshold, gate_timeout, strategy, soak, drain, busy_timeout}, times in seconds
    busy         {service, http or exec}, if the host can be busy
    ingress      see _ingress_document; only where there is one

A release's id is the SHA-256 of the document's canonical JSON: keys sorted, no spaces, UTF-8.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import Gate, ServiceGate, body_files
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_parse import parse_services
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_rollout import Rollout, parse_rollout

DOCUMENT = "release.json"
MODELS = "models"
_SCHEMA = 1
_STACK = re.compile(r"[a-z0-9][a-z0-9-]*")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelFile:
    """What a file of a model must be. `size` is in bytes, None when only the digest is pinned.

    One that is not `required` may be missing.
    """

    sha256: str
    size: int | None = None
    required: bool = True


@dataclass(frozen=True)
class Model:
    """One version of a model: its files by path."""

    name: str
    version: str
    files: t.Mapping[str, ModelFile]

    @property
    def folder(self) -> str:
        """Its place below the folder of published models."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True)
class Release:
    """A release document that was checked as far as a host must rely on it."""

    id: str
    document: t.Mapping[str, t.Any]
    stack: str
    environment: str
    compose: tuple[str, ...]
    files: t.Mapping[str, str]
    built: t.Mapping[str, str]
    models: tuple[Model, ...]
    gate: Gate
    rollout: Rollout
    ingress: t.Mapping[str, t.Any] | None
    urls: t.Mapping[str, str]
    parameters: t.Mapping[str, t.Mapping[str, t.Any]]
    secrets: t.Mapping[str, t.Mapping[str, t.Any]]

    @property
    def lifecycles(self) -> dict[str, str]:
        return {service.name: service.lifecycle for service in self.gate.services}

    def gate_of(self, services: t.Iterable[str]) -> Gate:
        """Return the gate of the services that run; one that the document does not know has no checks of its own."""
        known = {service.name: service for service in self.gate.services}
        return replace(self.gate, services=tuple(known.get(name, ServiceGate(name)) for name in sorted(services)))


def canonical(value: t.Any) -> bytes:
    """Return canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(content: bytes) -> str:
    """Return the SHA-256 of some content in lower-case hex."""
    return hashlib.sha256(content).hexdigest()


def stack_name(name: str) -> str:
    """Return the name of a stack.

    Raises:
        ReleaseError: it cannot be one, or could not be part of a path.
    """
    if not _STACK.fullmatch(name):
        raise ReleaseError(
            f"stack {name!r}: a name has lower-case letters, digits and dashes, the first not a dash",
            reason="release_invalid",
        )
    return name


def parse_document(document: t.Mapping[str, t.Any], expected_id: str | None = None) -> Release:
    """Read a release document.

    Raises:
        ReleaseError: it has not the id it should have (`release_invalid`), or something in it cannot be relied on.
    """
    try:
        return _parse(document, expected_id)
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise ReleaseError(
            f"the release document is none: {type(exc).__name__} {exc}. Pass the one that the lookup "
            "emorobcare.fleet.stack rendered",
            reason="release_invalid",
        ) from exc


def _parse(document: t.Mapping[str, t.Any], expected_id: str | None) -> Release:
    actual = digest(canonical(document))
    if expected_id is not None and actual != expected_id:
        raise ReleaseError(
            f"release {expected_id!r}: the document has id {actual}; it was changed after it was made. Render the "
            "release again and pass id and document from the same one",
            reason="release_invalid",
        )
    if document.get("schema") != _SCHEMA:
        raise ReleaseError(
            f"release {actual}: schema is {document.get('schema')!r}, this version of emorobcare.fleet reads {_SCHEMA}",
            reason="release_invalid",
        )
    files = {_own_path(path, actual): str(sha256) for path, sha256 in _get(document, "files", dict, actual).items()}
    compose = tuple(_get(document, "compose", list, actual))
    if not compose or not set(compose) <= set(files):
        raise _bad(actual, "compose", list(compose), f"a list of files among {', '.join(sorted(files))}")
    rollout = _get(document, "rollout", dict, actual)
    services = _get(document, "services", dict, actual)
    checked = {name: {key: item.get(key) for key in ("lifecycle", "gate")} for name, item in services.items()}
    gate = Gate(
        parse_services(checked),
        success_threshold=int(_get(rollout, "success_threshold", int, actual)),
        timeout=float(_get(rollout, "gate_timeout", (int, float), actual)),
    )
    stray = [name for name in body_files(gate.services) if name not in files]
    if stray:
        raise _bad(actual, "body_file", stray[0], "one of the release's files")
    return Release(
        id=actual,
        document=document,
        stack=stack_name(_get(document, "stack", str, actual)),
        environment=document.get("environment") or "",
        compose=compose,
        files=files,
        built={name: item["reference"] for name, item in _get(document, "images", dict, actual).items()},
        models=tuple(_model(item, actual) for item in _get(document, "models", list, actual)),
        gate=gate,
        rollout=parse_rollout(document),
        ingress=document.get("ingress"),
        urls={name: item["url"] for name, item in services.items() if item.get("url")},
        parameters=_get(document, "parameters", dict, actual),
        secrets=_get(document, "secrets", dict, actual),
    )


def decode_files(release: Release, files: t.Mapping[str, str]) -> dict[str, bytes]:
    """Return the content of the release's files, from base64.

    Raises:
        ReleaseError: a file is missing, is not one of the release's, or has another digest than the document says.
    """
    if set(files) != set(release.files):
        odd = sorted(set(files) ^ set(release.files))
        raise ReleaseError(
            f"files: {odd[0]!r} is {'not one of' if odd[0] in files else 'missing among'} the release's files",
            reason="release_invalid",
        )
    contents = {}
    for path, text in files.items():
        try:
            contents[path] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise ReleaseError(f"files: {path!r} is not base64", reason="release_invalid") from None
        actual = digest(contents[path])
        if actual != release.files[path]:
            raise ReleaseError(
                f"files: {path!r} has digest {actual}, the document says {release.files[path]}",
                reason="release_invalid",
            )
    return contents


def _model(data: t.Any, release: str) -> Model:
    name, version = str(data.get("name")), str(data.get("version"))
    for key, part in (("name", name), ("version", version)):
        if not _PART.fullmatch(part):
            raise _bad(release, f"models.{key}", part, "letters, digits, dots, dashes and underscores")
    return Model(
        name, version, {_safe_path(item["path"], release): _model_file(item, release) for item in data["files"]}
    )


def _model_file(data: t.Mapping[str, t.Any], release: str) -> ModelFile:
    sha256, size = data["sha256"], data.get("size")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise _bad(release, "models.files.sha256", sha256, "64 lower-case hex digits")
    return ModelFile(sha256, None if size is None else int(size), bool(data.get("required", True)))


def _own_path(path: str, release: str) -> str:
    """Return the path of a file that does not stand where the release's folder has its own entries."""
    if _safe_path(path, release).split("/")[0] in (DOCUMENT, MODELS):
        allowed = f"outside of {DOCUMENT} and {MODELS}/, which are the folder's own"
        raise _bad(release, "files", path, allowed)
    return path


def _safe_path(path: str, release: str) -> str:
    """Return a relative path that cannot leave its folder."""
    if path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path:
        raise _bad(release, "files", path, "a relative path without . and ..")
    return path


def _get(data: t.Mapping[str, t.Any], key: str, kind: t.Any, release: str) -> t.Any:
    value = data.get(key)
    if not isinstance(value, kind):
        names = kind.__name__ if isinstance(kind, type) else "number"
        raise _bad(release, key, value, f"a {names}")
    return value


def _bad(release: str, where: str, value: t.Any, allowed: str) -> ReleaseError:
    return ReleaseError(
        f"release {release}: {where}: {value!r} is not allowed; it must be {allowed}", reason="release_invalid"
    )
