# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Into a store folder on a volume, for services that have it open read-only.

Nobody may have a store open while it is written. So a published store is never written again: a new one is built in
a folder of its own, synced to the disk, and then the link ``current`` is renamed into place. Killed at any moment,
the link names the old store or the new one, both whole.

    stores/<digest>-<format>/   published stores: the current one and the one before, which may still be open
    stores/.building/           one that is being built; what a killed run left is removed by the next
    current -> stores/<digest>-<format>
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyoxigraph

from .ontology import Ontology

FORMAT = "1"  # of the folder; raise it when a new pyoxigraph cannot read what an old one wrote


class FolderError(Exception):
    """The store cannot be built on this volume."""


def load_into_folder(ontology: Ontology, folder: Path) -> bool:
    """Make ``folder`` show ``ontology``. False if it did already. Raises FolderError."""
    name = f"{ontology.digest}-{FORMAT}"
    try:
        with _locked(folder):
            if _current(folder) == name:
                return False
            stores = folder / "stores"
            stores.mkdir(exist_ok=True)
            if not (stores / name).is_dir():
                _build(ontology, stores, name)
            previous = _current(folder)
            _point(folder, name)
            _remove_all_but(stores, {name, previous})
            return True
    except OSError as error:
        raise FolderError(f"the store in {folder} cannot be made: {error}") from error


def _current(folder: Path) -> str | None:
    """The name of the store that is shown, if there is one."""
    link = folder / "current"
    return link.resolve().name if link.exists() else None


def _build(ontology: Ontology, stores: Path, name: str) -> None:
    building = stores / ".building"
    shutil.rmtree(building, ignore_errors=True)
    store = pyoxigraph.Store(str(building))
    store.load(ontology.triples, format=pyoxigraph.RdfFormat.N_TRIPLES)
    store.flush()
    held = len(store)
    del store  # closes it: nothing else refers to it
    if held != ontology.count:
        raise FolderError(f"the new store holds {held} triples, not {ontology.count}")
    for file in building.iterdir():
        _sync(file)
    _sync(building)
    building.rename(stores / name)
    _sync(stores)


def _point(folder: Path, name: str) -> None:
    link = folder / ".current"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("stores") / name)
    link.rename(folder / "current")
    _sync(folder)


def _remove_all_but(stores: Path, names: set[str | None]) -> None:
    for old in stores.iterdir():
        if old.name not in names:
            shutil.rmtree(old)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One job at a time. The kernel lets go when the process ends, however it ends."""
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
