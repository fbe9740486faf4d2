# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An image that keeps all rules, to change one thing of."""

from __future__ import annotations

import dataclasses
import io
import tarfile
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import (
    DIRECTORY,
    Base,
    Config,
    Entry,
    ImageFacts,
    LayerFacts,
    Outside,
    Probe,
)

BASE = LayerFacts("sha256:base", (Entry("/tmp", DIRECTORY, 0o1777), Entry("/usr/bin/python3", "f", 0o755, 5000)))
OWN = LayerFacts("sha256:own", (Entry("/opt/app", DIRECTORY, 0o755), Entry("/opt/app/main.py", "f", 0o644, 100)))
CONFIG = Config(
    user="10001:10001",
    env=("PATH=/usr/bin", "LANG=C.UTF-8"),
    labels={"org.emorobcare.fleet.paths": "/opt/app /data"},
    health=("CMD", "python3", "probe.py"),
    diff_ids=("sha256:base", "sha256:own"),
    history=("base", "COPY app /opt/app", "USER 10001:10001"),
    empty=(False, False, True),
)
PINNED = Base("emorobcare.fleet/base-python:1", "base-python", ("sha256:base",))


def image(own: t.Sequence[Entry] = (), config: t.Mapping[str, t.Any] | None = None, **changes: t.Any) -> ImageFacts:
    """Return the image with more entries in its own layer, and with other facts."""
    facts: dict[str, t.Any] = {
        "service": "api",
        "reference": "demo/api:1",
        "lifecycle": "stateless",
        "size": 5100,
        "max_size": 10_000,
        "max_layers": 20,
        "config": dataclasses.replace(CONFIG, **(config or {})),
        "layers": (BASE, LayerFacts("sha256:own", (*OWN.entries, *own))),
        "bases": (PINNED,),
        "probe": Probe(True),
        "lint": Outside(()),
        "vulnerabilities": Outside(()),
        "sbom": Outside(()),
    }
    return ImageFacts(**{**facts, **changes})


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return an archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def member(
    name: str, content: bytes = b"", mode: int = 0o644, kind: bytes = tarfile.REGTYPE, target: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.mode, info.type, info.linkname = mode, kind, target
    return info, content
