# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What both image modules do with an engine before and after images are made."""

from __future__ import annotations

import platform
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import Engine, Image, NoEngineError
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_plan import Plan, Wanted, prune
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import (
    Target,
    machine_architecture,
    make_targets,
    parse_platforms,
    platform_name,
)

Found = tuple[dict[str, Image], dict[str, tuple[Image, ...]]]


def find_targets(engine: Engine, names: t.Sequence[str], engine_may_be_missing: bool) -> tuple[Target, ...]:
    """Return what images are to be made for. Where no platform is named the engine is not asked.

    :param engine_may_be_missing: take a host without an engine for one that gets an engine of its own platform.
    :raises ImagePlatformError: there is no such platform.
    """
    platforms = parse_platforms(names)
    if not platforms:
        return make_targets(platforms, "")
    try:
        own = engine.platform()
    except NoEngineError:
        if not engine_may_be_missing:
            raise
        own = platform_name("linux", machine_architecture(platform.machine()))
    return make_targets(platforms, own)


def look(engine: Engine, wanted: t.Sequence[Wanted], engine_may_be_missing: bool) -> Found:
    """Return the wanted images that exist and, of names whose image does not, the other versions.

    Where all is there this is one command.

    :param engine_may_be_missing: take a host without an engine for one without images. A check run comes before the
        engine is installed.
    """
    try:
        found = engine.inspect([one.reference for one in wanted])
        names = sorted({one.name for one in wanted if one.reference not in found})
        return found, {name: engine.versions(name) for name in names}
    except NoEngineError:
        if not engine_may_be_missing:
            raise
        return {}, {}


def prune_versions(engine: Engine, plan: Plan, keep: int) -> list[str]:
    """Remove old versions of the images that were made; return their references."""
    made = sorted({(step.wanted.name, step.wanted.suffix) for step in plan.to_make})
    if not made:
        return []
    current = {step.wanted.reference for step in plan.steps}
    used = engine.used()
    removed = [
        reference
        for name, suffix in made
        for reference in prune(name, engine.versions(name), max(keep, 1), current, used, suffix)
    ]
    for reference in removed:
        engine.remove(reference)
    return removed
