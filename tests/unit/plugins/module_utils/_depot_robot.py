# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host and a stick for the tests of what brings, applies and reports releases: all is real but the engine."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from pathlib import Path

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_bring import Order
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_receipt import (
    Receipt,
    is_genuine,
    make_key,
    read_receipts,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_report import HOST_KEY
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import canonical
from ansible_collections.emorobcare.fleet.tests.unit.plugins._docker import NoDocker
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import Depot, make_host
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_writing import (
    COMPOSE,
    document,
    sha256,
)


class Engine(NoDocker):
    """An engine with one image of these layers, or none; `down` says why it does not answer."""

    def __init__(self, layers: t.Sequence[str] = (), down: str = "") -> None:
        self._layers = layers
        self._down = down

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        if self._down:
            return Answer(1, "", self._down)
        if argv[1] == "info":
            return Answer(0, "{}", "")
        if argv[1:3] == ["image", "ls"]:
            return Answer(0, "sha256:1\n" if self._layers else "", "")
        if "{{json .RootFS.Layers}}" in argv:
            shown = ",".join(f'"sha256:{layer}"' for layer in self._layers)
            return Answer(0, f"[{shown}]\n", "")
        return Answer(1, "", "Error: No such image")


class Robot:
    """An enrolled host with folders of its own, and the stick that it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "fleet"
        self.places = make_host(folder / "trust")
        self.public_key = make_key(f"{self.places.state}/{HOST_KEY}", "robot-7")
        self.stick = Depot(folder / "stick")

    def release(self, counter: int = 1, note: str = "", stack: str = "demo", **changes: t.Any) -> Manifest:
        """Write a release that can be deployed to the stick."""
        told = {**document(stack=stack), "environment": note}
        contents = [canonical(told), COMPOSE]
        files = {"files": {"compose.yml": sha256(COMPOSE)}, "stack": stack}
        return self.stick.release(counter, contents, {**files, **changes})

    def order(self, **changes: t.Any) -> Order:
        return replace(Order(str(self.stick.path), str(self.root), places=self.places, lock_timeout=5.0), **changes)

    def receipts(self, folder: Path | None = None) -> list[Receipt]:
        """The receipts in a folder, or on the host; each must be the host's."""
        found = read_receipts(Folder(str(folder or self.root)))
        assert all(is_genuine(signed, self.public_key) for signed in found)
        return [signed.receipt for signed in found]
