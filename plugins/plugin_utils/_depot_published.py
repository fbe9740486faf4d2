# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What a fleet has published: the newest metadata and, of each stack, the newest release manifest. Beside its keys.

    published/<metadata file>             as in a depot's metadata/
    published/releases/<stack>.json       the manifest of the stack's newest release, as it was signed

Every depot is a mirror of this: two sticks that were written one after the other have the same metadata, or one of them
is older, and hosts can tell which. Were each stick to go on from its own, both would claim the same versions.
"""

from __future__ import annotations

import contextlib
import pathlib
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import target_name
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import parse_manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import write_bytes
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import digest
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_metadata import (
    TIMESTAMP_NAME,
    Current,
    read_current,
)

FOLDER = "published"
_RELEASES = "releases"


@dataclass(frozen=True)
class Published:
    """The newest metadata by file name, SHA-256 and bytes of its targets by path, and newest manifests by stack."""

    metadata: t.Mapping[str, bytes] = field(default_factory=dict)
    targets: t.Mapping[str, tuple[str, int]] = field(default_factory=dict)
    manifests: t.Mapping[str, bytes] = field(default_factory=dict)

    def superseded(self, stack: str, keep: int) -> list[str]:
        """Return the targets of a stack that go when the newest one joins `keep` others at most."""
        prefix = f"{_RELEASES}/{stack}/"
        counters = sorted(int(path[len(prefix) : -len(".json")]) for path in self.targets if path.startswith(prefix))
        return [target_name(stack, counter) for counter in counters[: max(len(counters) - keep, 0)]]


def read_published(folder: pathlib.Path, roots: t.Mapping[int, bytes], resign: bool = False) -> Published:
    """Return what was published with the keys of a folder; nothing before the first depot was.

    Args:
        resign: the targets may have been signed by keys that were replaced since. Whoever says so has looked at them.

    Raises:
        DepotError: a file cannot be read, or is not what the fleet's keys signed.
    """
    with _telling(folder):
        files = {path.name: path.read_bytes() for path in sorted((folder / FOLDER).glob("*.json"))}
        kept = {path.stem: path.read_bytes() for path in sorted((folder / FOLDER / _RELEASES).glob("*.json"))}
    current: Current = read_current(files, roots, resign)
    listed = current.targets.targets if current.targets else {}
    targets = {path: (file.hashes.get("sha256", ""), file.length) for path, file in listed.items()}
    signed = {sha256 for sha256, _length in targets.values()}
    metadata = {name: data for name, data in files.items() if name in _chain(current) or name.endswith(".root.json")}
    return Published(metadata, targets, {stack: data for stack, data in kept.items() if digest(data) in signed})


def _chain(current: Current) -> set[str]:
    """Return the files that the timestamp leads to; what a run that was cut off has left beside them does not count."""
    names = {TIMESTAMP_NAME}
    for role, signed in (("snapshot", current.snapshot), ("targets", current.targets)):
        if signed is not None:
            names.add(f"{signed.version}.{role}.json")
    return names


def write_published(folder: pathlib.Path, new: t.Mapping[str, bytes], manifest: bytes | None) -> None:
    """Keep new metadata, in the order in which it is given, and the manifest of a new release before it.

    Raises:
        DepotError: the disk refuses, or the manifest is none.
    """
    with _telling(folder):
        make_dirs(str(folder / FOLDER / _RELEASES), 0o755)
        if manifest is not None:
            write_bytes(str(folder / FOLDER / _RELEASES / f"{parse_manifest(manifest).stack}.json"), manifest, 0o644)
        for name, data in new.items():
            write_bytes(str(folder / FOLDER / name), data, 0o644)
        for name in _old(folder / FOLDER, new):
            (folder / FOLDER / name).unlink()


def _old(folder: pathlib.Path, new: t.Iterable[str]) -> list[str]:
    """Return the files of snapshot and targets that new ones of the same role replace."""
    newest = {name.partition(".")[2]: name for name in new if not name.startswith("timestamp")}
    return [
        path.name
        for path in folder.glob("*.json")
        if path.name.partition(".")[2] in newest
        and not path.name.endswith("root.json")
        and path.name != newest[path.name.partition(".")[2]]
    ]


@contextlib.contextmanager
def _telling(folder: pathlib.Path) -> t.Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise DepotError(f"{exc.filename or folder}: {exc.strerror}", reason="io_error") from exc
