# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Write a release's content into a depot: what is missing there, in the manifest's order; the manifest comes last.

What is signed afterwards is the manifest's target. Until its metadata is published nobody sees the release.
"""

from __future__ import annotations

import contextlib
import tempfile
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_gather import Gathered, Wanted, blob_of, gather
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import METADATA, part_sizes
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_medium import (
    Medium,
    check_room,
    look_at_medium,
    refuse_read_only,
    refuse_unmounted,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_partial import Blob
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import (
    Manifest,
    content_id,
    parse_manifest,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_store import DepotStore, Form
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_targets import (
    EMPTY,
    Target,
    artifact_of,
    found_targets,
    newest,
    read_target,
    target_of,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_verify import is_there
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import digest
from ansible_collections.emorobcare.fleet.plugins.module_utils._size import human

FIRST_ROOT = "1.root.json"
"""By this metadata a fleet is known: it never changes as long as hosts trust the fleet."""

_ROUND = 128 << 10  # bytes; the largest cluster of usual sticks: what a blob takes there at most beside its own
_METADATA = 1 << 20  # bytes that metadata, index.json and depot.json are taken for


@dataclass(frozen=True)
class Share:
    """Which of how many media this one is, and how many bytes one takes; None where there is only one."""

    number: int = 1
    count: int = 1
    size: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a run writes.

    `target` is to be signed; None where the depot has this release already, signed or not. `writes` come first, then
    `last`, which make the release one that can be published. `before` is the depot's newest release of the stack.
    """

    manifest: Manifest
    target: Target | None
    writes: tuple[Blob, ...]
    last: tuple[Blob, ...]
    before: Manifest | None = None
    volumes: int = 1

    @property
    def missing(self) -> tuple[Blob, ...]:
        return (*self.writes, *self.last)

    @property
    def bytes(self) -> int:
        return sum(blob.size for blob in self.missing)

    @property
    def changed(self) -> bool:
        return bool(self.missing) or self.target is not None


def number(manifest: Manifest, targets: t.Iterable[Target], before: Manifest | None) -> tuple[Manifest, bool]:
    """Return a release manifest with the counter that it gets, and whether it is a new release.

    It is not new where the depot's newest one is the same content and leaves out nothing that this one would carry.
    Where that one's manifest is not on this medium, the same one at the same time (`created`) is known by its digest.
    """
    last = newest(targets, manifest.stack)
    if last is None:
        return replace(manifest, counter=1), True
    if before is not None and content_id(before) == content_id(manifest) and before.assumes <= manifest.assumes:
        return before, False
    same = replace(manifest, counter=last.counter)
    if target_of(same) == last:
        return same, False
    return replace(manifest, counter=last.counter + 1), True


def everywhere(manifest: Manifest) -> frozenset[str]:
    """Return the blobs that every medium of a depot has: the small ones, by which the others are found."""
    own = {manifest.release, *manifest.files.values()}
    own |= {one.manifest for one in manifest.images} | {one.manifest for one in manifest.models}
    return frozenset(own) - manifest.assumes


def assign(manifest: Manifest, size: int) -> list[list[str]]:
    """Spread a release's blobs over media of `size` bytes each, in the manifest's order, each filled before the next.

    It depends on nothing but the manifest and the size, so that every medium can be written alone.

    Raises:
        DepotError: a blob is larger than a medium (`no_space`).
    """
    shared = everywhere(manifest)
    start = sum(_taken(manifest.blobs[one]) for one in shared) + _taken(len(manifest.encode())) + _METADATA
    media: list[list[str]] = [[]]
    used = start
    for sha256 in manifest.named:
        if sha256 in shared or sha256 in manifest.assumes:
            continue
        taken = _taken(manifest.blobs[sha256])
        if start + taken > size:
            raise DepotError(
                f"volume_size: a medium of {size} bytes has no room for blob {sha256} beside what every medium has: "
                f"{start + taken} bytes are needed ({human(start + taken)}); take larger media",
                reason="no_space",
                needed=start + taken,
                available=size,
            )
        if used + taken > size:
            media.append([])
            used = start
        media[-1].append(sha256)
        used += taken
    return media


def _taken(size: int) -> int:
    return -(-size // _ROUND) * _ROUND


def share_of(manifest: Manifest, share: Share) -> tuple[frozenset[str], int]:
    """Return the blobs that this medium gets, and how many media the release takes.

    Raises:
        DepotError: there are fewer media than it takes (`no_space`).
    """
    if share.size is None:
        return frozenset(manifest.carried), 1
    media = assign(manifest, share.size)
    if len(media) > share.count:
        raise DepotError(
            f"the release takes {len(media)} media of {share.size} bytes, and volumes says {share.count}: set volumes "
            f"to {len(media)}, or take larger media",
            reason="no_space",
            needed=len(media),
            available=share.count,
        )
    own = media[share.number - 1] if share.number <= len(media) else []
    return everywhere(manifest) | frozenset(own), len(media)


def make_plan(
    gathered: Gathered, targets: t.Sequence[Target], before: Manifest | None, sizes: t.Mapping[str, int], share: Share
) -> Plan:
    """Decide what is written.

    Args:
        before: the newest release of the stack that the depot has; None if it is not there.
        sizes: bytes of the blobs that the depot has; what has another size than it should is written again.

    Raises:
        DepotError: the media are too small, or too few (`no_space`).
    """
    manifest, is_new = number(gathered.manifest, targets, before)
    own, volumes = share_of(manifest, share)
    missing = [one for one in manifest.named if one in own and sizes.get(one) != manifest.blobs[one]]
    last = (
        blob_of(EMPTY, "the empty configuration"),
        blob_of(artifact_of(manifest), "the artifact of the release"),
        blob_of(manifest.encode(), "the release manifest"),
    )
    return Plan(
        manifest=manifest,
        target=target_of(manifest) if is_new else None,
        writes=tuple(gathered.blobs[one] for one in missing),
        last=tuple(one for one in last if one.sha256 not in missing and sizes.get(one.sha256) != one.size),
        before=before,
        volumes=volumes,
    )


@dataclass(frozen=True)
class Task:
    """What a run is told: the depot's folder, the release, what is signed (None: nobody said), and how to write.

    `manifests` are the newest signed release manifests by stack, as far as the signer gave them. `own_medium`: a new
    depot is refused where no medium of its own is mounted. `first_root` is the fleet's: a depot that has another one is
    refused, unless `take_over`.
    """

    depot: str
    wanted: Wanted
    targets: t.Sequence[Target] | None = None
    manifests: t.Mapping[str, bytes] = field(default_factory=dict)
    share: Share = field(default_factory=Share)
    part_size: int | None = None
    verify_written: bool = True
    verify_held: bool = False
    own_medium: bool = False
    first_root: bytes | None = None
    take_over: bool = False
    check_mode: bool = False
    tmpdir: str | None = None


@dataclass(frozen=True)
class Written:
    """What came of it: `written` bytes; `corrupt` blobs that the depot had and that were written again."""

    plan: Plan
    medium: Medium
    written: int
    corrupt: tuple[str, ...]


def write_content(task: Task) -> Written:
    """Bring what a release is made of into the depot, all but the metadata that makes hosts take it.

    Raises:
        DepotError: something is missing, the medium has no room, or fails; the depot is what it was then.
    """
    medium = look_at_medium(task.depot)
    refuse_read_only(medium, task.depot)
    store = DepotStore(task.depot, form_of(medium, task.part_size, task.verify_written))
    if task.own_medium:
        refuse_unmounted(medium, task.depot, is_there(store.folder))
    if not task.take_over and is_other_fleets(store.folder, task.first_root):
        raise other_fleet(task.depot)
    with contextlib.ExitStack() as held:
        scratch = None
        if not task.check_mode:
            held.enter_context(store.locked())
            scratch = held.enter_context(tempfile.TemporaryDirectory(prefix="depot-write-", dir=task.tmpdir))
        plan, corrupt = _look(task, store, scratch)
        spare = store.partial_bytes()
        check_room(medium, [*file_sizes(plan.missing, store.part_size), _METADATA] if plan.missing else [], spare)
        written = 0 if task.check_mode or not plan.missing else carry_out(store, plan)
        return Written(plan, medium, written, tuple(corrupt))


def is_other_fleets(folder: Folder, first_root: bytes | None) -> bool:
    """Whether a depot has another fleet's first root metadata; not where it has none, or the fleet's is not known.

    Raises:
        DepotError: it cannot be read.
    """
    there = folder.read(f"{METADATA}/{FIRST_ROOT}", _METADATA)
    return there is not None and first_root is not None and there != first_root


def other_fleet(depot: str) -> DepotError:
    """Return the error for a depot that belongs to another fleet."""
    return DepotError(
        f"{depot} is another fleet's depot, was written with other keys, or is damaged: its {METADATA}/{FIRST_ROOT} is "
        "not this fleet's. It was left as it is. Take another stick, or the folder of keys that this one belongs to; "
        "if nobody needs what is on it, empty it, or run this again with -e depot_take_over=true (option take_over), "
        "which replaces the other fleet's depot",
        reason="mixed",
    )


def form_of(medium: Medium, part_size: int | None, verify: bool = True) -> Form:
    """Return how the medium is written; the size of parts that was asked for, or what its file system takes."""
    return Form(part_size or medium.part_size, verify, medium.user_space, medium.device)


def file_sizes(blobs: t.Iterable[Blob], part_size: int | None) -> list[int]:
    """Return the bytes of each file that blobs are kept in."""
    return [size for blob in blobs for size in (part_sizes(blob.size, part_size) if part_size else [blob.size])]


def carry_out(store: DepotStore, plan: Plan) -> int:
    """Write what the plan says; return the bytes that had to be written. What is there afterwards is durable."""
    store.prepare()
    store.clear(plan.missing)
    return store.write(plan.writes) + store.write(plan.last)


def _look(task: Task, store: DepotStore, scratch: str | None) -> tuple[Plan, list[str]]:
    """Return what to write, and what the depot has and is wrong."""
    targets = found_targets(store.folder) if task.targets is None else list(task.targets)
    stack = task.wanted.release.stack
    before = _before(store, newest(targets, stack), task.manifests.get(stack))
    known = dict(before.blobs) if before else {}
    sizes = store.sizes(store.held())
    corrupt = store.corrupt(sorted(sizes)) if task.verify_held else []
    for sha256 in corrupt:
        del sizes[sha256]
    left_out = before.assumes & task.wanted.held if before else frozenset()
    whole = {one: size for one, size in known.items() if sizes.get(one) == size or one in left_out}
    gathered = gather(task.wanted, whole, scratch)
    return make_plan(gathered, targets, before, sizes, task.share), corrupt


def _before(store: DepotStore, target: Target | None, told: bytes | None) -> Manifest | None:
    """Return the newest release: what the signer gave, or what the depot has; None where both have none.

    What the depot has of it and is damaged counts as none: then it is written again.
    """
    if target and told is not None and digest(told) == target.sha256:
        return parse_manifest(told)
    try:
        return read_target(store.folder, target) if target else None
    except DepotError as exc:
        if exc.reason == "io_error":
            raise
        return None
