# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A process of its own that takes a change back when the one that makes it dies, or when nobody confirms it in time.

It waits for the lock, which the kernel frees whatever ends its holder. Who has the lock and finds a journal knows that
nobody is at work: what it says is under way was cut off. Packed into one file by `_zipapp`, it needs Python alone:

    take-back.pyz watch  FOLDER NAME    wait, and take the change back if need be
    take-back.pyz detach FOLDER NAME    the same in a process that is left behind
    take-back.pyz boot   FOLDER NAME    take back what the power was cut under, before anything reads the files

Exit codes: 0, there is nothing under way any more; 1, something could not be ended; 2, the command line is wrong.
"""

from __future__ import annotations

import os
import sys
import time
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_back import commands_of, end
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_boot import forget_boot, this_boot
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_command import run
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_journal import (
    Journal,
    Places,
    lock,
    now,
    read_journal,
    seconds_left,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError

_POLL = 0.1  # seconds between two looks whether the change is still being made
_LOOK = 1.0  # seconds between two looks whether it has been confirmed
_UNITS = ("/etc/systemd/", "/usr/lib/systemd/", "/lib/systemd/", "/usr/local/lib/systemd/", "/run/systemd/")


def main(arguments: t.Sequence[str]) -> int:
    """Run the command; what it has to say goes to the standard error, which systemd writes down."""
    doings = {"watch": watch, "detach": _detach, "boot": at_boot}
    if len(arguments) != 3 or arguments[0] not in doings:
        sys.stderr.write(f"usage: {'|'.join(doings)} FOLDER NAME\n")
        return 2
    try:
        return doings[arguments[0]](Places(arguments[1], arguments[2]))
    except HostError as exc:
        _say(str(exc))
        return 1


def watch(places: Places) -> int:
    """Wait until the change is made, confirmed or taken back by others, or do the latter.

    :raises HostError: it could not be taken back.
    """
    with open(places.guard, "w", encoding="ascii"):
        pass  # who starts the guard waits for this
    while True:
        journal = read_journal(places)
        if journal is None:
            return 0
        left = _left(places, journal)
        if left:
            time.sleep(min(left, _LOOK))
        elif not _ended(places):
            time.sleep(_POLL)


def _left(places: Places, journal: Journal) -> float:
    return seconds_left(journal, now(), this_boot(places))


def _ended(places: Places) -> bool:
    """End what was cut off, unless somebody is at work."""
    try:
        with lock(places.folder, 0):
            journal = read_journal(places)
            if journal is not None and not _left(places, journal):
                _say(end(places, journal, commands_of(journal), unheard=True))
                return True
            return journal is None
    except HostError as exc:
        if exc.reason != "locked":
            raise
        return False


def at_boot(places: Places) -> int:
    """Take back what the power was cut under. Nothing has read the files yet, but systemd its units.

    :raises HostError: it could not be taken back.
    """
    with lock(places.folder, 0):
        journal = read_journal(places)
        if journal is None:
            forget_boot(places)
            return 0
        _say(end(places, journal, None, unheard=True))
    if any(action.path.startswith(_UNITS) for action in journal.actions):
        ended = run(["systemctl", "daemon-reload"])
        if ended.code:
            _say(f"systemctl daemon-reload failed: {ended}")
            return 1
    return 0


def _detach(places: Places) -> int:
    if os.fork():
        return 0
    os.setsid()
    return watch(places)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
