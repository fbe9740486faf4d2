# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Make one guarded change of a host's files: all of it, or nothing.

Look and plan; have the new contents checked; ask what containers can do; write down what was there; start what takes it
back if this process dies; replace the files; have them count; ask again. What passed before and does not pass now, or
anything else that fails on the way, takes all of it back.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change import (
    Action,
    Change,
    Outcome,
    check_change,
    check_name,
    show,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_arm import arm_boot, start_guard
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_back import (
    Activation,
    activate,
    close,
    commands_of,
    commit,
    end,
    recover,
    refuse_if_waiting,
    take_back,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_boot import this_boot
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_command import PATIENCE
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_connection import this_connection
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_files import put, writing
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_journal import (
    Journal,
    Phase,
    Places,
    lock,
    now,
    read_journal,
    read_kept,
    read_note,
    refuse_if_locked,
    save_contents,
    save_journal,
    save_kept,
    seconds_left,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_look import Looked, look_at, validate
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe import (
    Probes,
    as_result,
    broken,
    explain,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, remove

LOCK_TIMEOUT = 10.0  # seconds
SETTLE = 20.0  # seconds that what was restarted gets until a probe that passed before must pass again
_PAUSE = 1.0  # seconds between two looks at that
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# Asks containers what they can do.
Asking = t.Callable[[], Probes]
# Makes the files count that are there now: on the way there (False), and on the way back (True).
Activating = t.Callable[[bool], None]
Guard = t.Callable[[Places], None]


@dataclass(frozen=True)
class Means:
    """What a change is made with.

    :ivar activate: in place of the change's commands as long as this process lives; who takes over from it runs those.
    :ivar guard: starts what takes the change back if this process dies.
    :ivar settle: seconds, see `SETTLE`.
    """

    probe: Asking | None = None
    activate: Activating | None = None
    guard: Guard = start_guard
    settle: float = SETTLE


def transact(
    change: Change,
    *,
    folder: str,
    probe: Asking | None,
    check: bool,
    activate: Activating | None = None,
    guard: Guard = start_guard,
    lock_timeout: float = LOCK_TIMEOUT,
    settle: float = SETTLE,
) -> Outcome:
    """Make a change, or tell what it would do. When there is nothing to do, nothing is asked, written or run.

    :param folder: where the host remembers its changes.
    :param probe: asks what containers can do; None not to ask.
    :param check: only tell.
    :param activate: makes the files count in place of the change's commands; raises HostError (`activate_failed`). It
        is called with whether this is the way back. The commands are needed all the same, for who takes over.
    :raises HostError: it is refused, or was taken back. Then `details` has `reverted`, `files` and `probes`.
    """
    check_change(change)
    places = Places(folder, change.name)
    if check:
        return _told(change, places)
    with lock(folder, lock_timeout):
        recovered = recover(folder) + _heard(places)
        kept = read_kept(places)
        looked = look_at(change, places, kept, None, check=False)
        plan = looked.plan
        validate(change.files, {action.path for action in plan.actions}, check=False)
        if not plan.actions:
            if plan.kept != kept and kept.records:
                save_kept(places, plan.kept)
                close(places, plan.kept)
            return Outcome(bool(recovered), left=plan.left, recovered=recovered)
        outcome = _Transaction(change, places, looked, Means(probe, activate, guard, settle)).run()
    return replace(outcome, recovered=recovered)


def confirm(name: str, *, folder: str, check: bool, lock_timeout: float = LOCK_TIMEOUT) -> Outcome:
    """Let a change stay that waits for a new connection, which is this one. Nothing waits: nothing is done.

    :raises HostError: this is no new connection, or the change was taken back.
    """
    places = Places(folder, check_name(name))
    with contextlib.ExitStack() as stack:
        if check:
            refuse_if_locked(folder)
        else:
            stack.enter_context(lock(folder, lock_timeout))
        journal, note = read_journal(places), read_note(places)
        if journal is None and note is not None:
            raise HostError(f"there is nothing to confirm: {note.why}", reason="unconfirmed", reverted=True)
        if journal is None:
            return Outcome(False)
        files = tuple(action.path for action in journal.actions)
        if not seconds_left(journal, now(), this_boot(places)) and journal.phase != "committing":
            how = "its time is over, and it is taken back" if check else end(places, journal, commands_of(journal))
            raise HostError(f"there is nothing to confirm: {how}", reason="unconfirmed", reverted=True, files=files)
        if journal.connection and journal.connection == this_connection():
            raise HostError(
                f"change {name} was made over this very connection, which says nothing about new ones. Close it (meta: "
                "reset_connection) and confirm again",
                reason="same_connection",
            )
        if not check:
            commit(places, journal)
    return Outcome(True, files)


def _heard(places: Places) -> tuple[str, ...]:
    """Return how the last change was taken back behind everybody's back, which is told once."""
    note = read_note(places)
    if note is None:
        return ()
    with writing(places.note):
        remove(places.note)
    return (note.why,)


def _told(change: Change, places: Places) -> Outcome:
    """Tell what a change would do, and refuse what would be refused."""
    refuse_if_locked(places.folder)
    refuse_if_waiting(places.folder)
    journal, note = read_journal(places), read_note(places)
    made = journal is not None and journal.phase == "committing"
    kept = journal.kept if journal and made else read_kept(places)
    looked = look_at(change, places, kept, None if made else journal, check=True)
    plan = looked.plan
    validate(change.files, {action.path for action in plan.actions}, check=True)
    recovered: tuple[str, ...] = (note.why,) if note else ()
    if journal:
        recovered += (f"change {places.name} was cut off ({journal.phase}), which is ended first",)
    changed = bool(plan.actions or journal)
    return Outcome(changed, _paths(plan.actions), left=plan.left, diff=_shown(change, looked), recovered=recovered)


def _paths(actions: t.Iterable[Action]) -> tuple[str, ...]:
    return tuple(action.path for action in actions)


def _shown(change: Change, looked: Looked) -> tuple[t.Any, ...]:
    return show(looked.plan.actions, looked.contents, {wanted.path for wanted in change.files if not wanted.diff})


class _Transaction:
    """A change while it is being made: where its journal is, and what the probes have found."""

    def __init__(self, change: Change, places: Places, looked: Looked, means: Means) -> None:
        self._change, self._places, self._looked, self._means = change, places, looked, means
        self._before: Probes | None = None
        self._after: Probes | None = None
        plan = looked.plan
        self._journal = Journal(
            phase="writing",
            actions=plan.actions,
            folders=plan.folders,
            drop=plan.drop,
            back=plan.back,
            kept=plan.kept,
            connection=this_connection(),
            confirm=change.confirm,
        )

    def run(self) -> Outcome:
        plan = self._looked.plan
        self._before = self._means.probe() if self._means.probe else None
        with _interruptible(hangup=not self._change.confirm):
            try:
                self._make()
            except HostError as exc:
                raise self._back(exc) from exc
        if not self._change.confirm:
            commit(self._places, self._journal)
        return Outcome(
            True,
            _paths(plan.actions),
            self._before,
            self._after,
            plan.left,
            _shown(self._change, self._looked),
            waits=self._change.confirm,
        )

    def _make(self) -> None:
        self._begin()
        self._means.guard(self._places)
        contents = self._looked.contents
        for action in self._looked.plan.actions:
            with writing(action.path):
                put(action.path, action.will, contents.__getitem__)
        self._enter("activating", activated=True)
        self._activate()
        self._enter("probing")
        self._after = self._asked()
        lost = broken(self._before or {}, self._after or {})
        if lost:
            found = explain(lost, self._before or {}, self._after or {})
            raise HostError(f"what containers could do before, they cannot do now: {found}", reason="probe_failed")
        if self._change.confirm:
            deadline = now() + self._change.confirm
            self._enter("waiting", deadline=deadline, boot=this_boot(self._places))

    def _begin(self) -> None:
        """Write down what is there; from here on, it is given back if anything is cut off."""
        states = [action.was for action in self._looked.plan.actions]
        saved = {state.sha256: self._looked.contents[state.sha256] for state in states if state.sha256}
        with writing(self._places.base):
            make_dirs(self._places.base, 0o700)
        save_contents(self._places, saved)
        arm_boot(self._places)
        save_journal(self._places, self._journal)

    def _enter(self, phase: Phase, **more: t.Any) -> None:
        self._journal = save_journal(self._places, replace(self._journal, phase=phase, **more))

    def _activate(self) -> None:
        if self._means.activate:
            self._means.activate(False)
        else:
            # Whoever is cut off by a command that hangs is not to wait longer than for a confirmation.
            activate(self._looked.plan.activate, min(PATIENCE, self._change.confirm or PATIENCE))

    def _asked(self) -> Probes | None:
        """Ask again; what was restarted gets some time until it must do what it did before."""
        if self._means.probe is None:
            return None
        deadline = time.monotonic() + self._means.settle
        while True:
            found = self._means.probe()
            if not broken(self._before or {}, found) or time.monotonic() >= deadline:
                return found
            time.sleep(_PAUSE)

    def _back(self, exc: HostError) -> HostError:
        """Take the change back; return the error to raise."""
        _ignore_signals()
        if read_journal(self._places) is None:
            close(self._places, read_kept(self._places))
            return HostError(f"{exc}. Nothing was changed", reason=exc.reason, reverted=False)
        complaint = take_back(self._places, self._journal, self._activation())
        told = f"{exc}. Change {self._change.name} was taken back"
        told = f"{told}, but what was there before does not work: {complaint}" if complaint else told
        again = self._asked() if self._after is not None else None
        lost = broken(self._before or {}, again or {}) if again is not None else ()
        if lost:
            told = f"{told}, and still: {explain(lost, self._before or {}, again or {})}"
        elif again is not None:
            told = f"{told}, and what passed before passes again"
        probes = {"before": as_result(self._before), "after": as_result(self._after), "again": as_result(again)}
        files = list(_paths(self._looked.plan.actions))
        return HostError(told, reason=exc.reason, reverted=True, files=files, probes=probes)

    def _activation(self) -> Activation:
        activating = self._means.activate
        if activating is None:
            return commands_of(self._journal)
        return lambda: activating(True)


@contextlib.contextmanager
def _interruptible(hangup: bool) -> t.Iterator[None]:
    """Have signals that would end this process raise an error instead, so that the change is taken back at once.

    :param hangup: whether the end of the session counts. A change that is to be confirmed may well end it.
    """
    before: dict[signal.Signals, t.Any] = {}

    def stop(number: int, _frame: object) -> None:
        _ignore_signals()
        raise HostError(f"the change was cut off by {signal.Signals(number).name}", reason="interrupted")

    try:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                ignored = number == signal.SIGHUP and not hangup
                before[number] = signal.signal(number, signal.SIG_IGN if ignored else stop)
        yield
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)


def _ignore_signals() -> None:
    """Have nothing cut off the way back, short of SIGKILL."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
