# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Carry out a plan: fetch, publish, repair or remove a version, which at every moment is whole or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_fetch import Fetch, Fetched
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_look import Damaged, Look
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Plan, without
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_ranges import chunk_range
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_transfer import BLOCK
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import Wanted, WantedFile
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store, lstat
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, remove, sync_dir
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_partial import Partial


@dataclass(frozen=True)
class Outcome:
    """What was done: by digest, what was fetched, and why optional files could not be."""

    fetched: t.Mapping[str, Fetched] = field(default_factory=dict)
    unavailable: t.Mapping[str, ModelError] = field(default_factory=dict)

    @property
    def bytes_fetched(self) -> int:
        return sum(file.received for file in self.fetched.values())

    @property
    def bytes_resumed(self) -> int:
        return sum(file.resumed for file in self.fetched.values())


def carry_out(
    store: Store, wanted: Wanted, plan: Plan, seen: Look, fetch: t.Callable[[], Fetch], tick: t.Callable[[Fetch], None]
) -> tuple[Plan, Outcome]:
    """Change the host; the caller holds the store's lock. Return what was left of the plan, and what was done.

    `fetch` makes what fetches the plan's files, `tick` is called a few times a second meanwhile.

    Raises:
        ModelError: a source does not give the pinned bytes.
        OSError: the store's file system fails; the version is as it was, or whole.
    """
    if plan.action == "remove":
        withdraw(store, wanted.name, wanted.version, plan.sweep)
        return plan, Outcome()
    known = dict(seen.right)
    outcome = Outcome()
    if plan.fetches:
        for file in plan.fetches:
            if file.sha256 in seen.damaged:
                _save(store, file, seen.damaged[file.sha256])
        outcome = _fetch(store, fetch(), known, tick)
        plan = without(plan, outcome.unavailable)
    if plan.action == "publish":
        _publish(store, wanted, plan)
    elif plan.action in ("repair", "stamp"):
        _repair(store, wanted, plan)
    folder = store.version(wanted.name, wanted.version)
    paths = {file.sha256: os.path.join(folder, file.path) for file in wanted.files}
    note_stamps(store, known, paths.__getitem__)
    return plan, outcome


def _save(store: Store, file: WantedFile, damaged: Damaged) -> None:
    """Have the fetch go on from what is right of a damaged file, unless it goes on from an interrupted one already."""
    if lstat(store.log(file.sha256)) is not None:
        return
    partial = Partial(store.part(file.sha256), store.log(file.sha256), file.size)
    try:
        partial.start()
        fd = os.open(damaged.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for index, state in sorted(damaged.good.items()):
                piece = chunk_range(index, file.size)
                partial.copy_from(fd, piece.start, piece.size)
                partial.note_chunk(index, state)
        finally:
            os.close(fd)
    finally:
        partial.close()


def _fetch(store: Store, fetch: Fetch, known: dict[str, Stamp], tick: t.Callable[[Fetch], None]) -> Outcome:
    done: dict[str, Fetched] = {}

    def keep() -> None:
        if all(fetched.file.size > BLOCK for fetched in done.values()):
            store.sync_blobs()  # the files themselves are synced
        else:
            store.sync()
        for digest, fetched in done.items():
            if len(fetched.states) > 1:
                store.write_states(digest, fetched.file.size, fetched.states[:-1])

    try:
        for fetched in fetch.run(lambda: tick(fetch)):
            done[fetched.file.sha256] = fetched
            known[fetched.file.sha256] = fetched.stamp
        keep()
    except BaseException:
        # What was received before is neither fetched nor read again by the next run. The first error is the one to
        # show: where that was a full disk, this fails as well.
        with contextlib.suppress(OSError):
            keep()
            note_stamps(store, known, store.blob)
        raise
    return Outcome(done, fetch.unavailable)


def _publish(store: Store, wanted: Wanted, plan: Plan) -> None:
    """Link the version in a staging folder, sync it, and rename it into place whole."""
    staged = tempfile.mkdtemp(dir=store.staging)
    os.chmod(staged, 0o755)
    folders = {staged}
    for file in plan.links:
        path = os.path.join(staged, file.path)
        folder = os.path.dirname(path)
        if folder not in folders:
            os.makedirs(folder, exist_ok=True)
            folders.update(_between(staged, folder))
        store.link(file.sha256, path)
    for folder in sorted(folders, reverse=True):
        os.chmod(folder, 0o755)  # makedirs is subject to the umask
        sync_dir(folder)
    # First the record: a version without one would not be known to be ours.
    store.write_record(wanted.name, wanted.version, wanted.pins)
    target = store.version(wanted.name, wanted.version)
    make_dirs(os.path.dirname(target))
    os.rename(staged, target)
    sync_dir(os.path.dirname(target))


def _between(top: str, folder: str) -> t.Iterator[str]:
    while folder != top:
        yield folder
        folder = os.path.dirname(folder)


def _repair(store: Store, wanted: Wanted, plan: Plan) -> None:
    """Bring single paths of a published version right, each by one rename: who reads it sees the old or the right."""
    target = store.version(wanted.name, wanted.version)
    folders = {target}
    for path in plan.extras:
        remove(os.path.join(target, path))
        folders.add(os.path.dirname(os.path.join(target, path)))
    for file in plan.adopts:
        store.adopt(os.path.join(target, file.path), file.sha256)
    for file in plan.links:
        path = os.path.join(target, file.path)
        make_dirs(os.path.dirname(path))
        store.relink(file.sha256, path)
        folders.add(os.path.dirname(path))
    for file in plan.chmods:
        os.chmod(os.path.join(target, file.path), 0o444)
    for folder in folders:
        sync_dir(folder)
    if store.read_record(wanted.name, wanted.version) != wanted.pins:
        store.write_record(wanted.name, wanted.version, wanted.pins)


def withdraw(store: Store, name: str, version: str, sweep: t.Iterable[str]) -> None:
    """Take a version away by one rename, then the content (digests) that it leaves behind."""
    fresh = {
        digest: stamp
        for digest, stamp in store.read_stamps().items()
        if (status := lstat(store.blob(digest))) is not None and Stamp.of(status) == stamp
    }
    target = store.version(name, version)
    if os.path.isdir(target):
        trash = os.path.join(tempfile.mkdtemp(dir=store.staging), "version")
        os.rename(target, trash)
        sync_dir(os.path.dirname(target))
        remove(os.path.dirname(trash))
    remove(store.record(name, version))
    with contextlib.suppress(OSError):  # other versions are in it, or it was never there
        os.rmdir(os.path.dirname(target))
    for digest in sweep:
        store.forget(digest)
    store.sync_blobs()
    note_stamps(store, fresh, store.blob, keep=False)


def note_stamps(store: Store, known: t.Mapping[str, Stamp], path_of: t.Callable[[str], str], keep: bool = True) -> None:
    """Note the stamps of content that is known to be right, as they are after our own linking and unlinking.

    With `keep` the notes on other content stay. A stamp whose content may have been written to since is dropped, so
    that it is read again.
    """
    stamps = store.read_stamps() if keep else {}
    for digest, stamp in known.items():
        status = lstat(path_of(digest))
        if status is not None and Stamp.of(status).same_content(stamp):
            stamps[digest] = Stamp.of(status)
        else:
            stamps.pop(digest, None)
    store.write_stamps(stamps)
