# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Find out digests and sizes of files at their sources: announced ones where there are any, else from the bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import tempfile
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_feed import Retry, delay
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_hub import HubOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Origin, Origins
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pin import (
    Pin,
    PinRequest,
    check_pins,
    is_commit,
    path_of,
    select,
    together,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import HubSource, Source

_BLOCK = 1 << 20  # bytes received at once

_T = t.TypeVar("_T")


@dataclass(frozen=True)
class Pinned:
    """What was found out. `commits` are by repository, `bytes_read` is what had to be received."""

    files: tuple[Pin, ...]
    commits: t.Mapping[str, str]
    bytes_read: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Told:
    """What a source announces of a file, without its bytes."""

    source: Source
    size: int | None = None
    sha256: str | None = None


@dataclass
class Pinner:
    """Asks the sources. `make_origin` makes what opens them; `close` closes all of it."""

    make_origin: t.Callable[[Source], Origin]
    retry: Retry = field(default_factory=Retry)
    sleep: t.Callable[[float], object] = time.sleep

    def __post_init__(self) -> None:
        self._origins = Origins(self.make_origin)
        self._commits: dict[str, str] = {}
        self._warnings: list[str] = []
        self._bytes_read = 0

    def close(self) -> None:
        self._origins.close()

    def pin(self, request: PinRequest) -> Pinned:
        """Return the pins of all files that are asked for.

        Raises:
            ModelError: a file cannot be had, its sources contradict each other, or the pins would be refused.
        """
        files = together(self._files(request))
        pins = tuple(self._pin(path, sources) for path, sources in files.items())
        check_pins(request, pins)
        return Pinned(pins, dict(self._commits), self._bytes_read, tuple(self._warnings))

    def _files(self, request: PinRequest) -> t.Iterator[tuple[str, Source]]:
        for path, sources in request.named:
            for source in sources:
                yield path, self._fixed(source)
        for source in request.sources:
            fixed = self._fixed(source)
            inside = getattr(self._origins.of(fixed), "files", None)
            for file in self._patiently(functools.partial(inside, fixed)) if inside else (fixed,):
                yield path_of(file), file
        if request.hub:
            hub = request.hub
            fixed = t.cast("HubSource", self._fixed(HubSource(hub.repo, hub.revision, "x")))
            listing = self._patiently(lambda: self._hub(fixed).listing(fixed.repo, fixed.revision))
            for path in select(listing, hub.include, hub.exclude):
                yield path, dataclasses.replace(fixed, path=path)

    def _fixed(self, source: Source) -> Source:
        """Put the commit in place of a branch or tag of a hub."""
        if not isinstance(source, HubSource):
            return source
        commit = source.revision
        if not is_commit(commit):
            commit = self._patiently(lambda: self._hub(source).commit(source.repo, source.revision))
        self._commits[source.repo] = commit
        return dataclasses.replace(source, revision=commit)

    def _hub(self, source: HubSource) -> HubOrigin:
        return t.cast("HubOrigin", self._origins.of(source))

    def _pin(self, path: str, sources: t.Sequence[Source]) -> Pin:
        told, failed = self._ask(sources)
        size, sha256 = _agreed(path, told)
        if sha256 is not None and size is not None:
            self._warn(path, failed)
            return Pin(path, sha256, size, tuple(sources), "announced")
        for candidate in told:
            try:
                computed, received = self._read(candidate.source)
            except ModelError as exc:
                failed.append(exc)
                continue
            read = dataclasses.replace(candidate, size=received, sha256=computed)
            _agreed(path, [read, *(other for other in told if other is not candidate)])
            self._warn(path, failed)
            return Pin(path, computed, received, tuple(sources), "computed")
        raise failed[0]

    def _ask(self, sources: t.Iterable[Source]) -> tuple[list[_Told], list[ModelError]]:
        told: list[_Told] = []
        failed: list[ModelError] = []
        for source in sources:
            try:
                told.append(self._patiently(functools.partial(self._told, source)))
            except ModelError as exc:
                failed.append(exc)
        return told, failed

    def _told(self, source: Source) -> _Told:
        size = self._origins.of(source).probe(source).size
        return _Told(source, size, self._origins.announced_sha256(source))

    def _warn(self, path: str, failed: t.Iterable[ModelError]) -> None:
        """Tell of sources that could not be asked here; they are pinned all the same, for hosts that reach them."""
        self._warnings += [f"{path}: a source could not be checked: {exc}" for exc in failed]

    def _read(self, source: Source) -> tuple[str, int]:
        """Return digest and size of a file out of its bytes, none of which is kept.

        A connection that breaks is gone on with where the source can, and where it still has the same version.
        """
        reading = _Reading(self._origins.of(source), source)
        try:
            self._patiently(reading.go_on)
        finally:
            self._bytes_read += reading.received
        return reading.hasher.hexdigest(), reading.position

    def _patiently(self, attempt: t.Callable[[], _T]) -> _T:
        tries = 0
        while True:
            try:
                return attempt()
            except ModelError as exc:
                tries += 1
                if not exc.transient or tries > self.retry.count:
                    raise
                self.sleep(delay(tries, self.retry.delay, exc.retry_after))


class _Reading:
    """A file whose bytes are hashed as they come. `received` counts all of them, also those that came twice."""

    def __init__(self, origin: Origin, source: Source) -> None:
        self.hasher = hashlib.sha256()
        self.position = 0
        self.received = 0
        self._origin = origin
        self._source = source
        self._validator = ""

    def go_on(self) -> None:
        """Read up to the end.

        Raises:
            ModelError: transient, where the connection broke or the file ended too early.
        """
        # Without a validator two versions of the file could not be told apart.
        start = self.position if self._validator else 0
        buffer = memoryview(bytearray(_BLOCK))
        with self._origin.open(self._source, start, None, self._validator) as stream:
            if stream.offset != self.position or stream.told.validator != self._validator:
                self.hasher, self.position = hashlib.sha256(), 0
            if stream.offset != self.position:
                self._validator = ""
                raise self._broken("the source has another version of the file than before")
            self._validator = stream.told.validator
            while True:
                count = stream.readinto(buffer)
                if not count:
                    break
                self.hasher.update(buffer[:count])
                self.position += count
                self.received += count
            if stream.told.size not in (None, self.position):
                raise self._broken(f"ended after {self.position} of {stream.told.size} bytes")

    def _broken(self, what: str) -> ModelError:
        shown = self._source.shown
        return ModelError(f"{shown}: {what}", reason="truncated", transient=True, source=shown)


def _agreed(path: str, told: t.Sequence[_Told]) -> tuple[int | None, str | None]:
    """Return the size and the digest that the sources of a file announce, None for what none does.

    Raises:
        ModelError: with reason `size_mismatch` or `digest_mismatch`; two of them contradict each other.
    """
    sizes: dict[int, str] = {}
    digests: dict[str, str] = {}
    for one in told:
        if one.size is not None:
            sizes.setdefault(one.size, f"{one.source.shown} has {one.size} bytes")
        if one.sha256 is not None:
            digests.setdefault(one.sha256, f"{one.source.shown} has sha256 {one.sha256}")
    apart = f"{path}: its sources are not one file"
    if len(sizes) > 1:
        raise ModelError(f"{apart}: {', '.join(sizes.values())}", reason="size_mismatch", path=path)
    if len(digests) > 1:
        raise ModelError(f"{apart}: {', '.join(digests.values())}", reason="digest_mismatch", path=path)
    return next(iter(sizes), None), next(iter(digests), None)


def read_text(path: str) -> str | None:
    """Return what a file says, None when there is none.

    Raises:
        ModelError: with reason `io_error`; it is there and cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ModelError(f"dest {path!r} cannot be read: {exc.strerror}", reason="io_error") from exc


def replace_text(path: str, text: str) -> None:
    """Put a text into a file: after a crash it is the old one or the new one.

    Raises:
        ModelError: with reason `io_error`.
    """
    try:
        mode = os.stat(path).st_mode & 0o7777 if os.path.exists(path) else 0o644
        fd, temporary = tempfile.mkstemp(prefix=".pin-", dir=os.path.dirname(path) or ".")
        with contextlib.ExitStack() as undo:
            undo.callback(_remove, temporary)
            with open(fd, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.rename(temporary, path)
    except OSError as exc:
        raise ModelError(f"dest {path!r} cannot be written: {exc.strerror}", reason="io_error") from exc


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
