# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What the metadata of a depot names, read by whoever writes the depot, and what tools find by index.json.

Nothing here checks a signature: what is read tells which number comes next and what is there already. Whoever signs
tells better (`targets`), and a host trusts none of this.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder, corrupt, read_blob
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import (
    METADATA,
    is_sha256,
    read_document,
    release_artifact,
    target_name,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import (
    MANIFEST_LIMIT,
    Manifest,
    parse_manifest,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import digest

EMPTY = b"{}"
"""The configuration of what is an OCI artifact and no image."""

_LIMIT = 64 << 20  # bytes of metadata
_TARGETS = re.compile(r"([1-9][0-9]*)\.targets\.json")
_TARGET = re.compile(r"releases/([a-z0-9][a-z0-9-]*)/([1-9][0-9]*)\.json")


@dataclass(frozen=True)
class Target:
    """A release manifest as TUF names it: path, SHA-256, length in bytes."""

    path: str
    sha256: str
    length: int

    @property
    def stack(self) -> str:
        return self._parts()[0]

    @property
    def counter(self) -> int:
        return int(self._parts()[1])

    def _parts(self) -> tuple[str, str]:
        _releases, stack, file = self.path.split("/")
        return stack, file.partition(".")[0]


def target_of(manifest: Manifest) -> Target:
    """Return the target that a release manifest is."""
    data = manifest.encode()
    return Target(target_name(manifest.stack, manifest.counter), digest(data), len(data))


def told_targets(told: t.Mapping[str, t.Any]) -> list[Target]:
    """Read what the signer says is signed: [SHA-256, length] by path.

    Raises:
        DepotError: it is not of that form (`invalid`).
    """
    found = []
    for path, value in told.items():
        pair = list(value) if isinstance(value, (list, tuple)) else []
        if len(pair) != 2 or not is_sha256(pair[0]) or not str(pair[1]).isdigit() or not _TARGET.fullmatch(path):
            raise DepotError(
                f"targets: {path}: {value!r} is no release's path with [SHA-256, length]; pass what depot_sign "
                "returned",
                reason="invalid",
            )
        found.append(Target(path, pair[0], int(pair[1])))
    return found


def metadata_targets(data: bytes) -> list[Target]:
    """Return the releases that a targets.json names, without checking who signed it.

    Raises:
        DepotError: it is none (`invalid`).
    """
    try:
        listed = read_document(data)["signed"]["targets"]
        return [
            Target(path, str(one["hashes"]["sha256"]), int(one["length"]))
            for path, one in listed.items()
            if _TARGET.fullmatch(path) and is_sha256(one["hashes"]["sha256"])
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise DepotError(f"this is no targets metadata: {type(exc).__name__} {exc}", reason="invalid") from exc


def newest_targets(names: t.Iterable[str]) -> str | None:
    """Return the name of the targets.json with the highest version among some names; None without any."""
    versions = {int(match[1]): match[0] for match in map(_TARGETS.fullmatch, names) if match}
    return versions[max(versions)] if versions else None


def found_targets(folder: Folder) -> list[Target]:
    """Return the releases that the depot's newest targets.json names: a hint, which nobody signed as far as we know."""
    name = newest_targets(folder.names(METADATA))
    data = folder.read(f"{METADATA}/{name}", _LIMIT) if name else None
    try:
        return metadata_targets(data) if data is not None else []
    except DepotError:  # torn by a fault: the next publication replaces it
        return []


def read_target(folder: Folder, target: Target) -> Manifest | None:
    """Return the release manifest of a target; None if the depot has none of that digest.

    Raises:
        DepotError: what has its name is something else (`blob_corrupt`, `manifest_invalid`).
    """
    if folder.blob_size(target.sha256) is None:
        return None
    manifest = parse_manifest(read_blob(folder, target.sha256, MANIFEST_LIMIT, target.length))
    if (manifest.stack, manifest.counter) != (target.stack, target.counter):
        raise corrupt(folder.shown, target.sha256, f"is not what {target.path} should be")
    return manifest


def newest(targets: t.Iterable[Target], stack: str) -> Target | None:
    """Return the target of a stack with the highest counter; None if it has none."""
    return max((one for one in targets if one.stack == stack), key=lambda one: one.counter, default=None)


def artifact_of(manifest: Manifest) -> bytes:
    """Return the OCI artifact by which tools find a release."""
    target = target_of(manifest)
    return release_artifact(digest(EMPTY), (target.sha256, target.length))


def index_names(manifests: t.Iterable[Manifest], present: t.Collection[str]) -> dict[str, tuple[str, int]]:
    """Return what index.json lists for some releases: SHA-256 and bytes by name; of one name, the newest's.

    Args:
        present: blobs that the depot has; what a differential depot leaves out is not listed.
    """
    named: dict[str, tuple[str, int]] = {}
    for manifest in sorted(manifests, key=lambda one: (one.created, one.stack, one.counter)):
        for image in manifest.images:
            named[image.reference] = (image.manifest, manifest.blobs[image.manifest])
        for model in manifest.models:
            named[f"models/{model.name}:{model.version}"] = (model.manifest, manifest.blobs[model.manifest])
        artifact = artifact_of(manifest)
        named[f"releases/{manifest.stack}:{manifest.counter}"] = (digest(artifact), len(artifact))
    return {name: found for name, found in named.items() if found[0] in present}
