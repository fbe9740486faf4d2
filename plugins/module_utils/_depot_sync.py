# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Copy what a release needs from a depot into the host store, and publish its models.

It is the model engine that does it, with the depot as one more origin: partial files that are gone on with, digests
checked while the bytes arrive, stamps, hard links. So what comes from a depot is what model_pull would have made.

What is not a model's has no link besides the store's own: model_pull, when it removes a version, removes what nothing
links to, and the next sync copies it again.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import stat
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Blob, BlobSource, corrupt
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_kept import explained
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import Volume
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_plan import (
    Held,
    SyncPlan,
    make_sync_plan,
    names_of,
    stored_blobs,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_verify import Say, lost
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_feed import Retry
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_fetch import Fetch, Fetched, Settings
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_look import look
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Origin, Origins, Stream, Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Plan, make_plan
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_publish import carry_out, note_stamps
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_ranges import bytes_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import DepotSource, Source
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_space import bytes_needed, check_space
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_verify import Content, Reader
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import Wanted, WantedFile
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store, lstat
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_partial import read_log

First = t.Callable[[SyncPlan], None]

_ASKERS = 8  # threads that ask for sizes; behind a web server, waiting for answers is all that it is
_READERS = 4  # a stick is read no faster by more


@dataclass(frozen=True)
class Synced:
    """What the run came to, and what was done of it (nothing in check mode).

    Attributes:
        plan: what the host lacked when the run began.
        changed: whether anything was, or would be, copied or published.
        published: versions of models, as name/version, that were published or repaired.
        bytes_copied: from the depot in this run.
        bytes_resumed: that an earlier run had copied of the same.
        bytes_read: of the host store, to see what is right.
    """

    plan: SyncPlan
    changed: bool = False
    published: tuple[str, ...] = ()
    bytes_copied: int = 0
    bytes_resumed: int = 0
    bytes_read: int = 0

    @property
    def complete(self) -> bool:
        """Whether the host has all that the release needs of its store: no other volume is waited for."""
        return not self.plan.elsewhere


@dataclass(frozen=True)
class SyncRequest:
    """A sync: which release, into which host store, and how.

    Attributes:
        manifest: of a release that is trusted.
        root: of the host store, an absolute path.
        volume: what the medium has; None: all.
        engine: SHA-256 of manifests and configurations of images that the host's engine has, and of layers (diff ids).
        lock_timeout: seconds to wait for another run.
        check_mode: whether only to tell what would be done.
    """

    manifest: Manifest
    root: str
    volume: Volume | None = None
    engine: frozenset[str] = frozenset()
    lock_timeout: float = 3600.0
    check_mode: bool = False

    def __post_init__(self) -> None:
        if not os.path.isabs(self.root) or os.path.normpath(self.root) in ("/", "//"):
            raise DepotError(
                f"root {self.root!r} must be an absolute path of a folder, and not / itself", reason="invalid"
            )


def sync(source: BlobSource, request: SyncRequest, say: Say | None = None, first: First | None = None) -> Synced:
    """Bring what a release needs into the host store. Looks without the lock first: the second run does nothing.

    Args:
        say: is told bytes done and bytes in all a few times a second.
        first: is given the plan when nothing will be refused any more, and before anything is copied.

    Raises:
        DepotError: something is refused, in check mode as in a real run, or a medium failed. Nothing that was not
            verified is in the store then, and the next run goes on from what is there.
    """
    return _Sync(source, request, say).run(first)


@dataclass(frozen=True)
class _Seen:
    """What is there, and what follows: for each model the engine's own plan, by digest the stamps of all else.

    `publishable` are the models, as name/version, that this run can publish or repair.
    """

    plan: SyncPlan
    models: tuple[tuple[Wanted, Plan], ...]
    right: t.Mapping[str, Stamp]
    publishable: tuple[str, ...]
    unstamped: bool

    @property
    def changed(self) -> bool:
        return bool(self.plan.copies or self.publishable)


class _Sync:
    """One run. Remembers what it has read of the store."""

    def __init__(self, source: BlobSource, request: SyncRequest, say: Say | None) -> None:
        self._source = source
        self._request = request
        self._manifest = request.manifest
        self._say = say
        self._store = Store(os.path.normpath(request.root))
        self._reader = Reader(self._store)
        self._models = _models(source, request.manifest)

    def run(self, first: First | None) -> Synced:
        """Do it; see `sync`."""
        with explained(self._store.root):
            seen = self._look()
        if first:
            first(seen.plan)
        with explained(self._store.root):
            done = Synced(seen.plan, seen.changed, seen.publishable)
            if seen.changed and not self._request.check_mode:
                with self._store.locked(self._request.lock_timeout):
                    done = self._act()
            elif seen.unstamped and not self._request.check_mode:
                # Only saves the next run some reading, so not worth a wait, or a failure on a full disk.
                with contextlib.suppress(ModelError, OSError), self._store.locked(0):
                    self._note(seen)
        return dataclasses.replace(done, bytes_read=self._reader.bytes_read)

    def _act(self) -> Synced:
        seen = self._look()  # another run may have done the work while this one waited
        received = resumed = 0
        if seen.plan.copies:
            received, resumed = self._receive(seen.plan)
        self._note(seen)
        return Synced(seen.plan, seen.changed, seen.publishable, received, resumed)

    # Looking: changes nothing, and refuses what would fail later.

    def _look(self) -> _Seen:
        for name, version in [(one.name, one.version) for one in self._models] or [("", "")]:  # none: only the root
            self._store.check_layout(name, version)
        models = tuple(self._look_model(wanted) for wanted in self._models)
        lacking = {file.sha256 for _wanted, plan in models for file in plan.fetches}
        loose = self._loose()
        right, unstamped = self._look_loose(loose)
        whole = {file.sha256 for wanted in self._models for file in wanted.files} - (loose.keys() - right.keys())
        held = Held(frozenset((whole | right.keys()) - lacking), self._request.engine, self._resumable())
        plan = make_sync_plan(self._manifest, held, self._request.volume)
        publishable = tuple(f"{one.name}/{one.version}" for one, do in models if do.changed and _here(one, plan))
        unstamped = unstamped or any(do.action == "stamp" for _one, do in models)
        seen = _Seen(plan, models, right, publishable, unstamped)
        self._refuse(seen)
        return seen

    def _look_model(self, wanted: Wanted) -> tuple[Wanted, Plan]:
        return wanted, make_plan(wanted, look(self._store, wanted, self._reader).found)

    def _loose(self) -> dict[str, int]:
        """Return what belongs into the store besides models, and what may be there: images that came on volumes."""
        images = {one: self._manifest.blobs[one] for image in self._manifest.images for one in image.blobs}
        return {**images, **stored_blobs(self._manifest)}

    def _look_loose(self, loose: t.Mapping[str, int]) -> tuple[dict[str, Stamp], bool]:
        """Return the stamps of content that is right, and whether some had to be read because it had none."""
        stamps = self._store.read_stamps()
        statuses = {one: lstat(self._store.blob(one)) for one in loose}
        there = {one: Stamp.of(found) for one, found in statuses.items() if found and stat.S_ISREG(found.st_mode)}
        doubtful = {
            one: Content(self._store.blob(one), one, loose[one]) for one in there if stamps.get(one) != there[one]
        }
        self._reader.read(doubtful.values())
        wrong = {one for one, content in doubtful.items() if not self._reader.verdict(content).right}
        return {one: stamp for one, stamp in there.items() if one not in wrong}, bool(doubtful.keys() - wrong)

    def _resumable(self) -> dict[str, int]:
        found = {}
        for sha256, size in self._manifest.blobs.items():
            part = lstat(self._store.part(sha256))
            if part is not None and part.st_size >= size:  # else nothing of it counts, whatever the log says
                found[sha256] = bytes_of(read_log(self._store.log(sha256), size).chunks, size)
        return found

    def _refuse(self, seen: _Seen) -> None:
        if seen.changed and not os.access(self._store.existing(), os.W_OK | os.X_OK):
            raise DepotError(
                f"{self._store.existing()} cannot be written to (a read-only file system, or not enough rights); "
                "remount it, or become root",
                reason="read_only",
            )
        if seen.plan.copies:
            plan = self._engine_plan(seen.plan)
            check_space(plan, self._store.space(plan.transfers, plan.held))
            self._check_sizes(seen.plan.copies)

    def _engine_plan(self, plan: SyncPlan) -> Plan:
        """Return what is copied in the words of the model engine, which knows what room that takes."""
        files = tuple(_file(self._source, one, one, size) for one, size in plan.copies.items())
        links = tuple(
            dataclasses.replace(file, path=f"{wanted.name}/{wanted.version}/{file.path}")
            for wanted in self._models
            for file in wanted.files
        )
        transfers = {one: size - plan.held.get(one, 0) for one, size in plan.copies.items()}
        return Plan("publish", files, transfers, plan.held, links=links)

    def _check_sizes(self, copies: t.Mapping[str, int]) -> None:
        """Refuse a depot that lacks something, or has it in another size, before the first byte is copied."""
        with concurrent.futures.ThreadPoolExecutor(_ASKERS) as pool:
            for (sha256, size), found in zip(copies.items(), pool.map(self._source.blob_size, copies)):
                if found is None:
                    raise self._named(lost(self._source, sha256))
                if found != size:
                    raise self._named(corrupt(self._source.shown, sha256, f"has {found} bytes instead of {size}"))

    # Acting: the caller holds the lock.

    def _receive(self, plan: SyncPlan) -> tuple[int, int]:
        """Copy; return the bytes that were copied, and those that an earlier run had copied."""
        store, engine = self._store, self._engine_plan(plan)
        store.make_room(bytes_needed(engine, os.statvfs(store.root).f_frsize), engine.transfers, engine.held)
        done: list[Fetched] = []
        try:
            self._run(self._fetch(engine.fetches), done)
        except BaseException:
            # The first error is the one to show: where that was a full disk, this fails as well.
            with contextlib.suppress(OSError):
                self._keep(done)
            raise
        self._keep(done)
        return sum(one.received for one in done), sum(one.resumed for one in done)

    def _run(self, fetch: Fetch, done: list[Fetched]) -> None:
        try:
            done.extend(fetch.run(lambda: self._tell(fetch)))
        except DepotError as exc:
            raise self._named(exc) from exc
        except ModelError as exc:
            if exc.reason != "digest_mismatch":
                raise
            what = "has other content than its name says"
            raise self._named(corrupt(self._source.shown, exc.details["expected"], what)) from exc

    def _keep(self, done: t.Sequence[Fetched]) -> None:
        """Make durable what was copied, then note that it is right: the next run neither copies nor reads it."""
        self._store.sync()
        for fetched in done:
            if len(fetched.states) > 1:
                self._store.write_states(fetched.file.sha256, fetched.file.size, fetched.states[:-1])
        note_stamps(self._store, {fetched.file.sha256: fetched.stamp for fetched in done}, self._store.blob)

    def _note(self, seen: _Seen) -> None:
        """Publish or repair the models that are whole now, and note what was found right without a stamp."""
        if seen.unstamped:
            note_stamps(self._store, seen.right, self._store.blob)
        for wanted, _plan in seen.models:
            if not _here(wanted, seen.plan):
                continue
            now = look(self._store, wanted, self._reader)
            plan = make_plan(wanted, now.found)
            if plan.action != "none":
                carry_out(self._store, wanted, plan, now, functools.partial(self._fetch, plan.fetches), self._tell)

    def _fetch(self, files: t.Sequence[WantedFile]) -> Fetch:
        settings = Settings(retry=Retry(count=0), concurrency=_READERS)  # a source of blobs tries again by itself
        return Fetch(self._store, files, settings, Origins(self._make_origin))

    def _make_origin(self, _source: Source) -> Origin:
        return _Blobs(self._source, self._manifest.blobs)

    def _tell(self, fetch: Fetch) -> None:
        if self._say:
            self._say(fetch.resumed + fetch.meter.received, fetch.total)

    def _named(self, exc: DepotError) -> DepotError:
        """Return an error with a blob such that it says what the blob is for."""
        name = names_of(self._manifest).get(exc.details.get("blob", ""))
        return DepotError(f"{exc}. That blob is {name}", reason=exc.reason, **exc.details) if name else exc


def _models(source: BlobSource, manifest: Manifest) -> list[Wanted]:
    """Return the model versions of a release as model_pull would be asked for them."""
    try:
        return [
            Wanted(
                name=model.name,
                version=model.version,
                state="present",
                files=tuple(_file(source, path, one, manifest.blobs[one]) for path, one in model.files.items()),
            )
            for model in manifest.models
        ]
    except ModelError as exc:
        raise DepotError(f"the release manifest cannot be relied on: {exc}", reason="manifest_invalid") from exc


def _file(source: BlobSource, path: str, sha256: str, size: int) -> WantedFile:
    return WantedFile(path, sha256, size, (DepotSource(source.shown, f"sha256:{sha256}"),))


def _here(wanted: Wanted, plan: SyncPlan) -> bool:
    """Whether nothing of a model is on another volume."""
    return not any(file.sha256 in plan.elsewhere for file in wanted.files)


class _Blobs:
    """Serves blobs of a depot to the engine. What is wrong with one ends the run: there is no other source."""

    def __init__(self, source: BlobSource, sizes: t.Mapping[str, int]) -> None:
        self._source = source
        self._sizes = sizes

    def probe(self, one: DepotSource) -> Told:
        """Say how big a blob is."""
        return Told(self._source.blob_size(_digest(one)), "", True)

    @contextlib.contextmanager
    def open(
        self, one: DepotSource, start: int = 0, stop: int | None = None, validator: str = ""
    ) -> t.Iterator[Stream]:
        """Open a blob, or its bytes start..stop-1; what it is called by is its version.

        Raises:
            DepotError: it is not there, has another size, or cannot be read.
        """
        sha256 = _digest(one)
        with contextlib.ExitStack() as stack:
            try:
                blob = stack.enter_context(self._source.open_blob(sha256, start))
            except DepotError as exc:
                if exc.reason != "blob_missing":
                    raise
                raise lost(self._source, sha256) from exc
            size = self._sizes[sha256]
            if blob.size != size:
                raise corrupt(self._source.shown, sha256, f"has {blob.size} bytes instead of {size}")
            yield _BlobStream(blob, size, start, size if stop is None else stop)

    def close(self) -> None:
        """The source is its owner's to close."""


class _BlobStream:
    """The bytes of a blob from `start` to `stop` - 1, as the engine reads them."""

    def __init__(self, blob: Blob, size: int, start: int, stop: int) -> None:
        self.told = Told(size, "", True)
        self.offset = start
        self._blob = blob
        self._left = stop - start

    def readinto(self, buffer: memoryview) -> int:
        count = self._blob.readinto(buffer[: self._left]) if self._left else 0
        self._left -= count
        return count


def _digest(one: DepotSource) -> str:
    return one.name.partition(":")[2]
