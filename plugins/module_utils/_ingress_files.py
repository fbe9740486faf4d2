# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""An ingress' files on a host.

<folder>/                        0700: its certificates' keys are nobody else's business
<folder>/config/                 mounted read-only: the container cannot change what it is to do
<folder>/config/haproxy.cfg      and haproxy.cfg.previous, haproxy.cfg.candidate
<folder>/config/live.map         which colour serves
<folder>/config/tls-<digest>.pem chain and key, for the container's user alone (0400)
<folder>/config/servers.state    only during a reload: addresses and states of the servers
<folder>/run/                    the container's own: its socket
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_compose import USER
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_config import (
    COLOURS,
    CONFIG,
    LIVE_MAP,
    SERVER_STATE,
    Colour,
    live_map,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import digest
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import read_file, write_file, writing
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, remove


@dataclass(frozen=True)
class IngressPlaces:
    """Where everything of an ingress is; `folder` is absolute."""

    folder: str

    @property
    def config(self) -> str:
        return os.path.join(self.folder, "config")

    @property
    def run(self) -> str:
        return os.path.join(self.folder, "run")

    @property
    def config_file(self) -> str:
        return os.path.join(self.config, CONFIG)

    @property
    def previous(self) -> str:
        return f"{self.config_file}.previous"

    @property
    def candidate(self) -> str:
        return f"{self.config_file}.candidate"

    @property
    def live_map(self) -> str:
        return os.path.join(self.config, LIVE_MAP)

    @property
    def server_state(self) -> str:
        return os.path.join(self.config, SERVER_STATE)


def install(places: IngressPlaces, config: str, colour: Colour | None) -> bool:
    """Write what an ingress needs before its container is made first; return whether anything had to be written."""
    with writing("the ingress' files"):
        make_folders(places)
        written = [
            write_file(places.live_map, live_map(colour), 0o644),
            write_file(places.config_file, config.encode(), 0o644),
        ]
    return any(written)


def make_folders(places: IngressPlaces) -> None:
    make_dirs(os.path.dirname(places.folder))
    make_dirs(places.folder, 0o700)
    make_dirs(places.config, 0o755)
    make_dirs(places.run, 0o700)
    _give_away(places.run)


def write_certificate(places: IngressPlaces, pem: bytes) -> str:
    """Write a certificate's chain and key; return the name to render, which changes with the content."""
    name = f"tls-{digest(pem)[:16]}.pem"
    path = os.path.join(places.config, name)
    with writing("the ingress' certificate"):
        make_folders(places)
        write_file(path, pem, 0o400)
        _give_away(path)
    return name


def remove_certificates(places: IngressPlaces, config: str) -> None:
    """Remove the certificates that neither this configuration nor the previous one names."""
    used = config.encode() + (read_file(places.previous) or b"")
    for name in os.listdir(places.config):
        if name.startswith("tls-") and name.encode() not in used:
            remove(os.path.join(places.config, name))


def saved_colour(places: IngressPlaces) -> Colour | None:
    """Return the colour that would serve after a restart."""
    content = read_file(places.live_map)
    return next((colour for colour in COLOURS if content == live_map(colour)), None)


def _give_away(path: str) -> None:
    if os.geteuid() == 0:
        os.chown(path, USER, USER)
