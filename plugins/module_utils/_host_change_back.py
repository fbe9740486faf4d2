# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""End a change: let it stay, or take it back. Both may be cut off anywhere and done once more.

What takes back are the task itself, the guard that watches it, boot, and the next run, whoever has the lock first.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t
from dataclasses import replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change import Commands, Kept
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_boot import (
    boot_remembers,
    forget_boot,
    this_boot,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_command import PATIENCE, run
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_files import (
    drop_folders,
    put,
    staged,
    writing,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_journal import (
    Journal,
    Places,
    drop_contents,
    names,
    now,
    read_content,
    read_journal,
    read_kept,
    save_journal,
    save_kept,
    save_note,
    seconds_left,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import VAIN, HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import remove, sync_dir

_TRIES = 3  # of the commands of the way back
_PAUSE = 2.0  # seconds between them; what was broken a moment ago may need one to be startable

# Makes files count. It raises HostError when it could not.
Activation = t.Callable[[], None]


def activate(commands: Commands, patience: float = PATIENCE) -> None:
    """Run commands, one after the other.

    :raises HostError: one failed (`activate_failed`); those after it were not run.
    """
    for argv in commands:
        ended = run(argv, patience)
        if ended.code:
            # A program that is a word itself would hide what is wrong.
            words = " ".join("…" if "\n" in word else word for word in argv)
            vain = {"vain": True} if ended.code == VAIN else {}
            raise HostError(f"{words} failed: {ended}", reason="activate_failed", **vain)


def commit(places: Places, journal: Journal) -> None:
    """Let a change stay."""
    if journal.phase != "committing":
        journal = save_journal(places, replace(journal, phase="committing"))
    save_kept(places, journal.kept)
    with writing(places.base):
        _drop_stages(journal)
        drop_folders(journal.drop)
    close(places, journal.kept)


def restore(places: Places, journal: Journal, activation: Activation | None) -> str:
    """Give the host the files that it had, and make them count; return what went wrong with the latter, or "".

    :param activation: None where the host has only just begun to boot, so that nothing has read the files yet.
    :raises HostError: a file could not be given back. The journal stays, so that the next run tries again.
    """
    if journal.phase != "restoring":
        journal = save_journal(places, replace(journal, phase="restoring"))
    try:
        with writing("what the host had"):
            for action in reversed(journal.actions):
                put(action.path, action.was, lambda sha256: read_content(places, sha256))
            _drop_stages(journal)
            drop_folders(journal.folders)
    except HostError as exc:
        raise HostError(
            f"change {places.name} could not be taken back: {exc}. What the files held is below {places.base}; the "
            "next run tries again",
            reason="restore_failed",
        ) from exc
    return _persist(activation) if activation and journal.activated else ""


def take_back(places: Places, journal: Journal, activation: Activation) -> str:
    """Restore what was there, and forget the change; return what went wrong with making it count, or "".

    :raises HostError: see `restore`.
    """
    complaint = restore(places, journal, activation)
    close(places, read_kept(places))
    return complaint


def _persist(activation: Activation) -> str:
    """Make the old state count, if need be at the third try; return what was wrong at the last one, or "".

    What says that another try would be in vain gets none.
    """
    complaint = ""
    for number in range(_TRIES):
        if number:
            time.sleep(_PAUSE)
        try:
            activation()
        except HostError as exc:
            complaint = str(exc)
            if exc.details.get("vain"):
                break
        else:
            return ""
    return complaint


def close(places: Places, kept: Kept) -> None:
    """Remove what was there for the change alone. The journal goes first: without it there is nothing to take back."""
    with writing(places.base):
        remove(places.journal)
        if os.path.isdir(places.base):
            sync_dir(places.base)
        forget_boot(places)
        remove(places.guard)
        drop_contents(places, kept)
        if not kept.records and not os.path.exists(places.note):
            remove(places.base)


def _drop_stages(journal: Journal) -> None:
    for action in journal.actions:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(staged(action.path))


def end(places: Places, journal: Journal, activation: Activation | None, unheard: bool = False) -> str:
    """End what a journal says was cut off; return a sentence on how.

    :param unheard: whether nobody is there to be told, so that the sentence is kept for the next task that asks.
    :raises HostError: see `restore`.
    """
    if journal.phase == "committing":
        commit(places, journal)
        return f"change {places.name} was cut off when it was made already, and stays"
    complaint = restore(places, journal, activation)
    how = f"change {places.name} was cut off ({journal.phase}) and was taken back"
    if journal.confirm and journal.deadline:
        how = f"nobody confirmed change {places.name} within {journal.confirm} s, and it was taken back"
    how = f"{how}, but {complaint}" if complaint else how
    if unheard:
        save_note(places, how)
    close(places, read_kept(places))
    return how


def recover(folder: str) -> tuple[str, ...]:
    """End all that was cut off, whatever its name; return a sentence for each.

    :raises HostError: a change waits to be confirmed and still may be.
    """
    refuse_if_waiting(folder)
    ended = []
    for name in names(folder):
        places = Places(folder, name)
        journal = read_journal(places)
        if journal is not None:
            ended.append(end(places, journal, commands_of(journal)))
        elif boot_remembers(places):
            close(places, read_kept(places))
    return tuple(ended)


def commands_of(journal: Journal) -> Activation:
    """Return what makes the old state count."""
    return lambda: activate(journal.back)


def refuse_if_waiting(folder: str) -> None:
    """Refuse another change as long as one waits to be confirmed: what it proves would be mixed up.

    :raises HostError: with reason `unconfirmed`.
    """
    for name in names(folder):
        places = Places(folder, name)
        journal = read_journal(places)
        left = seconds_left(journal, now(), this_boot(places)) if journal else 0.0
        if left:
            raise HostError(
                f"change {name} waits to be confirmed, and is taken back in {left:.0f} s. Confirm it over a new "
                f"connection (name={name}, state=confirmed), or wait",
                reason="unconfirmed",
            )
