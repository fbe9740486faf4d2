# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Read every blob of a depot and tell all that is wrong with it, on all cores. Nothing here writes."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import re
import threading
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError, Reason
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import (
    BlobSource,
    Entry,
    Folder,
    Source,
    missing,
    read_blob,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import (
    BLOBS,
    INDEX,
    LAYOUT,
    METADATA,
    VOLUME,
    Volume,
    blob_name,
    is_sha256,
    parse_index,
    read_document,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_plan import names_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import digest

# missing: not there. size: another number of bytes. content: another digest. unreadable: the medium fails.
# unsafe: a link, or a name that no depot has. extra: nothing of the depot names it.
Kind = t.Literal["missing", "size", "content", "unreadable", "unsafe", "extra"]
Say = t.Callable[[int, int], object]
"""Told bytes done and bytes in all, often and by several threads, one at a time."""

_BUFFER = 1 << 20  # bytes read at once: larger ones fall out of the processor's cache between reading and hashing
_BATCH, _BATCH_BLOBS = 4 << 20, 256  # bytes, or blobs, that a thread takes at once
_INDEX_LIMIT = 64 << 20
_DOCUMENT_LIMIT = 4 << 20
_SHOWN = 5  # problems that a message lists; the result has all of them
_BLOB = re.compile(r"([0-9a-f]{64})(?:\.p[0-9]{4})?")
_KINDS: dict[Reason, Kind] = {"blob_missing": "missing", "blob_corrupt": "content", "unsafe_path": "unsafe"}
_REASONS: dict[Kind, Reason] = {
    "unreadable": "io_error",  # what the medium does comes first: it may be why the rest is wrong
    "unsafe": "unsafe_path",
    "content": "blob_corrupt",
    "size": "blob_corrupt",
    "missing": "blob_missing",
    "extra": "blob_corrupt",
}


@dataclass(frozen=True)
class Problem:
    """Something that is wrong: which file of the depot, what that is for, and what it is instead, in words."""

    kind: Kind
    file: str
    named: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}{f' ({self.named})' if self.named else ''} {self.what}"


@dataclass(frozen=True)
class Verified:
    """What came of it: blobs that are right, bytes read, all that is wrong, by file, and files that nothing names.

    `elsewhere` counts the blobs that are on other volumes.
    """

    shown: str
    blobs: int
    bytes_read: int
    problems: tuple[Problem, ...] = ()
    extra: tuple[str, ...] = ()
    elsewhere: int = 0

    def check(self) -> None:
        """Refuse a depot with which something is wrong.

        Raises:
            DepotError: with the reason of the worst, and all problems in its details.
        """
        if not self.problems:
            return
        kinds = {problem.kind for problem in self.problems}
        worst = next(reason for kind, reason in _REASONS.items() if kind in kinds)
        listed = "; ".join(map(str, self.problems[:_SHOWN]))
        more = f"; and {len(self.problems) - _SHOWN} more" if len(self.problems) > _SHOWN else ""
        raise DepotError(
            f"{self.shown} is not what was signed: {listed}{more}. Write or copy the depot again; if that does not "
            "help, the medium is failing",
            reason=worst,
            problems=[problem.__dict__ for problem in self.problems],
        )


def verify(
    source: BlobSource,
    manifests: t.Sequence[Manifest],
    volume: Volume | None = None,
    workers: int | None = None,
    say: Say | None = None,
    strict: bool = False,
) -> Verified:
    """Compare every blob that the manifests carry with its size and its digest, each once.

    Args:
        manifests: of releases that are trusted; what else is in the depot is only reported.
        volume: what this medium has; what others have is not missed. None: everything.
        workers: threads; None: one for each processor.
        strict: whether files that nothing names are wrong, too.

    Raises:
        DepotError: the depot was pulled (`io_error`).
    """
    named = {sha256: name for manifest in manifests for sha256, name in names_of(manifest).items()}
    carried = dict.fromkeys(pair for manifest in manifests for pair in manifest.carried.items())
    here = [pair for pair in carried if volume is None or volume.count == 1 or pair[0] in volume.blobs]
    reading = _Reading(source, named, sum(size for _one, size in here), say)
    # The largest first: what is left at the end is small, and all cores are busy to it.
    order = sorted(here, key=lambda pair: -pair[1])
    with concurrent.futures.ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        problems = [problem for found in pool.map(reading.check_all, _batches(order)) for problem in found]
    right = len(here) - len(problems)
    listing = _Listing(source, {*named, *(digest(manifest.encode()) for manifest in manifests)}, volume)
    read = {problem.file for problem in problems}
    problems += [problem for problem in listing.problems if problem.file not in read]
    if strict:
        problems += [Problem("extra", file, "", "is not part of the depot: remove it") for file in listing.extra]
    problems.sort(key=lambda problem: problem.file)
    return Verified(source.shown, right, reading.done, tuple(problems), tuple(listing.extra), len(carried) - len(here))


def lost(source: Source, sha256: str) -> DepotError:
    """Return the error for a blob that is not there: alone, or with the whole depot."""
    return missing(source.shown, sha256) if is_there(source) else gone(source, blob=sha256)


def is_there(source: Source) -> bool:
    """Whether there is a depot at all; where a stick was pulled, there is an empty folder.

    Raises:
        DepotError: it cannot be told.
    """
    return source.read(LAYOUT, 4096) is not None


def gone(source: Source, **details: t.Any) -> DepotError:
    """Return the error for a depot that went away while it was read."""
    return DepotError(
        f"{source.shown} is gone: it has no {LAYOUT} any more. If the stick was pulled, put it in again, mount it "
        "there, and run the same again: it goes on from here",
        reason="io_error",
        **details,
    )


@contextlib.contextmanager
def noticing_loss(source: Source, opened: bool = False) -> t.Iterator[None]:
    """Tell a depot that goes away while it is read from one that lacks something: what was missed first says little.

    Args:
        opened: it was read before, so that there was a depot.

    Raises:
        DepotError: it went away (`io_error`); or what was raised inside.
    """
    began = opened or is_there(source)
    try:
        yield
    except DepotError as exc:
        if not began or exc.reason == "io_error" or _tells(source):
            raise
        raise gone(source) from exc


def _tells(source: Source) -> bool:
    """Whether the depot is there, or says by itself why it cannot be read."""
    try:
        return is_there(source)
    except DepotError:
        return True


def _batches(order: t.Iterable[tuple[str, int]]) -> t.Iterator[list[tuple[str, int]]]:
    """Put small blobs together: handing each to a thread costs more than reading it."""
    batch: list[tuple[str, int]] = []
    total = 0
    for sha256, size in order:
        batch.append((sha256, size))
        total += size
        if total >= _BATCH or len(batch) == _BATCH_BLOBS:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


class _Reading:
    """Reads blobs, each thread into a buffer of its own."""

    def __init__(self, source: BlobSource, named: t.Mapping[str, str], total: int, say: Say | None) -> None:
        self.done = 0
        self._source = source
        self._named = named
        self._total = total
        self._say = say
        self._lock = threading.Lock()
        self._buffers = threading.local()

    def check_all(self, batch: t.Sequence[tuple[str, int]]) -> list[Problem]:
        """Read some blobs; return what is wrong with them."""
        return [problem for problem in map(self.check, batch) if problem]

    def check(self, wanted: tuple[str, int]) -> Problem | None:
        """Read one blob; return what is wrong with it."""
        sha256, size = wanted
        try:
            kind, what = self._read(sha256, size)
        except DepotError as exc:
            if exc.reason == "blob_missing" and lost(self._source, sha256).reason != exc.reason:
                raise lost(self._source, sha256) from exc  # all others would be missing as well
            kind, what = problem_of(exc)
        return Problem(kind, blob_name(sha256), self._named.get(sha256, ""), what) if kind else None

    def _read(self, sha256: str, size: int) -> tuple[Kind | None, str]:
        with self._source.open_blob(sha256) as blob:
            if blob.size != size:
                return "size", f"has {blob.size} bytes instead of {size}"
            buffer = self._buffer()
            hasher = hashlib.sha256()
            while count := blob.readinto(buffer):
                hasher.update(buffer[:count])
                self._tell(count)
        if hasher.hexdigest() != sha256:
            return "content", "has other content than its name says"
        return None, ""

    def _buffer(self) -> memoryview:
        if not hasattr(self._buffers, "mine"):
            self._buffers.mine = memoryview(bytearray(_BUFFER))
        return t.cast("memoryview", self._buffers.mine)

    def _tell(self, count: int) -> None:
        with self._lock:
            self.done += count
            if self._say:
                self._say(self.done, self._total)


def problem_of(exc: DepotError) -> tuple[Kind, str]:
    """Return what kind of problem an error with one file stands for, and its words."""
    kind = _KINDS.get(exc.reason, "unreadable")
    return kind, "is not there" if kind == "missing" else f"cannot be used: {exc}"


class _Listing:
    """What is in the folder besides the blobs that are read: files that nothing names, links, odd names.

    A web server lists nothing, so behind one nothing is found.
    """

    def __init__(self, source: BlobSource, named: set[str], volume: Volume | None) -> None:
        self.problems: list[Problem] = []
        self.extra: list[str] = []
        self._source = source
        self._named = named | self._of_index(named, volume)
        if isinstance(source, Folder):
            self._look(source)

    def _of_index(self, named: set[str], volume: Volume | None) -> set[str]:
        """Return what index.json lists, and what that is made of; read it, so that tools can rely on it."""
        found = set()
        try:
            index = parse_index(self._source.read(INDEX, _INDEX_LIMIT) or b"")
        except DepotError as exc:
            self._add(*problem_of(exc), file=INDEX)
            return set()
        for name, (sha256, size) in sorted(index.items()):
            found.add(sha256)
            there = volume is None or volume.count == 1 or sha256 in volume.blobs
            if sha256 in named or not there or not is_sha256(sha256):
                continue
            try:
                found |= _parts(read_blob(self._source, sha256, _DOCUMENT_LIMIT, size))
            except DepotError as exc:
                self._add(*problem_of(exc), file=blob_name(sha256), named=name)
        return found

    def _look(self, folder: Folder) -> None:
        own = {LAYOUT, INDEX, VOLUME, METADATA, "blobs"}
        for name, entry in self._entries(folder, ".").items():
            if name in own and entry == "other":
                self._add("unsafe", "is a link, and a depot has none", name)
        for name, entry in self._entries(folder, METADATA).items():
            if entry != "file":
                self._add("unsafe", "is no plain file", f"{METADATA}/{name}")
        above, _slash, last = BLOBS.partition("/")
        for name in sorted(self._entries(folder, above).keys() - {last}):
            self._add("unsafe", "has a name that no depot has: remove it", f"{above}/{name}")
        for name, entry in self._entries(folder, BLOBS).items():
            self._look_at(name, entry)
        self.extra.sort()

    def _entries(self, folder: Folder, name: str) -> dict[str, Entry]:
        try:
            return folder.entries(name)
        except DepotError as exc:
            self._add(*problem_of(exc), file=name)
            return {}

    def _look_at(self, name: str, entry: Entry) -> None:
        file = f"{BLOBS}/{name}"
        match = _BLOB.fullmatch(name)
        if match is None:
            self._add("unsafe", "has a name that no blob has: remove it", file)
        elif entry != "file":
            self._add("unsafe", "is no plain file: remove it", file)
        elif match[1] not in self._named:
            self.extra.append(file)

    def _add(self, kind: Kind, what: str, file: str, named: str = "") -> None:
        self.problems.append(Problem(kind, file, named, what))


def _parts(document: bytes) -> set[str]:
    """Return the digests that a manifest of an artifact lists."""
    try:
        read = read_document(document)
        return {str(one["digest"]).partition(":")[2] for one in (read["config"], *read["layers"])}
    except (ValueError, KeyError, TypeError):
        return set()
