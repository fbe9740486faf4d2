# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Bring one version of a model to its wanted state: look, plan, refuse what cannot work, carry out under the lock."""

from __future__ import annotations

import contextlib
import errno
import os
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError, Reason
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_fetch import Settings, check_local
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_look import Look, Reader, look
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pip import HostPip
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Plan, check_space, make_plan
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_publish import Outcome, carry_out
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import PipSource
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import Wanted
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Store

_REASONS: dict[int, Reason] = {
    errno.ENOSPC: "no_space",
    errno.EDQUOT: "no_space",
    errno.EROFS: "read_only",
    errno.EACCES: "read_only",
    errno.EPERM: "read_only",
}


@dataclass(frozen=True)
class Request:
    """A task: what is wanted where, and how. `lock_timeout` in seconds."""

    root: str
    wanted: Wanted
    settings: Settings
    lock_timeout: float = 3600.0
    check_mode: bool = False

    def __post_init__(self) -> None:
        if not os.path.isabs(self.root) or os.path.normpath(self.root) in ("/", "//"):
            raise ModelError(f"root {self.root!r} must be an absolute path of a folder, and not / itself")


@dataclass(frozen=True)
class Pulled:
    """The plan that the task came to, what was done of it (nothing in check mode), and bytes read from the store.

    `tools_missing` are commands that the plan needs and the host lacks, which only check mode puts up with: the play
    may be about to install them.
    """

    plan: Plan
    outcome: Outcome
    bytes_read: int
    tools_missing: tuple[str, ...] = ()


def pull(request: Request, pip: HostPip) -> Pulled:
    """Bring one version to its wanted state.

    Looks without the lock first, so that the usual case, nothing to do, neither waits nor writes.

    Raises:
        ModelError: the task is refused, in check mode as in a real run, or a source or the disk failed.
    """
    store, reader = Store(os.path.normpath(request.root)), Reader()
    with _explained(store):
        _seen, plan = _prepare(request, store, reader)
    if request.check_mode:
        return Pulled(plan, Outcome(), reader.bytes_read, tools_missing(plan, pip))
    _require_tools(plan, pip)
    outcome = Outcome()
    if plan.changed:
        plan, outcome = _act(request, store, reader, pip, request.lock_timeout)
    elif plan.action == "stamp" and _writable(store):
        # Only saves the next run some reading, so not worth a wait or a failure (a disk full to the last block).
        with contextlib.suppress(ModelError):
            plan, outcome = _act(request, store, reader, pip, 0)
    return Pulled(plan, outcome, reader.bytes_read)


def _act(request: Request, store: Store, reader: Reader, pip: HostPip, lock_timeout: float) -> tuple[Plan, Outcome]:
    with _explained(store), store.locked(lock_timeout):
        # Another run may have done the work while this one waited.
        seen, plan = _prepare(request, store, reader)
        return plan, carry_out(store, request.wanted, plan, seen.right, request.settings, pip)


def _prepare(request: Request, store: Store, reader: Reader) -> tuple[Look, Plan]:
    """Look, plan, and refuse what would fail later. Changes nothing."""
    seen = look(store, request.wanted, reader)
    plan = make_plan(request.wanted, seen.found)
    if plan.changed and not _writable(store):
        raise ModelError(
            f"{store.existing()} cannot be written to (a read-only file system, or not enough rights); remount it, or "
            "become root",
            reason="read_only",
        )
    if plan.fetches:
        check_space(plan, store.space())
    check_local(plan.fetches)
    return seen, plan


def _require_tools(plan: Plan, pip: HostPip) -> None:
    if any(isinstance(file.source, PipSource) for file in plan.fetches):
        pip.require()


def tools_missing(plan: Plan, pip: HostPip) -> tuple[str, ...]:
    """Return the commands that carrying out a plan needs and the host lacks."""
    try:
        _require_tools(plan, pip)
    except ModelError:
        return ("pip",)
    return ()


def _writable(store: Store) -> bool:
    return os.access(store.existing(), os.W_OK | os.X_OK)


@contextlib.contextmanager
def _explained(store: Store) -> t.Iterator[None]:
    """Turn what the store's file system refuses into a message with a way out."""
    try:
        yield
    except OSError as exc:
        raise explain(exc, store.root) from exc


def explain(exc: OSError, root: str) -> ModelError:
    """Return the error for a failure of the store's own file system."""
    where = exc.filename or root
    hints = {
        "no_space": "free space there, or choose another root",
        "read_only": "remount it, or become root",
    }
    reason: Reason = _REASONS.get(exc.errno or 0, "io_error")
    hint = hints.get(reason, "check the disk and its kernel messages")
    return ModelError(
        f"the store failed at {where}: {exc.strerror or exc}; {hint}. Nothing unfinished was published; the same task "
        "goes on from here",
        reason=reason,
    )
