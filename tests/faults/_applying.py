# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A robot that is given sticks: a stack with sides on the real engine, real keys, real depots, folders of its own.

Layers are made here and known to no engine before; all but the one with a Python are a few hundred bytes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import platform
import tarfile
import typing as t
from dataclasses import dataclass, field, replace
from pathlib import Path

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_apply import Cli, Errand, run
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_bring import Order
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import image_manifest, target_name
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_receipt import (
    Receipt,
    is_genuine,
    make_key,
    read_receipts,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Image, Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_report import HOST_KEY
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import TrustPlaces, read_accepted
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import default_cli
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import canonical
from ansible_collections.emorobcare.fleet.tests.faults._faults import ids
from ansible_collections.emorobcare.fleet.tests.faults._releases import docker, python_tree
from ansible_collections.emorobcare.fleet.tests.faults._sides import Sides
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import (
    DAY,
    NOW,
    Depot,
    at,
    first_root,
    make_host,
    make_places,
)

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
QUICK = {"success_threshold": 1, "drain": 0}
LABEL = "org.emorobcare.fleet.lab"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def small_layer(text: str) -> bytes:
    """A layer with one file, which no other text has."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("etc/text")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@dataclass
class Packed:
    """A release as a depot has it: the manifest, and its contents by SHA-256, those that it assumes left out."""

    manifest: Manifest
    contents: dict[str, bytes]
    text: str

    def layer(self) -> str:
        """The layer that this release alone has."""
        return self.manifest.images[-1].layers[-1]


@dataclass
class Ended:
    """How an apply ended: the exit code, and the lines of both outputs."""

    code: int
    out: list[str]
    err: list[str]

    @property
    def reason(self) -> str:
        """Why it was refused, as the first line of the error output says."""
        return self.err[0].partition("(")[2].partition(")")[0] if self.err else ""


@dataclass
class Robot:
    """A host that belongs to a fleet, and the fleet that writes sticks for it.

    `metadata` is what the fleet has published last, with the releases of these `names`; each stick goes on from there.
    `running` is the release that the robot was brought to last.
    """

    folder: Path
    sides: Sides
    places: TrustPlaces
    base: bytes = field(default_factory=python_tree)
    metadata: dict[str, bytes] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    running: Packed | None = None
    counter: int = 0
    sticks: int = 0

    @property
    def root(self) -> str:
        return str(self.sides.root / "fleet")

    @property
    def public_key(self) -> str:
        return make_key(os.path.join(self.places.state, HOST_KEY), "robot-7")

    # The fleet's part.

    def image(self, name: str, layers: t.Sequence[bytes]) -> tuple[Image, dict[str, bytes]]:
        config = canonical(
            {
                "architecture": ARCHITECTURE,
                "os": "linux",
                "config": {"Labels": {LABEL: self.sides.stack}},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}" for layer in layers]},
            }
        )
        told = image_manifest((sha256(config), len(config)), [(sha256(layer), len(layer)) for layer in layers])
        contents = {sha256(data): data for data in (told, config, *layers)}
        return Image(name, sha256(told), sha256(config), tuple(sha256(layer) for layer in layers)), contents

    def packed(self, text: str, mode: str = "good", *, whole: bool = False, **changes: t.Any) -> Packed:
        """A release with this text, the next one of its stack. Unless `whole`, it assumes what the first one brought.

        `changes` are of its manifest.
        """
        counter = changes.pop("counter", None)
        if counter is None:
            self.counter = counter = self.counter + 1
        of_base, contents = self.image(f"{self.sides.stack}/db:1", [self.base])
        of_api, more = self.image(
            f"{self.sides.stack}/api:{counter}", [self.base, small_layer(f"{text}, {counter} of {self.sides.stack}")]
        )
        contents |= more
        self.sides.image = of_base.reference
        options = self.sides.sided(
            text, mode, timeout=8.0, rollout=QUICK, services={"api": {"image": of_api.reference}}
        )
        files = {path: base64.b64decode(data) for path, data in options["files"].items()}
        document = canonical(options["release"])
        contents |= {sha256(data): data for data in (document, *files.values())}
        manifest = Manifest(
            fleet="robots",
            stack=self.sides.stack,
            counter=counter,
            created=NOW - DAY,
            minimum_version="0.1.0",
            hardware=(),
            architecture=ARCHITECTURE,
            release=options["id"],
            files={path: sha256(data) for path, data in files.items()},
            images=(of_base, of_api),
            models=(),
            packages={},
            runtime={},
            blobs={one: len(data) for one, data in contents.items()},
            assumes=frozenset() if whole else frozenset({sha256(self.base)}),
        )
        manifest = replace(manifest, **changes)
        return Packed(manifest, {one: contents[one] for one in manifest.carried}, text)

    def stick(self, packed: Packed, path: Path | None = None, **options: t.Any) -> Depot:
        """Write a stick with this release alone; `options` are of publish()."""
        self.sticks += 1
        name = target_name(self.sides.stack, packed.manifest.counter)
        drop = self.names - {name}
        self.names = {name}
        depot = Depot(path or self.folder / f"stick-{self.sticks}")
        for file, data in self.metadata.items():
            (depot.metadata / file).write_bytes(data)
        for content in packed.contents.values():
            depot.put(content)
        depot.release_bytes(packed.manifest.encode(), name, drop=drop, **options)
        self.metadata = depot.files()
        return depot

    # The host's part.

    def errand(self, depot: Depot | Path | str, **changes: t.Any) -> Errand:
        now = changes.pop("now", NOW)
        path = str(depot.path if isinstance(depot, Depot) else depot)
        order = Order(path, self.root, self.sides.stack, places=self.places, lock_timeout=60.0)
        parameters = str(self.folder / "parameters")
        return Errand(replace(order, **changes), str(self.sides.root / "secrets"), parameters, now=at(now))

    def apply(self, depot: Depot | Path | str, cli: Cli = default_cli, **changes: t.Any) -> Ended:
        """Run fleet-apply, but for reading the command line; `changes` are of the order, `now` is the clock."""
        out: list[str] = []
        err: list[str] = []
        code = run(self.errand(depot, **changes), cli, out.append, err.append)
        return Ended(code, out, err)

    def update(self, text: str, path: Path | None = None) -> tuple[Depot, Packed]:
        """Write a stick with the next release."""
        packed = self.packed(text)
        return self.stick(packed, path), packed

    def brings(self, depot: Depot | Path | str, packed: Packed, **changes: t.Any) -> Ended:
        """Apply a stick that must work."""
        ended = self.apply(depot, **changes)
        assert (ended.code, self.sides.serving()) == (0, packed.text), ended
        assert read_releases(self.places) == {self.sides.stack: packed.manifest.counter}
        self.running = packed
        return ended

    def refuses(self, depot: Depot | Path | str, reason: str, **changes: t.Any) -> Ended:
        """Apply a stick that must be refused, with what runs left alone."""
        before, serving, accepted = ids(self.sides), self.sides.serving(), read_releases(self.places)
        ended = self.apply(depot, **changes)
        assert (ended.code, ended.reason) == (1, reason), ended
        assert ended.err[0].startswith("NOT applied"), ended
        assert (ids(self.sides), self.sides.serving(), read_releases(self.places)) == (before, serving, accepted)
        return ended

    def receipts(self, folder: str | Path) -> list[Receipt]:
        """The receipts in a folder, each of which must be the host's."""
        found = read_receipts(Folder(str(folder)))
        assert all(is_genuine(signed, self.public_key) for signed in found)
        return [signed.receipt for signed in found]

    def has(self, sha256_of_layer: str) -> bool:
        """Whether the engine has a layer."""
        listed = docker("image", "ls", "--all", "--quiet", "--no-trunc").split()
        return bool(listed) and f"sha256:{sha256_of_layer}" in docker(
            "image", "inspect", "--format", "{{json .RootFS.Layers}}", *dict.fromkeys(listed)
        )

    def remove(self) -> None:
        self.sides.remove()
        assert not self.sides.running()
        found = docker("image", "ls", "--all", "--quiet", "--filter", f"label={LABEL}={self.sides.stack}").split()
        if found:
            docker("image", "rm", "--force", *dict.fromkeys(found))


def read_releases(places: TrustPlaces) -> dict[str, int]:
    """The counters that a host has accepted; none where it is not enrolled."""
    return dict(read_accepted(places).releases) if os.path.exists(places.accepted) else {}


def make_robot(folder: Path, ingress: str, root: bytes | None = None, **enrolment: t.Any) -> Robot:
    """A bare host that is enrolled."""
    places = make_host(folder / "trust", root, **enrolment)
    make_key(os.path.join(places.state, HOST_KEY), "robot-7")
    return Robot(folder, Sides(folder, "", ingress=ingress), places)


def stranger(robot: Robot) -> Robot:
    """The same host as if it had never been enrolled."""
    return replace(robot, places=make_places(robot.folder / "nobody"))


OTHER_ROOT = {1: first_root("other-")}


def broken(depot: Depot, sha256_of_blob: str) -> None:
    """Turn a bit of a blob."""
    path = depot.path / "blobs" / "sha256" / sha256_of_blob
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def takes_a_good_one(robot: Robot) -> None:
    """A good stick would be taken as if nothing had been."""
    stick, _packed = robot.update("good")
    told = robot.apply(stick, check_mode=True)
    assert (told.code, told.err) == (0, []), told


@dataclass
class First:
    """A robot that came to its first release, the stick that brought it, and what that said."""

    robot: Robot
    stick: Depot
    ended: Ended


def bring_first(robot: Robot) -> First:
    """Bring a bare host to its first release."""
    packed = robot.packed("first", whole=True)
    stick = robot.stick(packed)
    assert not robot.sides.running()
    return First(robot, stick, robot.brings(stick, packed))
