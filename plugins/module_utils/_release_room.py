# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Is there memory and disk for a candidate beside what runs?"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._size import human

MEMINFO = "/proc/meminfo"
LEAST_FOR_US = 128 * 2**10  # bytes: the journal, twice, and settings
LEAST_FOR_DOCKER = 64 * 2**20  # bytes: what containers write beside their images, and their logs


def needed_memory(services: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, int]:
    """Return the bytes that each service of a resolved Compose file is to have: its reservation, else its limit."""
    needed = {}
    for name, service in services.items():
        deploy = service.get("deploy") or {}
        resources = deploy.get("resources") or {}
        asked = [(resources.get(kind) or {}).get("memory") for kind in ("reservations", "limits")]
        asked += [service.get("mem_reservation"), service.get("mem_limit")]
        size = next((int(value) for value in asked if value), 0)
        replicas = deploy.get("replicas")
        needed[name] = size * int(service.get("scale", 1) if replicas is None else replicas)
    return needed


def available_memory(text: str) -> int | None:
    """Return the bytes that the kernel would give to new programs, from what /proc/meminfo says."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def read_meminfo() -> str:
    """Return what /proc/meminfo says, nothing where there is none."""
    try:
        with open(MEMINFO, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def refuse_memory(services: t.Mapping[str, t.Mapping[str, t.Any]], text: str) -> None:
    """Refuse a side that does not fit into memory beside the old one.

    Args:
        services: those of the side, as Compose resolves them.
        text: what /proc/meminfo says.

    Raises:
        ReleaseError: with the figures (`no_memory`).
    """
    available, needed = available_memory(text), needed_memory(services)
    if available is None or sum(needed.values()) <= available:
        return
    parts = ", ".join(f"{name} {human(size)}" for name, size in sorted(needed.items(), key=lambda one: -one[1]))
    raise ReleaseError(
        f"the new side wants {human(sum(needed.values()))} of memory beside the old one ({parts}), and "
        f"{human(available)} are available. Lower the limits, say what services really need in "
        "deploy.resources.reservations, set rollout.strategy to recreate, which has a short gap, or say "
        "override=memory. Nothing was touched",
        reason="no_memory",
    )


def refuse_disk(folder: str, least: int) -> None:
    """Refuse to begin where a disk is nearly full already.

    Args:
        folder: one that is there, or is to be.
        least: bytes that it must have left.

    Raises:
        ReleaseError: with the figures (`no_space`).
    """
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    if free < least or (room.f_files and not room.f_favail):
        raise ReleaseError(
            f"{folder} has {human(free)} and {room.f_favail} inodes left, and a deployment needs "
            f"{human(least)}. Free some (docker image prune removes images that nothing uses); then run the "
            "same command again. Nothing was touched",
            reason="no_space",
        )
