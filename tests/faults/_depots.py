# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What attacks on depots share: a host that has accepted today's stick, and yesterday's one."""

from __future__ import annotations

import shutil
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import TrustPlaces
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import (
    Host,
    Trusted,
    accept,
    choose,
    open_depot,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import (
    DAY,
    NAMES,
    NOW,
    Depot,
    at,
    make_host,
    signers,
)

ONLINE = ("snapshot-1", "timestamp-1")
ALL_ROLES = ("timestamp", "snapshot", "targets")


@dataclass
class Scene:
    """A host that has accepted today's stick, and yesterday's one."""

    folder: Path
    yesterday: Depot
    today: Depot
    places: TrustPlaces

    def open(self, depot: Depot, now: float = NOW) -> Trusted:
        return open_depot(depot.source, self.places, at(now))

    def refused(self, depot: Depot, now: float = NOW) -> DepotError:
        with pytest.raises(DepotError) as caught:
            self.open(depot, now)
        return caught.value

    def fresh(self) -> Scene:
        """Return the scene with a host that has seen no depot yet."""
        return Scene(self.folder, self.yesterday, self.today, make_host(self.folder / "fresh"))

    def lose_cache(self) -> None:
        shutil.rmtree(self.places.cache)

    def works(
        self,
        roots: t.Mapping[int, bytes] | None = None,
        now: float = NOW,
        names: t.Sequence[str] = NAMES,
        today: Depot | None = None,
    ) -> None:
        """Tomorrow's depot is taken, and its release too."""
        tomorrow = (today or self.today).copy(self.folder / "tomorrow")
        tomorrow.roots.update(roots or {})
        manifest = tomorrow.release(3, [b"tomorrow"], now=now, names=names, resign=True)
        trusted = self.open(tomorrow, now)
        assert choose(tomorrow.source, trusted, self.places, Host("amd64", "0.1.0")) == manifest
        accept(self.places, manifest)


def make_scene(folder: Path) -> Scene:
    yesterday = Depot(folder / "yesterday")
    yesterday.release(1, now=NOW - DAY)
    today = yesterday.copy(folder / "today")
    today.release(2, [b"today"])
    scene = Scene(folder, yesterday, today, make_host(folder / "host"))
    scene.open(today)
    return scene


def signed(payload: t.Any, names: t.Sequence[str]) -> bytes:
    metadata: Metadata[t.Any] = Metadata(payload)
    for signer in signers(*names):
        metadata.sign(signer, append=True)
    return metadata.to_bytes()
