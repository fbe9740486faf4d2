# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases, blobs and metadata for the tests of what writes depots. The metadata is not signed: nobody asks here."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import random
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder, check_layout
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_gather import Wanted
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_partial import Blob, of_bytes
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Image, Manifest, Model
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_targets import metadata_targets, read_target
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import decode_files, parse_document
from ansible_collections.emorobcare.fleet.plugins.modules import depot_write

Result = dict[str, t.Any]
Models = t.Mapping[str, t.Mapping[str, bytes]]

COMPOSE = b'{"services": {"api": {"image": "demo/api:1"}}}'
CREATED = 1_700_000_000
MODELS = {"voice": {"weights.bin": random.Random(1).randbytes(300_000), "vocab.txt": b"a b c"}}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blob(data: bytes, title: str = "a test's blob") -> Blob:
    return Blob(sha256(data), len(data), of_bytes(data), title)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def document(models: Models | None = None, stack: str = "demo") -> dict[str, t.Any]:
    """A release document with models, each of version 1, by name: their files by path."""
    return {
        "schema": 1,
        "stack": stack,
        "environment": "",
        "compose": ["compose.yml"],
        "files": {"compose.yml": sha256(COMPOSE)},
        "images": {},
        "models": [
            {
                "name": name,
                "version": "1",
                "files": [
                    {"path": path, "sha256": sha256(data), "size": len(data), "required": True}
                    for path, data in files.items()
                ],
            }
            for name, files in (models or {}).items()
        ],
        "services": {"api": {"lifecycle": "stateless"}},
        "parameters": {},
        "secrets": {},
        "rollout": {"success_threshold": 1, "gate_timeout": 5},
    }


def stored(root: Path, models: Models) -> None:
    """Put the files of models into a host's store."""
    folder = root / "store" / "sha256"
    folder.mkdir(parents=True, exist_ok=True)
    for files in models.values():
        for data in files.values():
            (folder / sha256(data)).write_bytes(data)


def wanted(root: Path, models: Models | None = None, **more: t.Any) -> Wanted:
    release = parse_document(document(models))
    return Wanted(
        release=release,
        files=decode_files(release, {"compose.yml": base64_of(COMPOSE)}),
        root=str(root),
        **{
            "images": (),
            "fleet": "lab",
            "architecture": "amd64",
            "minimum_version": "0.1.0",
            "created": CREATED,
            **more,
        },
    )


def options(root: Path, models: Models | None = None, **more: t.Any) -> dict[str, t.Any]:
    """The module's options for a release."""
    return {
        "release": document(models),
        "files": {"compose.yml": base64_of(COMPOSE)},
        "fleet": "lab",
        "architecture": "amd64",
        "created": CREATED,
        "root": str(root),
        **more,
    }


def signed(version: int, *targets: t.Mapping[str, t.Any]) -> dict[str, bytes]:
    """Metadata that names some targets, as the module returns them, in an order that is not the right one."""
    listed = {one["path"]: {"hashes": {"sha256": one["sha256"]}, "length": one["length"]} for one in targets}
    return {
        "timestamp.json": json.dumps({"signed": {"version": version}}).encode(),
        f"{version}.targets.json": json.dumps({"signed": {"version": version, "targets": listed}}).encode(),
        f"{version}.snapshot.json": json.dumps({"signed": {"version": version, "snapshot": True}}).encode(),
        "1.root.json": b'{"signed": {"version": 1}}',
    }


def encoded(metadata: t.Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64_of(data) for name, data in metadata.items()}


def manifest(sizes: t.Sequence[int] = (10, 20, 30), counter: int = 1, **more: t.Any) -> Manifest:
    """A release with an image of one layer and a model of a file for each further size, in bytes."""
    release, compose, of_image, config, of_model = (sha256(name.encode()) for name in ("r", "c", "i", "g", "m"))
    content = [sha256(f"content {number}".encode()) for number in range(len(sizes))]
    small = dict.fromkeys((release, compose, of_image, config, of_model), 100)
    found = Manifest(
        fleet="lab",
        stack="demo",
        counter=counter,
        created=CREATED,
        minimum_version="0.1.0",
        hardware=(),
        architecture="amd64",
        release=release,
        files={"compose.yml": compose},
        images=(Image("demo/api:1", of_image, config, (content[0],)),),
        models=(Model("voice", "1", of_model, {f"{number}": one for number, one in enumerate(content[1:])}),),
        packages={},
        runtime={},
        blobs={**small, **dict(zip(content, sizes))},
    )
    return Manifest(**{**found.__dict__, **more})


class Builder:
    """A host with models, and a depot on it."""

    def __init__(self, folder: Path) -> None:
        self.root, self.depot = folder / "fleet", folder / "depot"
        stored(self.root, MODELS)

    def run(self, **args: t.Any) -> Result:
        arguments = {"depot": str(self.depot), **args}
        with (
            patch_module_args(arguments),
            contextlib.redirect_stdout(io.StringIO()) as output,
            pytest.raises(SystemExit),
        ):
            depot_write.main()
        return t.cast("Result", json.loads(output.getvalue()))

    def content(self, models: Models | None = None, **args: t.Any) -> Result:
        return self.run(**{**options(self.root, MODELS if models is None else models), **args})

    def publish(self, version: int, *targets: Result, **args: t.Any) -> Result:
        return self.run(state="published", metadata=encoded(signed(version, *targets)), **args)

    def files(self) -> dict[str, bytes]:
        paths = (path for path in self.depot.rglob("*") if path.is_file())
        return {str(path.relative_to(self.depot)): path.read_bytes() for path in paths}

    def release_of(self) -> int | None:
        """Return the newest release that a host would take from the depot, all of which is there and right; or None.

        This reads as a host does, but for signatures: timestamp, the targets of its version, manifest, blobs.
        """
        source = Folder(str(self.depot))
        timestamp = source.read("metadata/timestamp.json", 1 << 20)
        if timestamp is None:
            return None
        volume = check_layout(source)
        version = json.loads(timestamp)["signed"]["version"]
        targets = source.read(f"metadata/{version}.targets.json", 1 << 20)
        snapshot = source.read(f"metadata/{version}.snapshot.json", 1 << 20)
        assert targets is not None
        assert snapshot is not None
        target = max(metadata_targets(targets), key=lambda one: one.counter)
        found = read_target(source, target)
        assert found is not None
        for one, size in found.carried.items():
            data = b"".join(source.pieces(one))
            assert (sha256(data), len(data)) == (one, size)
            assert one in volume.blobs
        return target.counter
