# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Gather what the rules judge: from the engine, or from what an earlier audit read of the same layers.

A layer's content never changes under its diff id, so what was read of it is kept by that: a new version of an image
costs a reading, the same version does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_archive import (
    ArchiveError,
    SavedImage,
    read_archive,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import (
    FACTS_VERSION,
    Config,
    LayerFacts,
    Probe,
    read_config,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_probe import run_probe
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import (
    Answer,
    ImageEngineError,
    engine_error,
    run_command,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_saved import save
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, read_json, write_json

_KEPT = 30 * 24 * 3600  # seconds that unused facts are kept

Run = t.Callable[[list[str]], Answer]


class Cache:
    """Facts in a folder, one file each; without a folder nothing is kept. A torn or strange file counts as none."""

    def __init__(self, folder: str | None, read_only: bool = False) -> None:
        self._folder = folder
        self._read_only = read_only

    def get(self, kind: str, name: str) -> t.Any:
        path = self._path(kind, name)
        found = read_json(path) if path else None
        if path and found is not None and not self._read_only:
            with contextlib.suppress(OSError):
                os.utime(path)
        return found

    def put(self, kind: str, name: str, data: t.Any) -> None:
        path = self._path(kind, name)
        if path and not self._read_only:
            make_dirs(os.path.dirname(path))
            write_json(path, data)

    def prune(self) -> None:
        """Remove what was not used for a month."""
        if not self._folder or self._read_only or not os.path.isdir(self._folder):
            return
        oldest = time.time() - _KEPT
        for entry in os.scandir(self._folder):
            with contextlib.suppress(OSError):
                if entry.name.endswith((".json", ".new")) and entry.stat().st_mtime < oldest:
                    os.unlink(entry.path)

    def _path(self, kind: str, name: str) -> str | None:
        key = hashlib.sha256(name.encode()).hexdigest()
        return os.path.join(self._folder, f"{kind}-{FACTS_VERSION}-{key}.json") if self._folder else None


class Seen(t.NamedTuple):
    """An image as the engine and its archive show it."""

    id: str
    size: int
    config: Config
    layers: tuple[LayerFacts, ...]


def inspect(references: t.Sequence[str], run: Run = run_command) -> dict[str, dict[str, t.Any]]:
    """Return what the engine says of those images that it has, by the reference that was asked for."""
    if not references:
        return {}
    answer = run(["docker", "image", "inspect", "--", *references])
    complaints = [line for line in answer.errors.splitlines() if line.strip()]
    if answer.status != 0 and not all("no such image" in line.lower() for line in complaints):
        raise engine_error("docker image inspect", answer)
    try:
        images = json.loads(answer.output or "[]")
        if len(references) == 1:
            return dict(zip(references, images))
        names = {name: one for one in images for name in (one["Id"], *(one.get("RepoTags") or ()), *_digests(one))}
        return {reference: names[_plain(reference)] for reference in references if _plain(reference) in names}
    except (ValueError, KeyError, TypeError) as exc:
        raise ImageEngineError(f"docker image inspect gave an answer that cannot be read ({exc})") from exc


def _digests(image: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    return tuple(image.get("RepoDigests") or ())


def _plain(reference: str) -> str:
    """Return a reference as the engine lists it: with a digest, the tag says nothing."""
    name, at, digest = reference.partition("@")
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}{at}{digest}" if at else reference


def see(images: t.Mapping[str, dict[str, t.Any]], cache: Cache) -> dict[str, Seen]:
    """Return the images by their reference; those that are not known are read in one archive.

    :raises ImageEngineError: the engine gave no archive.
    :raises ArchiveError: or none that can be read.
    """
    seen: dict[str, Seen] = {}
    for reference, image in images.items():
        known = _known(image, cache)
        if known is not None:
            seen[reference] = known
    missing = [reference for reference in images if reference not in seen]
    if missing:
        for reference, one in _save(missing, images, cache).items():
            seen[reference] = one
    return seen


def _known(image: t.Mapping[str, t.Any], cache: Cache) -> Seen | None:
    raw = cache.get("config", image["Id"])
    if raw is None:
        return None
    try:
        config = read_config(raw)
    except (KeyError, TypeError, AttributeError):
        return None
    layers = _known_layers(config.diff_ids, cache)
    whole = tuple(layers[diff_id] for diff_id in config.diff_ids if diff_id in layers)
    return Seen(image["Id"], int(image["Size"]), config, whole) if len(whole) == len(config.diff_ids) else None


def _known_layers(diff_ids: t.Iterable[str], cache: Cache) -> dict[str, LayerFacts]:
    layers = {diff_id: LayerFacts.from_json(diff_id, cache.get("layer", diff_id)) for diff_id in diff_ids}
    return {diff_id: layer for diff_id, layer in layers.items() if layer is not None}


def _read_saved(references: list[str], known: t.Mapping[str, LayerFacts]) -> list[SavedImage]:
    """Return what the engine saves of some images, of which these layers are known."""
    return save(references, lambda archive: read_archive(archive, known), (ArchiveError,))


def _save(references: list[str], images: t.Mapping[str, dict[str, t.Any]], cache: Cache) -> dict[str, Seen]:
    diff_ids = {diff_id for one in references for diff_id in (images[one].get("RootFS") or {}).get("Layers") or ()}
    known = _known_layers(diff_ids, cache)
    saved = _read_saved(references, known)
    seen: dict[str, Seen] = {}
    for reference in references:
        image = images[reference]
        match = next((one for one in saved if reference in one.references or one.config_digest == image["Id"]), None)
        if match is None:
            raise ArchiveError(f"docker image save gave an archive without {reference}")
        if list(match.config.diff_ids) != list((image.get("RootFS") or {}).get("Layers") or ()):
            raise ArchiveError(f"{reference} was replaced while it was read; run again")
        for layer in match.layers:
            if layer.diff_id not in known:
                cache.put("layer", layer.diff_id, layer.as_json())
        cache.put("config", image["Id"], _raw(match.config))
        seen[reference] = Seen(image["Id"], int(image["Size"]), match.config, match.layers)
    return seen


def _raw(config: Config) -> dict[str, t.Any]:
    """Return a configuration in the form that read_config reads."""
    return {
        "created": config.created,
        "config": {
            "User": config.user,
            "Env": list(config.env),
            "Labels": dict(config.labels),
            "Healthcheck": {"Test": list(config.health)},
            "Shell": list(config.shell),
        },
        "rootfs": {"diff_ids": list(config.diff_ids)},
        "history": [{"created_by": step, "empty_layer": empty} for step, empty in zip(config.history, config.empty)],
    }


def probe(image: Seen, cache: Cache) -> Probe | None:
    """Return whether the health check can start; None where there is none."""
    if not image.config.health or image.config.health[0] == "NONE":
        return None
    known = cache.get("probe", image.id)
    if isinstance(known, dict) and isinstance(known.get("started"), bool):
        return Probe(known["started"], str(known.get("said", "")))
    found = run_probe(image.id, image.config)
    cache.put("probe", image.id, {"started": found.started, "said": found.said})
    return found
