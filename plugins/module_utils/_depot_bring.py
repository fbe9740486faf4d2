# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.
"""Bring a release from a depot to this host: verify, choose, copy, pull. Nothing that runs is touched.

This is the one way in, for the module and for the command line alike.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import threading
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import PIECE, BlobSource, check_layout
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_kept import lay_out, read_stored
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_plan import SyncPlan
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_pull import (
    PullPlan,
    find_id,
    look_at,
    pull_images,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest, parse_manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import TrustPlaces, telling, write_bytes
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_sync import Synced, SyncRequest, sync
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import Host, choose, open_depot
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_verify import Say, noticing_loss
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_web import open_source
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Docker
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import Release, parse_document
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Store
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf"}
_OS_RELEASE = "/etc/os-release"


@dataclass(frozen=True)
class Order:
    """What to bring from where.

    Attributes:
        depot: absolute path of a folder, or URL.
        stack: needed where the depot has several; `counter` says which release, None: the newest for this host.
        root: of the host store, an absolute path.
        ca_path: PEM file of authorities, for https.
        lock_timeout: seconds to wait for another run.
    """

    depot: str
    root: str
    stack: str | None = None
    counter: int | None = None
    places: TrustPlaces = field(default_factory=TrustPlaces)
    ca_path: str | None = None
    lock_timeout: float = 3600.0
    check_mode: bool = False


@dataclass(frozen=True)
class Brought:
    """What came: the release, where its packages and its runtime are laid out (None: it has none), what it took.

    In check mode nothing came, and `pulled` and `synced` say what would.
    """

    manifest: Manifest
    synced: Synced
    pulled: PullPlan | None
    packages: str | None
    runtime: str | None
    laid_out: bool

    @property
    def changed(self) -> bool:
        return self.synced.changed or self.laid_out or bool(self.pulled and self.pulled.changes)

    @property
    def complete(self) -> bool:
        """Whether the host has all that the release needs: no other volume is waited for."""
        return self.synced.complete


class WithStore:
    """A depot, and before it the host store: on several media, each brings a part of an image, which goes there.

    `tell` is told the bytes of each piece that was read, by any of several threads.
    """

    def __init__(self, source: BlobSource, root: str, tell: t.Callable[[int], None] | None = None) -> None:
        self._source = source
        self._store = Store(root)
        self._tell = tell

    @property
    def shown(self) -> str:
        return self._source.shown

    def read(self, name: str, limit: int) -> bytes | None:
        return self._source.read(name, limit)

    def blob_size(self, sha256: str) -> int | None:
        with contextlib.suppress(FileNotFoundError):
            return os.lstat(self._store.blob(sha256)).st_size
        return self._source.blob_size(sha256)

    def pieces(self, sha256: str, start: int = 0) -> t.Iterator[bytes]:
        for piece in self._pieces(sha256, start):
            if self._tell:
                self._tell(len(piece))
            yield piece

    def _pieces(self, sha256: str, start: int) -> t.Iterator[bytes]:
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(open(self._store.blob(sha256), "rb"))
            except FileNotFoundError:
                yield from self._source.pieces(sha256, start)
                return
            file.seek(start)
            yield from iter(lambda: file.read(PIECE), b"")


class _Told:
    """Adds up what the engine pulls and what is copied, for one `say`."""

    def __init__(self, say: Say | None) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._pulled = self._total = 0

    def begin(self, plan: SyncPlan) -> None:
        self._total = plan.bytes_to_pull + sum(plan.copies.values())

    def pulled(self, count: int) -> None:
        with self._lock:
            self._pulled += count
        self.copied(0, 0)

    def copied(self, done: int, _total: int) -> None:
        if self._say:
            self._say(min(self._pulled + done, self._total), self._total)


@contextlib.contextmanager
def opened(order: Order, now: t.Callable[[], float]) -> t.Iterator[tuple[BlobSource, Manifest]]:
    """Open the depot, and return with it the release that this host is to take.

    Raises:
        DepotError: the depot, or every release in it, is refused.
    """
    with contextlib.closing(open_source(order.depot, order.ca_path)) as source:
        with noticing_loss(source):
            trusted = open_depot(source, order.places, now, order.lock_timeout)
            host = Host(_ARCHITECTURES.get(platform.machine(), platform.machine()))
            manifest = choose(source, trusted, order.places, host, order.stack, order.counter)
        yield source, manifest


def bring(order: Order, docker: Docker | None, now: t.Callable[[], float], say: Say | None = None) -> Brought:
    """Bring what a release needs to this host.

    Args:
        docker: the engine's command line; None where there is none yet, and images come later.
        now: returns seconds since 1970.
        say: is told bytes done and bytes in all while content is copied.

    Raises:
        DepotError: something is refused or fails. What was there before is as it was.
    """
    with opened(order, now) as (source, manifest):
        return bring_release(order, source, manifest, docker, say)


def bring_release(
    order: Order, source: BlobSource, manifest: Manifest, docker: Docker | None, say: Say | None = None
) -> Brought:
    """Bring a release that is trusted.

    Raises:
        DepotError: something is refused or fails.
    """
    with noticing_loss(source, opened=True):
        synced, pulled = _bring_content(order, docker, _sync_request(order, source, manifest, docker), source, say)
    suite = debian_suite()
    packages, runtime = manifest.packages.get(suite or ""), manifest.runtime
    laid_out = False
    if synced.complete and not order.check_mode:
        if packages:
            laid_out |= lay_out(order.root, packages, packages_folder(order.root, suite), order.lock_timeout)
        if runtime:
            laid_out |= lay_out(order.root, runtime, f"{order.root}/runtime", order.lock_timeout)
        _remember(order.places, manifest)
    return Brought(
        manifest,
        synced,
        pulled,
        f"{order.root}/packages" if packages else None,
        f"{order.root}/runtime" if runtime else None,
        laid_out,
    )


def _sync_request(order: Order, source: BlobSource, manifest: Manifest, docker: Docker | None) -> SyncRequest:
    volume = check_layout(source)
    # Whether the engine has what is left out of images is seen when they are pulled.
    left_out = manifest.assumes & {blob for image in manifest.images for blob in image.blobs}
    if docker is None:
        engine = left_out
    elif volume.count > 1:
        # An image is pulled when all media were here, and its layers are asked for then, those too that other images
        # of the engine have, this release's among them. So only for an image that is there nothing is waited for.
        engine = held_by_engine(docker, manifest, layers=False) | left_out
    else:
        engine = held_by_engine(docker, manifest)
    return SyncRequest(manifest, order.root, volume, engine, order.lock_timeout, order.check_mode)


def _bring_content(
    order: Order, docker: Docker | None, request: SyncRequest, source: BlobSource, say: Say | None
) -> tuple[Synced, PullPlan | None]:
    """Bring what the store lacks, and have the engine pull what it lacks, once all media were here."""
    if docker is None:
        return sync(source, request, say), None
    told = _Told(say)
    content = WithStore(source, order.root, told.pulled)  # from the store what is there, from the depot the rest
    pull = functools.partial(pull_images, docker, request.manifest, content, order.check_mode)
    if request.volume is not None and request.volume.count > 1:
        synced = sync(source, request, told.copied, told.begin)
        return synced, pull() if synced.complete else None
    pulled = PullPlan()

    def pull_first(plan: SyncPlan) -> None:
        # An engine needs room for an image twice, so it comes first: what is not copied yet is room for that.
        nonlocal pulled
        told.begin(plan)
        pulled = pull(name=False)

    synced = sync(source, request, told.copied, pull_first)
    if pulled.changes and not order.check_mode:
        pull()  # names are made when all is there
    return synced, pulled


def _remember(places: TrustPlaces, manifest: Manifest) -> None:
    """Keep the manifest, so that the release can be accepted and told of when the depot is gone again."""
    path = _brought(places, manifest.stack)
    with telling(path):
        make_dirs(os.path.dirname(path))
        write_bytes(path, manifest.encode(), 0o644)


def last_brought(places: TrustPlaces, stack: str) -> Manifest:
    """Return the manifest of the release of a stack that was brought last.

    Raises:
        DepotError: none was (`no_release`).
    """
    try:
        with open(_brought(places, stack), "rb") as file:
            return parse_manifest(file.read())
    except OSError as exc:
        raise DepotError(
            f"no release of {stack!r} was brought to this host from a depot ({exc.strerror}); run depot_sync first",
            reason="no_release",
        ) from exc


def _brought(places: TrustPlaces, stack: str) -> str:
    return f"{places.state}/brought/{stack}.json"


def packages_folder(root: str, suite: str | None) -> str:
    """Return where the repository for apt of a Debian release is laid out."""
    return f"{root}/packages/{suite}"


def debian_suite(path: str = _OS_RELEASE) -> str | None:
    """Return the code name of this host's Debian release; None on other systems."""
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
        pairs = (line.strip().partition("=") for line in file)
        return {name: value.strip("\"'") for name, _equals, value in pairs}.get("VERSION_CODENAME")
    return None


def held_by_engine(docker: Docker, manifest: Manifest, layers: bool = True) -> frozenset[str]:
    """Return which of a release's images the engine has, by manifest and configuration, and the layers that it has.

    Args:
        layers: whether layers count, of whatever image.

    Raises:
        DepotError: the engine does not answer (`image_unavailable`).
    """
    try:
        there = {layer for chain in look_at(docker).chains for layer in chain} if layers else set()
        whole = [image for image in manifest.images if find_id(docker, image)]
    except ReleaseError as exc:
        raise DepotError(str(exc), reason="image_unavailable", **exc.details) from exc
    return frozenset(there.union(*((image.manifest, image.config) for image in whole)))


def release_of(root: str, manifest: Manifest) -> tuple[Release, dict[str, bytes]]:
    """Return the release and its files from the host store, checked against each other.

    Raises:
        DepotError: the store lacks one, or they do not belong together (`manifest_invalid`).
    """
    try:
        release = parse_document(json.loads(read_stored(root, manifest.release)), manifest.release)
    except (ReleaseError, ValueError) as exc:
        raise DepotError(f"the release document is not right: {exc}", reason="manifest_invalid") from exc
    if dict(release.files) != dict(manifest.files) or release.stack != manifest.stack:
        raise DepotError(
            f"the release document {release.id} is not the one that the release manifest is about; write the depot "
            "again",
            reason="manifest_invalid",
        )
    return release, {path: read_stored(root, sha256) for path, sha256 in manifest.files.items()}


def read_parameters(folder: str, stack: str) -> dict[str, t.Any]:
    """Return this host's own values for a stack's parameters, from `<folder>/<stack>.json`; none if there is no file.

    Raises:
        DepotError: the file cannot be read (`invalid`).
    """
    path = os.path.join(folder, f"{stack}.json")
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise DepotError(f"{path} cannot be read: {exc}; correct it, or remove it", reason="invalid") from exc
    if not isinstance(document, dict):
        raise DepotError(f"{path} must be a JSON object of parameters by name", reason="invalid")
    return document
