# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Publish signed metadata in a depot: with timestamp.json, which is written last, the depot becomes the new one.

What only the old one needs goes after that.
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import missing
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_gather import blob_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import (
    INDEX,
    METADATA,
    TIMESTAMP,
    VOLUME,
    Volume,
    encode_index,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_medium import (
    Medium,
    check_room,
    look_at_medium,
    refuse_read_only,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_partial import Blob
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_store import DepotStore
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_targets import (
    EMPTY,
    Target,
    artifact_of,
    found_targets,
    index_names,
    metadata_targets,
    newest_targets,
    read_target,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_write import (
    FIRST_ROOT,
    Share,
    file_sizes,
    form_of,
    is_other_fleets,
    other_fleet,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import digest

_NAME = re.compile(r"timestamp\.json|([1-9][0-9]*)\.(root|targets|snapshot)\.json")
_LAST = TIMESTAMP.rpartition("/")[2]
_TELLING = (FIRST_ROOT, _LAST)
_METADATA_LIMIT = 1 << 20  # bytes


@dataclass(frozen=True)
class Publication:
    """What publishing does: blobs for tools, files in their order, then the last one, and what is removed after it.

    `superseded` are metadata files, `pruned` blobs; `kept` are the blobs that the depot has afterwards. `foreign` are
    metadata files of another fleet, which go first: to hosts of either fleet the depot has no release then.
    """

    blobs: tuple[Blob, ...]
    files: tuple[tuple[str, bytes], ...]
    last: bytes | None
    superseded: tuple[str, ...]
    pruned: frozenset[str]
    kept: frozenset[str]
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """What came of it: names of files that are others now, blobs that were removed, and their bytes."""

    files: tuple[str, ...]
    pruned: tuple[str, ...]
    freed: int
    releases: tuple[Target, ...]
    medium: Medium

    @property
    def changed(self) -> bool:
        return bool(self.files or self.pruned)


def check_names(names: t.Iterable[str]) -> None:
    """Refuse metadata files of other names than TUF gives them.

    Raises:
        DepotError: `invalid`.
    """
    odd = sorted(name for name in names if not _NAME.fullmatch(name))
    if odd:
        raise DepotError(
            f"metadata: {odd[0]!r} is no name of TUF metadata with consistent snapshots; pass what depot_sign returned",
            reason="invalid",
        )


def superseded(there: t.Iterable[str], given: t.Collection[str]) -> tuple[str, ...]:
    """Return the metadata files that are there and that newer ones of the same role among those given replace."""
    newest: dict[str, int] = {}
    for match in filter(None, map(_NAME.fullmatch, given)):
        if match[2] not in (None, "root"):  # hosts go from root to root, so each stays
            newest[match[2]] = max(int(match[1]), newest.get(match[2], 0))
    matches = [match for match in map(_NAME.fullmatch, there) if match and match[2] in newest]
    return tuple(match[0] for match in matches if int(match[1]) < newest[match[2]])


def needed(manifests: t.Iterable[Manifest], targets: t.Iterable[Target]) -> frozenset[str]:
    """Return the blobs that some releases need, with what tools find them by."""
    blobs = {digest(EMPTY), *(target.sha256 for target in targets)}
    for manifest in manifests:
        blobs |= {*manifest.carried, digest(artifact_of(manifest))}
    return frozenset(blobs)


def refuse_older(there: t.Mapping[str, bytes], given: t.Mapping[str, bytes], depot: str) -> None:
    """Refuse metadata that is older than what the depot has, or is another one of the same version.

    Hosts that have seen the depot would refuse it. Whoever signs has lost what was published, or has an old copy of it.

    Args:
        there: metadata files of the depot.

    Raises:
        DepotError: `older`, with the way out.
    """
    if _LAST not in given or _LAST not in there or there[_LAST] == given[_LAST]:
        return
    newest, version = _version(there[_LAST]), _version(given[_LAST])
    if newest >= version:
        raise DepotError(
            f"{depot} has version {newest} of the fleet's metadata, and this is another one, version {version}: the "
            "folder of keys lost what was published, or is an old copy. Nothing was published. Take the newest folder "
            f"of keys; or copy {depot}/{METADATA}/*.json (of the newest depot) into published/ beside the keys, and "
            "run this again",
            reason="older",
        )


def _version(timestamp: bytes) -> int:
    """Return the version of a timestamp; 0 where it is none, which is no reason not to replace it."""
    try:
        return int(json.loads(timestamp)["signed"]["version"])
    except (ValueError, KeyError, TypeError):
        return 0


def make_publication(
    metadata: t.Mapping[str, bytes],
    there: t.Collection[str],
    releases: t.Sequence[tuple[Target, Manifest]],
    held: t.Collection[str],
    share: Share,
    prune: bool,
) -> Publication:
    """Decide what is written and removed.

    Args:
        there: names of the metadata files of the depot.
        releases: those of the new targets that this medium has.
        held: the blobs that it has.
    """
    manifests = [manifest for _target, manifest in releases]
    extra = [blob_of(EMPTY, "the empty configuration")] if manifests else []
    extra += [blob_of(artifact_of(manifest), "the artifact of a release") for manifest in manifests]
    blobs = tuple(blob for blob in extra if blob.sha256 not in held)
    present = frozenset(held) | {blob.sha256 for blob in blobs}
    pruned = present - needed(manifests, [target for target, _manifest in releases]) if prune else frozenset()
    files = [
        (INDEX, encode_index(index_names(manifests, present))),
        (VOLUME, Volume(share.number, share.count, present).encode()),
    ]
    files += [(f"{METADATA}/{name}", data) for name, data in metadata.items() if name != _LAST]
    return Publication(
        blobs=blobs,
        files=tuple(files),
        last=metadata.get(_LAST),
        superseded=superseded(there, metadata),
        pruned=pruned,
        kept=present - pruned,
    )


def publish(
    depot: str,
    metadata: t.Mapping[str, bytes],
    share: Share,
    prune: bool = False,
    take_over: bool = False,
    check_mode: bool = False,
) -> Published:
    """Write metadata files into a depot whose content is there, and remove what they leave without use.

    Args:
        metadata: content by name; written in this order, timestamp.json last.
        prune: remove the blobs that no release needs which the new targets name.
        take_over: replace another fleet's depot. Cut off, it may have no release.

    Raises:
        DepotError: a name or a file is none of TUF's (`invalid`), content is missing (`blob_missing`), the depot is
            another fleet's (`mixed`), or the medium fails; the depot is the old one then, or the new one.
    """
    check_names(metadata)
    medium = look_at_medium(depot)
    refuse_read_only(medium, depot)
    store = DepotStore(depot, form_of(medium, None))
    if check_mode:
        return _publish(store, medium, metadata, share, prune, take_over, check_mode)
    with store.locked():
        return _publish(store, medium, metadata, share, prune, take_over, check_mode)


def _publish(
    store: DepotStore,
    medium: Medium,
    metadata: t.Mapping[str, bytes],
    share: Share,
    prune: bool,
    take_over: bool,
    check_mode: bool,
) -> Published:
    other = is_other_fleets(store.folder, metadata.get(FIRST_ROOT))
    if other and not take_over:
        raise other_fleet(store.path)
    targets = _targets(store, metadata)
    releases = _releases(store, targets, share)
    held = store.held()
    foreign = tuple(name for name in store.folder.names(METADATA) if _NAME.fullmatch(name)) if other else ()
    there = [] if other else store.folder.names(METADATA)
    own = {name: store.folder.read(f"{METADATA}/{name}", _METADATA_LIMIT) or b"" for name in there if name in _TELLING}
    refuse_older(own, metadata, store.path)
    publication = replace(make_publication(metadata, there, releases, held, share, prune), foreign=foreign)
    freed = sum(store.sizes(publication.pruned).values())
    changed = [name for name, data in _all_files(publication) if not store.has(name, data)]
    sizes = [*file_sizes(publication.blobs, store.part_size), *(len(data) for _name, data in _all_files(publication))]
    check_room(medium, sizes if changed else [], store.partial_bytes())
    if not check_mode:
        carry_out(store, publication)
    found = tuple(target for target, _manifest in releases)
    return Published(tuple(changed), tuple(sorted(publication.pruned)), freed, found, medium)


def _all_files(publication: Publication) -> list[tuple[str, bytes]]:
    files = dict(publication.files)
    if publication.pruned:
        files[VOLUME] = _volume_after(publication)
    return [*files.items(), *([(TIMESTAMP, publication.last)] if publication.last is not None else [])]


def _volume_after(publication: Publication) -> bytes:
    before = json.loads(dict(publication.files)[VOLUME])
    return Volume(before["volume"], before["volumes"], publication.kept).encode()


def carry_out(store: DepotStore, publication: Publication) -> None:
    """Write what is to be written, each step durable before the next: content, what is above it, timestamp.json."""
    store.prepare()
    if publication.foreign:
        # But for the first root, which is replaced: until then it says whose depot this was.
        store.remove(f"{METADATA}/{name}" for name in publication.foreign if name != FIRST_ROOT)
        store.sync()
    if publication.blobs:
        store.write(publication.blobs)
    for name, data in publication.files:
        store.put(name, data)
    store.sync()
    if publication.last is not None:
        store.put(TIMESTAMP, publication.last)
        store.sync()
    store.remove(f"{METADATA}/{name}" for name in publication.superseded)
    if publication.pruned:
        # First nothing says that they are here, then they are not.
        store.put(VOLUME, _volume_after(publication))
        store.sync()
        store.remove_blobs(publication.pruned)
    if publication.pruned or publication.superseded:
        store.sync()


def _targets(store: DepotStore, metadata: t.Mapping[str, bytes]) -> list[Target]:
    """Return the releases that the depot names when the metadata is there."""
    name = newest_targets(metadata)
    return metadata_targets(metadata[name]) if name else found_targets(store.folder)


def _releases(store: DepotStore, targets: t.Sequence[Target], share: Share) -> list[tuple[Target, Manifest]]:
    """Return those releases that this medium has.

    Raises:
        DepotError: it has none of them, or not all of the newest one of a stack (`blob_missing`).
    """
    found = [(target, manifest) for target in targets if (manifest := read_target(store.folder, target)) is not None]
    if targets and not found:
        raise DepotError(
            f"{store.path} has none of the releases that the metadata names: write their content first "
            "(state: content)",
            reason="blob_missing",
            blob=targets[-1].sha256,
        )
    if share.count == 1:
        newest = {target.stack: manifest for target, manifest in sorted(found, key=lambda one: one[0].counter)}
        for manifest in newest.values():
            _refuse_gaps(store, manifest)
    return found


def _refuse_gaps(store: DepotStore, manifest: Manifest) -> None:
    sizes = store.sizes(manifest.carried)
    for sha256, size in manifest.carried.items():
        if sizes.get(sha256) != size:
            raise missing(store.path, sha256)
