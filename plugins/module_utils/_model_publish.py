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
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_fetch import Settings, fetch_all
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pip import HostPip
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Plan
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import Wanted
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store, lstat
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, remove, sync_dir


@dataclass(frozen=True)
class Outcome:
    """What was done: the digests that were fetched, and their bytes."""

    fetched: frozenset[str] = frozenset()
    bytes_fetched: int = 0


def carry_out(
    store: Store, wanted: Wanted, plan: Plan, right: t.Mapping[str, Stamp], settings: Settings, pip: HostPip
) -> Outcome:
    """Change the host; the caller holds the store's lock. `right` has the stamps of content known to be right.

    Raises:
        ModelError: a source does not give the pinned bytes.
        OSError: the store's file system fails; the version is as it was, or whole.
    """
    if plan.action == "remove":
        _withdraw(store, wanted, plan)
        return Outcome()
    known = dict(right)
    fetched = _fetch(store, plan, settings, pip, known)
    if plan.action == "publish":
        _publish(store, wanted)
    else:
        _repair(store, wanted, plan)
    folder = store.version(wanted.name, wanted.version)
    paths = {file.sha256: os.path.join(folder, file.path) for file in wanted.files}
    _stamp(store, known, paths.__getitem__)
    return fetched


def _fetch(store: Store, plan: Plan, settings: Settings, pip: HostPip, known: dict[str, Stamp]) -> Outcome:
    done: dict[str, int] = {}

    def keep() -> None:
        store.sync_blobs()
        _stamp(store, known, store.blob)

    try:
        for file, stamp in fetch_all(store, plan.fetches, settings, pip):
            done[file.sha256] = file.size
            known[file.sha256] = stamp
    except BaseException:
        # What was received before is neither fetched nor read again by the next run. The first error is the one to
        # show: where that was a full disk, this fails as well.
        with contextlib.suppress(OSError):
            keep()
        raise
    if done:
        keep()
    return Outcome(frozenset(done), sum(done.values()))


def _publish(store: Store, wanted: Wanted) -> None:
    """Link the version in a staging folder, sync it, and rename it into place whole."""
    staged = tempfile.mkdtemp(dir=store.staging)
    os.chmod(staged, 0o755)
    folders = {staged}
    for file in wanted.files:
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


def _withdraw(store: Store, wanted: Wanted, plan: Plan) -> None:
    """Take the version away by one rename, then what it leaves behind."""
    fresh = {
        digest: stamp
        for digest, stamp in store.read_stamps().items()
        if (status := lstat(store.blob(digest))) is not None and Stamp.of(status) == stamp
    }
    target = store.version(wanted.name, wanted.version)
    if os.path.isdir(target):
        trash = os.path.join(tempfile.mkdtemp(dir=store.staging), "version")
        os.rename(target, trash)
        sync_dir(os.path.dirname(target))
        remove(os.path.dirname(trash))
    remove(store.record(wanted.name, wanted.version))
    with contextlib.suppress(OSError):  # other versions are in it, or it was never there
        os.rmdir(os.path.dirname(target))
    for digest in plan.sweep:
        remove(store.blob(digest))
    store.sync_blobs()
    _stamp(store, fresh, store.blob, keep=False)


def _stamp(store: Store, known: t.Mapping[str, Stamp], path_of: t.Callable[[str], str], keep: bool = True) -> None:
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
