# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What a release has in the host store besides models: read it, and lay it out as a folder (a repository for apt)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import stat
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError, Reason
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import is_sha256
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import safe_path
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import Reason as ModelReason
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_publish import note_stamps
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pull import explain
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_verify import Content, Reader
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store, lstat
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import (
    make_dirs,
    remove,
    sync_dir,
    sync_file_system,
)

_READ_LIMIT = 64 << 20  # bytes; what is read whole are documents
_PIECE = 1 << 20
_AT_CWD, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_REASONS: dict[ModelReason, Reason] = {
    "invalid": "invalid",
    "unsafe_path": "unsafe_path",
    "immutable": "immutable",
    "foreign": "foreign",
    "no_space": "no_space",
    "read_only": "read_only",
    "locked": "locked",
    "digest_mismatch": "blob_corrupt",
    "size_mismatch": "blob_corrupt",
    "truncated": "blob_corrupt",
    "stalled": "unavailable",
    "unavailable": "unavailable",
}


@contextlib.contextmanager
def explained(root: str) -> t.Iterator[None]:
    """Turn what the model engine, or the disk of the store, refuses into an error of depots."""
    try:
        yield
    except ModelError as exc:
        raise _depot_error(exc) from exc
    except OSError as exc:
        raise _depot_error(explain(exc, root)) from exc


def _depot_error(exc: ModelError) -> DepotError:
    return DepotError(str(exc), reason=_REASONS.get(exc.reason, "io_error"), **exc.details)


def read_stored(root: str, sha256: str, limit: int = _READ_LIMIT) -> bytes:
    """Return content of the host store, checked, such as a release document; `limit` in bytes.

    Raises:
        DepotError: the store does not have it (`blob_missing`), it is too large or was changed (`blob_corrupt`), or
            the disk fails (`io_error`).
    """
    path = Store(root).blob(_checked(sha256))
    with explained(root):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as exc:
            raise _not_stored(root, sha256) from exc
        with open(fd, "rb") as file:
            plain = stat.S_ISREG(os.fstat(fd).st_mode)
            data = file.read(limit + 1) if plain else b""
    if len(data) > limit or hashlib.sha256(data).hexdigest() != sha256:
        raise _changed(path)
    return data


def lay_out(root: str, files: t.Mapping[str, str], dest: str, lock_timeout: float = 3600.0) -> bool:
    """Make a folder of content of the host store: hard links, or copies where it is on another file system.

    Who reads `dest` sees what was there before or all that is wanted. Every file is known to be right.

    Args:
        root: of the host store.
        files: SHA-256 by path in the folder.
        dest: absolute path; what is there, and not exactly that, is replaced as a whole.
        lock_timeout: seconds to wait for another run.

    Returns:
        Whether anything was changed.

    Raises:
        DepotError: the store lacks a file (`blob_missing`) or it was changed there (`blob_corrupt`); a path leads out
            of the folder (`manifest_invalid`); `dest` is no path for a folder (`invalid`) or a link (`unsafe_path`);
            another run holds the store (`locked`); the disk refuses.
    """
    dest = _checked_dest(root, dest)
    wanted = {safe_path(path, "files"): _checked(sha256) for path, sha256 in files.items()}
    store = Store(root)
    with explained(root), store.locked(lock_timeout):
        right = {**_known(store), **check_stored(store, dict.fromkeys(wanted.values()))}
        staged = os.path.join(os.path.dirname(dest), f".{os.path.basename(dest)}.new")
        there = _is_there(store, wanted, dest)
        if there and not _leftovers(staged):
            return False
        try:
            for path in _leftovers(staged):
                remove(path)
            if not there:
                make_dirs(os.path.dirname(dest))
                _stage(store, wanted, staged)
                _swap(staged, dest)
        finally:
            for path in _leftovers(staged):
                remove(path)
            note_stamps(store, right, store.blob)  # making and removing links has changed them
        return not there


def _leftovers(staged: str) -> list[str]:
    """Return what is beside the folder, of this run or of one that was killed."""
    return [path for path in (staged, f"{staged}.old") if lstat(path) is not None]


def _known(store: Store) -> dict[str, Stamp]:
    """Return the stamps that hold: of what is laid out now, too, and loses its links there."""
    return {
        digest: stamp
        for digest, stamp in store.read_stamps().items()
        if (status := lstat(store.blob(digest))) is not None and Stamp.of(status) == stamp
    }


def check_stored(store: Store, digests: t.Iterable[str]) -> dict[str, Stamp]:
    """Return the stamp of content that must be in the store and right; what is not known to be right is read.

    Raises:
        DepotError: it is missing, or was changed.
    """
    stamps = store.read_stamps()
    found: dict[str, Stamp] = {}
    for digest in digests:
        status = lstat(store.blob(digest))
        if status is None or not stat.S_ISREG(status.st_mode):
            raise _not_stored(store.root, digest)
        found[digest] = Stamp.of(status)
    reader = Reader(store)
    unknown = [
        Content(store.blob(digest), digest, stamp.size)
        for digest, stamp in found.items()
        if stamps.get(digest) != stamp
    ]
    reader.read(unknown)
    for content in unknown:
        if not reader.verdict(content).right:
            raise _changed(content.path)
    return found


def _stage(store: Store, wanted: t.Mapping[str, str], staged: str) -> None:
    os.mkdir(staged)
    folders = {staged}
    for path, sha256 in wanted.items():
        target = os.path.join(staged, path)
        folder = os.path.dirname(target)
        os.makedirs(folder, exist_ok=True)
        while folder not in folders:
            folders.add(folder)
            folder = os.path.dirname(folder)
        try:
            store.link(sha256, target)
        except OSError as exc:
            if exc.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
                raise
            _copy(store.blob(sha256), target, sha256)
    for folder in folders:
        os.chmod(folder, 0o755)  # makedirs is subject to the umask, and apt reads as another user
    sync_file_system(staged)


def _copy(blob: str, target: str, sha256: str) -> None:
    hasher = hashlib.sha256()
    with open(blob, "rb") as source, open(target, "xb") as file:
        while piece := source.read(_PIECE):
            hasher.update(piece)
            file.write(piece)
        os.fchmod(file.fileno(), 0o444)
    if hasher.hexdigest() != sha256:
        raise _changed(blob)


def _swap(staged: str, dest: str) -> None:
    """Put a folder in place of another one, which takes its place, by one rename where the file system can do that."""
    if lstat(dest) is None:
        os.rename(staged, dest)
    elif not _exchange(staged, dest):
        os.rename(dest, f"{staged}.old")
        os.rename(staged, dest)
    sync_dir(os.path.dirname(dest))


def _exchange(one: str, other: str) -> bool:
    """Exchange two names at once; return False where the system cannot."""
    library = ctypes.CDLL(None, use_errno=True)
    rename = getattr(library, "renameat2", None)  # module os does not have it
    if rename is None:
        return False
    if rename(_AT_CWD, os.fsencode(one), _AT_CWD, os.fsencode(other), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), other)


def _is_there(store: Store, wanted: t.Mapping[str, str], dest: str) -> bool:
    """Whether the folder has exactly the wanted files, and each is the store's own, or a copy that is right."""
    found: dict[str, str] = {}
    for parent, folders, names in os.walk(dest):
        if any(os.path.islink(os.path.join(parent, folder)) for folder in folders):
            return False
        found.update((os.path.relpath(os.path.join(parent, name), dest), os.path.join(parent, name)) for name in names)
    if found.keys() != wanted.keys() or not wanted:
        return not wanted and not found and os.path.isdir(dest)
    return all(_is_same(store.blob(wanted[path]), place, wanted[path]) for path, place in found.items())


def _is_same(blob: str, place: str, sha256: str) -> bool:
    here, there = os.lstat(blob), os.lstat(place)
    if os.path.samestat(here, there):
        return True
    if not stat.S_ISREG(there.st_mode) or here.st_dev == there.st_dev or here.st_size != there.st_size:
        return False
    with open(place, "rb") as file:
        hasher = hashlib.sha256()
        while piece := file.read(_PIECE):
            hasher.update(piece)
    return hasher.hexdigest() == sha256


def _checked(sha256: str) -> str:
    if not is_sha256(sha256):
        raise DepotError(f"{sha256!r} is no SHA-256 in lower-case hex", reason="unsafe_path")
    return sha256


def _checked_dest(root: str, dest: str) -> str:
    normal = os.path.normpath(dest)
    store = os.path.normpath(os.path.join(root, "store"))
    common = os.path.commonpath([store, normal]) if os.path.isabs(dest) else normal
    if common in (store, normal):
        raise DepotError(
            f"dest {dest!r} must be the absolute path of a folder of its own, neither in the store nor above it",
            reason="invalid",
        )
    status = lstat(normal)
    if status is not None and not stat.S_ISDIR(status.st_mode):
        raise DepotError(f"{normal} is there and no folder; remove it, or name another dest", reason="unsafe_path")
    return normal


def _not_stored(root: str, sha256: str) -> DepotError:
    return DepotError(
        f"{root} does not have {sha256}: it was not synced, or was removed since. Sync the depot again",
        reason="blob_missing",
        blob=sha256,
    )


def _changed(path: str) -> DepotError:
    return DepotError(
        f"{path} is not what was synced: the disk is failing, or somebody changed it. Sync the depot again, which "
        "replaces it",
        reason="blob_corrupt",
        blob=os.path.basename(path),
    )
