# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sources that are served from memory, with faults: what the engine's tests put in place of servers."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
import types
import typing as t
from dataclasses import dataclass, field

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import (
    _model_fetch,
    _model_publish,
    _model_ranges,
    _model_transfer,
    _store_content,
    _store_partial,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Stream, Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import HttpSource, Source
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import WantedFile

SMALL_CHUNK, SMALL_BLOCK = 1 << 16, 1 << 14  # a chunk is four blocks, as it is in truth


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the engine work on files of kilobytes as it does on files of gigabytes."""
    modules: tuple[types.ModuleType, ...] = (
        _model_fetch,
        _model_publish,
        _model_ranges,
        _model_transfer,
        _store_content,
        _store_partial,
    )
    for module in modules:
        for name, value in (("CHUNK", SMALL_CHUNK), ("BLOCK", SMALL_BLOCK)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)


def noise(size: int, seed: int = 1) -> bytes:
    """Return bytes none of whose parts is like another."""
    return random.Random(seed).randbytes(size)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def source(name: str) -> HttpSource:
    return HttpSource(f"http://h/{name}", f"http://h/{name}")


def wanted(content: bytes, *names: str, path: str = "m.bin", **more: t.Any) -> WantedFile:
    """Return a file with this content, at sources with these names."""
    sources = tuple(source(name) for name in names or ("m",))
    return WantedFile(path, sha256(content), more.pop("size", len(content)), sources, **more)


def passing(message: str = "it broke", retry_after: float = 0.0) -> ModelError:
    return ModelError(message, reason="unavailable", transient=True, retry_after=retry_after)


def final(message: str = "there is none") -> ModelError:
    return ModelError(message, reason="unavailable")


@dataclass
class Served:
    """A file as a source serves it.

    `told_size` is what it says its size is (None: nothing), `validator` its version, or what makes one for each
    connection. `ranges` is whether it does them, `silent` that it does not and says so only when asked. `piece` is how
    many bytes come at once at most. `opening` is called with (start, stop) for each connection, `reading` with the
    position before each piece: they raise or wait. `cut` ends a connection without a word at that position, once for
    each entry.
    """

    content: bytes
    told_size: int | None = -1
    validator: str | t.Callable[[], str] = '"1"'
    ranges: bool = True
    silent: bool = False
    piece: int = 1 << 30
    opening: t.Callable[[int, int | None], object] = lambda _start, _stop: None
    reading: t.Callable[[int], object] = lambda _position: None
    cut: list[int] = field(default_factory=list)
    opens: list[tuple[int, int | None, str]] = field(default_factory=list)
    sent: int = 0
    now: int = 0
    most: int = 0

    def version(self) -> str:
        return self.validator if isinstance(self.validator, str) else self.validator()

    @property
    def size(self) -> int | None:
        return len(self.content) if self.told_size == -1 else self.told_size


class MemoryStream:
    def __init__(self, served: Served, told: Told, offset: int, stop: int, lock: threading.Lock) -> None:
        self.told = told
        self.offset = self._position = offset
        self._served = served
        self._stop = stop
        self._lock = lock

    def readinto(self, buffer: memoryview) -> int:
        served = self._served
        served.reading(self._position)
        data = served.content[self._position : min(self._position + min(len(buffer), served.piece), self._stop)]
        with self._lock:
            if served.cut and self._position <= served.cut[0] < self._position + max(len(data), 1):
                data = data[: served.cut.pop(0) - self._position]
                self._stop = self._position + len(data)
            served.sent += len(data)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class MemoryOrigin:
    """Serves files by what their sources are shown as. `announced` are digests that it tells before."""

    def __init__(self, announced: t.Mapping[str, str] | None = None, /, **served: Served) -> None:
        self.served = {source(name).shown: one for name, one in served.items()}
        self.closed = 0
        self.now = 0
        self.most = 0  # connections at the same time
        self._lock = threading.Lock()
        self._announced = announced

    def __getattr__(self, name: str) -> t.Any:
        if name == "announced_sha256" and self._announced is not None:
            return lambda one: (self._announced or {}).get(one.shown)
        raise AttributeError(name)

    def make(self, _source: Source) -> MemoryOrigin:
        return self

    def probe(self, one: t.Any) -> Told:
        served = self.served[one.shown]
        served.opening(0, None)
        return Told(served.size, served.version(), served.ranges)

    @contextlib.contextmanager
    def open(self, one: t.Any, start: int = 0, stop: int | None = None, validator: str = "") -> t.Iterator[Stream]:
        served = self.served[one.shown]
        with self._lock:
            served.opens.append((start, stop, validator))
            self.now += 1
            served.now += 1
            self.most, served.most = max(self.most, self.now), max(served.most, served.now)
        try:
            served.opening(start, stop)
            version = served.version()
            everything = (start, stop) == (0, None)
            whole = everything or served.silent or not served.ranges or bool(validator and version != validator)
            told = Told(served.size, version, served.ranges and (everything or not whole))
            offset = 0 if whole else start
            end = len(served.content) if whole or stop is None else min(stop, len(served.content))
            yield MemoryStream(served, told, offset, end, self._lock)
        finally:
            with self._lock:
                self.now -= 1
                served.now -= 1

    def close(self) -> None:
        self.closed += 1
