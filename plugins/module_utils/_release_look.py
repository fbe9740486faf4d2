# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Look at the stacks of a host from outside: which there are, which need anything, whether a run is at work."""

from __future__ import annotations

import fcntl
import os

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import stack_name
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import Places, find_journal

STACKS = "stacks"


def stacks_of(root: str) -> list[str]:
    """Return the stacks that have a journal below a root, in order."""
    folder = os.path.join(root, STACKS)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [name for name in names if _is_stack(name) and _has_journal(Places(root, "", name))]


def is_locked(places: Places) -> bool:
    """Whether a run holds the stack's lock right now; nothing is written, and a run that waits for it is not hurt."""
    try:
        fd = os.open(places.lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def in_use(root: str, besides: str = "") -> list[str]:
    """Return the stacks below a root that have a release, or something under way, or a journal that does not tell.

    Args:
        besides: a stack that does not count, as it is being taken off.
    """
    return [name for name in stacks_of(root) if name != besides and not _is_off(Places(root, "", name))]


def _is_off(places: Places) -> bool:
    try:
        journal = find_journal(places)[0]
    except ReleaseError:
        return False
    return journal is not None and journal.committed is None and journal.phase in ("idle", "removing")


def _is_stack(name: str) -> bool:
    try:
        return bool(stack_name(name))
    except ReleaseError:
        return False


def _has_journal(places: Places) -> bool:
    return any(os.path.lexists(path) for path in (places.journal, places.journal_before))
