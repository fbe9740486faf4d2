# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small depots for tests, with real keys, real metadata and real files.

The keys are made once a session. Time is NOW throughout, so that no test depends on the day it runs on.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import typing as t
from dataclasses import replace
from pathlib import Path

from securesystemslib.signer import CryptoSigner, Signer

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import (
    BLOBS,
    LAYOUT,
    LAYOUT_CONTENT,
    METADATA,
    target_name,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import Enrolment, TrustPlaces, enrol
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tuf import KEY_NAME
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_metadata import (
    TIMESTAMP_NAME,
    Expiry,
    make_root,
    publish,
    rotate,
)

NOW = 1_800_000_000  # 2027-01-15 08:00:00 UTC
DAY = 86_400
COUNTS = {"root": 3, "targets": 2, "snapshot": 1, "timestamp": 1}
THRESHOLDS = {"root": 2, "targets": 2}
NAMES = tuple(f"{role}-{number}" for role, count in COUNTS.items() for number in range(1, count + 1))
ROOTS = ("root-1", "root-2", "root-3")


@functools.cache
def key(name: str) -> CryptoSigner:
    """Return the key of that name, such as targets-1; the same one the whole session."""
    signer = CryptoSigner.generate_ed25519()
    signer.public_key.unrecognized_fields[KEY_NAME] = name
    return signer


def signers(*names: str) -> list[Signer]:
    return [key(name) for name in names]


def keyid(name: str) -> str:
    return key(name).public_key.keyid


@functools.cache
def first_root(prefix: str = "", days: int = 730) -> bytes:
    """Return the root of a fleet: 2 of 3 keys for root, 2 of 2 for targets. Another prefix is another fleet's."""
    keys = {
        role: [key(f"{prefix}{role}-{number + 1}").public_key for number in range(count)]
        for role, count in COUNTS.items()
    }
    return make_root(keys, signers(f"{prefix}root-1", f"{prefix}root-2"), NOW, THRESHOLDS, days)


def next_root(root: bytes, role: str, new: str, old: str, names: t.Sequence[str] = ROOTS) -> bytes:
    """Return a root in which a key takes another one's place; `names` sign."""
    return rotate(root, role, [key(new).public_key], [keyid(old)], signers(*names), NOW)


def at(time: float) -> t.Callable[[], float]:
    """Return a clock that stands."""
    return lambda: time


def make_places(folder: Path) -> TrustPlaces:
    """Return the places of a host that is not enrolled."""
    return TrustPlaces(str(folder / "etc"), str(folder / "var"))


def make_host(folder: Path, root: bytes | None = None, **changes: t.Any) -> TrustPlaces:
    """Enrol a host in the fleet of the first root; `changes` are of its enrolment."""
    places = make_places(folder)
    enrolment = replace(Enrolment("robots", ("mk2",), "robot-7", NOW - 30 * DAY), **changes)
    enrol(places, root or first_root(), enrolment)
    return places


def make_manifest(contents: t.Iterable[bytes], counter: int = 1, **changes: t.Any) -> Manifest:
    """Return the manifest of a release of stack demo; its release document is the first of the contents.

    The others are its files, unless `changes` say what they are.
    """
    found = {hashlib.sha256(content).hexdigest(): len(content) for content in contents}
    release, *files = found
    manifest = Manifest(
        fleet="robots",
        stack="demo",
        counter=counter,
        created=NOW - DAY,
        minimum_version="0.1.0",
        hardware=(),
        architecture="amd64",
        release=release,
        files={f"file-{number}": sha256 for number, sha256 in enumerate(files)},
        images=(),
        models=(),
        packages={},
        runtime={},
        blobs=found,
    )
    return replace(manifest, **changes)


class Depot:
    """A depot in a folder, and the fleet that writes it."""

    def __init__(self, path: Path, roots: t.Mapping[int, bytes] | None = None) -> None:
        self.path = path
        self.roots = dict(roots or {1: first_root()})
        for folder in (BLOBS, METADATA):
            (path / folder).mkdir(parents=True, exist_ok=True)
        (path / LAYOUT).write_bytes(LAYOUT_CONTENT)

    @property
    def source(self) -> Folder:
        return Folder(str(self.path))

    @property
    def metadata(self) -> Path:
        return self.path / METADATA

    def put(self, content: bytes) -> str:
        """Write a blob; return its SHA-256."""
        sha256 = hashlib.sha256(content).hexdigest()
        (self.path / BLOBS / sha256).write_bytes(content)
        return sha256

    def release(
        self,
        counter: int = 1,
        contents: t.Sequence[bytes] = (b"{}", b"services: {}"),
        changes: t.Mapping[str, t.Any] | None = None,
        **options: t.Any,
    ) -> Manifest:
        """Write a release of stack demo and publish it.

        Args:
            contents: of its blobs; the first is its release document.
            changes: of its manifest.
            options: of publish().
        """
        for content in contents:
            self.put(content)
        manifest = make_manifest(contents, counter, **(changes or {}))
        self.release_bytes(manifest.encode(), target_name(manifest.stack, manifest.counter), **options)
        return manifest

    def release_bytes(self, manifest: bytes, name: str = "releases/demo/1.json", **options: t.Any) -> None:
        """Publish whatever is given as the manifest of a release."""
        self.publish({name: (self.put(manifest), len(manifest))}, **options)

    def publish(
        self,
        targets: t.Mapping[str, tuple[str, int]] | None = None,
        names: t.Iterable[str] = NAMES,
        now: float = NOW,
        expiry: Expiry | None = None,
        **more: t.Any,
    ) -> list[str]:
        """Publish as a controller does; return the names of the metadata that was written, in order."""
        written = publish(
            self.files(), self.roots, targets or {}, more.pop("drop", ()), signers(*names), now, expiry, **more
        )
        for name, data in written.items():
            (self.metadata / name).write_bytes(data)
        return list(written)

    def files(self) -> dict[str, bytes]:
        """Return the metadata files by name."""
        return {path.name: path.read_bytes() for path in self.metadata.iterdir()}

    def newest(self, role: str) -> Path:
        """Return the file of a role with the highest version."""
        if role == "timestamp":
            return self.metadata / TIMESTAMP_NAME
        return max(self.metadata.glob(f"*.{role}.json"), key=lambda path: int(path.name.partition(".")[0]))

    def copy(self, path: Path) -> Depot:
        """Return another stick with the same."""
        shutil.copytree(self.path, path)
        return Depot(path, self.roots)
