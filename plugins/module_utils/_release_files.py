# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A stack's files on a host.

    <root>/stacks/<stack>.lock                            held by the run that acts, and by its children
    <root>/stacks/<stack>/state.json                      the journal (0600); state.json.before is the one before it
    <root>/stacks/<stack>/releases/<id>/                  release.json, the release's files, models/<name> links
    <root>/stacks/<stack>/settings/<digest>.env           parameters for Compose (0600)
    <root>/stacks/<stack>/settings/<digest>-<id>.json     the Compose file that this host adds to that release (0600)
    <root>/stacks/<stack>/settings/<digest>-<id>.<part>.json  the Compose files of its parts: data, blue, green (0600)
    <root>/stacks/<stack>/ingress/                        configuration and sockets of the ingress
    <secrets_root>/<stack>/<name>                         a secret as it was last committed, or put there by hand (0400)
    <secrets_root>/<stack>/.mounted/<name>.<version>      the values that containers mount (0444)

Every write: temporary name, fsync, rename, fsync of the folder. Folders of secrets are for root only (0700). A bind
mount shows the file itself in the container, where processes of any user, without capabilities, have to read it:
hence 0444 on what is mounted, and the folder above it, not the file's mode, keeps the host's other users out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import tempfile
import time
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import (
    DOCUMENT,
    MODELS,
    Model,
    Release,
    canonical,
    digest,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import (
    Journal,
    decode_journal,
    encode_journal,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_parts import COLOURS, DATA
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Identity
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, remove, sync_dir

_LOCK_POLL = 0.1  # seconds; flock has no wait with a time limit
_STAGING = ".staging-"


@dataclass(frozen=True)
class Places:
    """Where everything of a stack is."""

    root: str
    secrets_root: str
    stack: str

    @property
    def base(self) -> str:
        return os.path.join(self.root, "stacks", self.stack)

    @property
    def lock(self) -> str:
        return f"{self.base}.lock"

    @property
    def journal(self) -> str:
        return os.path.join(self.base, "state.json")

    @property
    def journal_before(self) -> str:
        return f"{self.journal}.before"

    @property
    def releases(self) -> str:
        return os.path.join(self.base, "releases")

    @property
    def settings(self) -> str:
        return os.path.join(self.base, "settings")

    @property
    def models(self) -> str:
        return os.path.join(self.root, MODELS)

    @property
    def secrets(self) -> str:
        return os.path.join(self.secrets_root, self.stack)

    @property
    def mounted(self) -> str:
        return os.path.join(self.secrets, ".mounted")

    def release(self, release_id: str) -> str:
        return os.path.join(self.releases, release_id)

    def env_file(self, identity: Identity) -> str:
        return os.path.join(self.settings, f"{identity.settings}.env")

    def override(self, identity: Identity) -> str:
        return os.path.join(self.settings, f"{identity.settings}-{identity.release}.json")

    def part(self, identity: Identity, part: str) -> str:
        return os.path.join(self.settings, f"{identity.settings}-{identity.release}.{part}.json")

    @property
    def ingress(self) -> str:
        return os.path.join(self.base, "ingress")

    def mounted_secret(self, name: str, version: str) -> str:
        return os.path.join(self.mounted, f"{name}.{version}")


@contextlib.contextmanager
def writing(what: str) -> t.Iterator[None]:
    """Turn a failed write (full disk, read-only file system) into an error that names what could not be written."""
    try:
        yield
    except OSError as exc:
        where = f" ({exc.filename})" if exc.filename else ""
        raise ReleaseError(f"cannot write {what}{where}: {exc.strerror}", reason="write_failed") from exc


@contextlib.contextmanager
def lock(places: Places, timeout: float) -> t.Iterator[int]:
    """Hold the stack's lock, waiting for it up to `timeout` seconds; yield its descriptor.

    Raises:
        ReleaseError: another run, or a child that a killed run left behind, still holds it (`locked`).
    """
    with writing("the lock"):
        make_dirs(os.path.dirname(places.lock))
    fd = _acquire(places.lock, timeout)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield fd
    finally:
        os.close(fd)


def write_file(path: str, content: bytes, mode: int) -> bool:
    """Make a file hold this content, durably; return whether it had to be written."""
    if read_file(path) == content:
        if stat.S_IMODE(os.stat(path).st_mode) != mode:
            os.chmod(path, mode)
        return False
    folder = os.path.dirname(path)
    fd, staged = tempfile.mkstemp(prefix=_STAGING, dir=folder)
    try:
        _fill(fd, content, mode)
        os.rename(staged, path)
    except BaseException:
        os.unlink(staged)
        raise
    sync_dir(folder)
    return True


def write_files(contents: t.Mapping[str, bytes], mode: int) -> bool:
    """Make each file hold its content; return whether any had to be written."""
    written = [write_file(path, content, mode) for path, content in contents.items()]
    return any(written)


def read_file(path: str) -> bytes | None:
    """Return a file's content, None when there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def folder_is_intact(places: Places, release: Release) -> bool:
    """Whether the release's folder holds exactly what was written there."""
    folder = places.release(release.id)
    if read_file(os.path.join(folder, DOCUMENT)) != canonical(release.document):
        return False
    for path, expected in release.files.items():
        content = read_file(os.path.join(folder, path))
        if content is None or digest(content) != expected:
            return False
    links = {model.name: os.path.join(places.models, model.folder) for model in release.models}
    return _links(os.path.join(folder, MODELS)) == links


def write_folder(places: Places, release: Release, contents: t.Mapping[str, bytes]) -> None:
    """Write the release's folder: it is there as a whole or not at all. One that is there is replaced."""
    with writing(f"the release's folder {places.release(release.id)}"):
        make_dirs(places.releases)
        staged = tempfile.mkdtemp(prefix=_STAGING, dir=places.releases)
        try:
            fill_folder(staged, places, release, contents)
            target = places.release(release.id)
            if os.path.lexists(target):
                os.rename(target, tempfile.mkdtemp(prefix=_STAGING, dir=places.releases))
            os.rename(staged, target)
        except BaseException:
            remove(staged)
            raise
        sync_dir(places.releases)


def fill_folder(folder: str, places: Places, release: Release, contents: t.Mapping[str, bytes]) -> None:
    """Write what a release's folder holds into a folder that is there."""
    os.chmod(folder, 0o755)
    models = os.path.join(folder, MODELS)
    os.mkdir(models, 0o755)
    for model in release.models:
        os.symlink(os.path.join(places.models, model.folder), os.path.join(models, model.name))
    sync_dir(models)
    for path, content in {**contents, DOCUMENT: canonical(release.document)}.items():
        target = os.path.join(folder, path)
        make_dirs(os.path.dirname(target))
        _fill(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), content, 0o444)
    for current, _folders, _files in os.walk(folder):
        sync_dir(current)


def find_journal(places: Places) -> tuple[Journal | None, bool]:
    """Return the stack's journal, None where none can be read, and whether it is the last one.

    Where that is gone or cannot be read the one before it counts: it is at most a step behind, so that something may be
    under way.

    Raises:
        ReleaseError: a newer version of the collection wrote it.
    """
    content = read_file(places.journal)
    journal = None if content is None else decode_journal(content, places.journal)
    if journal is not None:
        return journal, True
    before = read_file(places.journal_before)  # without it there was only one journal yet, or none
    journal = None if before is None else decode_journal(before, places.journal_before)
    if journal is not None and journal.phase == "idle" and journal.committed is not None:
        journal = replace(journal, phase="going_back")
    return journal, False


def load_journal(places: Places, warn: t.Callable[[str], None]) -> Journal:
    """Return the stack's journal, a new one where there is none.

    One that cannot be read is set aside. Without one the containers tell the rest, and the next commit is a whole one
    again.

    Raises:
        ReleaseError: a newer version of the collection wrote it.
    """
    journal, last = find_journal(places)
    there = os.path.lexists(places.journal)
    if journal is not None and not last:
        what = "cannot be read" if there else "is gone"
        warn(f"the journal {places.journal} {what}; the one before it counts, which is at most a step behind")
    if journal is None and there:
        warn(
            f"the journal {places.journal} cannot be read and is set aside as {places.journal}.unreadable; what was "
            "committed before is not known any more, so this run has no release to go back to"
        )
    return journal or Journal(stack=places.stack, key=secrets.token_hex(32))


def save_journal(places: Places, journal: Journal) -> Journal:
    """Write the journal; return it."""
    with writing("the journal"):
        make_dirs(places.base)
        content = read_file(places.journal)
        if content is not None and decode_journal(content, places.journal) is None:
            os.rename(places.journal, f"{places.journal}.unreadable")
        elif content is not None:
            write_file(places.journal_before, content, 0o600)
        write_file(places.journal, encode_journal(journal), 0o600)
    return journal


def missing_models(places: Places, release: Release) -> list[str]:
    """Return what of the release's models is not published on this host, a line for each model, for people."""
    return [line for line in (_missing_of(places, model) for model in release.models) if line]


def prune(places: Places, journal: Journal) -> None:
    """Remove releases, settings and mounted secrets that no commit of the journal needs, and what was left staged."""
    kept = journal.kept
    overrides = [read_file(places.override(identity)) or b"" for identity in kept]
    _prune_folder(places.releases, {identity.release for identity in kept})
    names = {os.path.basename(name(identity)) for identity in kept for name in (places.env_file, places.override)}
    parts = {os.path.basename(places.part(identity, part)) for identity in kept for part in (DATA, *COLOURS)}
    _prune_folder(places.settings, names | parts)
    for name in _listed(places.mounted):
        if not any(f'/{name}"'.encode() in override for override in overrides):
            remove(os.path.join(places.mounted, name))


def remove_data(places: Places) -> None:
    """Remove whatever a stack has on this host: releases, settings, secrets, journal, lock."""
    with writing("the removal"):
        for path in (places.base, places.secrets, places.lock):
            remove(path)
            if os.path.isdir(os.path.dirname(path)):
                sync_dir(os.path.dirname(path))


def has_data(places: Places) -> bool:
    return any(os.path.lexists(path) for path in (places.base, places.secrets))


def _missing_of(places: Places, model: Model) -> str:
    """Return what is missing of a model, empty when it is whole."""
    pins = _recorded_pins(places, model) if any(file.size is None for file in model.files.values()) else {}
    faults = []
    for path, wanted in sorted(model.files.items()):
        file = os.path.join(places.models, model.folder, path)
        try:
            actual = os.stat(file).st_size
        except OSError:
            faults += [f"{file} is not there"] if wanted.required else []
            continue
        if wanted.size is None and pins.get(path) != wanted.sha256:
            faults.append(f"{file} was not published with sha256 {wanted.sha256}")
        elif wanted.size is not None and actual != wanted.size:
            faults.append(f"{file} has {actual} bytes, not {wanted.size}")
    more = f" (and {len(faults) - 1} more of its files)" if len(faults) > 1 else ""
    return f"model {model.folder}: {faults[0]}{more}" if faults else ""


def _recorded_pins(places: Places, model: Model) -> t.Mapping[str, str]:
    """Return the digest of each file as it was published; nothing where that is not on record."""
    # Here and not above: most releases pin sizes, and do not need the store.
    from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Store

    return Store(places.root).read_record(model.name, model.version) or {}


def _acquire(path: str, timeout: float) -> int:
    deadline = time.monotonic() + timeout
    while True:
        fd = _try_lock(path)
        if fd is not None:
            return fd
        if time.monotonic() >= deadline:
            holder = (read_file(path) or b"").decode("ascii", "replace").strip() or "unknown"
            raise ReleaseError(
                f"another run is at work on this stack: process {holder} or a child of it holds {path}, and did for "
                f"{timeout:g} s. Wait for it to end, or raise lock_timeout",
                reason="locked",
            )
        time.sleep(_LOCK_POLL)


def _try_lock(path: str) -> int | None:
    """Return a descriptor that holds the lock, None where somebody else does."""
    while True:
        with writing("the lock"):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        if _same_file(fd, path):
            return fd
        os.close(fd)  # the last holder removed the file: what was locked is no lock any more


def _same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _fill(fd: int, content: bytes, mode: int) -> None:
    with open(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def _links(folder: str) -> dict[str, str]:
    return {name: os.readlink(os.path.join(folder, name)) for name in _listed(folder) if _is_link(folder, name)}


def _is_link(folder: str, name: str) -> bool:
    return os.path.islink(os.path.join(folder, name))


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _prune_folder(folder: str, kept: set[str]) -> None:
    for name in _listed(folder):
        if name not in kept:
            remove(os.path.join(folder, name))
