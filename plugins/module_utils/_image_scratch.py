# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A directory for temporary files that goes when it is done with, or at the next use if its owner died before that."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import typing as t

_PREFIX = "fleet-base-"
_LOCK = "lock"


@contextlib.contextmanager
def scratch_directory(parent: str) -> t.Iterator[str]:
    """Give a directory below parent, and remove it whatever happens.

    Others may enter it: apt downloads as a user of its own. Directories of processes that died are removed first; a
    lock, which ends with its process, tells them from those in use.
    """
    _remove_abandoned(parent)
    scratch = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
    try:
        os.chmod(scratch, 0o755)
        with open(os.path.join(scratch, _LOCK), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _remove_abandoned(parent: str) -> None:
    for name in os.listdir(parent):
        if not name.startswith(_PREFIX):
            continue
        # One without a lock is only just being made, or belongs to someone else.
        with contextlib.suppress(OSError), open(os.path.join(parent, name, _LOCK), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(os.path.join(parent, name), ignore_errors=True)
