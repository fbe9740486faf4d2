# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A release: the document that names everything a host will run, and the Compose file that pins it. Pure.

The same stack and environment give the same bytes everywhere; nothing of the controller or of a host is in them.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import digest
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_file import (
    Parts,
    attribute,
    items,
    last,
    merged,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import Problem
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_model import (
    Model,
    ModelFile,
    Stack,
    plain,
    plain_parameter,
    plain_rollout,
    plain_service,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._variables import escape
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document

COMPOSE_RELEASE = "compose.release.yml"
"""The Compose file that we write; it comes last."""

STACK_LABEL = "org.emorobcare.fleet.stack"

_HEAD = "# Written by emorobcare.fleet from stack.yml, for one release. Do not change it.\n"


@dataclass(frozen=True)
class BuiltImage:
    """An image that we build: its reference and the digest of what goes into it."""

    service: str
    reference: str
    input: str


def release_document(
    stack: Stack,
    environment: str | None,
    compose: t.Sequence[str],
    files: t.Mapping[str, bytes],
    images: t.Sequence[BuiltImage],
    services: t.Collection[str],
    ingress: t.Mapping[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """Return version 1 of the release document; its id is the SHA-256 of its canonical JSON.

    C(compose) are the names of the Compose files in their order, C(files) every file of the release by its path below
    the release's folder, C(services) those that the environment has.
    """
    document: dict[str, t.Any] = {
        "schema": 1,
        "stack": stack.name,
        "environment": environment,
        "compose": list(compose),
        "files": {path: digest(content) for path, content in files.items()},
        "images": {image.service: {"reference": image.reference, "input": image.input} for image in images},
        "models": [_pinned(model) for model in stack.models],
        "services": {name: plain_service(service) for name, service in stack.services.items() if name in services},
        "parameters": {name: plain_parameter(parameter) for name, parameter in stack.parameters.items()},
        "secrets": plain(stack.secrets),
        "rollout": plain_rollout(stack.rollout),
    }
    if stack.busy and stack.busy.service in services:
        document["busy"] = {"service": stack.busy.service, **plain(stack.busy.check)}
    return document if ingress is None else {**document, "ingress": dict(ingress)}


@dataclass(frozen=True)
class PulledImage:
    """An image that we do not build: the reference that the Compose files say, and the one that a depot brings it by.

    A depot holds one architecture, and layers that are not compressed, so that the published digest is not that of its
    manifest, and no engine takes an image under a digest that is not its own. So the digest becomes part of the tag.
    What the image is, the depot's release manifest pins.
    """

    source: str

    @property
    def carried(self) -> str:
        name, _at, pinned = self.source.partition("@")
        if not pinned:
            return name
        place, slash, last_part = name.rpartition("/")
        base, _colon, tag = last_part.partition(":")
        short = pinned.rpartition(":")[2][:12]
        return f"{place}{slash}{base}:{tag}-{short}" if tag else f"{place}{slash}{base}:{short}"


def pulled_images(documents: t.Sequence[Document], images: t.Sequence[BuiltImage]) -> dict[str, PulledImage]:
    """Return the images that hosts pull, by service: of those without a profile that we do not build.

    References are as the Compose files write them, variables included.
    """
    built = {image.service for image in images}
    found = {}
    for name, parts in merged(documents, "services").items():
        profiles = [item for part in attribute(parts, "profiles") for item in items(part)]
        image = last(parts, "image")
        if name not in built and image and not profiles:
            found[name] = PulledImage(str(image))
    return found


def carried_problems(documents: t.Sequence[Document], images: t.Sequence[BuiltImage]) -> t.Iterator[Problem]:
    """Return what keeps a depot from bringing the images of a stack."""
    services = merged(documents, "services")
    for name, image in pulled_images(documents, images).items():
        if "$" in image.source:
            (*_others, part) = attribute(services[name], "image")
            yield part.problem(
                f"{image.source} has a variable, and a depot must know which image it brings; write the reference out"
            )


def compose_release(
    stack: str, documents: t.Sequence[Document], images: t.Sequence[BuiltImage], carried: bool = False
) -> str:
    """Return the Compose file that pins what we built and labels what Compose makes.

    A service that we build loses its C(build), so that a missing image is an error and not a build on a robot. Where a
    depot brings the images (C(carried)), none is pulled either.
    """
    labels = {STACK_LABEL: stack}
    references = {image.service: image.reference for image in images}
    if carried:
        references |= {name: image.carried for name, image in pulled_images(documents, images).items()}
    services: dict[str, t.Any] = {}
    for name, parts in merged(documents, "services").items():
        services[name] = {"labels": labels}
        if name in references:
            services[name] |= {"image": references[name], "pull_policy": "never"}
            services[name] |= {"build": _RESET} if attribute(parts, "build") else {}
    tree: dict[str, t.Any] = {"services": services}
    # Compose makes this network for services that name none.
    networks = {"default": (), **merged(documents, "networks")}
    for section, things in (("networks", networks), ("volumes", merged(documents, "volumes"))):
        made = {name: {"labels": labels} for name, parts in things.items() if not _is_external(parts)}
        tree |= {section: made} if made else {}
    return _HEAD + "".join(_yaml(tree, 0))


class _Reset:
    """Compose's C(!reset): takes away what earlier files say."""


_RESET = _Reset()


def _is_external(parts: Parts) -> bool:
    external = last(parts, "external")
    return bool(external)


def _pinned(model: Model) -> dict[str, t.Any]:
    """Return a model without its sources (where bytes come from is not what they are) and without rough sizes."""
    return {"name": model.name, "version": model.version, "files": [_pinned_file(file) for file in model.files]}


def _pinned_file(file: ModelFile) -> dict[str, t.Any]:
    pin: dict[str, t.Any] = {"path": file.path, "sha256": file.sha256}
    if isinstance(file.size, int):
        pin["size"] = file.size
    if not file.required:
        pin["required"] = False
    return pin


def _yaml(tree: t.Mapping[str, t.Any], depth: int) -> t.Iterator[str]:
    """Write nested mappings of strings as YAML, keys sorted, the same whatever YAML library there is."""
    for key, value in sorted(tree.items()):
        start = f"{'  ' * depth}{json.dumps(key)}:"
        if isinstance(value, t.Mapping):
            yield f"{start}\n"
            yield from _yaml(value, depth + 1)
        elif isinstance(value, _Reset):
            yield f"{start} !reset null\n"
        else:
            yield f"{start} {json.dumps(escape(value))}\n"
